"""Scores: figures with the number of their pictures and an interval.

    interval of a mean over pictures      percentiles of the means of 2000 resamples                      (Efron, 1979)
    interval of a figure of a whole set   theta -+ t s,   s^2 = (n-1)/n sum_i (theta_(-i) - mean)^2       (Tukey, 1958)

Percentiles of few values are too narrow, so they are taken farther out, where a normal mean would need them: at
Phi(-t (n / (n-1))^(1/2)) (Hesterberg, "What teachers should know about the bootstrap", 2015). The second is the
jackknife: to draw a picture twice would bring samples nearer to each other than they are, so the bootstrap would
understate every diversity. Fewer than five pictures have no interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

__all__ = ["LEAST", "Interval", "Score", "bootstrap", "jackknife", "mean_score", "student"]

Interval = tuple[float, float]

LEAST = 5
"""Fewer pictures have no interval: it would hold the truth far less often than it says."""

_RESAMPLES, _CHUNK = 2000, 1 << 22
_Z = 1.959964  # of a two-sided interval of 95 %


@dataclass(frozen=True)
class Score:
    """The figure of one metric for one method, with its 95 % interval where there is one, and those of its pictures."""

    metric: str
    method: str
    value: float
    n: int
    interval: Interval | None = None
    by_picture: Mapping[str, float] = field(default_factory=dict)


def mean_score(metric: str, method: str, by_picture: Mapping[str, float]) -> Score:
    """The mean over pictures; infinite ones (a copy has infinite PSNR) make it infinite, with no interval."""
    values = list(by_picture.values())
    mean = math.fsum(values) / len(values) if all(map(math.isfinite, values)) else sum(values)
    return Score(metric, method, mean, len(values), bootstrap(values), by_picture)


def bootstrap(values: Sequence[float]) -> Interval | None:
    """The 95 % interval of their mean; none for few values, or for infinite ones."""
    n = len(values)
    if n < LEAST or not all(map(math.isfinite, values)):
        return None
    generator, population = torch.Generator().manual_seed(0), torch.tensor(values, dtype=torch.float64)
    rows = max(1, _CHUNK // n)
    counts = (min(rows, _RESAMPLES - done) for done in range(0, _RESAMPLES, rows))
    means = torch.cat([population[torch.randint(n, (count, n), generator=generator)].mean(1) for count in counts])
    outside = torch.special.ndtr(torch.tensor(-student(n - 1) * math.sqrt(n / (n - 1)), dtype=torch.float64))
    low, high = means.quantile(torch.stack([outside, 1 - outside])).tolist()
    return low, high


def jackknife(value: float, without_each: Sequence[float]) -> Interval | None:
    """The 95 % interval of a figure of n pictures, from what it is without each of them; none for few."""
    n = len(without_each)
    if n < LEAST:
        return None
    mean = math.fsum(without_each) / n
    deviation = math.sqrt((n - 1) / n * math.fsum((value - mean) ** 2 for value in without_each))
    return value - student(n - 1) * deviation, value + student(n - 1) * deviation


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, to 0.1 % from four degrees of freedom on (Cornish and Fisher, 1938)."""
    z, v = _Z, float(freedom)
    terms: tuple[float, ...] = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / v**power for power, term in enumerate(terms, 1))
