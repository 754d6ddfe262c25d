"""uint8 in [0, 255] <-> float in [-1, 1].

    x = v / 127.5 - 1        v = round(127.5 (x + 1)), clamped to [0, 255]

so that 0 and 255 are exactly -1 and 1, and all 256 values survive the round trip.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sinwave.errors import InputError

__all__ = ["from_uint8", "looks_grey", "to_uint8"]


def from_uint8(values: Tensor) -> Tensor:
    """uint8 values of any shape as float32 in [-1, 1]."""
    if values.dtype != torch.uint8:
        raise InputError(f"from_uint8 takes a uint8 tensor, not {values.dtype}")
    return values.to(torch.float32) / 127.5 - 1


def to_uint8(image: Tensor) -> Tensor:
    """Float values in [-1, 1], rounded to the nearest of 256 levels; what lies outside is clamped."""
    if not image.is_floating_point():
        raise InputError(f"to_uint8 takes a float tensor in [-1, 1], not {image.dtype}")
    # The extremes are NaN if anything is; asking each number would need as much memory again.
    if not all(extreme.isfinite() for extreme in image.aminmax()):
        raise InputError("the image holds NaN or infinite values, which no picture file can show")
    # Half precision cannot count to 255 in steps of a half.
    return (image.to(torch.float32) + 1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def looks_grey(image: Tensor) -> bool:
    """Whether the channels of (3, h, w) are the same but for what computing leaves: less than a dozen gray levels."""
    return bool((image.amax(0) - image.amin(0)).max() < _COLORLESS)


_COLORLESS = 0.1
