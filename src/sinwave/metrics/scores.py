"""Figures with what must stand beside them: of how many, and how far off they may be.

    interval of a mean over pictures          percentiles of the means of 2000 resamples       (Efron, 1979)
    interval of a figure of a whole set       theta -+ 1.96 s,  s^2 = (n-1)/n sum_i (theta_(-i) - mean)^2

The second is the jackknife (Tukey, 1958): to draw a picture twice would bring the samples nearer to each other than
they are, so the bootstrap would understate every diversity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

__all__ = ["Interval", "Score", "bootstrap", "jackknife", "mean_score"]

Interval = tuple[float, float]

_RESAMPLES, _LEVEL = 2000, 0.95


@dataclass(frozen=True)
class Score:
    """The figure of one metric for one method, with its 95 % interval where that can be told; `each` is by file."""

    metric: str
    method: str
    value: float
    n: int
    interval: Interval | None = None
    each: Mapping[str, float] = field(default_factory=dict)


def mean_score(metric: str, method: str, each: Mapping[str, float]) -> Score:
    """The mean over pictures; infinite ones (a copy has infinite PSNR) make it infinite, with no interval."""
    values = list(each.values())
    mean = math.fsum(values) / len(values) if all(map(math.isfinite, values)) else sum(values)
    return Score(metric, method, mean, len(values), bootstrap(values), each)


def bootstrap(values: Sequence[float]) -> Interval | None:
    """The 95 % interval of their mean; none for one value, or for infinite ones."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(len(values), (_RESAMPLES, len(values)), generator=generator)
    means = torch.tensor(values, dtype=torch.float64)[drawn].mean(1)
    outside = (1 - _LEVEL) / 2
    low, high = means.quantile(torch.tensor([outside, 1 - outside], dtype=torch.float64)).tolist()
    return low, high


def jackknife(value: float, without_each: Sequence[float]) -> Interval | None:
    """The 95 % interval of a figure of n pictures, from what it is without each of them; none for two or fewer."""
    n = len(without_each)
    if n < 3:
        return None
    mean = math.fsum(without_each) / n
    deviation = math.sqrt((n - 1) / n * math.fsum((each - mean) ** 2 for each in without_each))
    return value - 1.96 * deviation, value + 1.96 * deviation
