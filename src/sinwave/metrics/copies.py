"""How much of a sample is the source itself, moved but verbatim.

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
from sinwave.metrics.nearest import NearestField, stride_for

__all__ = ["SIDE", "CopyReport", "copy_report", "nearest_for_copies"]

SIDE = 24
"""Of the squares that count as copied."""

_PATCH = 7
_VOTES = 3  # patches that must agree on an offset for it to be tried


@dataclass(frozen=True, eq=False)
class CopyReport:
    """What of a sample is copied: figures, and a mask (h, w) that is True there."""

    area: float
    entropy: float
    mask: Tensor


def nearest_for_copies(sample: Tensor, source: Tensor) -> NearestField:
    """The field that `copy_report` asks for, which other figures may use too."""
    return NearestField.of(sample, source, patch=_PATCH, stride=stride_for(sample, source))


def copy_report(
    sample: Tensor, source: Tensor, *, side: int = SIDE, tolerance: int = 3, field: NearestField | None = None
) -> CopyReport:
    """What of `sample` (c, h, w) is in `source` (c, h', w') too, both uint8; `field` is `nearest_for_copies` of them.

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


def _entropy(counts: Tensor) -> float:
    total = int(counts.sum())
    shares = counts.double() / total
    return -(shares * shares.log()).sum().item() / math.log(total) if total > 1 else 0.0


def _equal(sample: Tensor, source: Tensor, offset: list[int], tolerance: int) -> Tensor:
    """Where sample[y, x] and source[y + down, x + right] are equal in all channels: (h, w)."""
    equal = torch.zeros(sample.shape[1:], dtype=torch.bool, device=sample.device)
    ours, theirs = [], []
    for shift, new, old in zip(offset, sample.shape[1:], source.shape[1:], strict=True):
        first, last = max(0, -shift), min(new, old - shift)
        if first >= last:
            return equal
        ours.append(slice(first, last))
        theirs.append(slice(first + shift, last + shift))
    difference = sample[:, ours[0], ours[1]] - source[:, theirs[0], theirs[1]]
    equal[ours[0], ours[1]] = (difference.abs() <= tolerance).all(0)
    return equal


def _squares(mask: Tensor, side: int) -> Tensor:
    """The union of all squares of `side` inside a mask (h, w): its opening."""
    if min(mask.shape) < side:
        return torch.zeros_like(mask)
    corners = _box_sums(mask, side) == side**2
    if not corners.any():
        return torch.zeros_like(mask)
    edge = side - 1
    return _box_sums(functional.pad(corners, (edge, edge, edge, edge)), side) > 0


def _box_sums(mask: Tensor, side: int) -> Tensor:
    """How many are True in each square of `side`: (h, w) -> (h - side + 1, w - side + 1)."""
    table = functional.pad(mask.cumsum(0).cumsum(1), (1, 0, 1, 0))
    return table[side:, side:] - table[:-side, side:] - table[side:, :-side] + table[:-side, :-side]
