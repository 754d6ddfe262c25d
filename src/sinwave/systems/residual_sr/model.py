"""Enlarging with a small network, tile by tile of the small picture, and with detail drawn beside it if it is wanted.

    y = z + A+ (small - A z),    z = network(small)
    x = y + (1 - fidelity) (sample - y)

The sample is one of many pictures that reduce to the small one as y does, and so does every x. At fidelity 1 there is
no chance in the result.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import ClassVar, NoReturn, TypeVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sinwave.diffusion.sample import Ddim, even_times, sample
from sinwave.errors import InputError
from sinwave.images import Picture
from sinwave.reduction import Reduction
from sinwave.resize import blur, resize
from sinwave.rng import Noise
from sinwave.systems.contracts import Ability, Computing, Loaded, OnStep, Progress, Size
from sinwave.systems.files import ModelFile, read_model, with_weights
from sinwave.systems.residual_sr.detail import Colored, Detail, DetailDenoiser, DetailNetwork, Gap
from sinwave.systems.residual_sr.deviation import Deviations, of_pixels
from sinwave.systems.residual_sr.network import FACTORS, EnlargingNetwork
from sinwave.systems.residual_sr.options import Configuration
from sinwave.systems.residual_sr.tiles import TILE, Window, by_tiles, cut

__all__ = ["DETAIL", "Enlarger", "Trained", "from_file", "packaged", "shipped", "split"]

Network = TypeVar("Network", bound=nn.Module)

DETAIL = "detail."
"""The beginning of the names of the detail network's weights."""

_BLUR = 1.0
"""Pixels: a deviation is that of a neighborhood."""


@final
class Enlarger:
    """A `Redrawer`: a small network in one step or, beyond its largest factor, in several."""

    def __init__(
        self,
        network: EnlargingNetwork,
        deviations: Deviations | None = None,
        detail: Detail | None = None,
        *,
        reduced: bool = True,
        tile: int | None = None,
    ) -> None:
        """`reduced`: whether the small picture is a reduced one, so that the reduction of the result is known."""
        if tile is not None and tile < 1:
            raise InputError(f"tile is {tile}: it must be 1 or more")
        self._network, self._deviations, self._detail = network.eval(), deviations, detail
        self._reduced, self._tile = reduced, tile or TILE

    def upscale(self, low: Tensor, size: Size, noise: Noise, *, on_step: OnStep | None = None) -> Tensor:
        """Enlarge a picture (1, 3, h, w) to `size`; there is no chance in it."""
        return self.redraw(low, size, noise, fidelity=1.0, on_step=on_step)

    def redraw(
        self, low: Tensor, size: Size, noise: Noise, *, fidelity: float, on_step: OnStep | None = None
    ) -> Tensor:
        """Enlarge a picture (1, 3, h, w) to `size`, with a share of 1 - fidelity of detail that is drawn."""
        large, turns = low, _turns((low.shape[2], low.shape[3]), size, self._reduced)
        for turn, factor in enumerate(turns):
            report = None if on_step is None else _after(on_step, turn, len(turns))
            small, large = large, self._enlarged(large, factor, report)
            if fidelity < 1 and self._detail is not None:
                gap = self._gap(small, large)
                drawn = self._drawn(self._detail, gap, noise.child("turn", turn), report)
                large = gap.base + (1 - fidelity) * (drawn - gap.base)
            large = _within(large, size)
        return large

    def uncertainty(self, low: Tensor, size: Size) -> Tensor:
        """Estimate the deviation of the result from the truth in gray levels, (1, 1, h, w): where it guesses."""
        large, variance = low, torch.zeros_like(low[:, :1])
        for factor in _turns((low.shape[2], low.shape[3]), size, self._reduced):
            small, large = large, self._enlarged(large, factor, None)
            gap = self._gap(small, large)
            sides = (large.shape[2], large.shape[3])
            added = blur(of_pixels(gap.deviations, sides), _BLUR).square()
            variance = _within(functional.interpolate(variance, size=sides, mode="nearest") + added, size)
            large = _within(large, size)
        return 127.5 * variance.clamp(min=0).sqrt()

    def _gap(self, low: Tensor, large: Tensor) -> Gap:
        """Compute the part of an enlargement that is unsure."""
        assert self._deviations is not None
        base = Reduction(low).nearest(large) if self._reduced else large
        return Gap(low, base, self._deviations.of(base, base.shape[2] // low.shape[2]), self._reduced)

    def _enlarged(self, low: Tensor, factor: int, on_step: OnStep | None) -> Tensor:
        large = functional.interpolate(low, scale_factor=factor, mode="nearest")

        def answer(window: Window) -> Tensor:
            result: Tensor = self._network(cut(low, window).contiguous(memory_format=torch.channels_last), factor)
            return result

        def report(done: int, total: int) -> None:
            if on_step is not None:
                on_step(Progress(0, 1, done, total, lambda: large))

        by_tiles(answer, large, factor, self._network.shape.radius, side=self._tile, on_tile=report)
        return large

    def _drawn(self, detail: Detail, gap: Gap, noise: Noise, on_step: OnStep | None) -> Tensor:
        """Draw one of the pictures that the small one may come from: in one step, or along the Markov chain."""
        low, base, factor = gap.low, gap.base, gap.factor

        def answer(state: Tensor, index: Tensor) -> Tensor:
            large = torch.empty_like(state)

            def part(window: Window) -> Tensor:
                around, moving = cut(gap.guide, window, factor), cut(state, window, factor)
                result: Tensor = detail.network(cut(low, window), around, moving, index)
                return result

            def report(done: int, total: int) -> None:
                if on_step is not None:
                    on_step(Progress(0, 1, done, total, lambda: base))

            by_tiles(part, large, factor, detail.network.shape.radius, side=self._tile, on_tile=report)
            return large

        colored = Colored(noise, gap)
        start = detail.process.diffuse(base, 1.0, colored.normal(base.shape, "start", like=base), base)
        denoiser, times = DetailDenoiser(detail, gap, answer), even_times(detail.steps)
        return sample(denoiser, detail.process, Ddim(1.0), start, times, colored, anchor=base)


def _turns(small: Size, large: Size, reduced: bool) -> list[int]:
    """Choose factors of which the product is enough, each as small as may be; what repairs has at least one."""
    needed, turns = max(b / a for a, b in zip(small, large, strict=True)), list[int]()
    while needed > 1 + 1e-9:
        factor = next((factor for factor in FACTORS if factor >= needed - 1e-9), max(FACTORS))
        turns.append(factor)
        needed /= factor
    return turns or ([] if reduced else [min(FACTORS)])


def _within(large: Tensor, size: Size) -> Tensor:
    """Reduce what is larger than `size`: a side that has its length already does not grow further with the other."""
    return resize(large, (min(large.shape[2], size[0]), min(large.shape[3], size[1])))


def _after(on_step: OnStep, turn: int, turns: int) -> OnStep:
    return lambda progress: on_step(progress.after(turn, turns))


@final
@dataclass(frozen=True, eq=False)
class Trained:
    """The content of a model file."""

    configuration: Configuration
    network: EnlargingNetwork
    detail: Detail | None = None
    tile: int = TILE
    engines: ClassVar[tuple[str, ...]] = ("network",)
    size: ClassVar[None] = None
    pictures: ClassVar[tuple[Picture, ...]] = ()

    @property
    def abilities(self) -> frozenset[Ability]:
        drawn: set[Ability] = set() if self.detail is None else {"sample"}
        unsure: set[Ability] = {"map"} if self.configuration.deviations else set()
        repairs: set[Ability] = {"restore"} if self.configuration.condition == "photo" else set()
        return frozenset({"upscale", "certain", *drawn, *unsure, *repairs})

    def build(self, engine: str, computing: Computing) -> Enlarger:
        network = _frozen(self.network, computing)
        detail = self.detail and replace(self.detail, network=_frozen(self.detail.network, computing))
        deviations = self.configuration.doubt if self.configuration.deviations else None
        reduced = self.configuration.condition == "clean"
        return Enlarger(network, deviations, detail, reduced=reduced, tile=self.tile)

    def mix(self, others: Sequence[Loaded], shares: Sequence[float], engine: str, computing: Computing) -> NoReturn:
        raise InputError("a network that enlarges cannot be mixed with others")

    def memory(self, engine: str, size: Size) -> float:
        """Estimate the bytes: some copies of the large picture, and what is between the layers of a tile."""
        inside = 4.0 * 4 * self.configuration.width * (self.tile + 2 * self.network.shape.radius) ** 2
        return 0.4e9 + 8 * inside + 110 * size[0] * size[1]

    def tiled(self, side: int) -> Trained:
        return replace(self, tile=side)

    def working_size(self, small: Size, size: Size) -> Size:
        largest, sides = small, small
        for factor in _turns(small, size, self.configuration.condition == "clean"):
            largest = factor * sides[0], factor * sides[1]
            sides = min(largest[0], size[0]), min(largest[1], size[1])
        return largest


def _frozen(network: Network, computing: Computing) -> Network:
    network = copy.deepcopy(network).requires_grad_(False).eval().to(computing.device, computing.dtype)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def from_file(file: ModelFile, path: Path) -> Trained:
    """Load the model in a file; a sentence says what of it does not fit."""
    configuration = Configuration.from_json(file.options)
    own, beside = split(file.weights)
    network = with_weights(path, own, lambda: EnlargingNetwork(configuration.shape))
    if configuration.stage == "enlarger":
        return Trained(configuration, network)
    if not configuration.deviations:
        raise InputError("the model's options make no sense: a network that draws detail needs deviations")
    drawing = with_weights(path, beside, lambda: DetailNetwork(configuration.detail_shape))
    return Trained(configuration, network, configuration.detail(drawing))


def split(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Separate the weights of the network that enlarges from those of the one that draws detail."""
    own = {name: value for name, value in weights.items() if not name.startswith(DETAIL)}
    return own, {name.removeprefix(DETAIL): value for name, value in weights.items() if name.startswith(DETAIL)}


def shipped(name: str, steps: int | None = None) -> Loaded:
    """Load a model by its name: the one that comes with the package, or a published one whose files are here."""
    if steps is not None:
        raise InputError(f"the model {name} has no use for steps")
    if name in ("small", "photo"):
        return packaged(name)
    from sinwave.systems.residual_sr.foreign import from_release

    return from_release(name)


@lru_cache(maxsize=2)
def packaged(name: str) -> Trained:
    """Read a model that comes with the package, once, since nothing changes it."""
    with as_file(files("sinwave.systems.residual_sr") / f"{name}.safetensors") as path:
        return from_file(read_model(path), path)
