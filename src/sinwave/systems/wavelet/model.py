"""From noise to a picture, scale by scale: one model and one loop for the closed form and for a trained network.

    coarsest scale     from noise, or from a picture's own bands with noise
    a finer scale      from its first guess with noise; at every step the known part of the estimate is drawn to what
                       the coarser scale gave:  known <- gamma(t) coarse + (1 - gamma(t)) known

gamma falls to 0 towards the end, so that a finer scale keeps the layout of the coarser one and repairs its faults.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.diffusion.denoise import Denoiser
from sinwave.diffusion.process import Flow, Process
from sinwave.diffusion.sample import Constraint, compose, sample
from sinwave.diffusion.strips import by_strips
from sinwave.errors import InputError
from sinwave.resize import resize
from sinwave.rng import Noise
from sinwave.systems.contracts import OnStep, PictureConstraint, ScaleConstraint, SingleImageModel, VerticalSpan
from sinwave.systems.wavelet.bands import Progression, grid
from sinwave.systems.wavelet.schedules import RatioSchedule, Schedule
from sinwave.wavelets import Size

__all__ = ["PROCESS", "Prior", "Stage", "Walk", "WaveletModel"]

PROCESS = Flow()


@dataclass(frozen=True, eq=False)
class Stage:
    """All that a scale needs to begin: its denoiser, a first guess of its bands, and its walk.

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


class Walk(ABC):
    """The way of one picture down the scales; it may remember what it found on the coarser ones."""

    @abstractmethod
    def stage(self, index: int, size: Size, known: Tensor | None) -> Stage:
        """Begin scale `index` on a grid of `size`; `known` (1, k, h, w) is what the coarser scale gave."""

    @abstractmethod
    def follow(self, index: int, bands: Tensor) -> None:
        """Learn from the bands of a given picture at scale `index` what the first scale that is drawn should know."""


class Prior(ABC):
    """What is known of a picture: the closed form, or a trained network."""

    @abstractmethod
    def begin(self, noise: Noise, strength: float, *, span: VerticalSpan | None, given: bool) -> Walk:
        """Begin a picture that is new to the degree of `strength`; what is decided once for all of it is from `noise`.

        It has the layout of the known one at these `span`, or with `None` one of its own. One that is `given` to be
        redrawn is already where it is, and a new one may have its horizon moved.
        """

    @property
    @abstractmethod
    def max_batch(self) -> int:
        """How many pictures may be drawn at once."""

    @property
    @abstractmethod
    def default_first_scale(self) -> int:
        """The scale at which a picture that it never knew is best taken up."""

    @abstractmethod
    def effort(self, index: int, size: Size) -> float:
        """How long scale `index` takes on a grid of `size`, in any unit: what progress and time left are told by."""


@final
class WaveletModel:
    """A generator that knows one picture (1, c, h, w): a `SingleImageModel`."""

    def __init__(self, image: Tensor, progression: Progression, prior: Prior) -> None:
        """The picture that `prior` knows, and how it becomes scales."""
        self._image, self._progression, self._prior = image, progression, prior

    @property
    def size(self) -> Size:
        """(height, width) of the picture that the model knows."""
        return self._image.shape[2], self._image.shape[3]

    @property
    def max_batch(self) -> int:
        """How many pictures may be drawn at once."""
        return self._prior.max_batch

    @property
    def default_first_scale(self) -> int:
        """The scale at which a picture that it never knew is best taken up."""
        return self._prior.default_first_scale

    def scales(self, image: Tensor) -> tuple[Tensor, ...]:
        """The picture of each scale, coarsest first."""
        return tuple(scale.picture for scale in self._progression.split(image))

    def effort(self, size: Size) -> tuple[float, ...]:
        """How long each scale of a picture of `size` takes, in one unit."""
        grids = map(grid, self._progression.sizes(size))
        return tuple(self._prior.effort(index, positions) for index, positions in enumerate(grids))

    def mixed(self, others: Sequence[SingleImageModel], shares: Sequence[float]) -> WaveletModel:
        """A model of this picture and of others, that have as many scales: each place is drawn by one of them."""
        from sinwave.systems.wavelet.mixture import MixedPrior

        priors = [self._prior]
        for other in others:
            if not isinstance(other, WaveletModel) or other._progression != self._progression:
                raise InputError("only wavelet models with the same number of scales can be mixed")
            priors.append(other._prior)
        return WaveletModel(self._image, self._progression, MixedPrior(priors, shares))

    def generate(
        self,
        size: Size,
        noise: Noise,
        *,
        variation: float = 1.0,
        constrain: ScaleConstraint | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """A new picture of `size`; `variation` goes from 0, the known picture itself, to 1, a new composition."""
        given = [self._layout(size)] if variation < 1 else []
        walk = self._prior.begin(noise.child("descent"), variation, span=VerticalSpan(), given=False)
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
        """`image` as the model would have drawn it: the less `strength` and the later the `first` scale, the nearer."""
        scales = self._progression.split(image)
        if not 0 <= first < len(scales):
            raise InputError(f"the first scale is {first}: this model has {len(scales)}, counted from 0")
        given = [scale.bands for scale in scales[: first + 1]]
        size = image.shape[2], image.shape[3]
        walk = self._prior.begin(noise.child("descent"), strength, span=span, given=True)
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
        sizes, first = self._progression.sizes(size), max(len(given) - 1, 0)
        if first:
            walk.follow(first, given[first])
        bands, known = given[first - 1] if first else torch.empty(0), None
        for index, picture_size in list(enumerate(sizes))[first:]:
            if index > 0:
                known = self._progression.known(bands, sizes[index - 1])
            stage = walk.stage(index, grid(picture_size), known)
            if given and index == first:
                stage = replace(stage, guess=given[first], schedule=stage.schedule.starting_at(strength))
            wanted = constrain(index) if constrain else None
            bands = _walk(
                stage,
                noise.child("scale", index),
                self._on_bands(wanted, picture_size) if wanted else None,
                partial(on_step, index) if on_step else None,
            )
        return self._progression.picture(bands, size)

    def _layout(self, size: Size) -> Tensor:
        """The coarsest bands of the known picture in `size`; of one that is very large only they may stay."""
        image = self._image if size == self.size else resize(self._image, size)
        return self._progression.split(image)[0].bands

    def _on_bands(self, constrain: PictureConstraint, size: Size) -> Constraint:
        """A constraint on pictures of `size`, for their bands."""

        def on_bands(clean: Tensor, t: float) -> Tensor:
            return self._progression.bands(constrain(self._progression.picture(clean, size)), clean.shape[1])

        return on_bands


def _walk(
    stage: Stage,
    noise: Noise,
    constrain: Constraint | None,
    on_step: Callable[[int, int], None] | None,
) -> Tensor:
    """The bands of one scale."""
    schedule, times = stage.schedule, stage.schedule.times
    constraints = [each for each in (stage.constrain, stage.balance, constrain) if each is not None]

    def report(step: int, x: Tensor, clean: Tensor) -> None:
        if on_step is not None:
            on_step(step + 1, len(times) - 1)

    return sample(
        stage.denoiser,
        stage.process,
        schedule.sampler,
        _begun(stage, noise),
        times,
        noise,
        anchor=stage.anchor,
        constrain=compose(*constraints),
        on_step=report,
    )


def _begun(stage: Stage, noise: Noise) -> Tensor:
    """The guess with noise."""
    guess, missing = stage.guess, stage.channels - stage.guess.shape[1]

    def diffused(drawn: Tensor, guess: Tensor, anchor: Tensor | None) -> Tensor:
        whole = functional.pad(guess, (0, 0, 0, 0, 0, missing))
        return stage.process.diffuse(whole, stage.schedule.times[0], drawn, anchor)

    drawn = noise.normal((noise.count, stage.channels, *guess.shape[2:]), "start", like=guess)
    return by_strips(diffused, drawn, guess, stage.anchor, into=drawn)


def drawn_to(known: Tensor, schedule: RatioSchedule) -> Constraint:
    """The constraint that mixes the leading channels of an estimate with what the coarser scale gave."""
    channels = known.shape[1]

    def constrain(clean: Tensor, t: float) -> Tensor:
        gamma = schedule.descent(t)
        mixed = gamma * known + (1 - gamma) * clean[:, :channels]
        return torch.cat([mixed, clean[:, channels:]], 1)

    return constrain
