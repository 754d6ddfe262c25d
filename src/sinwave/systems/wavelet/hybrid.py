"""The network decides the layout, the closed form draws the detail.

At the coarsest scale the network answers while there is much noise, and the exact closed form in the last few steps:
what the network has laid out is put together from real patches. Their matches are propagated to the finer scales as
ever.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, final

from torch import Tensor

from sinwave.diffusion.denoise import Denoiser
from sinwave.diffusion.process import Scalar
from sinwave.diffusion.samplers import Sampler, Step
from sinwave.errors import InputError
from sinwave.rng import Noise
from sinwave.systems.contracts import VerticalSpan
from sinwave.systems.wavelet.closed_form import ClosedForm, ClosedFormOptions
from sinwave.systems.wavelet.model import Prior, Stage, Walk
from sinwave.systems.wavelet.network import NetworkPrior
from sinwave.systems.wavelet.schedules import RatioSchedule, Schedule
from sinwave.wavelets import Size

__all__ = ["OPTIONS", "PATCHES", "STEPS", "HybridPrior", "Relay"]

PATCHES = RatioSchedule(steps=4, high=0.5, low=0.01)
"""The closed form's part of the coarsest walk: two steps with its large patches, and two with the small ones."""

OPTIONS = ClosedFormOptions(fine_dimensions=48, finer=RatioSchedule(steps=2, high=1.0, low=0.01))
"""Fewer steps than the closed form alone, of half as long keys: no figure changes, and there the time goes."""

STEPS = 14
"""Of the network's walk, if it went to the end: what patches are put in place of needs no more."""

_NETWORK = 13.0
"""Units of the closed form's effort that a position takes in a step of the network; measured with the defaults."""


@final
class HybridPrior(Prior):
    """A network at the coarsest scale and the closed form at the others."""

    def __init__(self, network: NetworkPrior, closed_form: ClosedForm) -> None:
        if network.configuration.answers != "clean":
            raise InputError("a model of the reference preset has another process than the closed form: no hybrid")
        self.network, self.closed_form = network, closed_form

    def begin(self, noise: Noise, strength: float, *, span: VerticalSpan | None, given: bool) -> Walk:
        """The two descents side by side."""
        coarse = self.network.begin(noise, strength, span=span, given=given)
        # The network has its own idea of the layout, so the closed form has no say in it.
        return _HybridWalk(coarse, self.closed_form.begin(noise, strength, span=None, given=True))

    @property
    def max_batch(self) -> int:
        """As the closed form."""
        return self.closed_form.max_batch

    @property
    def default_first_scale(self) -> int:
        """As the closed form."""
        return self.closed_form.default_first_scale

    def effort(self, index: int, size: Size) -> float:
        """That of whoever draws the scale, in units of the closed form."""
        patches = self.closed_form.effort(index, size)
        if index:
            return patches
        steps = self.closed_form.options.coarsest.steps
        share = STEPS / self.network.configuration.coarse_steps
        return _NETWORK * share * self.network.effort(index, size) + patches * PATCHES.steps / steps


@final
class _HybridWalk(Walk):
    def __init__(self, coarse: Walk, fine: Walk) -> None:
        self._coarse, self._fine = coarse, fine

    def stage(self, index: int, size: Size, known: Tensor | None) -> Stage:
        """Both at the coarsest scale, the closed form at the others."""
        fine = self._fine.stage(index, size, known)
        if index > 0:
            return fine
        coarse = self._coarse.stage(index, size, known)
        denoiser = _Handover(coarse.denoiser, fine.denoiser, PATCHES.times[0])
        assert isinstance(coarse.schedule, RatioSchedule)  # as its process is the closed form's
        schedule = Relay.of(replace(coarse.schedule, steps=STEPS), PATCHES)
        return replace(coarse, denoiser=denoiser, schedule=schedule)

    def follow(self, index: int, bands: Tensor) -> None:
        """That of the closed form, which draws all scales but the coarsest."""
        self._fine.follow(index, bands)


@final
@dataclass(frozen=True)
class Relay(Schedule):
    """A walk whose last part is another one; both times are of one process."""

    first: Schedule
    last: Schedule

    @classmethod
    def of(cls, first: Schedule, last: Schedule) -> Relay:
        """Each with its own sampler."""
        return cls(first, last, sampler=_InTurn(first.sampler, last.sampler, last.times[0]))

    @property
    def times(self) -> tuple[float, ...]:
        """Those of the first that lie before the last, and the last."""
        last = self.last.times
        return (*(t for t in self.first.times if t > last[0]), *last)

    def starting_at(self, strength: float) -> Relay:
        """Each from its own start."""
        return replace(self, first=self.first.starting_at(strength), last=self.last.starting_at(strength))


@final
@dataclass(frozen=True)
class _InTurn(Sampler):
    looks_back: ClassVar[bool] = True
    above: Sampler
    below: Sampler
    time: float

    def step(self, step: Step) -> Tensor:
        """That of whoever's turn it is at this time."""
        return (self.above if step.t > self.time else self.below).step(step)


@final
@dataclass(frozen=True, eq=False)
class _Handover(Denoiser):
    above: Denoiser
    below: Denoiser
    time: float

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """The estimate of whoever is asked at this time."""
        return (self.above if float(t) > self.time else self.below)(x_t, t)
