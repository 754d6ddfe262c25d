"""A function of pictures of any size, computed on overlapping tiles and blended.

    result = sum_i w_i f(x_i) / sum_i w_i,      w = exp(-u^2 / (2 s^2)),  u from -1/2 to 1/2 across a tile,  s = .1

The weights are Gaussian (Jimenez, "Mixture of diffusers", 2023), so at the border of a tile nearly nothing of it is
left. If one tile covers all, the result is that of the function itself.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor

from sinwave.systems.tiled import starts

__all__ = ["blended"]

_DEVIATION = 0.1
_OVERLAP = 1 / 4


def blended(function: Callable[[Tensor], Tensor], x: Tensor, side: int, multiple: int = 1) -> Tensor:
    """Compute f(x) of (b, c, h, w) by tiles of `side` at the most; tiles begin at multiples of `multiple`.

    f may change the channels and, by one ratio, both sides.
    """
    rows, columns = (starts(length, side, _OVERLAP, multiple) for length in x.shape[2:])
    if len(rows) == len(columns) == 1:
        return function(x)
    total: Tensor | None = None
    weights = x.new_zeros(())
    for top in rows:
        for left in columns:
            tile = x[:, :, top : top + side, left : left + side]
            part = function(tile)
            ratio = Fraction(part.shape[2], tile.shape[2])
            if total is None:
                height, width = (int(ratio * length) for length in x.shape[2:])
                total = part.new_zeros(*part.shape[:2], height, width)
                weights = part.new_zeros(1, 1, height, width)
            down, right = int(ratio * top), int(ratio * left)
            weight = _weight(part)
            inside = (..., slice(down, down + part.shape[2]), slice(right, right + part.shape[3]))
            total[inside] += weight * part
            weights[inside] += weight
    assert total is not None
    return total.div_(weights)


def _weight(part: Tensor) -> Tensor:
    """Weights (1, 1, h, w) of a tile."""
    ramps = [
        torch.exp(-(((torch.arange(length) + 0.5) / length - 0.5) ** 2) / (2 * _DEVIATION**2))
        for length in part.shape[2:]
    ]
    return (ramps[0][:, None] * ramps[1])[None, None].to(part)
