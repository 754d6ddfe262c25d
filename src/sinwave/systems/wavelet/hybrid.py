"""The network decides the layout, the closed form draws the detail.

At the coarsest scale the network answers while there is much noise, and the exact closed form with its small patches
once there is less than `HANDOVER`: what the network has laid out is put together from real patches. Their matches are
propagated to the finer scales as ever.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from torch import Tensor

from sinwave.diffusion.denoise import Denoiser
from sinwave.diffusion.process import Scalar
from sinwave.errors import InputError
from sinwave.rng import Noise
from sinwave.systems.wavelet.closed_form import ClosedForm, ClosedFormOptions
from sinwave.systems.wavelet.model import PROCESS, Descent, Prior, Stage
from sinwave.systems.wavelet.network import NetworkPrior
from sinwave.systems.wavelet.schedules import RatioSchedule
from sinwave.wavelets import Size

__all__ = ["HANDOVER", "OPTIONS", "HybridPrior"]

HANDOVER = 0.5
"""The noise-to-signal ratio below which the closed form answers."""

OPTIONS = ClosedFormOptions(finer=RatioSchedule(steps=4, high=1.0, low=0.01))
"""Half the steps of the closed form alone: no figure changes, and the finer scales are what takes the time."""


@final
class HybridPrior(Prior):
    """A network at the coarsest scale and the closed form at the others."""

    def __init__(self, network: NetworkPrior, closed_form: ClosedForm) -> None:
        if network.configuration.answers != "clean":
            raise InputError("a model of the reference preset has another process than the closed form: no hybrid")
        self.network, self.closed_form = network, closed_form

    def descend(self, noise: Noise, strength: float, *, foreign: bool) -> Descent:
        """The two descents side by side."""
        coarse = self.network.descend(noise, strength, foreign=foreign)
        # The network has its own idea of the layout, so the closed form has no say in it.
        return _HybridDescent(coarse, self.closed_form.descend(noise, strength, foreign=True))

    @property
    def together(self) -> int:
        """As the closed form."""
        return self.closed_form.together

    def effort(self, index: int, size: Size) -> float:
        """That of whoever draws the scale."""
        return (self.closed_form if index else self.network).effort(index, size)


@final
class _HybridDescent(Descent):
    def __init__(self, coarse: Descent, fine: Descent) -> None:
        self._coarse, self._fine = coarse, fine

    def stage(self, index: int, size: Size, known: Tensor | None) -> Stage:
        """Both at the coarsest scale, the closed form at the others."""
        fine = self._fine.stage(index, size, known)
        if index > 0:
            return fine
        coarse = self._coarse.stage(index, size, known)
        return replace(coarse, denoiser=_Handover(coarse.denoiser, fine.denoiser))


@final
@dataclass(frozen=True, eq=False)
class _Handover(Denoiser):
    above: Denoiser
    below: Denoiser

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """The estimate of whoever is asked at this noise."""
        signal, _, noise = (float(each) for each in PROCESS.at(t))
        return (self.above if noise > HANDOVER * signal else self.below)(x_t, t)
