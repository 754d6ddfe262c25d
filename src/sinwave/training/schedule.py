r"""Learning rates, and when a loss has stopped falling: pure functions, so a resumed training decides the same.

    rate(n) / largest
        1        _______________
                /               \
               /                  \
        0     /                     \
              warm-up   constant   tail: linear to 0

While nobody knows when the training ends the rate is constant, and the plateau of the held-out loss is where the tail
begins. (Linear, since it is as good as the cosine and one may see it in the log: Hagele et al., 2024.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sinwave.errors import InputError

__all__ = ["Plateau", "Trapezoid"]


@dataclass(frozen=True)
class Trapezoid:
    """`warm_up` steps of rise, and a fall over the last `tail` of all steps."""

    warm_up: int = 50
    tail: float = 0.4

    def __post_init__(self) -> None:
        if self.warm_up < 0 or not 0 <= self.tail < 1:
            raise InputError(f"{self}: warm_up must be 0 or more, and tail at least 0 and less than 1")

    def __call__(self, step: int, stop: int | None) -> float:
        """The share of the largest rate in `step`, counted from 0, of `stop`, None if that is undecided yet."""
        # A short training still reaches the top: the rise ends where the tail begins.
        warm_up = self.warm_up if stop is None else min(self.warm_up, stop - math.ceil(self.tail * stop))
        rise = min(1.0, (step + 1) / max(warm_up, 1))
        if stop is None or self.tail == 0:
            return rise
        return min(rise, (stop - step) / (self.tail * stop))

    def stop_after(self, step: int) -> int:
        """The last step of a training whose tail begins at `step`."""
        return math.ceil(step / (1 - self.tail))


@dataclass(frozen=True)
class Plateau:
    """A loss has stopped falling when the mean of the last third of all looks is not `least` below the one before.

    Means of thirds, because single looks scatter, and because how slow is slow depends on the length of the training.
    """

    least: float = 0.01
    looks: int = 9

    def reached(self, losses: Sequence[float]) -> bool:
        if len(losses) < self.looks:
            return False
        third = len(losses) // 3
        last, before = (sum(part) / third for part in (losses[-third:], losses[-2 * third : -third]))
        return last > before - self.least * abs(before)
