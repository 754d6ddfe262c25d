"""Arithmetic of pictures that fill the memory: strip by strip, nothing in between is as large as they are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["by_strips"]

STRIP = 1 << 22
"""Numbers in a strip."""


def by_strips(compute: Callable[..., Tensor], x: Tensor, *others: Tensor | None) -> Tensor:
    """`compute(x, *others)`, of the shape of x, if every number of it depends on the same row of all tensors alone.

    All are `(b, c, h, w)` with the same h; the result is the same to the last bit.
    """
    if x.numel() <= STRIP or x.dim() != 4:
        return compute(x, *others)
    height = x.shape[2]
    rows = max(1, STRIP * height // x.numel())
    result = torch.empty_like(x)
    for first in range(0, height, rows):
        strip = slice(first, first + rows)
        parts = [None if each is None else each[:, :, strip] for each in (x, *others)]
        result[:, :, strip] = compute(*parts)
    return result
