"""What the training task asks of a system.

    Choice -> Fitting -> plan -> Course

What was chosen is known without a picture; the fitting is put together from it and the pictures; the plan is what has
to be measured on this machine, once, and is kept with the run; and the course is the training that follows from both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from sinwave.images import Picture
from sinwave.systems.contracts import SingleImageModel
from sinwave.systems.files import ModelFile
from sinwave.training.loop import Budget
from sinwave.training.recipe import Recipe
from sinwave.training.schedule import Trapezoid

__all__ = ["Choice", "Course", "Fitting", "TrainedModel", "Wanted"]


class TrainedModel(Protocol):
    """The content of a model file, ready to draw."""

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """What it was trained on."""

    @property
    def best_engine(self) -> str:
        """What draws unless the user says otherwise."""

    def model(
        self, engine: str, device: torch.device, dtype: torch.dtype, convolutions: torch.dtype | None = None
    ) -> SingleImageModel:
        """The model that draws with `engine`; networks as they were trained unless told."""

    def to_file(self, provenance: Mapping[str, Any]) -> ModelFile:
        """The content of the model file."""


class Wanted(NamedTuple):
    """What the user wants of a training: how long, and how it is computed."""

    steps: int | None
    minutes: float | None
    precision: str


class Course(NamedTuple):
    """One training: `effort` is the work of the first so many steps, in any unit, and `shows` when there is a sheet."""

    recipe: Recipe
    budget: Budget
    schedule: Trapezoid
    average: float
    numerics: str
    trained: Callable[[Mapping[str, Tensor]], TrainedModel]
    effort: Callable[[int], float] = float
    shows: Callable[[int], bool] = lambda step: True


class Fitting(Protocol):
    """All that a training needs, on its device."""

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """What is learned from, as it is kept in the file."""

    @property
    def device(self) -> torch.device:
        """Where."""

    @property
    def parameters(self) -> int:
        """How many numbers are kept."""

    @property
    def memory(self) -> float:
        """Bytes that the training takes at the most, about."""

    def plan(self, wanted: Wanted, on_try: Callable[[str], None]) -> Mapping[str, Any]:
        """What has to be measured, as plain JSON; `on_try` is told what is being measured."""

    def course(self, plan: Mapping[str, Any], wanted: Wanted) -> Course:
        """The training; a plan that makes no sense is a `KeyError`, a `TypeError` or a `ValueError`."""


class Choice(Protocol):
    """A system with its options."""

    def facts(self) -> Mapping[str, Any]:
        """What must be the same for a training to go on; `receptive field` is among it, in positions of a scale."""

    def begin(self, pictures: Sequence[Picture], seed: int, device: torch.device) -> Fitting:
        """Weights from the seed, the same on every device."""
