"""Consistency of a large picture with a small one: reduced, the large one must give the small one.

    small = A x B'           A along the rows, B along the columns: the matrices of `resize`
    nearest to x             x + A+ (small - A x B') B+'        A+ = A' (A A')^-1

A is banded, and A+ nearly so: its weights fall by a factor of three or more from pixel to pixel of the small picture,
so a part of A+ is computed from the part of A around it. Memory and time grow with the pixels of the large picture.

Pictures are clipped to [-1, 1]: where the small one is black or white, the reduction may lie beyond. Both sets are
convex, and a point of both is approached by alternating projections, with the momentum of Beck and Teboulle ("A fast
iterative shrinkage-thresholding algorithm", 2009). If the small picture was sharpened much, no picture may reduce to it
exactly; then the result reduces to nearly that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import final

import torch
from torch import Tensor

from sinwave.resize import Blocks, Kind, product, resize, rows_of

__all__ = ["ENOUGH", "Reduction"]

_BLOCK = 128
_REACH = 24
"""Pixels of the small picture beyond which A+ is nothing: less than a millionth of its largest weight."""

_CLEAR = 1.4
"""Below this factor A+ has no such bound: where a pixel is the mean of two, it remembers all others."""

_WHITE = 1.0 - 1e-6
_WORK = 1_200_000_000
"""Numbers of all rounds together."""

ENOUGH = 0.4 / 127.5
"""Less than half a gray level, so that with the rounding to bytes the error stays below one level."""


@final
@dataclass(frozen=True, eq=False)
class Reduction:
    """Condition that a picture (b, c, h, w), reduced by antialiased resizing, is `small` (b or 1, c, h', w')."""

    small: Tensor
    kind: Kind = "bicubic"

    def nearest(self, picture: Tensor) -> Tensor:
        """Return the nearest picture that reduces to the small one exactly; it may leave [-1, 1]."""
        return self._moved(picture, self.small - self._reduced(picture))

    def in_range(self, picture: Tensor, rounds: int | None = None, *, enough: float = ENOUGH) -> Tensor:
        """Return a nearby picture in [-1, 1], as files hold it, whose clipped reduction misses at most `enough`.

        Where it is clipped it takes `rounds` to come so near: 100 at the most, and fewer for more than four megapixels.
        """
        picture = picture.clamp(-1, 1)
        rounds = max(10, min(100, _WORK // picture.numel())) if rounds is None else rounds
        point, momentum = picture, 1.0
        for _ in range(rounds):
            if self._missing(picture).abs().max() < enough:
                break
            before, picture = picture, self._moved(point, self._missing(point)).clamp(-1, 1)
            after = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            point, momentum = picture + (momentum - 1) / after * (picture - before), after
        return picture

    def misfit(self, picture: Tensor) -> Tensor:
        """Error of the clipped reduction of a picture in [-1, 1]: (b, c, h', w')."""
        return (self.small - self._reduced(picture).clamp(-1, 1)).abs()

    def _reduced(self, picture: Tensor) -> Tensor:
        return resize(picture, (self.small.shape[2], self.small.shape[3]), self.kind)

    def _missing(self, picture: Tensor) -> Tensor:
        reduced = self._reduced(picture)
        beyond = ((self.small >= _WHITE) & (reduced > 1)) | ((self.small <= -_WHITE) & (reduced < -1))
        return (self.small - reduced).masked_fill(beyond, 0)

    def _moved(self, picture: Tensor, missing: Tensor) -> Tensor:
        rows, columns = (
            _inverse(large, little, self.kind, picture.dtype, picture.device)
            for large, little in zip(picture.shape[2:], self.small.shape[2:], strict=True)
        )
        with torch.autocast(picture.device.type, enabled=False):
            return picture + product(columns, product(rows, missing).mT).mT


@lru_cache(maxsize=8)
def _inverse(large: int, little: int, kind: Kind, dtype: torch.dtype, device: torch.device) -> Blocks:
    """Compute A+ (large, little), the pseudo-inverse of the reduction along one axis, `_BLOCK` rows at a time."""
    if large == little:
        return []
    size = _BLOCK if large >= _CLEAR * little else large
    # What was made in inference mode could not be used in a training later on.
    with torch.inference_mode(False):
        blocks = (_rows(large, little, kind, start, min(start + size, large)) for start in range(0, large, size))
        return [(inputs, weights.to(device, dtype)) for inputs, weights in blocks]


def _rows(large: int, little: int, kind: Kind, start: int, stop: int) -> tuple[slice, Tensor]:
    """Rows `start` to `stop` of A+, from the rows of A that are near enough to matter."""
    first = max(0, math.floor(start * little / large) - _REACH)
    last = min(little, math.ceil(stop * little / large) + _REACH)
    reached, matrix = rows_of(large, little, kind, first, last)
    part = torch.zeros(stop - start, last - first, dtype=torch.float64)
    both = slice(max(start, reached.start), min(stop, reached.stop))
    inside = matrix[:, both.start - reached.start : both.stop - reached.start]
    part[both.start - start : both.stop - start] = torch.linalg.solve(matrix @ matrix.T, inside).T
    return slice(first, last), part
