"""Where in another picture the nearest patch is, for every patch of a picture: exact, by comparing all with all."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sinwave.metrics.levels import centered, strips

__all__ = ["NearestField", "stride_for"]

_STRIDES, _PAIRS = (4, 8), 1 << 31
_TILE = 1 << 21  # distances at a time: 8 MB stay near the processor, which is a third faster than 64


@dataclass(frozen=True, eq=False)
class NearestField:
    """For each patch q of a picture, taken every `stride` pixels, the nearest patch p_k of another one.

    distance    (rows, columns), min_k |q - p_k|^2 / (c p^2) in squared gray levels
    place       (rows, columns, 2), row and column of that p_k's upper left corner; of several the first, row by row
    """

    patch: int
    stride: int
    distance: Tensor
    place: Tensor

    @classmethod
    def of(cls, picture: Tensor, other: Tensor, *, patch: int = 7, stride: int = 1) -> NearestField:
        """(c, h, w), (c, h', w') uint8; the patches of `other` are taken at every pixel.

        Up to p = 10 for three channels all numbers are integers within 2^24, which float32 holds exactly in whatever
        order they are added.
        """
        picture, other = centered(picture, patch), centered(other, patch)
        columns, across = (picture.shape[3] - patch) // stride + 1, other.shape[3] - patch + 1
        found = [_nearest(queries, other, patch) for queries in strips(picture, patch, stride, max(1, _TILE // 2048))]
        distance, index = (torch.cat(each) for each in zip(*found, strict=True))
        distance = distance.reshape(-1, columns) / (picture.shape[1] * patch**2)
        return cls(patch, stride, distance, torch.stack([index // across, index % across], 1).reshape(-1, columns, 2))

    @property
    def offset(self) -> Tensor:
        """How far off the nearest patch is, down and right: (rows, columns, 2)."""
        rows, columns = (self.stride * torch.arange(count, device=self.place.device) for count in self.place.shape[:2])
        return self.place - torch.stack(torch.meshgrid(rows, columns, indexing="ij"), 2)


def stride_for(picture: Tensor, other: Tensor) -> int:
    """Between the patches that look for their nearest: 4 for pictures of up to about 430 x 430, else up to 8.

    All patches are compared with all, so the work grows with the square of the pixels: at 250 x 190 it takes a quarter
    of a second, at 1024 x 768 a hundred times as long, a quarter of which is left by the wider stride.
    """
    pairs = math.prod(picture.shape[1:]) * math.prod(other.shape[1:])
    return min(max(math.ceil(math.sqrt(pairs / _PAIRS)), _STRIDES[0]), _STRIDES[1])


def _nearest(queries: Tensor, other: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """The least squared distance of each query (n, c p p) to a patch of `other`, and that patch's number."""
    least = queries.new_full((len(queries),), math.inf)
    index = torch.zeros(len(queries), dtype=torch.long, device=queries.device)
    seen = 0
    for keys in strips(other, patch, 1, max(1, _TILE // len(queries))):
        found, place = torch.addmm(keys.square().sum(1), queries, keys.T, alpha=-2).min(1)
        index = torch.where(found < least, place + seen, index)
        least, seen = torch.minimum(least, found), seen + len(keys)
    return least + queries.square().sum(1), index
