"""Blind degradation of second order: the poor picture y that cameras and the internet could have made of a good one, x.

    D(x) = JPEG(noise(resize(blur(x))))        y = finish(D'(D(x)))        D' is D without its JPEG

(Wang, Xie, Dong and Shan, "Real-ESRGAN", ICCV Workshops 2021.) The finish is a resize to the asked size and a low-pass
that rings, and a JPEG, in random order; then 8 bits. With q = (u, v) S^-1 (u, v)^T, S the covariance matrix of a blur,
its kernel at (u, v) is, up to a factor,

    Gaussian exp(-q / 2)    generalized exp(-q^beta / 2)    plateau 1 / (1 + q^beta)    sinc w J_1(w r) / (2 pi r)

Resizing is not antialiased, borders are mirrors, and a JPEG has chroma of half the size. Poisson noise is that of 256
quanta: a pixel v of [0, 1] gets the deviation scale sqrt(v / 256).

The steps are drawn first and done then: `Degradation.draw` gives them, `degrade` does them. In steps, pictures
(3, h, w) are in [0, 1].
"""

from __future__ import annotations

import io
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, TypeVar, final, get_args

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.images import from_uint8, to_uint8
from sinwave.resize import resize
from sinwave.rng import fold
from sinwave.wavelets import Size

__all__ = ["REAL_ESRGAN", "RESSHIFT", "Blur", "Degradation", "GaussianNoise", "Jpeg", "Kind", "Mode"]
__all__ += ["PoissonNoise", "Range", "Rescale", "Sinc", "Stage", "Step", "degrade"]
__all__ += ["gaussian_kernel", "plateau_kernel", "sinc_kernel"]

T = TypeVar("T")
Mode: TypeAlias = Literal["area", "bilinear", "bicubic"]
Kind: TypeAlias = Literal[
    "isotropic",
    "anisotropic",
    "generalized isotropic",
    "generalized anisotropic",
    "plateau isotropic",
    "plateau anisotropic",
]
_MODES: tuple[Mode, ...] = get_args(Mode)
_KINDS: tuple[Kind, ...] = get_args(Kind)
_QUANTA = 256


class Range(NamedTuple):
    """Numbers from `low` to `high`, as likely as one another."""

    low: float
    high: float


_GENERALIZED, _PLATEAU = Range(0.5, 4), Range(1, 2)


@final
@dataclass(frozen=True, kw_only=True)
class Stage:
    """A blur, a resize and noise; shares are probabilities, sizes of kernels are odd, noise is in levels of 255."""

    sizes: tuple[int, ...]
    sigma: Range
    up_down_keep: tuple[float, float, float]
    scale: Range
    gaussian: Range
    poisson: Range
    blur_share: float = 1.0
    sinc_share: float = 0.1
    kinds: tuple[float, ...] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    generalized: Range = _GENERALIZED
    plateau: Range = _PLATEAU
    gaussian_share: float = 0.5
    gray_share: float = 0.4

    def __post_init__(self) -> None:
        if len(self.kinds) != len(_KINDS):
            raise InputError(f"kinds has {len(self.kinds)} shares: there are {len(_KINDS)} kinds of kernels")
        for name, weights in (("kinds", self.kinds), ("up down keep", self.up_down_keep)):
            if min(weights) < 0 or not 0 < sum(weights) < math.inf:
                raise InputError(f"{name} is {weights}: shares must not be below 0, and not all 0")
        _check_sizes("sizes", self.sizes)
        _check_ranges(sigma=self.sigma, scale=self.scale, gaussian=self.gaussian, poisson=self.poisson)
        _check_ranges(generalized=self.generalized, plateau=self.plateau)
        _check_shares(blur=self.blur_share, sinc=self.sinc_share, gaussian=self.gaussian_share, gray=self.gray_share)

    def draw(self, generator: Generator, *, of_target: bool) -> Iterator[Step]:
        """Draw the steps; the scale is that of the target if it is not of the picture."""
        if _happens(self.blur_share, generator):
            yield self._blur(generator)
        way = _index(self.up_down_keep, generator)
        scale = (Range(1, self.scale.high), Range(self.scale.low, 1), Range(1, 1))[way]
        yield Rescale(_uniform(scale, generator), _one_of(_MODES, generator), of_target)
        is_gaussian, gray = _happens(self.gaussian_share, generator), _happens(self.gray_share, generator)
        strength = _uniform(self.gaussian if is_gaussian else self.poisson, generator)
        yield GaussianNoise(strength, gray) if is_gaussian else PoissonNoise(strength, gray)

    def _blur(self, generator: Generator) -> Step:
        size = _one_of(self.sizes, generator)
        if _happens(self.sinc_share, generator):
            return Sinc(size, _uniform(Range(math.pi / (3 if size < 13 else 5), math.pi), generator))
        kind = _KINDS[_index(self.kinds, generator)]
        sigma = _uniform(self.sigma, generator)
        if kind.endswith("anisotropic"):
            sigmas, turn = (sigma, _uniform(self.sigma, generator)), _uniform(Range(-math.pi, math.pi), generator)
        else:
            sigmas, turn = (sigma, sigma), 0.0
        return Blur(kind, size, sigmas, turn, self._beta(kind, generator))

    def _beta(self, kind: Kind, generator: Generator) -> float:
        """Draw the exponent, as often below 1 as above."""
        if kind in ("isotropic", "anisotropic"):
            return 1.0
        low, high = self.plateau if kind.startswith("plateau") else self.generalized
        return _uniform(Range(low, 1) if _happens(0.5, generator) else Range(1, high), generator)


@final
@dataclass(frozen=True, kw_only=True)
class Degradation:
    """Two stages, the second of which may be left out, and the finish."""

    first: Stage
    second: Stage
    second_share: float
    ringing_sizes: tuple[int, ...]
    ringing_share: float = 0.8
    quality: tuple[int, int] = (30, 95)

    def __post_init__(self) -> None:
        _check_sizes("ringing sizes", self.ringing_sizes)
        _check_shares(second=self.second_share, ringing=self.ringing_share)
        if not 1 <= self.quality[0] <= self.quality[1] <= 100:
            raise InputError(f"quality is {self.quality}: it must be two numbers from 1 to 100 in their order")

    def draw(self, generator: Generator) -> tuple[Step, ...]:
        """Draw the steps from a picture to its degraded one."""
        steps = [*self.first.draw(generator, of_target=False), self._jpeg(generator)]
        if _happens(self.second_share, generator):
            steps += self.second.draw(generator, of_target=True)
        fit: list[Step] = [Rescale(1, _one_of(_MODES, generator), of_target=True)]
        if _happens(self.ringing_share, generator):
            size = _one_of(self.ringing_sizes, generator)
            fit.append(Sinc(size, _uniform(Range(math.pi / 3, math.pi), generator)))
        jpeg = self._jpeg(generator)
        return (*steps, jpeg, *fit) if _happens(0.5, generator) else (*steps, *fit, jpeg)

    def _jpeg(self, generator: Generator) -> Step:
        low, high = self.quality
        return Jpeg(int(torch.randint(low, high + 1, (), generator=generator)))


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
        return _filtered(picture, self.kernel)


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
        return _filtered(picture, self.kernel)


@final
@dataclass(frozen=True)
class Rescale(Step):
    """A resize to `scale` times the size of the picture or of the target."""

    scale: float
    mode: Mode
    of_target: bool

    def __call__(self, picture: Tensor, target: Size, generator: Generator) -> Tensor:
        height, width = target if self.of_target else picture.shape[1:]
        return _resized(picture, (max(1, int(height * self.scale)), max(1, int(width * self.scale))), self.mode)


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
        light = (_luminance(picture) if self.gray else picture).clamp(0, 1)
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


def gaussian_kernel(size: int, sigmas: tuple[float, float], turn: float = 0.0, beta: float = 1.0) -> Tensor:
    """Kernel exp(-q^beta / 2), (size, size), of the sum 1; deviations along and across a line turned by `turn`."""
    return _normalized(torch.exp(-(_distance(size, sigmas, turn) ** beta) / 2))


def plateau_kernel(size: int, sigmas: tuple[float, float], turn: float = 0.0, beta: float = 1.0) -> Tensor:
    """Kernel 1 / (1 + q^beta), (size, size), of the sum 1."""
    return _normalized(1 / (1 + _distance(size, sigmas, turn) ** beta))


def sinc_kernel(size: int, cutoff: float) -> Tensor:
    """Low-pass w J_1(w r) / (2 pi r), (size, size), of the sum 1: it keeps frequencies up to w radians a pixel."""
    x, y = _grid(size)
    r = torch.hypot(x, y)
    wave = cutoff * torch.special.bessel_j1(cutoff * r) / (2 * math.pi * r)
    return _normalized(torch.where(r == 0, cutoff**2 / (4 * math.pi), wave))


def _grid(size: int) -> tuple[Tensor, Tensor]:
    """Offsets x and y from the middle of a kernel."""
    _check_sizes("the size of a kernel", (size,))
    offsets = torch.arange(size, dtype=torch.float64) - size // 2
    return offsets[None].expand(size, size), offsets[:, None].expand(size, size)


def _distance(size: int, sigmas: tuple[float, float], turn: float) -> Tensor:
    """q, the squared distance from the middle in deviations."""
    x, y = _grid(size)
    along, across = math.cos(turn) * x + math.sin(turn) * y, math.cos(turn) * y - math.sin(turn) * x
    return (along / sigmas[0]) ** 2 + (across / sigmas[1]) ** 2


def _normalized(kernel: Tensor) -> Tensor:
    return (kernel / kernel.sum()).float()


def _filtered(picture: Tensor, kernel: Tensor) -> Tensor:
    """The picture convolved with a kernel (k, k), k odd; the border is a mirror, without the edge pixel once more."""
    k, (height, width) = len(kernel), picture.shape[1:]
    rows, columns = (_mirrored(length, k // 2) for length in (height, width))
    padded = picture.index_select(1, rows).index_select(2, columns).numpy()
    # The first k - 1 rows and columns are those that a cyclic convolution spoils; sides that 32 divides are fast. With
    # torch's transforms and convolutions some bits would depend on the number of threads.
    sides = [-(-side // 32) * 32 for side in padded.shape[1:]]
    wave = np.fft.rfft2(padded, s=sides) * np.fft.rfft2(kernel.numpy(), s=sides)
    result = torch.from_numpy(np.fft.irfft2(wave, s=sides)).float()
    return result[:, k - 1 : k - 1 + height, k - 1 : k - 1 + width]


def _mirrored(length: int, radius: int) -> Tensor:
    """Indices of the samples at -radius .. length + radius - 1, reflected as often as needed."""
    period = max(1, 2 * (length - 1))
    index = torch.arange(-radius, length + radius) % period
    return torch.minimum(index, period - index) if length > 1 else index


def _resized(picture: Tensor, size: Size, mode: Mode) -> Tensor:
    if mode == "bilinear":  # torch's own has other bits with other numbers of threads
        return resize(picture[None], size, "bilinear", antialias=False)[0]
    return functional.interpolate(picture[None], size, mode=mode)[0]


def _luminance(picture: Tensor) -> Tensor:
    return (picture * torch.tensor([0.2989, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True)


def _uniform(numbers: Range, generator: Generator) -> float:
    share = torch.rand((), generator=generator, dtype=torch.float64).item()
    return numbers.low + (numbers.high - numbers.low) * share


def _happens(share: float, generator: Generator) -> bool:
    return _uniform(Range(0, 1), generator) < share


def _index(shares: Sequence[float], generator: Generator) -> int:
    return int(torch.multinomial(torch.tensor(shares, dtype=torch.float64), 1, generator=generator))


def _one_of(choices: Sequence[T], generator: Generator) -> T:
    return choices[int(torch.randint(len(choices), (), generator=generator))]


def _check_sizes(name: str, sizes: Sequence[int]) -> None:
    if not sizes or any(size < 1 or size % 2 == 0 for size in sizes):
        raise InputError(f"{name} is {sizes}: sizes of kernels must be odd")


def _check_ranges(**ranges: Range) -> None:
    for name, (low, high) in ranges.items():
        if not 0 < low <= high < math.inf:
            raise InputError(f"{name} is {low:g} to {high:g}: it must be a range of numbers above 0")


def _check_shares(**shares: float) -> None:
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise InputError(f"the share of {name} is {share:g}: it must be between 0 and 1")


def _odd(low: int, high: int) -> tuple[int, ...]:
    return tuple(range(low, high + 1, 2))


def _degradation(first: tuple[int, ...], second: tuple[int, ...], second_share: float) -> Degradation:
    """The published numbers, with the sizes of kernels and the share of second stages that papers differ in."""
    return Degradation(
        first=Stage(
            sizes=first,
            sigma=Range(0.2, 3),
            up_down_keep=(0.2, 0.7, 0.1),
            scale=Range(0.15, 1.5),
            gaussian=Range(1, 30),
            poisson=Range(0.05, 3),
        ),
        second=Stage(
            sizes=second,
            sigma=Range(0.2, 1.5),
            up_down_keep=(0.3, 0.4, 0.3),
            scale=Range(0.3, 1.2),
            gaussian=Range(1, 25),
            poisson=Range(0.05, 2.5),
            blur_share=0.8,
        ),
        second_share=second_share,
        ringing_sizes=second,
    )


RESSHIFT = _degradation(_odd(3, 19), _odd(3, 13), 0.5)
REAL_ESRGAN = _degradation(_odd(7, 21), _odd(7, 21), 1.0)


def degrade(
    picture: Tensor, size: Size, source: Generator | tuple[int, int, int], degradation: Degradation = REAL_ESRGAN
) -> Tensor:
    """Make a degraded picture (3, *size) of one (3, h, w), both in [-1, 1], the result of 8 bits.

    `source` is a generator, or the (seed, step, index) of the place in a training.
    """
    if picture.ndim != 3 or picture.shape[0] != 3 or not picture.is_floating_point() or 0 in picture.shape:
        raise InputError(
            f"the picture to degrade is {picture.dtype} {tuple(picture.shape)}: it must be float (3, h, w)"
        )
    if min(size) < 1:
        raise InputError(f"the size is {size[0]} x {size[1]}: it must be at least 1 x 1")
    if isinstance(source, tuple):
        seed, step, index = source
        source = Generator().manual_seed(fold(seed, "degrade", step, index))
    result = (picture.float() + 1) / 2
    for change in degradation.draw(source):
        result = change(result, size, source)
    return from_uint8(to_uint8(2 * result - 1))
