"""Prior mean and deviation of bands at each place, given the coarser scale, and the energy that estimates keep.

    coarsest scale    mean and deviation of each channel
    a finer scale     inherited bands: the coarser scale's result, and the deviation of its errors
                      details of channel c: the channel's mean, and

                          d_c^2 = exp(offset_c) A^slope_c

where A is the activity of the coarser picture, its variance over 3 x 3 positions: a flat sky has no detail, a crowd has
much. Detail is a Gaussian scale mixture (Wainwright and Simoncelli, NIPS 1999) whose scale follows from the activity.
So the scalings alone remove the noise of a sky, and the targets of the network are equally large everywhere.

Estimates are rescaled to the energy that they have on the training picture, so that results do not become blurred:
while drawing, a network sees other inputs than in training, and where it is uncertain it predicts the mean. So every
band loses energy, estimate by estimate, and the result is blurred (exposure bias: Ning et al., 2024). The right energy
is that of the estimates on the training picture itself, with as much noise,

    f_band(t)^2 = E |D_band(x_t(picture)) - mean|^2 / |D_band(x_t) - mean|^2,        D <- mean + f (D - mean),

with averages E over all positions. This is the rescaling of guided estimates (Lin et al., 2024) with a measured target.
Inherited channels are not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.diffusion.sample import Constraint, Denoiser, by_strips
from sinwave.errors import InputError
from sinwave.rng import NoiseSource
from sinwave.systems.wavelet.bands import Scale
from sinwave.systems.wavelet.options import Configuration
from sinwave.wavelets import Size

__all__ = ["LEAST", "LOOK", "Energies", "Expectation", "Sight", "Statistics", "activity", "fitted"]

LOOK = 1
"""Radius of the window of the activity, in positions."""

LEAST = 2 / 255
"""Least deviation, for bands without any detail: one level of 255."""

_GROUPS = 16
_COLORS = 3


@dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics of each channel of each scale over all pictures: (scales, c).

    `low` and `high` are the range; `offset` and `slope` give the deviation of details from the activity (`fitted`).
    """

    mean: Tensor
    deviation: Tensor
    low: Tensor
    high: Tensor
    offset: Tensor
    slope: Tensor

    @classmethod
    def of(cls, scales: Sequence[Sequence[Tensor]], activities: Sequence[Sequence[Tensor]]) -> Statistics:
        """Compute them, scale by scale, from the values (c, n) inside of every picture and the activities (n,)."""
        pooled = [torch.cat(list(values), 1).double() for values in scales]
        moments = ([values.mean(1), values.std(1), values.amin(1), values.amax(1)] for values in pooled)
        mean, deviation, low, high = map(torch.stack, zip(*moments, strict=True))
        centered = (values - middle[:, None] for values, middle in zip(pooled, mean, strict=True))
        active = (torch.cat(list(values)).double() for values in activities)
        lines = [fitted(a, x) for a, x in zip(active, centered, strict=True)]
        offset, slope = map(torch.stack, zip(*lines, strict=True))
        rows = mean, deviation.clamp(min=LEAST), low, high, offset, slope
        return cls(*(values.float() for values in rows))

    def check(self, scales: int, channels: int) -> None:
        """Raise `InputError` unless every statistic is a float tensor of shape (scales, channels)."""
        for name, value in vars(self).items():
            if value.shape != (scales, channels) or not value.is_floating_point():
                raise InputError(
                    f"the statistic {name} is {tuple(value.shape)}: it must be float of ({scales}, {channels})"
                )

    def to(self, device: torch.device) -> Statistics:
        return Statistics(**{name: value.to(device) for name, value in vars(self).items()})


@final
@dataclass(frozen=True, eq=False)
class Expectation:
    """Priors of all scales; the tensors are (scales, c), and `follows` marks the inherited bands."""

    mean: Tensor
    offset: Tensor
    slope: Tensor
    follows: Tensor
    fault: float

    @classmethod
    def of(cls, statistics: Statistics, configuration: Configuration) -> Expectation:
        """Take the priors from statistics; without guides a band has the same mean and deviation at every place."""
        mean, channels = statistics.mean, torch.arange(statistics.mean.shape[1], device=statistics.mean.device)
        if not configuration.guided:
            offset, slope = 2 * statistics.deviation.log(), torch.zeros_like(mean)
            return cls(mean, offset, slope, torch.zeros_like(mean, dtype=torch.bool), 0.0)
        follows = torch.stack([channels < configuration.known(index) for index in range(len(mean))])
        return cls(mean, statistics.offset, statistics.slope, follows, configuration.fault)

    def __call__(self, scale: Tensor, low: Tensor, outside: Tensor) -> tuple[Tensor, Tensor]:
        """Return prior mean and deviation for scales (b,), inherited bands (b, k, h, w) and outside (b, 1, h, w)."""
        follows = self.follows[scale][:, :, None, None]
        mean, offset, slope = (rows[scale][:, :, None, None] for rows in (self.mean, self.offset, self.slope))
        low = low * follows[:, : low.shape[1]]
        detail = ((offset + slope * activity(low, outside).log()) / 2).exp()
        filled = functional.pad(low, (0, 0, 0, 0, 0, mean.shape[1] - low.shape[1]))
        # The strength of the errors is uniform in [0, 1], so the mean of its square is 1/3.
        fault = detail.new_tensor(self.fault / 3**0.5)
        return torch.where(follows, filled, mean), torch.where(follows, fault, detail).clamp(min=LEAST)


def activity(low: Tensor, outside: Tensor) -> Tensor:
    """Variance of (b, k, h, w) around each position, summed over channels: (b, 1, h, w); `outside` does not count."""
    if low.shape[1] == 0:
        return torch.ones_like(outside)
    inside = 1 - outside
    count = _box(inside).clamp(min=1e-6)
    mean, square = _box(low * inside) / count, _box(low.square() * inside) / count
    return (square - mean.square()).clamp(min=0).sum(1, keepdim=True) + (LEAST / 2) ** 2


def _box(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 2 * LOOK + 1, 1, LOOK)


def fitted(activities: Tensor, details: Tensor) -> tuple[Tensor, Tensor]:
    """Fit log d^2 = offset + slope log A to activities A (n,) and details (c, n): offset and slope, each (c,).

    The line is fitted to means of squares over groups of similar activity, since single squares scatter too much.
    """
    order = activities.argsort()
    groups = order.tensor_split(_GROUPS if activities.max() > activities.min() and len(order) >= _GROUPS else 1)
    x = torch.stack([activities[group].log().mean() for group in groups])
    y = torch.stack([details[:, group].square().mean(1).clamp(min=LEAST**2).log() for group in groups], 1)
    across = x - x.mean()
    spread = across.square().sum()
    slope = (y @ across / spread).clamp(0, 2) if len(groups) > 1 else torch.zeros_like(y[:, 0])
    return y.mean(1) - slope * x.mean(), slope


class Sight(NamedTuple):
    """Scales of a picture, and which of its pixels are opaque, (h, w); `None` means all."""

    scales: tuple[Scale, ...]
    opaque: Tensor | None = None


@final
class Energies:
    """Energies of the estimates of a network on its training pictures, measured on demand."""

    def __init__(
        self, configuration: Configuration, denoiser: Callable[[int], Denoiser], mean: Tensor, pictures: Sequence[Sight]
    ) -> None:
        """Take the denoiser of each scale, the `mean` (scales, c) of the channels, and the pictures."""
        self._configuration, self._denoiser, self._mean, self._pictures = configuration, denoiser, mean, pictures
        self._cache: dict[tuple[int, float], Tensor] = {}

    def keep(self, index: int) -> Constraint:
        """Return the constraint that rescales the estimates of scale `index` to their energy."""
        inherited = self._configuration.known(index)
        mean = self._of_channels(index)[:, None, None]

        def constrain(clean: Tensor, t: float) -> Tensor:
            factor = (self.expected(index, t) / self._energy(index, clean.flatten(2)).clamp(min=1e-12)).sqrt()
            factor = factor.repeat_interleave(_COLORS, 1)
            factor[:, :inherited] = 1
            scale = factor[:, :, None, None]
            return by_strips(lambda clean: mean + scale * (clean - mean), clean, into=clean)

        return constrain

    def grid(self, index: int) -> Size:
        bands = self._pictures[0].scales[index].bands
        return bands.shape[2], bands.shape[3]

    def expected(self, index: int, t: float) -> Tensor:
        """Mean energies (1, bands) over the pictures."""
        if (index, t) not in self._cache:
            energies = [self._energy(index, self._estimate(picture, index, t)) for picture in self._pictures]
            self._cache[index, t] = torch.cat(energies).mean(0, keepdim=True)
        return self._cache[index, t]

    def _estimate(self, picture: Sight, index: int, t: float) -> Tensor:
        """Estimate a scale of a picture at its visible positions: (1, c, n)."""
        bands, inherited = picture.scales[index].bands, self._configuration.known(index)
        low = bands[:, :inherited] if inherited else None
        noise = NoiseSource(0).normal(bands.shape, "energy", index, like=bands)
        x_t = self._configuration.process(index).diffuse(bands, t, noise, low)
        with torch.no_grad():
            clean = self._denoiser(index)(x_t, t, anchor=low)
        visible = ~picture.scales[index].hidden(picture.opaque)
        return clean.flatten(2) if picture.opaque is None or not visible.any() else clean[:, :, visible]

    def _energy(self, index: int, clean: Tensor) -> Tensor:
        """Mean squares (b, bands) of the difference of estimates (b, c, n) from the mean."""
        variance, mean = torch.var_mean(clean, 2, correction=0)
        energy = variance + (mean - self._of_channels(index)).square()
        return energy.reshape(len(energy), -1, _COLORS).mean(2)

    def _of_channels(self, index: int) -> Tensor:
        return self._mean[index, : self._configuration.channels(index)]
