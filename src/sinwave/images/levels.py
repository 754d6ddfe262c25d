"""Whole numbers of picture files <-> floats in [-1, 1]; the only place where the range changes.

    float = 2 v / top - 1        v = round(top (float + 1) / 2), clamped to [0, top]        top = 255 or 65535

All values survive the way there and back.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sinwave.errors import InputError

__all__ = ["from_uint8", "from_words", "looks_gray", "to_uint8", "to_words"]

_COLORLESS = 0.1  # a dozen gray levels


def from_uint8(values: Tensor) -> Tensor:
    """uint8 values of any shape as float32 in [-1, 1]."""
    if values.dtype != torch.uint8:
        raise InputError(f"from_uint8 takes a uint8 tensor, not {values.dtype}")
    return values.to(torch.float32) / 127.5 - 1


def to_uint8(image: Tensor) -> Tensor:
    """Float values in [-1, 1], rounded to the nearest of 256 levels; what lies outside is clamped."""
    if not image.is_floating_point():
        raise InputError(f"to_uint8 takes a float tensor in [-1, 1], not {image.dtype}")
    _check(image)
    # Half precision cannot count to 255 in steps of a half.
    return (image.to(torch.float32) + 1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def from_words(values: npt.NDArray[np.uint16]) -> Tensor:
    """Turn words (h, w, c) into float32 (c, h, w) in [-1, 1]."""
    return (torch.from_numpy(values.astype(np.float32)) / 32767.5 - 1).permute(2, 0, 1).contiguous()


def to_words(image: Tensor) -> npt.NDArray[np.uint16]:
    """Turn (c, h, w) in [-1, 1] into words (h, w, c), each rounded to the nearest of 65536 levels."""
    _check(image)
    levels = (image.to(torch.float32) + 1).mul_(32767.5).round_().clamp_(0, 65535)
    words: npt.NDArray[np.uint16] = levels.permute(1, 2, 0).contiguous().numpy().astype(np.uint16)
    return words


def looks_gray(image: Tensor) -> bool:
    """Whether the channels of (3, h, w) are the same but for what computing leaves: less than a dozen gray levels."""
    return bool((image.amax(0) - image.amin(0)).max() < _COLORLESS)


def _check(image: Tensor) -> None:
    # The extremes are NaN if anything is; asking each number would need as much memory again.
    if not all(extreme.isfinite() for extreme in image.aminmax()):
        raise InputError("the image holds NaN or infinite values, which no picture file can show")
