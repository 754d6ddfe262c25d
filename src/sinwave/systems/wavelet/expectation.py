"""What the bands of a scale are expected to be before anything of them is seen: a mean and a deviation at each place.

    coarsest scale    mean and deviation of each channel
    a finer scale     low bands: those of the coarser scale, and the deviation of its faults
                      details of channel c: the channel's mean, and

                          d_c^2 = exp(offset_c) A^slope_c

where A is the activity of the coarser picture, its variance over 3 x 3 positions: a flat sky has no detail, a crowd has
much. Detail is a Gaussian scale mixture (Wainwright and Simoncelli, NIPS 1999), and its scale can be told from below.
So a network's scalings remove the noise of a sky by themselves, and what it has to learn is as large everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.systems.wavelet.configuration import Configuration

if TYPE_CHECKING:
    from sinwave.systems.wavelet.material import Statistics

__all__ = ["LEAST", "LOOK", "Expectation", "Expected", "activity", "fitted"]

LOOK = 1
"""Positions to each side that the activity looks at."""

LEAST = 2 / 255
"""The least deviation: a band without any detail has none of its own, and one level of 255 is as good as nothing."""

_GROUPS = 16


class Expected(NamedTuple):
    """Mean and deviation of each band at each place, (b, c, h, w)."""

    mean: Tensor
    deviation: Tensor


@final
@dataclass(frozen=True, eq=False)
class Expectation:
    """What is expected at every scale; all are (scales, c), and `follows` says which bands the coarser scale gives."""

    mean: Tensor
    offset: Tensor
    slope: Tensor
    follows: Tensor
    fault: float

    @classmethod
    def of(cls, statistics: Statistics, configuration: Configuration) -> Expectation:
        """Where nothing of the coarser scale is seen, each band has one mean and one deviation."""
        mean, channels = statistics.mean, torch.arange(statistics.mean.shape[1], device=statistics.mean.device)
        if not configuration.guided:
            offset, slope = 2 * statistics.deviation.log(), torch.zeros_like(mean)
            return cls(mean, offset, slope, torch.zeros_like(mean, dtype=torch.bool), 0.0)
        follows = torch.stack([channels < configuration.known(index) for index in range(len(mean))])
        return cls(mean, statistics.offset, statistics.slope, follows, configuration.fault)

    def __call__(self, scale: Tensor, low: Tensor, outside: Tensor) -> Expected:
        """For crops of scales (b,), their coarser scale's result (b, k, h, w) and what is outside (b, 1, h, w)."""
        follows = self.follows[scale][:, :, None, None]
        mean, offset, slope = (each[scale][:, :, None, None] for each in (self.mean, self.offset, self.slope))
        low = low * follows[:, : low.shape[1]]
        detail = ((offset + slope * activity(low, outside).log()) / 2).exp()
        filled = functional.pad(low, (0, 0, 0, 0, 0, mean.shape[1] - low.shape[1]))
        # Faults of a uniformly drawn strength: the mean of its square is a third.
        fault = detail.new_tensor(self.fault / 3**0.5)
        return Expected(torch.where(follows, filled, mean), torch.where(follows, fault, detail).clamp(min=LEAST))


def activity(low: Tensor, outside: Tensor) -> Tensor:
    """The variance of (b, k, h, w) around each position, summed over channels: (b, 1, h, w); `outside` is not there."""
    if low.shape[1] == 0:
        return torch.ones_like(outside)
    inside = 1 - outside
    count = _box(inside).clamp(min=1e-6)
    mean, square = _box(low * inside) / count, _box(low.square() * inside) / count
    return (square - mean.square()).clamp(min=0).sum(1, keepdim=True) + (LEAST / 2) ** 2


def _box(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 2 * LOOK + 1, 1, LOOK)


def fitted(activities: Tensor, details: Tensor) -> tuple[Tensor, Tensor]:
    """(offset, slope), each (c,), of log d^2 = offset + slope log A from n places: A (n,) and details (c, n).

    The line through the mean squares of groups of equal activity, since a square alone says little of its mean.
    """
    order = activities.argsort()
    groups = order.tensor_split(_GROUPS if activities.max() > activities.min() and len(order) >= _GROUPS else 1)
    x = torch.stack([activities[group].log().mean() for group in groups])
    y = torch.stack([details[:, group].square().mean(1).clamp(min=LEAST**2).log() for group in groups], 1)
    across = x - x.mean()
    spread = across.square().sum()
    slope = (y @ across / spread).clamp(0, 2) if len(groups) > 1 else torch.zeros_like(y[:, 0])
    return y.mean(1) - slope * x.mean(), slope
