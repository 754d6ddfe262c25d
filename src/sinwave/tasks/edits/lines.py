"""Places along a line that is continued beyond its ends."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["mirrored", "wrapped"]


def mirrored(side: int, before: int, after: int) -> Tensor:
    """Of `before` places, a line of `side`, and `after` places (less than 0 cuts): where each is in the line's mirror.

    1 0 | 0 1 2 | 2 1 0 | 0 ...
    """
    place = torch.arange(-before, side + after) % (2 * side)
    return torch.where(place < side, place, 2 * side - 1 - place)


def wrapped(side: int, margin: int) -> Tensor:
    """Of a line of `side` with a margin at each end: where each place is between the margins, which repeats.

    2 3 | 2 3 | 2 3      side 6, margin 2
    """
    return margin + (torch.arange(side) - margin) % (side - 2 * margin)
