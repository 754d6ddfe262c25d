"""How many scales a picture has; told without torch, so that `sinwave info` is instant."""

from __future__ import annotations

import math

__all__ = ["levels_for"]

SHORT_SIDE = 24
MOST_POSITIONS = 4096


def levels_for(size: tuple[int, int]) -> int:
    """How many levels of the transform leave about 24 positions along the short side of a picture (height, width).

    There the patches that decide the layout cover half of the picture. A long strip gets more levels, so that its
    coarsest grid has 4096 positions at the most: each is compared with every other.
    """
    height, width = size
    short = round(math.log2(min(size) / SHORT_SIDE))
    area = math.ceil(math.log2(height * width / MOST_POSITIONS) / 2)
    return max(1, short, area)
