"""The schedule of a scale: times, sampler, and a later start for smaller changes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import final

from sinwave.diffusion.sample import Ddim, Sampler, flow_times

__all__ = ["RatioSchedule", "Schedule", "StepSchedule"]


@dataclass(frozen=True)
class Schedule(ABC):
    """Times and sampler of the walk of a scale."""

    sampler: Sampler = field(default=Ddim(), kw_only=True)

    @property
    @abstractmethod
    def times(self) -> tuple[float, ...]:
        """The times of the process, falling to 0."""

    @abstractmethod
    def starting_at(self, strength: float) -> Schedule:
        """Return the last part of this walk: strength 0 changes nothing, strength 1 starts from pure noise."""


@final
@dataclass(frozen=True)
class RatioSchedule(Schedule):
    """Steps of `Flow` whose noise-to-signal ratio falls from `high` to `low` by equal factors.

    At the ratio `middle` about half of a picture can be recognized in the noise.
    """

    steps: int
    high: float
    low: float
    middle: float = 3.2

    @property
    def times(self) -> tuple[float, ...]:
        return flow_times(self.steps, self.low, self.high)

    def starting_at(self, strength: float) -> RatioSchedule:
        """Return the last part of this walk with steps of the same length.

        Large patches are recognized in strong noise, and within a narrow range of ratios. So strengths are spread
        around `middle`: strength = ratio^2 / (ratio^2 + middle^2), the share of noise in the power at the start if the
        signal is weighted by `middle`.
        """
        if self.high == self.low:
            return self
        ratio = self.middle * math.sqrt(strength / (1 - strength)) if strength < 1 else self.high
        high = min(max(ratio, self.low), self.high)
        share = math.log(high / self.low) / math.log(self.high / self.low)
        return replace(self, steps=max(1, round(share * self.steps)), high=high)

    def descent(self, t: float) -> float:
        """Position on the walk: 1 at its start, 0 at its last estimate, linear in the logarithm of the ratio."""
        if self.high == self.low:
            return 0.0
        share = math.log(t / (1 - t) / self.low) / math.log(self.high / self.low)
        return min(max(share, 0.0), 1.0)


@final
@dataclass(frozen=True)
class StepSchedule(Schedule):
    """Steps k = `first`, `first` - 1, ... 0 of a process that was published with `total` steps."""

    first: int
    total: int = 100

    @property
    def times(self) -> tuple[float, ...]:
        return tuple(step / self.total for step in range(self.first, -1, -1))

    def starting_at(self, strength: float) -> StepSchedule:
        return replace(self, first=max(1, round(strength * self.first)))
