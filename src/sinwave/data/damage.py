"""Steps that make a picture poorer: blur, resize, noise and JPEG.

Pictures (3, h, w) are in [0, 1]. Resizing is not antialiased, and a JPEG has chroma of half the size. Poisson noise is
that of 256 quanta: a pixel v gets the deviation scale sqrt(v / 256).
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, TypeAlias, final, get_args

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor
from torch.nn import functional

from sinwave.data.kernels import convolved, gaussian_kernel, plateau_kernel, sinc_kernel
from sinwave.images import to_uint8
from sinwave.resize import resize
from sinwave.wavelets import Size

__all__ = ["KINDS", "MODES", "Blur", "GaussianNoise", "Jpeg", "Kind", "Mode", "PoissonNoise", "Rescale", "Sinc", "Step"]

Mode: TypeAlias = Literal["area", "bilinear", "bicubic"]
Kind: TypeAlias = Literal[
    "isotropic",
    "anisotropic",
    "generalized isotropic",
    "generalized anisotropic",
    "plateau isotropic",
    "plateau anisotropic",
]
MODES: tuple[Mode, ...] = get_args(Mode)
KINDS: tuple[Kind, ...] = get_args(Kind)
_QUANTA = 256
_LUMINANCE = torch.tensor([0.2989, 0.587, 0.114])[:, None, None]


class Step(ABC):
    """A step of a degradation."""

    @abstractmethod
    def __call__(self, picture: Tensor, target: Size, generator: Generator) -> Tensor:
        """Change a picture (3, h, w) on its way to the target size."""


@final
@dataclass(frozen=True)
class Blur(Step):
    """A blur by one of the six kinds of kernels; `beta` is 1 for a plain Gaussian."""

    kind: Kind
    size: int
    sigmas: tuple[float, float]
    turn: float
    beta: float

    @property
    def kernel(self) -> Tensor:
        kernel = plateau_kernel if self.kind.startswith("plateau") else gaussian_kernel
        return kernel(self.size, self.sigmas, self.turn, self.beta)

    def __call__(self, picture: Tensor, target: Size, generator: Generator) -> Tensor:
        return convolved(picture, self.kernel)


@final
@dataclass(frozen=True)
class Sinc(Step):
    """A low-pass that rings at edges; `cutoff` is in radians a pixel."""

    size: int
    cutoff: float

    @property
    def kernel(self) -> Tensor:
        return sinc_kernel(self.size, self.cutoff)

    def __call__(self, picture: Tensor, target: Size, generator: Generator) -> Tensor:
        return convolved(picture, self.kernel)


@final
@dataclass(frozen=True)
class Rescale(Step):
    """A resize to `scale` times the size of the picture or of the target."""

    scale: float
    mode: Mode
    of_target: bool

    def __call__(self, picture: Tensor, target: Size, generator: Generator) -> Tensor:
        height, width = (max(1, int(side * self.scale)) for side in (target if self.of_target else picture.shape[1:]))
        if self.mode == "bilinear":  # torch's own has other bits with other numbers of threads
            return resize(picture[None], (height, width), "bilinear", antialias=False)[0]
        return functional.interpolate(picture[None], (height, width), mode=self.mode)[0]


@final
@dataclass(frozen=True)
class GaussianNoise(Step):
    """Noise of the deviation `sigma` of 255, the same in all channels if it is gray."""

    sigma: float
    gray: bool

    def __call__(self, picture: Tensor, target: Size, generator: Generator) -> Tensor:
        noise = torch.randn(picture[:1].shape if self.gray else picture.shape, generator=generator)
        return (picture + self.sigma / 255 * noise).clamp(0, 1)


@final
@dataclass(frozen=True)
class PoissonNoise(Step):
    """Noise of light in quanta, `scale` times as strong; if it is gray, that of the luminance in all channels."""

    scale: float
    gray: bool

    def __call__(self, picture: Tensor, target: Size, generator: Generator) -> Tensor:
        light = ((_LUMINANCE * picture).sum(0, keepdim=True) if self.gray else picture).clamp(0, 1)
        noise = torch.poisson(_QUANTA * light, generator=generator) / _QUANTA - light
        return (picture + self.scale * noise).clamp(0, 1)


@final
@dataclass(frozen=True)
class Jpeg(Step):
    """A JPEG file and back."""

    quality: int

    def __call__(self, picture: Tensor, target: Size, generator: Generator) -> Tensor:
        file, pixels = io.BytesIO(), to_uint8(2 * picture - 1).permute(1, 2, 0).contiguous().numpy()
        Image.fromarray(pixels).save(file, "JPEG", quality=self.quality, subsampling="4:2:0")
        with Image.open(file) as image:
            return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
