"""Detail that a small picture does not say: residual shift in the null space of its reduction A.

    y      an enlargement with A y = small; the truth has the same reduction, so x_0 - y is in ker A
    N      = I - A+ A, and e = N B eps: white noise with the deviation of x_0 - y in each wavelet band, then in ker A
    x_t    = x_0 + eta (y - x_0) + kappa sqrt(eta) e

Every formula of the residual shift (ResShift: Yue et al., 2023) holds as it is, and every x_t and every estimate
reduces to the small picture exactly. Where A is unknown, N = I. The network works in the size of the small picture:

    D(x_t) = y + skip s + N(out F(small, y - repeat(small), into s; t)),     s = x_t - y

with the scalings of EDM (Karras et al., 2022) for s, whose deviation is that of x_0 - y. F is a plain network like the
one that enlarges, and t adds to the channels after its first layer. Time index k = 1 .. T is t = k / T. At index 0 the
network answers the noise from which the deterministic walk leads to a picture, for the student's training (SinSR: Wang
et al., 2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sinwave.diffusion.denoise import Denoiser, Scalings, scalings
from sinwave.diffusion.process import ResidualShift, Scalar
from sinwave.reduction import Reduction
from sinwave.rng import Key, Noise
from sinwave.systems.residual_sr.network import FACTORS, SLOPE, Draw, begin, convolution, through
from sinwave.wavelets import pack, unpack

__all__ = ["BANDS", "Colored", "Detail", "DetailDenoiser", "DetailNetwork", "DetailShape", "Freedom", "bands_of"]

BANDS = 7
"""Deviations of a factor: horizontal, vertical and diagonal of the finest level and of the next, and what is left."""


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
class Freedom:
    """The ways in which pictures may differ and yet reduce to one small picture (b, 3, h, w): N, or all if unknown."""

    low: Tensor
    reduced: bool = True

    def unseen(self, picture: Tensor) -> Tensor:
        """N x: the part of a picture that A does not see."""
        return self._none.nearest(picture) if self.reduced else picture

    @cached_property
    def _none(self) -> Reduction:
        return Reduction(torch.zeros_like(self.low[:1]))


@final
@dataclass(frozen=True, eq=False)
class Detail:
    """A network, its process, the deviations of x_0 - y in 7 bands for each factor, and the steps in which it draws.

    A student draws in one step, a teacher in as many as its process has.
    """

    network: DetailNetwork
    process: ResidualShift
    deviations: tuple[float, ...]
    steps: int

    def deviations_at(self, factor: int) -> tuple[float, ...]:
        first = BANDS * self.network.shape.factors.index(factor)
        return self.deviations[first : first + BANDS]

    def deviation(self, factor: int) -> float:
        """The deviation over all bands: a band of level k has a share of 4^-k of the numbers."""
        shares = (1 / 4, 1 / 4, 1 / 4, 1 / 16, 1 / 16, 1 / 16, 1 / 16)
        return math.sqrt(sum(share * value**2 for share, value in zip(shares, self.deviations_at(factor), strict=True)))

    def colored(self, white: Tensor, freedom: Freedom) -> Tensor:
        """Make e = N B eps of white noise (b, 3, s h, s w)."""
        factor = white.shape[2] // freedom.low.shape[2]
        return freedom.unseen(_scaled(white, self.deviations_at(factor)))


@final
@dataclass(frozen=True, eq=False)
class DetailDenoiser(Denoiser):
    """D(x_t), with y as the anchor; `answer(state, index)` is the network for this small picture and y."""

    detail: Detail
    freedom: Freedom
    answer: Callable[[Tensor, Tensor], Tensor]

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        assert anchor is not None
        steps = self.detail.network.shape.steps
        index = (torch.as_tensor(t, device=x_t.device) * steps).round().long().reshape(-1).expand(len(x_t))
        skip, out, into = self._scalings(t, x_t)
        state = x_t - anchor
        return anchor + skip * state + self.freedom.unseen(out * self.answer(into * state, index))

    def scale(self, t: Scalar, like: Tensor) -> Tensor:
        """The deviation of the error that the network's answer has to mend."""
        return self._scalings(t, like).out

    def noise(self, clean: Tensor, anchor: Tensor) -> Tensor:
        """Answer the noise, in units of the deviation, from which the deterministic walk leads to `clean`."""
        deviation = self.detail.deviation(clean.shape[2] // self.freedom.low.shape[2])
        index = torch.zeros(len(clean), dtype=torch.long, device=clean.device)
        return self.freedom.unseen(self.answer((clean - anchor) / deviation, index))

    def _scalings(self, t: Scalar, like: Tensor) -> Scalings:
        factor = like.shape[2] // self.freedom.low.shape[2]
        deviation = torch.tensor(self.detail.deviation(factor), dtype=like.dtype, device=like.device)
        coefficients = self.detail.process.at(t)
        return scalings(coefficients.signal, coefficients.noise * deviation, deviation)


@final
@dataclass(frozen=True, eq=False)
class Colored(Noise):
    """Noise whose draws are e = N B eps."""

    noise: Noise
    detail: Detail
    freedom: Freedom

    @property
    def count(self) -> int:
        return self.noise.count

    def child(self, *path: Key) -> Colored:
        return Colored(self.noise.child(*path), self.detail, self.freedom)

    def normal(self, shape: Sequence[int], *key: Key, like: Tensor | None = None) -> Tensor:
        return self.detail.colored(self.noise.normal(shape, *key, like=like), self.freedom)


def bands_of(picture: Tensor) -> tuple[Tensor, ...]:
    """List the seven bands (b, 3, ...) of two levels of Haar's transform, in the order of the deviations."""
    fine = pack(picture)
    coarse = pack(fine[:, :3])
    return (*fine[:, 3:].chunk(3, 1), *coarse[:, 3:].chunk(3, 1), coarse[:, :3])


def _scaled(picture: Tensor, factors: Sequence[float]) -> Tensor:
    """Multiply the seven bands of a picture by seven factors."""
    *bands, rest = (band * factor for band, factor in zip(bands_of(picture), factors, strict=True))
    fine, coarse = bands[:3], bands[3:]
    lowpass = unpack(torch.cat([rest, *coarse], 1), (fine[0].shape[2], fine[0].shape[3]))
    return unpack(torch.cat([lowpass, *fine], 1), (picture.shape[2], picture.shape[3]))
