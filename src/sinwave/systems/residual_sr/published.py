"""Enlarging four times with the published networks of ResShift, step by step, or of SinSR, in one step.

    y      = encode(bicubic(low)), the anchor; cubic a = -3/4, borders repeated, not clamped: torch's own
    x_T    = y + kappa sqrt(eta_T) eps
    D(x_t) = F(x_t / sqrt(kappa^2 eta_t + 1), index k - 1, low)        at t = k / T
    chain       x_{t-1} from the posterior of x_t and D(x_t): `Ddim(1)`, in T steps from 1 to 0
    one-step    x_0 = D(x_T)
    picture     decode(x_0), clamped to [-1, 1]

The small picture is mirrored at the right and below until its sides are multiples of 64, and the result is cropped; the
norms of the network see all of it, so there are no tiles. Yue, Wang and Loy, "ResShift", NeurIPS 2023; Wang et al.,
"SinSR: diffusion-based image super-resolution in a single step", CVPR 2024.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.diffusion.process import ResidualShift, Scalar
from sinwave.diffusion.sample import Ddim, Denoiser, even_times, sample
from sinwave.errors import InputError
from sinwave.pretrained.files import find
from sinwave.pretrained.published import Weights
from sinwave.resize import extended, resize
from sinwave.rng import Noise
from sinwave.systems.contracts import OnStep, Progress, Size
from sinwave.systems.residual_sr import checkpoints
from sinwave.systems.residual_sr.autoencoder import Autoencoder
from sinwave.systems.residual_sr.unet import UNet

__all__ = ["RELEASES", "LatentDenoiser", "Mode", "Published", "Release"]

Mode: TypeAlias = Literal["chain", "one-step"]

_FIFTEEN = ResidualShift.geometric()
_FOUR = ResidualShift.geometric(steps=4, min_noise=0.2)


@final
@dataclass(frozen=True)
class Release:
    """A published U-Net, the process that it was trained with, and the way it draws."""

    weights: Weights
    process: ResidualShift
    mode: Mode


RELEASES: Mapping[str, Release] = {
    "resshift-v1": Release(checkpoints.RESSHIFT_S15_V1, _FIFTEEN, "chain"),
    "resshift-v2": Release(checkpoints.RESSHIFT_S15_V2, _FIFTEEN, "chain"),
    "resshift-v3": Release(checkpoints.RESSHIFT_S4_V3, _FOUR, "chain"),
    "resshift-bicubic": Release(checkpoints.RESSHIFT_BICUBIC_S4, _FOUR, "chain"),
    "sinsr-v1": Release(checkpoints.SINSR_V1, _FIFTEEN, "one-step"),
    "sinsr-v2": Release(checkpoints.SINSR_V2, _FIFTEEN, "one-step"),
}


@final
@dataclass(frozen=True, eq=False)
class LatentDenoiser(Denoiser):
    """D(x_t) of a U-Net; the condition is the small picture, and t is one of the steps k / T, k = 1 .. T."""

    unet: UNet
    process: ResidualShift

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        if condition is None:
            raise InputError("the condition is None: the network needs the small picture")
        steps = len(self.process.sqrt_eta) - 1
        index = (torch.as_tensor(t, device=x_t.device) * steps).round().long().reshape(-1) - 1
        result: Tensor = self.unet(x_t / (self.process.at(t).noise ** 2 + 1) ** 0.5, index.expand(len(x_t)), condition)
        return result


@final
@dataclass(frozen=True, eq=False)
class Published:
    """A `SuperResolver` of a U-Net, the autoencoder of its latents, and their process."""

    unet: UNet
    autoencoder: Autoencoder
    process: ResidualShift
    mode: Mode

    def __post_init__(self) -> None:
        layout, latent = self.unet.layout, self.autoencoder.layout.latent
        if layout.guide != 3 or layout.latent != latent:
            raise InputError(
                f"the U-Net takes latents of {layout.latent} channels and pictures of {layout.guide}: with this "
                f"autoencoder it must take {latent} and 3"
            )

    @classmethod
    def load(cls, release: Release, path: Path | None = None) -> Published:
        """Load a release, frozen, on the CPU; `path`, a folder or the file of the U-Net, is searched first."""
        codes, unet = find(checkpoints.AUTOENCODER_VQ_F4, _folder(path)), find(release.weights, path)
        autoencoder = checkpoints.load_autoencoder(codes)
        return cls(checkpoints.load_unet(unet), autoencoder, release.process, release.mode)

    @property
    def factor(self) -> int:
        """Pixels along a side of the result for a pixel of the small picture: 4."""
        return self.autoencoder.layout.factor >> self.unet.layout.halvings

    @property
    def steps(self) -> int:
        return len(self.process.sqrt_eta) - 1 if self.mode == "chain" else 1

    def upscale(self, low: Tensor, size: Size, noise: Noise, *, on_step: OnStep | None = None) -> Tensor:
        """Enlarge a picture (b, 3, h, w); a `size` other than `factor` times its own is resized from that."""

        def report(index: int, x: Tensor, clean: Tensor) -> None:
            if on_step is not None:
                on_step(Progress(0, 1, index + 1, self.steps, lambda: self._picture(clean, low)))

        with torch.no_grad():
            guide = extended(
                low.to(next(self.unet.parameters())), self.unet.layout.multiple << self.unet.layout.halvings
            )
            anchor = self.autoencoder.encode(self._enlarged(guide))
            eps = noise.normal(anchor.shape, "start", like=anchor)
            clean = sample(
                LatentDenoiser(self.unet, self.process),
                self.process,
                Ddim(stochasticity=1.0),
                self.process.diffuse(anchor, 1.0, eps, anchor),
                even_times(self.steps),
                noise,
                anchor=anchor,
                condition=guide,
                on_step=report,
            )
            return resize(self._picture(clean, low), size).clamp(-1, 1)

    def _enlarged(self, picture: Tensor) -> Tensor:
        return functional.interpolate(picture, scale_factor=float(self.factor), mode="bicubic", antialias=False)

    def _picture(self, latent: Tensor, low: Tensor) -> Tensor:
        """The picture of a latent, without what was mirrored."""
        height, width = (self.factor * side for side in low.shape[2:])
        with torch.no_grad():
            return self.autoencoder.decode(latent)[:, :, :height, :width].clamp(-1, 1).to(low)


def _folder(path: Path | None) -> Path | None:
    return path.expanduser().parent if path is not None and path.expanduser().is_file() else path
