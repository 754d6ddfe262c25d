"""Estimates with the energy that they have on the picture itself, so that a walk does not fade.

The walk of a network leaves the pictures that it was trained on, and in doubt a network answers the mean. So each band
loses energy, estimate by estimate, and what comes out is vague (exposure bias: Ning et al., 2024). But how much energy
an estimate should have is known: that of the estimates on the picture itself, with as much noise,

    f_band(t)^2 = E |D_band(x_t(picture)) - mean|^2 / |D_band(x_t) - mean|^2,        D <- mean + f (D - mean),

averages over all positions. It is as the rescaling of guided estimates (Lin et al., 2024), with a target that was
measured. What the coarser scale gave is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

from sinwave.diffusion.denoise import Denoiser
from sinwave.diffusion.sample import Constraint
from sinwave.diffusion.strips import by_strips
from sinwave.rng import NoiseSource
from sinwave.systems.wavelet.bands import Scale
from sinwave.systems.wavelet.configuration import Configuration
from sinwave.systems.wavelet.material import hidden_positions
from sinwave.wavelets import Size

__all__ = ["Energies", "Sight"]

_COLORS = 3


class Sight(NamedTuple):
    """The scales of a picture, and what of it is there, (h, w); `None` is all."""

    scales: tuple[Scale, ...]
    opaque: Tensor | None = None

    def shown(self, index: int) -> Tensor | None:
        """Which positions of a scale are there."""
        if self.opaque is None:
            return None
        picture, bands = self.scales[index].picture, self.scales[index].bands
        size, grid = (picture.shape[2], picture.shape[3]), (bands.shape[2], bands.shape[3])
        shown = ~hidden_positions(~self.opaque, size, 0, 0, grid)
        return shown if shown.any() else None


@final
class Energies:
    """Of the estimates of a network on the pictures that it knows, found when they are asked for."""

    def __init__(
        self,
        configuration: Configuration,
        denoiser: Callable[[int], Denoiser],
        mean: Tensor,
        pictures: Sequence[Sight],
    ) -> None:
        """`denoiser` of each scale, `mean` (scales, c) of each channel, and the pictures."""
        self._configuration, self._denoiser, self._mean, self._pictures = configuration, denoiser, mean, pictures
        self._found: dict[tuple[int, float], Tensor] = {}

    def keep(self, index: int) -> Constraint:
        """The constraint that gives the estimates of scale `index` their energy."""
        follows = self._configuration.known(index)
        mean = self._of_channels(index)[:, None, None]

        def constrain(clean: Tensor, t: float) -> Tensor:
            factor = (self.expected(index, t) / self._energy(index, clean.flatten(2)).clamp(min=1e-12)).sqrt()
            factor = factor.repeat_interleave(_COLORS, 1)
            factor[:, :follows] = 1
            scale = factor[:, :, None, None]
            return by_strips(lambda clean: mean + scale * (clean - mean), clean, into=clean)

        return constrain

    def grid(self, index: int) -> Size:
        """The size of scale `index` of the first picture, which a new one may begin from."""
        bands = self._pictures[0].scales[index].bands
        return bands.shape[2], bands.shape[3]

    def expected(self, index: int, t: float) -> Tensor:
        """(1, bands): the mean over pictures."""
        if (index, t) not in self._found:
            some = [self._energy(index, self._estimate(sight, index, t)) for sight in self._pictures]
            self._found[index, t] = torch.cat(some).mean(0, keepdim=True)
        return self._found[index, t]

    def _estimate(self, sight: Sight, index: int, t: float) -> Tensor:
        """(1, c, n), at the places that are there."""
        bands, known = sight.scales[index].bands, self._configuration.known(index)
        low = bands[:, :known] if known else None
        noise = NoiseSource(0).normal(bands.shape, "energy", index, like=bands)
        x_t = self._configuration.process(index).diffuse(bands, t, noise, low)
        with torch.no_grad():
            clean = self._denoiser(index)(x_t, t, anchor=low)
        shown = sight.shown(index)
        return clean.flatten(2) if shown is None else clean[:, :, shown]

    def _energy(self, index: int, clean: Tensor) -> Tensor:
        """(b, bands) of estimates (b, c, n), the mean square of what differs from the mean."""
        variance, mean = torch.var_mean(clean, 2, correction=0)
        energy = variance + (mean - self._of_channels(index)).square()
        return energy.reshape(len(energy), -1, _COLORS).mean(2)

    def _of_channels(self, index: int) -> Tensor:
        return self._mean[index, : self._configuration.channels(index)]
