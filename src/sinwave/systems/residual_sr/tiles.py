"""Tiles of a small picture, each with as much around it as its outputs depend on: so there are no seams."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import NamedTuple, TypeAlias

from torch import Tensor

from sinwave.systems.contracts import Size
from sinwave.threads import side_by_side

__all__ = ["TILE", "Window", "by_tiles", "cut"]

TILE = 192
"""Pixels along a side of a tile."""

_TOGETHER = 8
"""Tiles that are begun together, a thread each."""

Window: TypeAlias = tuple[slice, slice]
"""Rows and columns."""


class _Tile(NamedTuple):
    """A part of the small picture, and the same with what its outputs depend on."""

    inside: Window
    around: Window


def cut(picture: Tensor, window: Window, factor: int = 1) -> Tensor:
    """Cut a window, given in pixels of the small picture, out of a picture that is `factor` times as large."""
    rows, columns = (slice(factor * part.start, factor * part.stop) for part in window)
    return picture[:, :, rows, columns]


def by_tiles(
    answer: Callable[[Window], Tensor],
    large: Tensor,
    factor: int,
    radius: int,
    *,
    side: int = TILE,
    on_tile: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Fill `large` (1, c, s h, s w) with `answer(window)`, the outputs for a part of the small picture (h, w).

    `on_tile(done, total)` is called after each tile.
    """
    tiles = list(_tiles((large.shape[2] // factor, large.shape[3] // factor), side, radius))
    for first in range(0, len(tiles), _TOGETHER):
        some = tiles[first : first + _TOGETHER]
        answers = side_by_side([partial(answer, tile.around) for tile in some], large.device)
        for number, (tile, part) in enumerate(zip(some, answers, strict=True), first + 1):
            rows, columns = (_shifted(own, around) for own, around in zip(*tile, strict=True))
            cut(large, tile.inside, factor).copy_(cut(part, (rows, columns), factor))
            on_tile(number, len(tiles))


def _tiles(size: Size, side: int, radius: int) -> Iterator[_Tile]:
    """Cover a picture with tiles of about equal sizes, `side` at the most."""
    rows, columns = (_parts(length, side) for length in size)
    for inside in product(rows, columns):
        around = tuple(
            slice(max(0, part.start - radius), min(length, part.stop + radius))
            for part, length in zip(inside, size, strict=True)
        )
        yield _Tile((inside[0], inside[1]), (around[0], around[1]))


def _parts(length: int, side: int) -> list[slice]:
    count = math.ceil(length / side)
    return [slice(length * index // count, length * (index + 1) // count) for index in range(count)]


def _shifted(part: slice, around: slice) -> slice:
    return slice(part.start - around.start, part.stop - around.start)
