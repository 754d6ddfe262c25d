"""Consistency of a large picture with a small one: reduced, the large one must give the small one.

    small = A x B'           A along the rows, B along the columns: the matrices of `resize`
    nearest to x             x + A+ (small - A x B') B+'        A+ = A' (A A')^-1

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

from sinwave.resize import resize

__all__ = ["Reduction"]

_WHITE = 1.0 - 1e-6
_ENOUGH = 0.4 / 127.5
"""Less than half a gray level, so that with the rounding to bytes the error stays below one level."""


@final
@dataclass(frozen=True, eq=False)
class Reduction:
    """Condition that a picture (b, c, h, w), reduced by antialiased bicubic resizing, is `small` (1, c, h', w')."""

    small: Tensor

    def nearest(self, picture: Tensor) -> Tensor:
        """Return the nearest picture that reduces to the small one exactly; it may leave [-1, 1]."""
        return self._moved(picture, self.small - self._reduced(picture))

    def in_range(self, picture: Tensor, rounds: int = 100) -> Tensor:
        """Return a nearby picture in [-1, 1], as files hold it, whose clipped reduction is the small one."""
        picture = picture.clamp(-1, 1)
        point, momentum = picture, 1.0
        for _ in range(rounds):
            if self._missing(picture).abs().max() < _ENOUGH:
                break
            before, picture = picture, self._moved(point, self._missing(point)).clamp(-1, 1)
            after = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            point, momentum = picture + (momentum - 1) / after * (picture - before), after
        return picture

    def misfit(self, picture: Tensor) -> Tensor:
        """Error of the clipped reduction of a picture in [-1, 1]: (b, c, h', w')."""
        return (self.small - self._reduced(picture).clamp(-1, 1)).abs()

    def _reduced(self, picture: Tensor) -> Tensor:
        return resize(picture, (self.small.shape[2], self.small.shape[3]))

    def _missing(self, picture: Tensor) -> Tensor:
        reduced = self._reduced(picture)
        beyond = ((self.small >= _WHITE) & (reduced > 1)) | ((self.small <= -_WHITE) & (reduced < -1))
        return (self.small - reduced).masked_fill(beyond, 0)

    def _moved(self, picture: Tensor, missing: Tensor) -> Tensor:
        rows, columns = (
            _inverse(large, little).to(picture)
            for large, little in zip(picture.shape[2:], self.small.shape[2:], strict=True)
        )
        return picture + rows @ missing @ columns.mT


@lru_cache(maxsize=4)
def _inverse(large: int, little: int) -> Tensor:
    """Compute A+ (large, little), the pseudo-inverse of the reduction along one axis."""
    identity = torch.eye(large, dtype=torch.float64)[None, None]
    matrix = resize(identity, (little, large))[0, 0]
    inverse: Tensor = torch.linalg.solve(matrix @ matrix.T, matrix).T
    return inverse
