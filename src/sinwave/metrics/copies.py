"""Nearest patches of another picture, and how much of a sample is the source itself, moved but verbatim.

    field      for every patch of a picture the nearest one of another: exact, by comparing all with all
    area       the share of pixels that lie in a square of `side` x `side` which the source has too      1 for a copy
    entropy    of the offsets to the nearest patches, over its most, log of their number                 0 for a copy

A generator that scores well on likeness alone may do so by copying: the first figure says how much, the mask where,
and the second in how many pieces, since a piece has one offset. Neither counts what is only similar.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.metrics.pictures import centered, strips

__all__ = ["SIDE", "CopyReport", "NearestField", "copy_report", "nearest_for_copies", "stride_for"]

SIDE = 24
"""Side of the squares that count as copied."""

_PATCH = 7
_VOTES = 3  # patches that must agree on an offset for it to be tried
_STRIDES, _PAIRS = (4, 8), 1 << 31
_TILE = 1 << 21  # distances at a time: 8 MB stay near the processor, which is a third faster than 64


@dataclass(frozen=True, eq=False)
class NearestField:
    """Nearest patches p_k of another picture, for each patch q of a picture, taken every `stride` pixels.

    distance    (rows, columns), min_k |q - p_k|^2 / (c p^2) in squared gray levels
    place       (rows, columns, 2), row and column of that p_k's upper left corner; of several the first, row by row
    """

    patch: int
    stride: int
    distance: Tensor
    place: Tensor

    @classmethod
    def of(cls, picture: Tensor, other: Tensor, *, patch: int = 7, stride: int = 1) -> NearestField:
        """Search in `other` at every pixel; pictures are (c, h, w), (c, h', w') uint8.

        Up to p = 10 for three channels all numbers are integers within 2^24, which float32 holds exactly in whatever
        order they are added.
        """
        picture, other = centered(picture, patch), centered(other, patch)
        columns, across = (picture.shape[3] - patch) // stride + 1, other.shape[3] - patch + 1
        rows = strips(picture, patch, stride, max(1, _TILE // 2048))
        nearest = [_nearest(queries, other, patch) for queries in rows]
        distance, index = map(torch.cat, zip(*nearest, strict=True))
        distance = distance.reshape(-1, columns) / (picture.shape[1] * patch**2)
        return cls(patch, stride, distance, torch.stack([index // across, index % across], 1).reshape(-1, columns, 2))

    @property
    def offset(self) -> Tensor:
        """Way to the nearest patch, down and right: (rows, columns, 2)."""
        rows, columns = (self.stride * torch.arange(count, device=self.place.device) for count in self.place.shape[:2])
        return self.place - torch.stack(torch.meshgrid(rows, columns, indexing="ij"), 2)


@dataclass(frozen=True, eq=False)
class CopyReport:
    """Figures on what is copied, and a mask (h, w) that is True there."""

    area: float
    entropy: float
    mask: Tensor


def nearest_for_copies(sample: Tensor, source: Tensor) -> NearestField:
    """The field that `copy_report` asks for, which other figures may use too."""
    return NearestField.of(sample, source, patch=_PATCH, stride=stride_for(sample, source))


def stride_for(picture: Tensor, other: Tensor) -> int:
    """Stride between the patches that look for their nearest: 4 for pictures of up to about 430 x 430, else up to 8."""
    pairs = math.prod(picture.shape[1:]) * math.prod(other.shape[1:])
    return min(max(math.ceil(math.sqrt(pairs / _PAIRS)), _STRIDES[0]), _STRIDES[1])


def copy_report(
    sample: Tensor, source: Tensor, *, side: int = SIDE, tolerance: int = 3, field: NearestField | None = None
) -> CopyReport:
    """Find what `sample` (c, h, w) shares with `source` (c, h', w'), uint8; `field` is their `nearest_for_copies`.

    Two squares are equal if no value differs by more than `tolerance` gray levels. Every offset is tried that three
    patches of 7 x 7, taken every 4 pixels (up to 8 in large pictures), have to their nearest ones: a verbatim square of
    24 has 16 (4) such patches or more, so it is missed only if most of them occur in the source elsewhere too, as in a
    clear sky.
    """
    if sample.shape[0] != source.shape[0]:
        raise InputError(f"pictures of {sample.shape[0]} and of {source.shape[0]} channels cannot be compared")
    least = _PATCH + 2 * stride_for(sample, source)  # however a square lies, two patches a side are inside it, or four
    if side < least:
        raise InputError(f"squares of {side} pixels are too small to tell a copy: at least {least} are needed")
    field = field or nearest_for_copies(sample, source)
    offsets, counts = torch.unique(field.offset.flatten(0, 1), dim=0, return_counts=True)
    mask = torch.zeros(sample.shape[1:], dtype=torch.bool, device=sample.device)
    levels = sample.short(), source.short()  # whose differences are no bytes
    for offset in offsets[counts >= _VOTES].tolist():
        mask |= _squares(_equal(*levels, offset, tolerance), side)
    return CopyReport(mask.double().mean().item(), _entropy(counts), mask)


def _nearest(queries: Tensor, other: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """The least squared distance of each query (n, c p p) to a patch of `other`, and that patch's number."""
    least = queries.new_full((len(queries),), math.inf)
    index = torch.zeros(len(queries), dtype=torch.long, device=queries.device)
    first = 0
    for keys in strips(other, patch, 1, max(1, _TILE // len(queries))):
        distance, place = torch.addmm(keys.square().sum(1), queries, keys.T, alpha=-2).min(1)
        index = torch.where(distance < least, place + first, index)
        least, first = torch.minimum(least, distance), first + len(keys)
    return least + queries.square().sum(1), index


def _entropy(counts: Tensor) -> float:
    total = int(counts.sum())
    shares = counts.double() / total
    return -(shares * shares.log()).sum().item() / math.log(total) if total > 1 else 0.0


def _equal(sample: Tensor, source: Tensor, offset: list[int], tolerance: int) -> Tensor:
    """Mask (h, w) of the places where sample[y, x] and source[y + down, x + right] are equal in all channels."""
    equal = torch.zeros(sample.shape[1:], dtype=torch.bool, device=sample.device)
    (down, right), (height, width) = offset, source.shape[1:]
    rows = slice(max(0, -down), max(0, height - down))
    columns = slice(max(0, -right), max(0, width - right))
    ours = sample[:, rows, columns]
    theirs = source[:, max(0, down) :, max(0, right) :][:, : ours.shape[1], : ours.shape[2]]
    equal[rows, columns] = ((ours - theirs).abs() <= tolerance).all(0)
    return equal


def _squares(mask: Tensor, side: int) -> Tensor:
    """The union of all squares of `side` inside a mask (h, w): its opening."""
    if min(mask.shape) < side or not (corners := _box_sums(mask, side) == side**2).any():
        return torch.zeros_like(mask)
    return _box_sums(functional.pad(corners, [side - 1] * 4), side) > 0


def _box_sums(mask: Tensor, side: int) -> Tensor:
    """Count what is True in each square of `side`: (h, w) -> (h - side + 1, w - side + 1)."""
    table = functional.pad(mask.cumsum(0).cumsum(1), (1, 0, 1, 0))
    return table[side:, side:] - table[:-side, side:] - table[side:, :-side] + table[:-side, :-side]
