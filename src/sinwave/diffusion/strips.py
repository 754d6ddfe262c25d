"""Arithmetic of pictures that fill the memory: strip by strip, nothing in between is as large as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

__all__ = ["Draw", "by_strips"]

STRIP = 1 << 22
"""Numbers of a picture in a strip."""

Draw: TypeAlias = Callable[..., Tensor]
"""`draw(shape, *key) -> noise`, for each key its own."""


def by_strips(
    compute: Callable[..., Tensor],
    x: Tensor,
    *others: Tensor | None,
    draw: Draw | None = None,
    into: Tensor | None = None,
) -> Tensor:
    """`compute(x, *others)`, of the shape of x, if every number of it depends on the same row of all tensors alone.

    All are `(b, c, h, w)` with the same h; the result is the same to the last bit. With `draw` there is noise of the
    same shape as a last argument, each strip with its own; of a large x the result may be put `into` x itself.
    """
    if x.dim() != 4 or x[0].numel() <= STRIP:
        return compute(x, *others, *([draw(x.shape)] if draw else []))
    height = x.shape[2]
    rows = max(1, STRIP * height // x[0].numel())  # whoever else is in the batch
    result = torch.empty_like(x) if into is None else into
    for first in range(0, height, rows):
        strip = slice(first, first + rows)
        parts = [None if each is None else each[:, :, strip] for each in (x, *others)]
        if draw:
            parts.append(draw(x[:, :, strip].shape, "rows", first))
        result[:, :, strip] = compute(*parts)
    return result
