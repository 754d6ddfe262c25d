"""A plain convolutional network that predicts a residual of a picture.

    head 3 x 3  ->  n times x + conv3(relu(x))  ->  conv3(relu(x))

An output depends on n + 2 positions to each side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ResidualNetwork", "convolution"]


@final
class ResidualNetwork(nn.Module):
    """Network (b, c, h, w) -> (b, c, h, w), zero until it is trained; `draw(shape, name)` gives its random weights.

    They are scaled so that activations keep their size (He et al., 2015).
    """

    def __init__(self, channels: int, width: int, blocks: int, draw: Callable[[torch.Size, str], Tensor]) -> None:
        super().__init__()
        self.head = convolution(channels, width)
        self.blocks = nn.ModuleList(convolution(width, width) for _ in range(blocks))
        self.tail = convolution(width, channels)
        self.radius = blocks + 2
        for name, parameter in self.named_parameters():
            nn.init.zeros_(parameter)
            if name.endswith("weight") and not name.startswith("tail"):
                parameter.data.copy_(draw(parameter.shape, name) * math.sqrt(2 / parameter[0].numel()))

    def forward(self, x: Tensor) -> Tensor:
        """Predict the residual of x from `radius` positions to each side; outside of x is zero."""
        x = self.head(x)
        for block in self.blocks:
            x = x + block(functional.relu(x))
        answer: Tensor = self.tail(functional.relu(x))
        return answer


def convolution(before: int, after: int) -> nn.Conv2d:
    """Make a 3 x 3 convolution and leave the global generator, which the constructor uses, as it was."""
    # Not skip_init: it imports sympy, half a second of every command.
    with torch.random.fork_rng(devices=[]):
        return nn.Conv2d(before, after, 3, padding=1)
