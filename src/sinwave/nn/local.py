"""A convolutional network whose receptive field is bounded, and known: what is farther away cannot be memorized.

    head 1 x 1  ->  n blocks  ->  tail 1 x 1
    block       x + conv(gelu(a conv3(gelu(spread(x))) + b)),       a and b from the level of noise and the scale

Where the second convolution is 1 x 1 a block sees one position farther to every side, so that for a narrow field there
are many layers and channels. There is no attention, no pooling and no norm over space, and with kernels of k, 3 and l,

    receptive field = 1 + n (k - 1 + 2 + l - 1)        positions along a side

holds exactly, and the network may be applied piece by piece. Outside of the picture the input is zero, with a channel
that says so: that is how the network knows where the sky ends.
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
    """The size of a network: a block begins with a depthwise kernel `spread`, 1 for none, and ends with `second`.

    Beside the `channels` that it answers it may see `guides` that it does not.
    """

    channels: int = 12
    guides: int = 0
    width: int = 72
    blocks: int = 8
    spread: int = 1
    second: int = 1

    @property
    def field(self) -> int:
        """Positions along a side that an output depends on."""
        return 1 + self.blocks * (self.spread - 1 + 2 + self.second - 1)

    @property
    def radius(self) -> int:
        """How far an output sees to each side."""
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
        _silence(self.tail)  # the best linear estimate is where training begins

    @property
    def hidden(self) -> tuple[nn.Parameter, ...]:
        """The matrices and kernels inside, without those of head and tail, and without depthwise ones."""
        return tuple(
            parameter
            for name, parameter in self.named_parameters()
            if parameter.ndim > 1 and parameter.shape[1] > 1 and not name.startswith(("head", "tail"))
        )

    def forward(self, x: Tensor, outside: Tensor, ratio: Tensor, scale: Tensor) -> Tensor:
        """(b, c, h, w) from x with guides (b, c + g, h, w), outside (b, 1, h, w), 1 off the picture, and (b,) each."""
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
    """Sinusoidal embedding (b,) -> (b, frequencies), of wavelengths from 2 pi / `least` down by factors of sqrt 2."""
    rates = least * torch.exp2(torch.arange(_FREQUENCIES // 2, device=position.device, dtype=torch.float32) / 2)
    angles = position.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], 1)
