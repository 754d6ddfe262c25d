"""What is known of a large picture from a small one: that it becomes the small one when it is reduced.

    small = A x B'           A along the rows, B along the columns: the matrices of `resize`
    nearest to x             x + A+ (small - A x B') B+'        A+ = A' (A A')^-1

A picture has a range, and the small one has been cut to it: where that is black or white, what it was made of may have
been blacker or whiter. Both sets are convex, and their common point is approached by projecting in turn, with the
momentum of Beck and Teboulle ("A fast iterative shrinkage-thresholding algorithm", 2009). A small picture that was
sharpened much may be no reduction of any picture; then the way ends near one that it nearly is.
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
"""Less than half a gray level: with what rounding to bytes adds it stays below a whole one."""


@final
@dataclass(frozen=True, eq=False)
class Reduction:
    """That a picture (b, c, h, w), reduced by antialiased bicubic resampling, is `small` (1, c, h', w'), h' <= h."""

    small: Tensor

    def nearest(self, picture: Tensor) -> Tensor:
        """The nearest picture that is reduced to the small one exactly; it may leave the range."""
        return self._moved(picture, self.small - self._reduced(picture))

    def shown(self, picture: Tensor, rounds: int = 100) -> Tensor:
        """One nearby in [-1, 1], as files hold it, whose reduction is cut to that range too."""
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
        """How far the reduction of a picture in [-1, 1] is from the small one: in [-1, 1] as well, (b, c, h', w')."""
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
    """A+ (large, little), of least norm: the pseudo-inverse of reducing one axis."""
    identity = torch.eye(large, dtype=torch.float64)[None, None]
    matrix = resize(identity, (little, large))[0, 0]
    inverse: Tensor = torch.linalg.solve(matrix @ matrix.T, matrix).T
    return inverse
