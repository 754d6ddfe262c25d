"""A trained network as the denoiser of every scale.

A network with a bounded field may be applied tile by tile: with a halo around each tile, its radius and what the
expectation looks at, the result is the same, and the memory for what is between its layers does not grow with the
picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.diffusion.denoise import Denoiser, FromNoise, Network, Preconditioned
from sinwave.diffusion.process import Scalar
from sinwave.diffusion.sample import Constraint
from sinwave.nn.local import LocalNetwork
from sinwave.rng import Noise
from sinwave.systems.contracts import VerticalSpan
from sinwave.systems.wavelet.configuration import Configuration
from sinwave.systems.wavelet.energy import Energies, Sight
from sinwave.systems.wavelet.expectation import LOOK, Expectation
from sinwave.systems.wavelet.material import MARGIN, Statistics, guide
from sinwave.systems.wavelet.model import Prior, Stage, Walk
from sinwave.wavelets import Size

__all__ = ["NetworkPrior", "Tiled"]

TILE = 512
"""Positions along a side of a tile."""

TOGETHER = 8
"""Pictures in a batch."""


@final
class NetworkPrior(Prior):
    """One network for all scales."""

    def __init__(
        self,
        network: LocalNetwork,
        configuration: Configuration,
        statistics: Statistics,
        pictures: Sequence[Sight] = (),
        *,
        dtype: torch.dtype = torch.float32,
        tile: int = TILE,
    ) -> None:
        """`dtype` is that of the convolutions, and the weights are turned into it.

        Estimates are given the energy that they have on the `pictures`, unless there are none.
        """
        self.network = network.to(dtype=dtype, memory_format=torch.channels_last).requires_grad_(False)  # type: ignore[call-overload]
        self.configuration, self.statistics, self.dtype, self.tile = configuration, statistics, dtype, tile
        self.expectation = Expectation.of(statistics, configuration)
        self.energies = Energies(configuration, self.denoiser, statistics.mean, pictures) if pictures else None

    def begin(self, noise: Noise, strength: float, *, span: VerticalSpan | None, given: bool) -> Walk:
        """A picture with a layout of its own has an energy of its own."""
        return _NetworkWalk(self, None if span is None else self.energies, strength)

    @property
    def max_batch(self) -> int:
        """A handful, but one on a processor: there it is as fast, and then no bit depends on who else is drawn."""
        return 1 if self.statistics.mean.device.type == "cpu" else TOGETHER

    @property
    def default_first_scale(self) -> int:
        """The coarsest: what it is guided by at the others it believes."""
        return 0

    def effort(self, index: int, size: Size) -> float:
        """Positions times steps."""
        return size[0] * size[1] * (len(self.configuration.schedule(index).times) - 1)

    def denoiser(self, index: int) -> Denoiser:
        """That of a scale, for a picture of any size."""
        return Tiled(_Scale(self, index), self.tile, self.network.shape.radius + LOOK)


@final
class _NetworkWalk(Walk):
    def __init__(self, prior: NetworkPrior, energies: Energies | None, strength: float) -> None:
        self._prior, self._energies, self._strength = prior, energies, strength

    def stage(self, index: int, size: Size, known: Tensor | None) -> Stage:
        """From the mean at the coarsest scale, from the low band alone at the others."""
        prior, channels = self._prior, self._prior.configuration.channels(index)
        guess = known
        if guess is None:
            guess = prior.statistics.mean[index, :channels, None, None].expand(1, -1, *size)
        configuration = prior.configuration
        schedule, process = configuration.schedule(index), configuration.process(index)
        balance = self._balance(index, size)
        return Stage(prior.denoiser(index), guess, channels, schedule, process, known, balance=balance)

    def follow(self, index: int, bands: Tensor) -> None:
        """A network knows all that it needs."""

    def _balance(self, index: int, size: Size) -> Constraint | None:
        energies = self._energies
        # Part of a stretched picture comes back, and what is stretched has less detail than the picture itself.
        if energies is None or (self._strength < 1 and size != energies.grid(index)):
            return None
        return energies.keep(index)


@final
@dataclass(frozen=True, eq=False)
class _Scale(Denoiser):
    """The denoiser of one scale; its `condition` is where there is no picture, (1, 1, h, w)."""

    prior: NetworkPrior
    index: int

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """The estimate of x_0."""
        if condition is None:
            raise ValueError("the denoiser of a network must be told what is outside of the picture")
        prior, index, channels = self.prior, self.index, x_t.shape[1]
        configuration, statistics = prior.configuration, prior.statistics
        process, network = configuration.process(index), self._network(condition, anchor)
        if configuration.answers == "noise":
            low, high = (each[index, :channels, None, None] for each in (statistics.low, statistics.high))
            return FromNoise(network, process, low, high)(x_t, t, anchor=anchor)
        follows = 0 if anchor is None else anchor.shape[1]
        low = x_t[:, :0] if anchor is None else anchor
        scale = torch.full((len(x_t),), index, device=x_t.device)
        mean, deviation = (each[:, :channels] for each in prior.expectation(scale, low, condition))
        return Preconditioned(network, process, mean, deviation, follows)(x_t, t, anchor=anchor)

    def _network(self, outside: Tensor, anchor: Tensor | None) -> Network:
        prior, dtype, index = self.prior, self.prior.dtype, self.index

        def network(x: Tensor, log_ratio: float) -> Tensor:
            missing = prior.network.shape.channels - x.shape[1]
            whole = functional.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x
            clock = torch.full((len(x),), log_ratio, device=x.device)
            scale = torch.full((len(x),), index, device=x.device)
            guides = prior.network.shape.guides
            if guides:
                seen = x.new_zeros(len(x), 0, *x.shape[2:]) if anchor is None else anchor
                seen = guide(seen, prior.statistics, scale)
                whole = torch.cat([whole, functional.pad(seen, (0, 0, 0, 0, 0, guides - seen.shape[1]))], 1)
            whole = whole.to(dtype).contiguous(memory_format=torch.channels_last)
            answer = prior.network(whole, outside.to(dtype).expand(len(x), -1, -1, -1), clock, scale)
            wanted: Tensor = answer[:, : x.shape[1]].to(x)
            return wanted

        return network


class _Tile(NamedTuple):
    """The first and last row (or column) of a tile, and of what it needs to see, which may lie in the margin."""

    first: int
    last: int
    begin: int
    end: int


@final
@dataclass(frozen=True, eq=False)
class Tiled(Denoiser):
    """A denoiser of bounded radius, tile by tile; around the picture there is a margin, of which it is told."""

    inner: Denoiser
    tile: int
    radius: int

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """The estimate of x_0, all of it."""
        clean = torch.empty_like(x_t)
        for rows in self._tiles(x_t.shape[2]):
            for columns in self._tiles(x_t.shape[3]):
                seen = _seen(x_t, rows, columns)
                outside = 1 - _seen(torch.ones_like(x_t[:1, :1]), rows, columns)
                near = None if anchor is None else _seen(anchor, rows, columns)
                found = self.inner(seen, t, anchor=near, condition=outside)
                top, left = rows.first - rows.begin, columns.first - columns.begin
                height, width = rows.last - rows.first, columns.last - columns.first
                clean[:, :, rows.first : rows.last, columns.first : columns.last] = found[
                    :, :, top : top + height, left : left + width
                ]
        return clean

    def _tiles(self, side: int) -> Iterator[_Tile]:
        for first in range(0, side, self.tile):
            last = min(first + self.tile, side)
            yield _Tile(first, last, max(first - self.radius, -MARGIN), min(last + self.radius, side + MARGIN))


def _seen(x: Tensor, rows: _Tile, columns: _Tile) -> Tensor:
    """What a tile sees of x, zero in the margin."""
    frame = []
    for tile, side in ((columns, x.shape[3]), (rows, x.shape[2])):
        frame += [max(-tile.begin, 0), max(tile.end - side, 0)]
    inner = x[:, :, max(rows.begin, 0) : rows.end, max(columns.begin, 0) : columns.end]
    return functional.pad(inner, frame)
