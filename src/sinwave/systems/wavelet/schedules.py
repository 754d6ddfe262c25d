"""How a scale is walked: the times, the sampler, and how a walk begins later so that less is changed."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import final

from sinwave.diffusion.sample import flow_times
from sinwave.diffusion.samplers import Ddim, Sampler

__all__ = ["RatioSchedule", "Schedule", "StepSchedule"]


@dataclass(frozen=True)
class Schedule(ABC):
    """The walk of a scale."""

    sampler: Sampler = field(default=Ddim(), kw_only=True)

    @property
    @abstractmethod
    def times(self) -> tuple[float, ...]:
        """The times of the process, falling to 0."""

    @abstractmethod
    def starting_at(self, strength: float) -> Schedule:
        """The last part of this walk: nothing changes at strength 0, all is new at 1."""


@final
@dataclass(frozen=True)
class RatioSchedule(Schedule):
    """`steps` steps of `Flow` whose noise-to-signal ratio falls from `high` to `low` by equal factors.

    At the ratio `middle` half of a picture is recognized.
    """

    steps: int
    high: float
    low: float
    middle: float = 3.2

    @property
    def times(self) -> tuple[float, ...]:
        """The times of the process."""
        return flow_times(self.steps, self.low, self.high)

    def starting_at(self, strength: float) -> RatioSchedule:
        """The last part of this walk, its steps as long as before: nothing changes at strength 0, all is new at 1.

        High-dimensional patches are recognized in much noise and then nearly at once, so the strengths are spread
        around `middle`: strength = ratio^2 / (ratio^2 + middle^2), the share of noise in the power of the start if the
        signal is weighted with `middle`.
        """
        if self.high == self.low:
            return self
        ratio = self.middle * math.sqrt(strength / (1 - strength)) if strength < 1 else self.high
        high = min(max(ratio, self.low), self.high)
        share = math.log(high / self.low) / math.log(self.high / self.low)
        return replace(self, steps=max(1, round(share * self.steps)), high=high)

    def descent(self, t: float) -> float:
        """1 at the start of the walk, 0 at its last estimate, linear in the logarithm of the ratio."""
        if self.high == self.low:
            return 0.0
        share = math.log(t / (1 - t) / self.low) / math.log(self.high / self.low)
        return min(max(share, 0.0), 1.0)


@final
@dataclass(frozen=True)
class StepSchedule(Schedule):
    """The steps k = `first`, `first` - 1, ... 0 of a process that was published with `total` of them."""

    first: int
    total: int = 100

    @property
    def times(self) -> tuple[float, ...]:
        """K / T."""
        return tuple(step / self.total for step in range(self.first, -1, -1))

    def starting_at(self, strength: float) -> StepSchedule:
        """From the step strength x first."""
        return replace(self, first=max(1, round(strength * self.first)))
