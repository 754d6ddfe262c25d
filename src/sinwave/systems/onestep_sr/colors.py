"""Colors of one picture with the detail of another.

wavelet    result - low(result) + low(reference),   low: five blurs by [1 2 1] / 4, each twice as wide
adain      (result - mean) / deviation, with mean and deviation of the reference, channel by channel
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Colors", "aligned", "low_band"]

Colors: TypeAlias = Literal["wavelet", "adain", "none"]

_LEVELS = 5
_LEAST = 1e-5
"""Added to a variance."""


def aligned(result: Tensor, reference: Tensor, colors: Colors) -> Tensor:
    """Give a result (b, 3, h, w) the colors of a reference of the same size."""
    if colors == "none":
        return result
    if colors == "wavelet":
        return result - low_band(result) + low_band(reference)
    (mean, deviation), (wanted, spread) = _moments(result), _moments(reference)
    return (result - mean) / deviation * spread + wanted


def low_band(picture: Tensor) -> Tensor:
    """Blur a picture five times; its edge is repeated beyond the border."""
    kernel = picture.new_tensor([0.25, 0.5, 0.25])
    channels = picture.shape[1]
    for level in range(_LEVELS):
        width = 1 << level
        for axis in (2, 3):
            shape = (3, 1) if axis == 2 else (1, 3)
            sides = (0, 0, width, width) if axis == 2 else (width, width, 0, 0)
            weight = kernel.reshape(1, 1, *shape).expand(channels, -1, -1, -1)
            padded = functional.pad(picture, sides, mode="replicate")
            picture = functional.conv2d(padded, weight, dilation=width, groups=channels)
    return picture


def _moments(picture: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(picture, (2, 3), keepdim=True)
    return mean, (variance + _LEAST).sqrt()
