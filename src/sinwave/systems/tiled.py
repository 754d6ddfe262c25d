"""Enlarging by overlapping tiles, for networks that see more than they can be given: what they draw is blended.

    result = sum_i w_i result_i / sum_i w_i

w_i falls from 1 to 0 over the overlap. The noise of all tiles is one field, so that they draw the same where they meet.
A picture of one tile is what the network makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor

from sinwave.errors import InputError
from sinwave.resize import resize
from sinwave.rng import Key, Noise
from sinwave.systems.contracts import OnStep, Size, SuperResolver

__all__ = ["SIDE", "OfFactor", "Part", "Tiled", "starts"]

SIDE = 256
"""Pixels of the small picture along a side of a tile."""

_OVERLAP = 1 / 8
_LEAST = 32
_BLOCK = 64


class OfFactor(SuperResolver, Protocol):
    """A network that enlarges by one factor; its noise has the size of the small picture, or a little more."""

    @property
    def factor(self) -> int:
        """Pixels along a side of the result for a pixel of the small picture."""


@final
@dataclass(frozen=True)
class Part(Noise):
    """Noise of a tile at `place`: of a field without an end, made of blocks that are drawn by their places."""

    noise: Noise
    place: tuple[int, int]

    @property
    def count(self) -> int:
        return self.noise.count

    def child(self, *path: Key) -> Part:
        return Part(self.noise.child(*path), self.place)

    def normal(self, shape: Sequence[int], *key: Key, like: Tensor | None = None) -> Tensor:
        down, right = (
            range(a // _BLOCK, (a + n - 1) // _BLOCK + 1) for a, n in zip(self.place, shape[2:], strict=True)
        )
        sides = (*shape[:2], _BLOCK, _BLOCK)
        rows = [
            torch.cat([self.noise.normal(sides, *key, "block", row, column, like=like) for column in right], 3)
            for row in down
        ]
        top, left = (start % _BLOCK for start in self.place)
        return torch.cat(rows, 2)[:, :, top : top + shape[2], left : left + shape[3]]


@final
@dataclass(frozen=True, eq=False)
class Tiled:
    """A `SuperResolver` that gives another one tiles of `side` pixels at the most."""

    network: OfFactor
    side: int = SIDE

    def __post_init__(self) -> None:
        if self.side < _LEAST:
            raise InputError(f"tile is {self.side}: it must be {_LEAST} or more")

    def upscale(self, low: Tensor, size: Size, noise: Noise, *, on_step: OnStep | None = None) -> Tensor:
        """Enlarge a picture (b, 3, h, w) by the network's factor, and resize that."""
        factor, (height, width) = self.network.factor, low.shape[2:]
        whole = (factor * height, factor * width)
        rows, columns = (starts(length, self.side) for length in (height, width))
        if len(rows) == len(columns) == 1:
            return resize(self.network.upscale(low, whole, noise, on_step=on_step), size).clamp(-1, 1)
        total, weights = low.new_zeros(len(low), 3, *whole), low.new_zeros(1, 1, *whole)
        places = [(top, left) for top in rows for left in columns]
        for turn, (top, left) in enumerate(places):
            tile = low[:, :, top : top + self.side, left : left + self.side]
            sides = (factor * tile.shape[2], factor * tile.shape[3])
            report = _before(on_step, turn, len(places), total, weights)
            drawn = self.network.upscale(tile, sides, Part(noise, (top, left)), on_step=report)
            weight = _weight(tile.shape[2:], (height, width), (top, left), factor, self.side).to(low)
            inside = (..., slice(factor * top, factor * top + sides[0]), slice(factor * left, factor * left + sides[1]))
            total[inside] += weight * drawn
            weights[inside] += weight
        return resize(total / weights, size).clamp(-1, 1)


def starts(length: int, side: int, overlap: float = _OVERLAP, multiple: int = 1) -> list[int]:
    """Place tiles evenly, with at least that share of overlap; `length` and `side` are multiples of `multiple`."""
    if length <= side:
        return [0]
    count = math.ceil((length - side) / (side - round(overlap * side))) + 1
    room = (length - side) // multiple
    return [multiple * round(index * room / (count - 1)) for index in range(count)]


def _weight(tile: Sequence[int], whole: Size, place: tuple[int, int], factor: int, side: int) -> Tensor:
    """Weights (1, 1, ...) of a tile: 1 inside, less towards those sides that are no border of the picture."""
    ramps = []
    for length, total, start in zip(tile, whole, place, strict=True):
        position, fade = torch.arange(factor * length) + 0.5, factor * _OVERLAP * side
        before = position if start > 0 else torch.full_like(position, torch.inf)
        after = factor * length - position if start + length < total else torch.full_like(position, torch.inf)
        ramps.append((torch.minimum(before, after) / fade).clamp(max=1))
    return (ramps[0][:, None] * ramps[1])[None, None]


def _before(on_step: OnStep | None, turn: int, turns: int, total: Tensor, weights: Tensor) -> OnStep | None:
    """Report the steps of a tile, with what has been drawn before it."""
    if on_step is None:
        return None
    return lambda progress: on_step(
        progress._replace(estimate=lambda: total / weights.clamp(min=1e-6)).after(turn, turns)
    )
