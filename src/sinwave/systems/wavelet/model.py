"""From noise to a picture, scale by scale: one model and one loop for the closed form and for a trained network.

    coarsest scale     from noise, or from a picture's own bands with noise
    a finer scale      from its first guess with noise; at every step the inherited part x of the estimate is drawn to
                       that of the coarser scale:  x <- gamma(t) coarse + (1 - gamma(t)) x

gamma falls to 0 towards the end, so that a finer scale keeps the layout of the coarser one and repairs its faults.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar, final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.diffusion.process import Flow, Process, Scalar
from sinwave.diffusion.sample import Constraint, Ddim, Denoiser, Sampler, by_strips, compose, flow_times, sample
from sinwave.errors import InputError
from sinwave.rng import Noise
from sinwave.systems.contracts import OnStep, PictureConstraint, Progress, ScaleConstraint, VerticalSpan
from sinwave.systems.wavelet.bands import Progression, grid
from sinwave.wavelets import Size

__all__ = [
    "PROCESS",
    "Following",
    "Prior",
    "RatioSchedule",
    "Schedule",
    "Stage",
    "StepSchedule",
    "Walk",
    "WaveletModel",
]

PROCESS = Flow()


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


@dataclass(frozen=True, eq=False)
class Stage:
    """A scale that is about to be drawn: its denoiser, a first guess of its bands, and its schedule.

    guess       (1 or b, k, h, w), of the first k bands; the others are 0
    channels    of all bands
    anchor      (b, k, h, w), the y of `process`, if that moves towards one
    constrain   what holds for every estimate of this scale, before what the user asks
    balance     what holds after it for a whole picture, and not for a part of one that others draw too
    """

    denoiser: Denoiser
    guess: Tensor
    channels: int
    schedule: Schedule
    process: Process = PROCESS
    anchor: Tensor | None = None
    constrain: Constraint | None = None
    balance: Constraint | None = None


S = TypeVar("S")


@final
class Following(Denoiser, Generic[S]):
    """The denoiser of one walk whose estimates depend on those before, such as by prices, candidates or owners.

        x_0, state <- estimate(x_t, t, state)

    The estimate is a pure function; the state lives here, for as long as the walk.
    """

    def __init__(self, estimate: Callable[[Tensor, Scalar, S], tuple[Tensor, S]], state: S) -> None:
        self._estimate, self.state = estimate, state

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        clean, self.state = self._estimate(x_t, t, self.state)
        return clean


class Walk(ABC):
    """The walk of one picture from the coarsest scale to the finest; it remembers what a scale hands to the next."""

    @abstractmethod
    def stage(self, index: int, size: Size, inherited: Tensor | None) -> Stage:
        """Begin scale `index` on a grid of `size`; `inherited` (1, k, h, w) is what the coarser scale gave."""

    @abstractmethod
    def follow(self, index: int, bands: Tensor) -> None:
        """Learn from the bands of a given picture at scale `index` what the first scale that is drawn should know."""


class Prior(ABC):
    """Knowledge of a picture: its patches, or a trained network.

    max_batch            the most pictures to draw at once
    default_first_scale  the scale from which a picture that is new to the model is best redrawn
    """

    max_batch: int
    default_first_scale: int

    @abstractmethod
    def begin(self, noise: Noise, strength: float, *, span: VerticalSpan | None, given: bool) -> Walk:
        """Begin a picture that is new to the degree of `strength`; what is decided once for all of it is from `noise`.

        It has the layout of the known one at these `span`, or with `None` one of its own. One that is `given` to be
        redrawn is already where it is, and a new one may have its horizon moved.
        """


@final
class WaveletModel:
    """A generator that knows one picture (1, c, h, w): a `SingleImageModel`."""

    def __init__(self, image: Tensor, progression: Progression, prior: Prior) -> None:
        self.image, self.progression, self.prior = image, progression, prior
        self.size = image.shape[2], image.shape[3]
        self.max_batch, self.default_first_scale = prior.max_batch, prior.default_first_scale

    def scales(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(scale.picture for scale in self.progression.split(image))

    def generate(
        self,
        size: Size,
        noise: Noise,
        *,
        variation: float = 1.0,
        constrain: ScaleConstraint | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        given = [self._layout(size)] if variation < 1 else []
        walk = self.prior.begin(noise.child("descent"), variation, span=VerticalSpan(), given=False)
        return self._draw(walk, size, given, variation, noise, constrain, on_step)

    def refine(
        self,
        image: Tensor,
        strength: float,
        noise: Noise,
        *,
        first: int = 0,
        span: VerticalSpan | None = None,
        constrain: ScaleConstraint | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        scales = self.progression.split(image)
        if not 0 <= first < len(scales):
            raise InputError(f"the first scale is {first}: this model has {len(scales)}, counted from 0")
        given = [scale.bands for scale in scales[: first + 1]]
        size = image.shape[2], image.shape[3]
        walk = self.prior.begin(noise.child("descent"), strength, span=span, given=True)
        return self._draw(walk, size, given, strength, noise, constrain, on_step)

    def _draw(
        self,
        walk: Walk,
        size: Size,
        given: Sequence[Tensor],
        strength: float,
        noise: Noise,
        constrain: ScaleConstraint | None,
        on_step: OnStep | None,
    ) -> Tensor:
        if not 0 <= strength <= 1:
            raise InputError(f"variation and strength must be between 0 and 1, not {strength}")
        sizes, first = self.progression.sizes(size), max(len(given) - 1, 0)
        if first:
            walk.follow(first, given[first])
        bands, inherited = given[first - 1] if first else torch.empty(0), None
        for index, picture_size in list(enumerate(sizes))[first:]:
            if index > 0:
                inherited = self.progression.inherited(bands, sizes[index - 1])
            stage = walk.stage(index, grid(picture_size), inherited)
            if given and index == first:
                stage = replace(stage, guess=given[first], schedule=stage.schedule.starting_at(strength))
            wanted = constrain(index) if constrain else None
            limits = (stage.constrain, stage.balance, self._on_bands(wanted, picture_size) if wanted else None)
            bands = sample(
                stage.denoiser,
                stage.process,
                stage.schedule.sampler,
                _begun(stage, noise.child("scale", index)),
                stage.schedule.times,
                noise.child("scale", index),
                anchor=stage.anchor,
                constrain=compose(*(limit for limit in limits if limit is not None)),
                on_step=self._reporter(on_step, (index, len(sizes)), picture_size, stage) if on_step else None,
            )
        return self.progression.picture(bands, size)

    def _reporter(
        self, on_step: OnStep, part: tuple[int, int], size: Size, stage: Stage
    ) -> Callable[[int, Tensor, Tensor], None]:
        steps = len(stage.schedule.times) - 1

        def report(step: int, x: Tensor, clean: Tensor) -> None:
            on_step(Progress(*part, step + 1, steps, lambda: self.progression.picture(clean, size).clamp(-1, 1)))

        return report

    def _layout(self, size: Size) -> Tensor:
        """The coarsest bands of the known picture in `size`; of one that is very large only they may stay."""
        image = self.image
        if size != self.size:
            from sinwave.resize import resize

            image = resize(image, size)
        return self.progression.split(image)[0].bands

    def _on_bands(self, constrain: PictureConstraint, size: Size) -> Constraint:
        """A constraint on pictures of `size`, for their bands."""

        def on_bands(clean: Tensor, t: float) -> Tensor:
            return self.progression.bands(constrain(self.progression.picture(clean, size)), clean.shape[1])

        return on_bands


def _begun(stage: Stage, noise: Noise) -> Tensor:
    guess, missing = stage.guess, stage.channels - stage.guess.shape[1]

    def diffused(drawn: Tensor, guess: Tensor, anchor: Tensor | None) -> Tensor:
        whole = functional.pad(guess, (0, 0, 0, 0, 0, missing))
        return stage.process.diffuse(whole, stage.schedule.times[0], drawn, anchor)

    drawn = noise.normal((noise.count, stage.channels, *guess.shape[2:]), "start", like=guess)
    return by_strips(diffused, drawn, guess, stage.anchor, into=drawn)


def drawn_to(inherited: Tensor, schedule: RatioSchedule) -> Constraint:
    """The constraint that mixes the leading channels of an estimate with what the coarser scale gave."""
    channels = inherited.shape[1]

    def constrain(clean: Tensor, t: float) -> Tensor:
        gamma = schedule.descent(t)
        mixed = gamma * inherited + (1 - gamma) * clean[:, :channels]
        return torch.cat([mixed, clean[:, channels:]], 1)

    return constrain
