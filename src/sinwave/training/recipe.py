"""What a system says of its training; the loop does the rest.

    groups       which parameters move together, with optimizers of their own
    updates      the losses of one step, one by one: the generator goes on when the optimizers of the group have stepped

Diffusion yields once a step, a GAN once a player.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor, nn

__all__ = ["Group", "Recipe", "Update"]


class Update(NamedTuple):
    """The loss, a scalar, that the optimizer of a group lowers next, and numbers for the log.

    `share` is that of the group's rate, for a group that has a schedule of its own beside that of the whole training.
    """

    group: str
    loss: Tensor
    logs: Mapping[str, Tensor | float] = MappingProxyType({})
    share: float = 1.0


@dataclass(frozen=True, eq=False)
class Group:
    """Parameters and how they move: `rate` is the largest learning rate, `clip` the largest norm of the gradient.

    Muon moves the `matrices` among them and AdamW the others, each at its part of the rate if there are `factors`. The
    first of `betas` is the momentum of both.
    """

    parameters: tuple[nn.Parameter, ...]
    rate: float
    matrices: tuple[nn.Parameter, ...] = ()
    factors: tuple[float, ...] = ()
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    clip: float | None = 1.0


class Recipe(ABC):
    """The training of one system."""

    @property
    @abstractmethod
    def module(self) -> nn.Module:
        """What is averaged and kept."""

    @property
    @abstractmethod
    def companions(self) -> Mapping[str, nn.Module]:
        """Networks that are trained too and then forgotten, such as a critic: a training that goes on needs them."""

    @abstractmethod
    def groups(self) -> Mapping[str, Group]:
        """By name."""

    @abstractmethod
    def updates(self, seed: int) -> Iterator[Update]:
        """The losses of a step, all of whose random numbers come from `seed`."""

    @abstractmethod
    def held_out(self) -> Mapping[str, float]:
        """Losses on draws that are always the same and that no step has: `loss` is the one that should fall."""
