"""A plain convolutional network for what is missing of a picture.

    head 3 x 3  ->  n times x + conv3(relu(x))  ->  conv3(relu(x))

An answer depends on n + 2 positions to each side.
"""

from __future__ import annotations

from typing import final

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ResidualNetwork"]


@final
class ResidualNetwork(nn.Module):
    """(b, c, h, w) -> (b, c, h, w), all zero until it is trained; weights are drawn where the caller has seeded."""

    def __init__(self, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(blocks))
        self.tail = nn.Conv2d(width, channels, 3, padding=1)
        self.radius = blocks + 2
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """The answer to x, that sees `radius` positions to each side; outside is zero."""
        x = self.head(x)
        for block in self.blocks:
            x = x + block(functional.relu(x))
        answer: Tensor = self.tail(functional.relu(x))
        return answer
