"""The part of a training that a system defines; the loop does the rest.

    players      parameters that move together, each player by optimizers and a learning rate of its own
    updates      the losses of one step, one by one: the generator goes on when the player named has moved

Diffusion yields once a step, a GAN once for each move of a player. Frozen networks, such as a perceptual loss, a
teacher or a base model, may be inside of `kept` or beside it: neither averages, nor states, nor files hold them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from sinwave.training.optimizer import Optimizer

__all__ = ["Player", "Recipe", "Update"]

B = TypeVar("B")
"""A batch, whatever it is to the recipe."""


class Update(NamedTuple):
    """The loss, a scalar, that a player lowers next, and numbers for the log."""

    player: str
    loss: Tensor
    logs: Mapping[str, Tensor | float] = MappingProxyType({})


class Player(NamedTuple):
    """Parameters that move together.

    optimizers      each moves a part of them, and together they move all
    rate_at         the learning rate of a step counted from 0, which the schedule of the training scales
    clip            the largest norm of their gradient
    """

    parameters: tuple[nn.Parameter, ...]
    optimizers: tuple[Optimizer, ...]
    rate_at: Callable[[int], float]
    clip: float | None = 1.0


class Recipe(ABC, Generic[B]):
    """The training of one system."""

    @property
    @abstractmethod
    def kept(self) -> nn.Module:
        """The network that is averaged and saved: its trainable parameters, and the buffers beside them."""

    @property
    @abstractmethod
    def companions(self) -> Mapping[str, nn.Module]:
        """Networks that are trained too and then forgotten, such as a critic: a training that goes on needs them."""

    @property
    @abstractmethod
    def players(self) -> Mapping[str, Player]:
        """The players by name, with optimizers that have seen no gradient yet."""

    @abstractmethod
    def updates(self, batch: B, generator: torch.Generator) -> Iterator[Update]:
        """The losses of a step on a batch, all of whose random numbers come from `generator`, or from its seed."""

    @abstractmethod
    def held_out(self) -> Mapping[str, float]:
        """Losses on draws that are always the same and that no step has: `loss` is the one that should fall."""
