"""Detail that a small picture does not say: residual shift in the null space of its reduction A.

    y      an enlargement with A y = small; the truth has the same reduction, so x_0 - y is in ker A
    B      multiplies wavelet bands by the deviation of x_0 - y in that band around that place (deviation.py)
    N      = I - A+ A, and e = N B eps for white noise eps
    x_t    = x_0 + eta (y - x_0) + kappa sqrt(eta) e

Every formula of the residual shift (ResShift: Yue et al., 2023) holds as it is, and every x_t and every estimate
reduces to the small picture exactly. Where A is unknown, N = I. The network works in the size of the small picture:

    D(x_t) = y + skip s + N B (out F(small, y - repeat(small), into B^-1 s; t)),     s = x_t - y

with the scalings of EDM (Karras et al., 2022) for B^-1 (x_0 - y), whose deviation is 1. F is a plain network like the
one that enlarges, and t adds to the channels after its first layer. Time index k = 1 .. T is t = k / T. At index 0 the
network answers the noise from which the deterministic walk leads to a picture, for the student's training (SinSR: Wang
et al., 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sinwave.diffusion.denoise import Scalings, scalings
from sinwave.diffusion.process import ResidualShift, Scalar
from sinwave.diffusion.sample import Denoiser
from sinwave.nn.residual import convolution
from sinwave.reduction import Reduction
from sinwave.rng import Key, Noise
from sinwave.systems.residual_sr.deviation import Bands, scaled
from sinwave.systems.residual_sr.network import FACTORS, SLOPE, Draw, begin, through

__all__ = ["Colored", "Detail", "DetailDenoiser", "DetailNetwork", "DetailShape", "Gap"]


class DetailShape(NamedTuple):
    """Channels inside, sums, time steps, and factors of enlargement."""

    width: int = 48
    blocks: int = 11
    steps: int = 4
    factors: tuple[int, ...] = FACTORS

    @property
    def radius(self) -> int:
        """Positions of the small picture to each side that an output depends on."""
        return self.blocks + 2


@final
class DetailNetwork(nn.Module):
    """Network F; `draw(shape, name)` gives its random weights."""

    def __init__(self, shape: DetailShape, draw: Draw | None = None) -> None:
        super().__init__()
        self.shape, width = shape, shape.width
        self.heads = nn.ModuleList(convolution(3 + 6 * factor**2, width) for factor in shape.factors)
        self.body = nn.ModuleList(convolution(width, width) for _ in range(shape.blocks))
        self.tails = nn.ModuleList(convolution(width, 3 * factor**2) for factor in shape.factors)
        self.clock = nn.Parameter(torch.zeros(shape.steps + 1, width))
        if draw is not None:
            begin(self, draw)

    def forward(self, low: Tensor, guide: Tensor, state: Tensor, index: Tensor) -> Tensor:
        """Answer (b, 3, s h, s w) for small pictures (b, 3, h, w), a guide and a state of that size, and times (b,)."""
        factor = state.shape[2] // low.shape[2]
        level = self.shape.factors.index(factor)
        inputs = [low, functional.pixel_unshuffle(guide, factor), functional.pixel_unshuffle(state, factor)]
        joined = torch.cat(inputs, 1).contiguous(memory_format=torch.channels_last)
        first = functional.leaky_relu(self.heads[level](joined) + self.clock[index][:, :, None, None], SLOPE)
        return functional.pixel_shuffle(self.tails[level](through(self.body, first)), factor)


@final
@dataclass(frozen=True, eq=False)
class Gap:
    """The part of a picture that an enlargement `base` of `low` (b, 3, h, w) may miss, with its deviations by band.

    Where the reduction is not `reduced`, that is unknown, N = I.
    """

    low: Tensor
    base: Tensor
    deviations: Bands
    reduced: bool = True

    @property
    def factor(self) -> int:
        return self.base.shape[2] // self.low.shape[2]

    @cached_property
    def guide(self) -> Tensor:
        """Detail of the enlargement beyond repeated pixels."""
        return self.base - functional.interpolate(self.low, scale_factor=self.factor, mode="nearest")

    def unseen(self, picture: Tensor) -> Tensor:
        """N x: the part of a picture that A does not see."""
        return self._none.nearest(picture) if self.reduced else picture

    def colored(self, white: Tensor) -> Tensor:
        """N B x."""
        return self.unseen(scaled(white, self.deviations))

    def whitened(self, difference: Tensor) -> Tensor:
        """B^-1 x."""
        return scaled(difference, self._inverse)

    @cached_property
    def _inverse(self) -> Bands:
        return tuple(1 / band for band in self.deviations)

    @cached_property
    def _none(self) -> Reduction:
        return Reduction(torch.zeros_like(self.low[:1]))


@final
@dataclass(frozen=True, eq=False)
class Detail:
    """A network, its process, and the steps in which it draws: one for a student, all of the process for a teacher."""

    network: DetailNetwork
    process: ResidualShift
    steps: int


@final
@dataclass(frozen=True, eq=False)
class DetailDenoiser(Denoiser):
    """D(x_t), with y as the anchor; `answer(state, index)` is the network for this small picture and y."""

    detail: Detail
    gap: Gap
    answer: Callable[[Tensor, Tensor], Tensor]

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        assert anchor is not None
        steps = self.detail.network.shape.steps
        index = (torch.as_tensor(t, device=x_t.device) * steps).round().long().reshape(-1).expand(len(x_t))
        skip, out, into = self._scalings(t, x_t)
        state = x_t - anchor
        return anchor + skip * state + self.gap.colored(out * self.answer(into * self.gap.whitened(state), index))

    def scale(self, t: Scalar, like: Tensor) -> Tensor:
        """The deviation of the error that the network's answer has to mend, of 1 at the most."""
        return self._scalings(t, like).out

    def noise(self, clean: Tensor, anchor: Tensor) -> Tensor:
        """Answer the noise e from which the deterministic walk leads to `clean`."""
        index = torch.zeros(len(clean), dtype=torch.long, device=clean.device)
        return self.gap.colored(self.answer(self.gap.whitened(clean - anchor), index))

    def _scalings(self, t: Scalar, like: Tensor) -> Scalings:
        coefficients = self.detail.process.at(t)
        return scalings(coefficients.signal, coefficients.noise, torch.ones((), dtype=like.dtype, device=like.device))


@final
@dataclass(frozen=True, eq=False)
class Colored(Noise):
    """Noise whose draws are e = N B eps."""

    noise: Noise
    gap: Gap

    @property
    def count(self) -> int:
        return self.noise.count

    def child(self, *path: Key) -> Colored:
        return Colored(self.noise.child(*path), self.gap)

    def normal(self, shape: Sequence[int], *key: Key, like: Tensor | None = None) -> Tensor:
        return self.gap.colored(self.noise.normal(shape, *key, like=like))
