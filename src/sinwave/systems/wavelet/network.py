"""A trained network as the denoiser of every scale, and the model file that keeps it.

A network with a bounded field may be applied tile by tile: with a halo around each tile, its radius and what the
expectation looks at, the result is the same, and the memory for what is between its layers does not grow with the
picture.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.diffusion.denoise import FromNoise, Network, Preconditioned
from sinwave.diffusion.process import Scalar
from sinwave.diffusion.sample import Denoiser
from sinwave.errors import InputError
from sinwave.images import Picture, read_bytes
from sinwave.nn.local import LocalNetwork
from sinwave.rng import Noise
from sinwave.systems.contracts import Ability, Computing, Loaded, Size, VerticalSpan
from sinwave.systems.files import ModelFile, with_weights
from sinwave.systems.wavelet.closed_form import QUICK, ClosedForm
from sinwave.systems.wavelet.combined import HybridPrior, mixed
from sinwave.systems.wavelet.expectation import LOOK, Energies, Expectation, Sight, Statistics
from sinwave.systems.wavelet.material import MARGIN, guide
from sinwave.systems.wavelet.model import Prior, Stage, Walk, WaveletModel
from sinwave.systems.wavelet.options import Configuration, estimate
from sinwave.threads import threads

__all__ = ["NetworkPrior", "Tiled", "Trained", "from_file"]

TILE = 512
"""Positions along a side of a tile."""

TOGETHER = 8
"""Pictures in a batch."""


@final
class NetworkPrior(Prior):
    """A network that draws all scales."""

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
        # On a CPU one picture at a time is as fast, and then no bit depends on who else is drawn.
        self.max_batch = 1 if statistics.mean.device.type == "cpu" else TOGETHER
        self.default_first_scale = 0  # what it is guided by at the other scales it believes

    def begin(self, noise: Noise, strength: float, *, span: VerticalSpan | None, given: bool) -> Walk:
        """A picture with a layout of its own has an energy of its own."""
        return _NetworkWalk(self, None if span is None else self.energies, strength)

    def denoiser(self, index: int) -> Denoiser:
        return Tiled(_Scale(self, index), self.tile, self.network.shape.radius + LOOK)


@final
class _NetworkWalk(Walk):
    def __init__(self, prior: NetworkPrior, energies: Energies | None, strength: float) -> None:
        self._prior, self._energies, self._strength = prior, energies, strength

    def stage(self, index: int, size: Size, inherited: Tensor | None) -> Stage:
        """From the mean at the coarsest scale, from the low band alone at the others."""
        prior, configuration = self._prior, self._prior.configuration
        channels, guess = configuration.channels(index), inherited
        if guess is None:
            guess = prior.statistics.mean[index, :channels, None, None].expand(1, -1, *size)
        schedule, process, balance = configuration.schedule(index), configuration.process(index), None
        # Part of a stretched picture comes back, and what is stretched has less detail than the picture itself.
        if self._energies is not None and (self._strength == 1 or size == self._energies.grid(index)):
            balance = self._energies.keep(index)
        return Stage(prior.denoiser(index), guess, channels, schedule, process, inherited, balance=balance)

    def follow(self, index: int, bands: Tensor) -> None:
        """A network knows all that it needs."""


@final
@dataclass(frozen=True, eq=False)
class _Scale(Denoiser):
    """The denoiser of one scale; its `condition` is where there is no picture, (1, 1, h, w)."""

    prior: NetworkPrior
    index: int

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        if condition is None:
            raise ValueError("the denoiser of a network must be told what is outside of the picture")
        prior, index, channels = self.prior, self.index, x_t.shape[1]
        process, network = prior.configuration.process(index), self._network(condition, anchor)
        if prior.configuration.answers == "noise":
            ends = prior.statistics.low, prior.statistics.high
            low, high = (end[index, :channels, None, None] for end in ends)
            return FromNoise(network, process, low, high)(x_t, t, anchor=anchor)
        low = x_t[:, :0] if anchor is None else anchor
        scale = torch.full((len(x_t),), index, device=x_t.device)
        mean, deviation = (moment[:, :channels] for moment in prior.expectation(scale, low, condition))
        return Preconditioned(network, process, mean, deviation, low.shape[1])(x_t, t, anchor=anchor)

    def _network(self, outside: Tensor, anchor: Tensor | None) -> Network:
        prior, dtype, index = self.prior, self.prior.dtype, self.index

        def network(x: Tensor, log_ratio: Scalar) -> Tensor:
            missing = prior.network.shape.channels - x.shape[1]
            whole = functional.pad(x, (0, 0, 0, 0, 0, missing)) if missing else x
            clock = torch.as_tensor(log_ratio, dtype=torch.float32, device=x.device).flatten().expand(len(x))
            scale = torch.full((len(x),), index, device=x.device)
            guides = prior.network.shape.guides
            if guides:
                seen = x.new_zeros(len(x), 0, *x.shape[2:]) if anchor is None else anchor
                seen = guide(seen, prior.statistics, scale)
                whole = torch.cat([whole, functional.pad(seen, (0, 0, 0, 0, 0, guides - seen.shape[1]))], 1)
            whole = whole.to(dtype).contiguous(memory_format=torch.channels_last)
            with threads(1 if x.device.type == "cpu" else None):
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
        clean = torch.empty_like(x_t)
        for rows, columns in product(self._tiles(x_t.shape[2]), self._tiles(x_t.shape[3])):
            outside = 1 - _seen(torch.ones_like(x_t[:1, :1]), rows, columns)
            near = None if anchor is None else _seen(anchor, rows, columns)
            estimate = self.inner(_seen(x_t, rows, columns), t, anchor=near, condition=outside)
            top, left = rows.first - rows.begin, columns.first - columns.begin
            tile = clean[:, :, rows.first : rows.last, columns.first : columns.last]
            tile.copy_(estimate[:, :, top : top + tile.shape[2], left : left + tile.shape[3]])
        return clean

    def _tiles(self, side: int) -> Iterator[_Tile]:
        for first in range(0, side, self.tile):
            last = min(first + self.tile, side)
            yield _Tile(first, last, max(first - self.radius, -MARGIN), min(last + self.radius, side + MARGIN))


def _seen(x: Tensor, rows: _Tile, columns: _Tile) -> Tensor:
    """Cut out the part of x that a tile sees, zero in the margin."""
    margins = (-columns.begin, columns.end - x.shape[3], -rows.begin, rows.end - x.shape[2])
    inner = x[:, :, max(rows.begin, 0) : rows.end, max(columns.begin, 0) : columns.end]
    return functional.pad(inner, [max(side, 0) for side in margins])


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network with the statistics and the pictures of its training."""

    configuration: Configuration
    network: LocalNetwork
    statistics: Statistics
    pictures: tuple[Picture, ...]
    abilities: ClassVar[frozenset[Ability]] = frozenset({"generate", "refine"})

    @property
    def engines(self) -> tuple[str, ...]:
        """The hybrid first, where there is one picture and a process that it shares with the closed form."""
        hybrid = len(self.pictures) == 1 and self.configuration.answers == "clean"
        return ("hybrid", "network") if hybrid else ("network",)

    @property
    def size(self) -> Size:
        return self.pictures[0].size

    def build(self, engine: str, computing: Computing) -> WaveletModel:
        """Build the model that draws, with a copy of the network; convolutions as they were trained unless told."""
        device, dtype = computing.device, computing.dtype
        convolutions = computing.convolutions or getattr(torch, self.configuration.precision)
        images = [picture.pixels[None].to(device, dtype) for picture in self.pictures]
        opaques = [None if picture.opaque is None else picture.opaque.to(device) for picture in self.pictures]
        progression, statistics = self.configuration.pyramid, self.statistics.to(device)
        sights = [Sight(progression.split(image), opaque) for image, opaque in zip(images, opaques, strict=True)]
        # The published walk has no estimates that are given energy.
        seen = sights if self.configuration.answers == "clean" else ()
        network = copy.deepcopy(self.network).to(device)
        prior = NetworkPrior(network, self.configuration, statistics, seen, dtype=convolutions)
        if engine == "network":
            return WaveletModel(images[0], progression, prior)
        closed_form = ClosedForm(sights[0].scales, progression, opaques[0], QUICK)
        return WaveletModel(images[0], progression, HybridPrior(prior, closed_form))

    def mix(self, others: Sequence[Loaded], shares: Sequence[float], engine: str, computing: Computing) -> WaveletModel:
        alike = [other for other in others if isinstance(other, Trained)]
        if len(alike) < len(others):
            raise InputError("a model of the system wavelet can be mixed with models of the same system only")
        return mixed([source.build(engine, computing) for source in (self, *alike)], shares)

    def memory(self, engine: str, size: Size) -> float:
        """Estimate the bytes: tiles of the network and the walk of the finest bands, or those of the closed form."""
        network = 1.1e9 + 43 * size[0] * size[1]
        return network if engine == "network" else estimate(self.size, size).memory


def from_file(file: ModelFile, path: Path) -> Trained:
    """The model in a file; a sentence says what of it does not fit."""
    configuration = Configuration.from_json(file.options)
    prefix = "network."
    weights = {name.removeprefix(prefix): w for name, w in file.weights.items() if name.startswith(prefix)}
    network = with_weights(path, weights, lambda: LocalNetwork(configuration.shape))
    try:
        statistics = Statistics(*(file.weights[f"statistics.{name}"] for name in Statistics.__dataclass_fields__))
        statistics.check(configuration.scales, configuration.shape.channels)
    except KeyError as error:
        raise InputError(f"{path}: the weights do not fit the options of the model ({error})") from error
    if not file.pictures:
        raise InputError(f"{path}: the model holds no picture")
    pictures = tuple(read_bytes(data, path) for data in file.pictures)
    return Trained(configuration, network, statistics, pictures)
