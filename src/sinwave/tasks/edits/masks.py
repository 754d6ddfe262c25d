"""Masks: how much each pixel may change, (1, 1, h, w), from 0, kept to the bit, to 1, redrawn."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.resize import resize

__all__ = ["feathered", "fitted", "spread"]


def fitted(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask (1, 1, h, w) of any size, stretched; one of hard edges keeps them."""
    hard = bool(((mask == 0) | (mask == 1)).all())
    if hard:
        return (resize(mask, size, "area") >= 0.5).to(mask)
    return resize(mask, size, "bilinear").clamp(0, 1)


def spread(mask: Tensor, pixels: int) -> Tensor:
    """Grown by so many pixels to every side."""
    return functional.max_pool2d(mask, 2 * pixels + 1, 1, pixels) if pixels else mask


def feathered(mask: Tensor, pixels: int) -> Tensor:
    """With a soft edge outside: as it was where it was not 0, and 0 from `pixels` away on.

    Two boxes, each half as wide as the edge, are drawn over the mask grown by half of it: a smooth ramp with an end.
    """
    reach = pixels // 4
    if reach == 0:
        return mask
    soft = spread(mask, 2 * reach)
    for _ in range(2):
        padded = functional.pad(soft, (reach,) * 4, mode="replicate")
        soft = functional.avg_pool2d(padded, 2 * reach + 1, 1)
    return torch.maximum(mask, soft.clamp(0, 1))
