"""Enlarging with a small network, tile by tile of the small picture.

An output depends on `radius` positions of the small picture to each side: with that much around it a tile has the
values that the whole picture would have given it, so there are no seams.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.resources import as_file, files
from itertools import product
from pathlib import Path
from typing import ClassVar, NamedTuple, NoReturn, final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.images import Picture
from sinwave.resize import resize
from sinwave.rng import Noise
from sinwave.systems.contracts import Ability, Computing, Loaded, OnStep, Progress, Size
from sinwave.systems.files import ModelFile, read_model, with_weights
from sinwave.systems.residual_sr.network import FACTORS, EnlargingNetwork
from sinwave.systems.residual_sr.options import Configuration
from sinwave.threads import side_by_side

__all__ = ["Enlarger", "Trained", "from_file", "shipped"]

TILE = 192
"""Pixels along a side of a tile."""

_TOGETHER = 8
"""Tiles that are begun together, a thread each."""


class _Tile(NamedTuple):
    """A part of the small picture, and the same with what its pixels depend on."""

    rows: slice
    columns: slice
    around: tuple[slice, slice]


@final
class Enlarger:
    """A `SuperResolver`: a small network in one step or, beyond its largest factor, in several."""

    def __init__(self, network: EnlargingNetwork, *, tile: int | None = None) -> None:
        if tile is not None and tile < 1:
            raise InputError(f"tile is {tile}: it must be 1 or more")
        self._network, self._tile = network.eval(), tile or TILE

    def upscale(self, low: Tensor, size: Size, noise: Noise, *, on_step: OnStep | None = None) -> Tensor:
        """Enlarge a picture (1, 3, h, w) to `size`; there is no chance in it."""
        large, turns = low, _turns((low.shape[2], low.shape[3]), size)
        for turn, factor in enumerate(turns):
            report = None if on_step is None else _after(on_step, turn, len(turns))
            large = self._enlarged(large, factor, report)
            # A side that has its length already does not grow further with the other.
            large = resize(large, (min(large.shape[2], size[0]), min(large.shape[3], size[1])))
        return large

    def _enlarged(self, low: Tensor, factor: int, on_step: OnStep | None) -> Tensor:
        large = functional.interpolate(low, scale_factor=factor, mode="nearest")
        tiles = list(_tiles((low.shape[2], low.shape[3]), self._tile, self._network.shape.radius))
        for first in range(0, len(tiles), _TOGETHER):
            some = tiles[first : first + _TOGETHER]
            answers = side_by_side([partial(self._answer, low, tile, factor) for tile in some], low.device)
            for step, (tile, answer) in enumerate(zip(some, answers, strict=True), first + 1):
                large[:, :, _times(tile.rows, factor), _times(tile.columns, factor)] = answer
                if on_step is not None:
                    on_step(Progress(0, 1, step, len(tiles), lambda: large))
        return large

    def _answer(self, low: Tensor, tile: _Tile, factor: int) -> Tensor:
        rows, columns = tile.around
        part = low[:, :, rows, columns].contiguous(memory_format=torch.channels_last)
        answer: Tensor = self._network(part, factor)
        inner = (_times(_shifted(tile.rows, rows), factor), _times(_shifted(tile.columns, columns), factor))
        return answer[:, :, inner[0], inner[1]]


def _turns(small: Size, large: Size) -> list[int]:
    """Choose the network's factors of which the product is enough, each as small as may be."""
    needed, turns = max(b / a for a, b in zip(small, large, strict=True)), list[int]()
    while needed > 1 + 1e-9:
        factor = next((factor for factor in FACTORS if factor >= needed - 1e-9), max(FACTORS))
        turns.append(factor)
        needed /= factor
    return turns


def _after(on_step: OnStep, turn: int, turns: int) -> OnStep:
    return lambda progress: on_step(progress.after(turn, turns))


def _tiles(size: Size, side: int, radius: int) -> Iterator[_Tile]:
    """Cover a picture with tiles of about equal sizes, `side` at the most."""
    rows, columns = (_parts(length, side) for length in size)
    for row, column in product(rows, columns):
        around = tuple(
            slice(max(0, part.start - radius), min(length, part.stop + radius))
            for part, length in zip((row, column), size, strict=True)
        )
        yield _Tile(row, column, (around[0], around[1]))


def _parts(length: int, side: int) -> list[slice]:
    count = math.ceil(length / side)
    return [slice(length * index // count, length * (index + 1) // count) for index in range(count)]


def _shifted(part: slice, around: slice) -> slice:
    return slice(part.start - around.start, part.stop - around.start)


def _times(part: slice, factor: int) -> slice:
    return slice(factor * part.start, factor * part.stop)


@final
@dataclass(frozen=True, eq=False)
class Trained:
    """The content of a model file."""

    configuration: Configuration
    network: EnlargingNetwork
    abilities: ClassVar[frozenset[Ability]] = frozenset({"upscale"})
    engines: ClassVar[tuple[str, ...]] = ("network",)
    size: ClassVar[None] = None
    pictures: ClassVar[tuple[Picture, ...]] = ()

    def build(self, engine: str, computing: Computing) -> Enlarger:
        network = copy.deepcopy(self.network).requires_grad_(False).to(computing.device, computing.dtype)
        return Enlarger(network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]

    def mix(self, others: Sequence[Loaded], shares: Sequence[float], engine: str, computing: Computing) -> NoReturn:
        raise InputError("a network that enlarges cannot be mixed with others")

    def memory(self, engine: str, size: Size) -> float:
        """Estimate the bytes: some copies of the large picture, and what is between the layers of a tile."""
        inside = 4.0 * 4 * self.configuration.width * (TILE + 2 * self.network.shape.radius) ** 2
        return 0.4e9 + 8 * inside + 90 * size[0] * size[1]


def from_file(file: ModelFile, path: Path) -> Trained:
    """Load the model in a file; a sentence says what of it does not fit."""
    configuration = Configuration.from_json(file.options)
    return Trained(configuration, with_weights(path, file.weights, lambda: EnlargingNetwork(configuration.shape)))


def shipped(name: str) -> Loaded:
    """Load a model by its name: the one that comes with the package, or a published one whose files are here."""
    if name == "small":
        return _small()
    from sinwave.systems.residual_sr.foreign import from_release

    return from_release(name)


@lru_cache(maxsize=1)
def _small() -> Trained:
    """Read it once, since nothing changes it."""
    with as_file(files("sinwave.systems.residual_sr") / "small.safetensors") as path:
        return from_file(read_model(path), path)
