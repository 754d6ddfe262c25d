"""A diffusion model of many pictures: the U-Net, what it computes on, and the denoiser that it is.

    picture   D(x) = mean + skip z + out F(into z, 100 log sigma),     x = x_0 + sigma eps,  z = x - mean
    noise     D(x) = (x - sqrt(1 - abar) eps(x, i)) / sqrt(abar),      i = T t - 1

The first has the scalings of Karras et al. (2022), band by band; the second is DDPM's as published. Both are clipped to
the range of pictures in drawing, and compute on pixels or, at a quarter of the cost, on the bands of one Haar
transform, which is orthonormal: white noise stays white, distances stay what they are, and the same process blurs both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sinwave.diffusion.denoise import Preconditioned
from sinwave.diffusion.process import Process, Scalar, VarianceExploding, VariancePreserving
from sinwave.diffusion.sample import Ddim, Denoiser, Sampler, karras_times
from sinwave.errors import InputError
from sinwave.nn.unet import UNet
from sinwave.systems.pairwise.options import Configuration
from sinwave.systems.pairwise.plan import Plan
from sinwave.wavelets import pack, unpack

__all__ = ["HIGH", "FromIndex", "Source", "moments"]

_LOW, _BORDER, HIGH = 0.02, 0.3, 40.0
"""The noise levels of a network that answers pictures: it draws down to the border, and averages below."""

_CLOCK = 100.0
_STEPS = 1000


@final
@dataclass(frozen=True, eq=False)
class FromIndex(Denoiser):
    """The estimate of a network that answers noise, of x_t at t = (i + 1) / T, not clipped."""

    unet: UNet
    process: VariancePreserving

    def answer(self, x_t: Tensor, t: Scalar) -> tuple[Tensor, Tensor | None]:
        """The noise (b, c, h, w), and where the variance is between its bounds, if that is learned."""
        steps = len(self.process.alphas_cumprod) - 1
        index = torch.as_tensor(t, dtype=torch.float32, device=x_t.device).reshape(-1) * steps - 1
        answer = self.unet(x_t, index.expand(len(x_t)))
        channels = x_t.shape[1]
        return answer[:, :channels], answer[:, channels:] if answer.shape[1] > channels else None

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        return self.process.clean_in(x_t, t, self.answer(x_t, t)[0])


@final
@dataclass(frozen=True, eq=False)
class Source:
    """A network with all that is needed to train it and to draw from it."""

    configuration: Configuration
    unet: UNet

    @property
    def process(self) -> Process:
        if self.configuration.prediction == "picture":
            return VarianceExploding()
        return self.chain

    @property
    def chain(self) -> VariancePreserving:
        """The process of a network that answers noise."""
        linear = self.configuration.schedule == "linear"
        return VariancePreserving.linear(_STEPS) if linear else VariancePreserving.cosine(_STEPS)

    @property
    def channels(self) -> int:
        return self.unet.shape.inputs

    @property
    def denoiser(self) -> Preconditioned | FromIndex:
        if self.configuration.prediction == "noise":
            return FromIndex(self.unet, self.chain)
        like = next(self.unet.parameters())
        mean, deviation = (
            torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]
            for values in (self.configuration.means, self.configuration.deviations)
        )
        return Preconditioned(self._timed, VarianceExploding(), mean, deviation)

    def _timed(self, x: Tensor, ratio: Scalar) -> Tensor:
        index = _CLOCK * torch.as_tensor(ratio, dtype=torch.float32, device=x.device).reshape(-1)
        result: Tensor = self.unet(x, index.expand(len(x)))
        return result

    def plan(self, steps: int) -> Plan:
        """The walk with so many estimates; that of DDPM takes the published 25 of 1,000 times: 961, 921, ..., 1.

        A network that answers pictures averages with two thirds of them, at as many noise levels as estimates at each.
        """
        if steps < 2:
            raise InputError(f"steps is {steps}: it must be 2 or more")
        if self.configuration.prediction == "noise":
            return Plan((*((k * (_STEPS // steps) + 1) / _STEPS for k in range(steps - 1, -1, -1)), 0.0))
        side = math.isqrt(2 * (steps - 1) // 3)
        levels = (_BORDER * (_LOW / _BORDER) ** ((index + 0.5) / side) for index in range(side))
        return Plan(karras_times(steps - side**2, _BORDER, HIGH), tuple(levels))

    @property
    def sampler(self) -> Sampler:
        """The Markov chain, whose fresh noise forgives errors of a network that learned for minutes; DDIM for DDPM."""
        return Ddim(1.0) if self.configuration.prediction == "picture" else Ddim()

    def constrained(self, clean: Tensor) -> Tensor:
        """Clip an estimate to the range of pictures."""
        return self.seen(self.shown(clean).clamp(-1, 1))

    def estimate(self, x_t: Tensor, t: Scalar) -> Tensor:
        """The estimate of x_0, in the range of pictures."""
        return self.constrained(self.denoiser(x_t, t))

    def seen(self, pictures: Tensor) -> Tensor:
        """Pictures (b, 3, h, w) as the network sees them."""
        return pack(pictures) if self.configuration.packed else pictures

    def shown(self, x: Tensor) -> Tensor:
        """The pictures (b, 3, h, w) of what the network sees."""
        if not self.configuration.packed:
            return x
        return unpack(x, (2 * x.shape[2], 2 * x.shape[3]))


def moments(batches: Sequence[Tensor]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of every channel of what a network sees, (b, c, h, w)."""
    x = torch.cat(list(batches)).double()
    mean, deviation = x.mean((0, 2, 3)), x.std((0, 2, 3)).clamp(min=1e-3)
    return tuple(round(value, 5) for value in mean.tolist()), tuple(round(value, 5) for value in deviation.tolist())
