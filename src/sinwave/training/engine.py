"""The way a training computes: on one device as the recipe does it, or by the package accelerate.

step        the mean gradient of `parts` batches, whose updates go side by side: first each has the first player's
            loss, then that player moves, then each has the second's
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, TypeVar, final

import torch
from torch import Tensor, nn

from sinwave.errors import InputError, MissingError, one_line

__all__ = ["Accelerated", "Engine", "Plain"]

B = TypeVar("B")


class Engine(ABC):
    """Devices, precision, and how many batches make a step."""

    parts: int
    """Batches that make a step."""

    @abstractmethod
    def prepare(self, network: nn.Module) -> None:
        """Put a network that is trained where it is computed."""

    @abstractmethod
    def place(self, batch: B) -> B:
        """Put the tensors of a batch there."""

    @abstractmethod
    def computing(self) -> AbstractContextManager[Any]:
        """The precision in which a loss is computed."""

    @abstractmethod
    def backward(self, loss: Tensor, parameters: Iterable[nn.Parameter]) -> None:
        """Add a loss's gradients to those of the parameters, and to no others."""


@final
class Plain(Engine):
    """The device and the precision of the recipe, and one batch a step."""

    parts = 1

    def prepare(self, network: nn.Module) -> None:
        """Leave it where the recipe has put it."""

    def place(self, batch: B) -> B:
        return batch

    def computing(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def backward(self, loss: Tensor, parameters: Iterable[nn.Parameter]) -> None:
        loss.backward(inputs=list(parameters))  # type: ignore[no-untyped-call]


@final
class Accelerated(Engine):
    """The one door to accelerate, which finds the device: several batches a step, in mixed precision if asked.

    Frozen networks, and whatever else a recipe has beside `kept` and `companions`, the recipe itself puts on `device`.
    """

    def __init__(self, *, precision: Literal["no", "bf16"] = "no", parts: int = 1, cpu: bool = False) -> None:
        try:
            from accelerate import Accelerator
        except ImportError as error:
            raise MissingError.extra("accelerate", "accelerate") from error
        if parts < 1:
            raise InputError(f"parts is {parts}: it must be 1 or more")
        try:
            self._accelerator, self.parts = Accelerator(mixed_precision=precision, cpu=cpu), parts
        except ValueError as error:  # it has one state a process
            raise InputError(f"precision is {precision!r} and cpu {cpu}: {one_line(str(error))}") from error
        if self._accelerator.num_processes > 1:
            raise InputError(f"there are {self._accelerator.num_processes} processes: a training has one")
        self.device: torch.device = self._accelerator.device

    def prepare(self, network: nn.Module) -> None:
        network.to(self.device)

    def place(self, batch: B) -> B:
        """Move its tensors to the device, in whatever tuples, lists and mappings they are."""
        from accelerate.utils import send_to_device

        placed: B = send_to_device(batch, self.device)
        return placed

    def computing(self) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self._accelerator.autocast()
        return context

    def backward(self, loss: Tensor, parameters: Iterable[nn.Parameter]) -> None:
        self._accelerator.backward(loss, inputs=list(parameters))
