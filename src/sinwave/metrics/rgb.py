"""A picture as pretrained networks take it: three channels in [-1, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

from sinwave.errors import InputError
from sinwave.images import from_uint8

__all__ = ["rgb"]


def rgb(picture: Tensor, least: int = 1) -> Tensor:
    """uint8 (3, h, w), or (1, h, w) for three equal channels -> float32 (1, 3, h, w); no side is under `least`."""
    if picture.dtype != torch.uint8 or picture.ndim != 3 or picture.shape[0] not in (1, 3):
        raise InputError(f"a network sees uint8 pictures (3 or 1, h, w), not {picture.dtype} {tuple(picture.shape)}")
    height, width = picture.shape[1:]
    if min(height, width) < least:
        raise InputError(f"a picture of {width} x {height} is too small for the network: {least} a side are needed")
    return from_uint8(picture).expand(3, -1, -1)[None]
