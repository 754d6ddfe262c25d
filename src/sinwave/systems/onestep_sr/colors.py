"""Colors of one picture with the detail of another.

wavelet    result - low(result) + low(reference),   low: five blurs by [1 2 1] / 4, each twice as wide
adain      (result - mean) / deviation, with mean and deviation of the reference, channel by channel
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.systems.contracts import Colors

__all__ = ["aligned", "low_band"]

_LEVELS = 5
_LEAST = 1e-5
"""Added to a variance."""


def aligned(result: Tensor, reference: Tensor, colors: Colors) -> Tensor:
    """Give a result (b, 3, h, w) the colors of a reference of the same size."""
    if colors == "none":
        return result
    if colors == "wavelet":
        return result + low_band(reference - result)
    (mean, deviation), (wanted, spread) = _moments(result), _moments(reference)
    return (result - mean) / deviation * spread + wanted


def low_band(picture: Tensor) -> Tensor:
    """Blur a picture five times; its edge is repeated beyond the border."""
    return torch.cat([_blurred(channel) for channel in torch.split(picture, 1, 1)], 1)


def _blurred(channel: Tensor) -> Tensor:
    """Blur (b, 1, h, w): one channel at a time takes less memory."""
    kernel = channel.new_tensor([0.25, 0.5, 0.25])
    for level in range(_LEVELS):
        width = 1 << level
        for shape, sides in (((3, 1), (0, 0, width, width)), ((1, 3), (width, width, 0, 0))):
            padded = functional.pad(channel, sides, mode="replicate")
            channel = functional.conv2d(padded, kernel.reshape(1, 1, *shape), dilation=width)
    return channel


def _moments(picture: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(picture, (2, 3), keepdim=True)
    return mean, (variance + _LEAST).sqrt()
