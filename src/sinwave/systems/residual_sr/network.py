"""A plain network that works in the size of the small picture and enlarges by rearranging channels.

    h_0 = act(conv(x)),        h_k = act(h_{k-1} + conv(h_{k-1})),  k = 1 .. n
    answer = enlarge(x) + shuffle_s(conv_s(h_n))                    (b, 3, h, w) -> (b, 3, s h, s w)

act(x) = max(x, x / 2). `shuffle_s` puts s^2 channels of a position into a square of s x s pixels (Shi et al., 2016),
and there is one last convolution for each factor s; `enlarge` repeats pixels. The sum h + conv(h) is one convolution
whose middle has 1 added, and so it is stored: other programs load such a network (the "compact" layout of Real-ESRGAN,
Wang et al., 2021).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sinwave.nn.residual import convolution

if TYPE_CHECKING:
    from sinwave.systems.residual_sr.detail import DetailNetwork

__all__ = ["FACTORS", "SLOPE", "Draw", "EnlargingNetwork", "Shape", "begin", "hidden", "through"]

Draw: TypeAlias = Callable[[torch.Size, str], Tensor]
"""`draw(shape, name)`: standard normal numbers for the first weights of that name."""

FACTORS = (2, 3, 4)
SLOPE = 0.5
_GAIN = 0.1
"""Each sum begins as a small change of its input."""


@dataclass(frozen=True)
class Shape:
    """Channels inside, sums, and the factors of enlargement."""

    width: int = 64
    blocks: int = 16
    factors: tuple[int, ...] = FACTORS

    @property
    def radius(self) -> int:
        """Positions of the small picture to each side that an output depends on."""
        return self.blocks + 2


@final
class EnlargingNetwork(nn.Module):
    """Network from a small picture to a large one; `draw(shape, name)` gives its random weights."""

    def __init__(self, shape: Shape, draw: Draw | None = None) -> None:
        super().__init__()
        self.shape, width = shape, shape.width
        self.head = convolution(3, width)
        self.body = nn.ModuleList(convolution(width, width) for _ in range(shape.blocks))
        self.tails = nn.ModuleList(convolution(width, 3 * factor**2) for factor in shape.factors)
        if draw is not None:
            begin(self, draw)

    def forward(self, low: Tensor, factor: int) -> Tensor:
        """Enlarge pictures (b, 3, h, w); outside of them is zero."""
        x = through(self.body, functional.leaky_relu(self.head(low), SLOPE))
        detail = functional.pixel_shuffle(self.tails[self.shape.factors.index(factor)](x), factor)
        return detail + functional.interpolate(low, scale_factor=factor, mode="nearest")


def through(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Apply layers one after another: h + conv(h), the sum being part of the kernel, and the activation."""
    for layer in layers:
        x = functional.leaky_relu(layer(x), SLOPE)
    return x


def hidden(layers: nn.ModuleList) -> tuple[nn.Parameter, ...]:
    """List the kernels between the first and the last layer."""
    return tuple(layer.get_parameter("weight") for layer in layers)


@torch.no_grad()
def begin(network: EnlargingNetwork | DetailNetwork, draw: Draw) -> None:
    """Give a network its first weights: heads at random, layers near the identity, and tails that answer 0."""
    for name, parameter in network.named_parameters():
        if name.endswith("weight") and not name.startswith("tails"):
            parameter.copy_(draw(parameter.shape, name) * math.sqrt(2 / parameter[0].numel()))
        else:
            parameter.zero_()
    for kernel in hidden(network.body):
        kernel.mul_(_GAIN).add_(nn.init.dirac_(torch.empty_like(kernel)))
