"""Pictures as metrics take them apart: gray levels, the bands of a Laplacian pyramid, strips of patches."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.resize import resize

__all__ = ["ELEMENTS", "LEAST_DEVIATION", "centered", "laplacian", "strips"]

ELEMENTS = 1 << 24
"""Numbers in the largest temporary: 64 MB of float32."""

LEAST_DEVIATION = 0.5
"""Of a gray level: what rounding alone makes of a band that is empty."""


def centered(picture: Tensor, least: int) -> Tensor:
    """Gray levels from -128 to 127 as float32 (1, c, h, w)."""
    if picture.dtype != torch.uint8 or picture.ndim != 3:
        raise InputError(f"a picture to measure is uint8 (c, h, w), not {picture.dtype} {tuple(picture.shape)}")
    height, width = picture.shape[1:]
    if min(height, width) < least:
        raise InputError(f"a picture of {width} x {height} is too small for its patches: {least} a side are needed")
    return picture[None].float() - 128


def strips(picture: Tensor, patch: int, stride: int, most: int) -> Iterator[Tensor]:
    """The patches (n, c p p) of a picture (1, c, h, w), some rows of them at a time: about `most`, or one row."""
    height, width = picture.shape[2:]
    rows, columns = ((side - patch) // stride + 1 for side in (height, width))
    step = max(1, most // columns)
    for first in range(0, rows, step):
        last = min(first + step, rows) - 1
        strip = picture[:, :, first * stride : last * stride + patch]
        yield functional.unfold(strip, patch, stride=stride)[0].T


def laplacian(picture: Tensor, scales: int) -> list[Tensor]:
    """What each scale adds to the next coarser one, finest first, and the coarsest itself."""
    bands = []
    for _ in range(scales - 1):
        size = (picture.shape[2], picture.shape[3])
        coarse = resize(picture, ((size[0] + 1) // 2, (size[1] + 1) // 2))
        bands.append(picture - resize(coarse, size))
        picture = coarse
    return [*bands, picture]
