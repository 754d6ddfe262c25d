"""Pictures as metrics take them apart: gray levels, the input of a network, a Laplacian pyramid, strips of patches."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.images import from_uint8
from sinwave.resize import resize

__all__ = ["ELEMENTS", "LEAST_DEVIATION", "centered", "laplacian", "rgb", "size_of", "strips", "weighted"]

ELEMENTS = 1 << 24
"""Numbers in the largest temporary: 64 MB of float32."""

LEAST_DEVIATION = 0.5
"""Gray levels: rounding alone makes an empty band deviate by about as much."""


def centered(picture: Tensor, least: int) -> Tensor:
    """Gray levels from -128 to 127 as float32 (1, c, h, w)."""
    if picture.dtype != torch.uint8 or picture.ndim != 3:
        raise InputError(f"a picture to measure is uint8 (c, h, w), not {picture.dtype} {tuple(picture.shape)}")
    _check_sides(picture, least, "its patches")
    return picture[None].float() - 128


def rgb(picture: Tensor, least: int = 1) -> Tensor:
    """uint8 (3, h, w), or (1, h, w) for three equal channels -> float32 (1, 3, h, w); no side is under `least`."""
    _check_channels(picture)
    _check_sides(picture, least, "the network")
    return from_uint8(picture).expand(3, -1, -1)[None]


def weighted(picture: Tensor, weights: tuple[float, float, float]) -> Tensor:
    """w_r R + w_g G + w_b B in float64: uint8 (3 or 1, h, w) -> (h, w)."""
    _check_channels(picture)
    channels: Tensor = torch.tensor(weights, dtype=torch.float64)[:, None, None] * picture.cpu().double()
    return channels.sum(0)


def _check_channels(picture: Tensor) -> None:
    if picture.dtype != torch.uint8 or picture.ndim != 3 or picture.shape[0] not in (1, 3):
        kind = f"{picture.dtype} {tuple(picture.shape)}"
        raise InputError(f"this is measured of uint8 pictures (3 or 1, h, w), not of {kind}")


def _check_sides(picture: Tensor, least: int, purpose: str) -> None:
    if min(picture.shape[1:]) < least:
        raise InputError(f"a picture of {size_of(picture.shape)} is too small for {purpose}: {least} a side are needed")


def size_of(shape: torch.Size) -> str:
    """Width x height, as sentences have it."""
    return f"{shape[-1]} x {shape[-2]}"


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
    """The detail that each scale adds to the next coarser one, finest first, and the coarsest scale itself."""
    bands = []
    for _ in range(scales - 1):
        size = (picture.shape[2], picture.shape[3])
        coarse = resize(picture, ((size[0] + 1) // 2, (size[1] + 1) // 2))
        bands.append(picture - resize(coarse, size))
        picture = coarse
    return [*bands, picture]
