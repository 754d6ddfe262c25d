"""A convolutional network with a bounded receptive field: it cannot memorize the layout beyond it.

    head 1 x 1  ->  n blocks  ->  tail 1 x 1
    block       x + conv(gelu(a conv3(gelu(spread(x))) + b)),       a and b from the noise level and the scale

With a 1 x 1 second convolution a block widens the field by one position to every side, so a narrow field still has many
layers and channels. There is no attention, no pooling and no norm over space. With kernels of k, 3 and l,

    receptive field = 1 + n (k - 1 + 2 + l - 1)        positions along a side

holds exactly, so the network may be applied tile by tile. Outside of the picture the input is zero, and an extra
channel is 1 there: so the network sees the borders of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["LocalNetwork", "LocalShape"]


@dataclass(frozen=True)
class LocalShape:
    """Size of a network: a block has a depthwise kernel of side `spread` (1: none), one of 3, and one of `second`.

    The network reads `channels` and `guides`, and predicts `channels`.
    """

    channels: int = 12
    guides: int = 0
    width: int = 72
    blocks: int = 8
    spread: int = 1
    second: int = 1

    @property
    def field(self) -> int:
        """Side of the receptive field, in positions."""
        return 1 + self.blocks * (self.spread - 1 + 2 + self.second - 1)

    @property
    def radius(self) -> int:
        """Positions to each side that an output depends on."""
        return self.field // 2


@final
class LocalNetwork(nn.Module):
    """F(x, outside; log ratio, scale), fully convolutional, with a receptive field of `shape.field`."""

    def __init__(self, shape: LocalShape) -> None:
        super().__init__()
        self.shape = shape
        self.clock = nn.Sequential(
            nn.Linear(2 * _FREQUENCIES, shape.width), nn.GELU(), nn.Linear(shape.width, shape.width), nn.GELU()
        )
        self.head = nn.Conv2d(shape.channels + shape.guides + 1, shape.width, 1)
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.blocks))
        self.tail = nn.Conv2d(shape.width, shape.channels, 1)
        _silence(self.tail)  # so that training begins from the best linear estimate

    @property
    def hidden(self) -> tuple[nn.Parameter, ...]:
        """Matrices and kernels, except depthwise ones and those of head and tail."""
        return tuple(
            parameter
            for name, parameter in self.named_parameters()
            if parameter.ndim > 1 and parameter.shape[1] > 1 and not name.startswith(("head", "tail"))
        )

    def forward(self, x: Tensor, outside: Tensor, ratio: Tensor, scale: Tensor) -> Tensor:
        """Predict (b, c, h, w) from x with guides (b, c + g, h, w), outside (b, 1, h, w), and ratio and scale (b,).

        `outside` is 1 outside of the picture, else 0.
        """
        waves = torch.cat([_waves(ratio, 0.25), _waves(scale, 1.0)], 1)
        clock = self.clock(waves.to(self.head.weight.dtype))
        x = self.head(torch.cat([x * (1 - outside), outside], 1))
        for block in self.blocks:
            x = block(x, clock)
        answer: Tensor = self.tail(functional.gelu(x))
        return answer


class _Block(nn.Module):
    def __init__(self, shape: LocalShape) -> None:
        super().__init__()
        width, spread, second = shape.width, shape.spread, shape.second
        self.spread = (
            nn.Conv2d(width, width, spread, padding=spread // 2, groups=width) if spread > 1 else nn.Identity()
        )
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, second, padding=second // 2)
        self.modulation = nn.Linear(width, 2 * width)
        _silence(self.second)
        _silence(self.modulation)

    def forward(self, x: Tensor, clock: Tensor) -> Tensor:
        scale, shift = self.modulation(clock)[:, :, None, None].chunk(2, 1)
        y = self.first(functional.gelu(self.spread(x)))
        change: Tensor = self.second(functional.gelu(torch.addcmul(shift, y, 1 + scale)))
        return x + change


def _silence(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


_FREQUENCIES = 16


def _waves(position: Tensor, least: float) -> Tensor:
    """Sinusoidal embedding (b,) -> (b, frequencies), with wavelengths from 2 pi / `least` down by factors of sqrt 2."""
    rates = least * torch.exp2(torch.arange(_FREQUENCIES // 2, device=position.device, dtype=torch.float32) / 2)
    angles = position.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], 1)
