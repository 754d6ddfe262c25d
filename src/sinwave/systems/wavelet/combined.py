"""Priors made of others: a network and the closed form in turn, or several pictures as one source.

*hybrid*   The network decides the layout, the closed form draws the detail. At the coarsest scale the network answers
           while there is much noise, and the exact closed form in the last few steps: so the layout is put together
           from real patches. Their matches are propagated to the finer scales as ever.
*mixture*  Each place belongs to the source whose estimate fits best what is there.

For a mixture with the estimates x_i of every prior for one x_t, the weight of prior i at a place is

    w_i = softmax_i( price_i - sum over a patch around it of (x_t - signal x_i)^2 / (2 noise^2) ),    x_0 = sum w_i x_i

and the prices see to it that each source has its share of the places. In much noise all weights are alike; where two
sources meet, both see what is on the other side, so they meet where that goes best. Whose a place is the coarsest scale
decides. At a finer one its weights stand where the prices were, so that borders may move and nothing else: two networks
are each content with little detail in what they do not know, and with nothing but evidence all places would be shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.diffusion.denoise import signals
from sinwave.diffusion.process import Scalar
from sinwave.diffusion.sample import Denoiser, Sampler, Step
from sinwave.errors import InputError
from sinwave.rng import Noise
from sinwave.systems.contracts import VerticalSpan
from sinwave.systems.wavelet.model import Following, Prior, RatioSchedule, Schedule, Stage, Walk, WaveletModel
from sinwave.systems.wavelet.patches import LEAST_NOISE
from sinwave.wavelets import Size

if TYPE_CHECKING:
    from sinwave.systems.wavelet.closed_form import ClosedForm
    from sinwave.systems.wavelet.network import NetworkPrior

__all__ = ["PATCHES", "STEPS", "HybridPrior", "MixedPrior", "Mixture", "Relay", "mixed", "owned", "priced"]

PATCHES = RatioSchedule(steps=4, high=0.5, low=0.01)
"""The closed form's part of the coarsest walk: two steps with its large patches, and two with the small ones."""

STEPS = 14
"""Of the network's walk, if it went to the end: what patches are put in place of needs no more."""

_PATCH = 5
_ROUNDS = 30
_CERTAIN = 60.0
_BORDER = 10.0
"""So much evidence may move a border; more of it than an owner is certain of would make two owners of one place."""


@final
class HybridPrior(Prior):
    """A network at the coarsest scale and the closed form at the others."""

    def __init__(self, network: NetworkPrior, closed_form: ClosedForm) -> None:
        if network.configuration.answers != "clean":
            raise InputError("a model of the reference preset has another process than the closed form: no hybrid")
        self.network, self.closed_form = network, closed_form
        self.max_batch, self.default_first_scale = closed_form.max_batch, closed_form.default_first_scale

    def begin(self, noise: Noise, strength: float, *, span: VerticalSpan | None, given: bool) -> Walk:
        coarse = self.network.begin(noise, strength, span=span, given=given)
        # The network has its own idea of the layout, so the closed form has no say in it.
        return _HybridWalk(coarse, self.closed_form.begin(noise, strength, span=None, given=True))


@final
class _HybridWalk(Walk):
    def __init__(self, coarse: Walk, fine: Walk) -> None:
        self._coarse, self._fine = coarse, fine

    def stage(self, index: int, size: Size, inherited: Tensor | None) -> Stage:
        fine = self._fine.stage(index, size, inherited)
        if index > 0:
            return fine
        coarse = self._coarse.stage(index, size, inherited)

        def in_turn(x_t: Tensor, t: Scalar, state: None) -> tuple[Tensor, None]:
            return (coarse.denoiser if float(t) > PATCHES.times[0] else fine.denoiser)(x_t, t), None

        assert isinstance(coarse.schedule, RatioSchedule)  # as its process is the closed form's
        schedule = Relay.of(replace(coarse.schedule, steps=STEPS), PATCHES)
        return replace(coarse, denoiser=Following(in_turn, None), schedule=schedule)

    def follow(self, index: int, bands: Tensor) -> None:
        self._fine.follow(index, bands)


@final
@dataclass(frozen=True)
class Relay(Schedule):
    """A walk whose last part is another one; both times are of one process."""

    first: Schedule
    last: Schedule

    @classmethod
    def of(cls, first: Schedule, last: Schedule) -> Relay:
        return cls(first, last, sampler=_InTurn(first.sampler, last.sampler, last.times[0]))

    @property
    def times(self) -> tuple[float, ...]:
        last = self.last.times
        return (*(t for t in self.first.times if t > last[0]), *last)

    def starting_at(self, strength: float) -> Relay:
        return replace(self, first=self.first.starting_at(strength), last=self.last.starting_at(strength))


@final
@dataclass(frozen=True)
class _InTurn(Sampler):
    looks_back: ClassVar[bool] = True
    above: Sampler
    below: Sampler
    time: float

    def step(self, step: Step) -> Tensor:
        return (self.above if step.t > self.time else self.below).step(step)


def mixed(models: Sequence[WaveletModel], shares: Sequence[float]) -> WaveletModel:
    """Build a model in which each place is drawn by one of several, each with its share."""
    first = models[0]
    if any(model.progression != first.progression for model in models):
        raise InputError("only wavelet models with the same number of scales can be mixed")
    return WaveletModel(first.image, first.progression, MixedPrior([model.prior for model in models], shares))


@final
class MixedPrior(Prior):
    """Priors of one kind, each with its share of the places."""

    def __init__(self, priors: Sequence[Prior], shares: Sequence[float]) -> None:
        """The shares are positive; only their proportions matter."""
        self._priors, self._shares = list(priors), torch.tensor(shares) / sum(shares)
        self.max_batch = 1  # since the weights are those of one picture
        self.default_first_scale = priors[0].default_first_scale

    def begin(self, noise: Noise, strength: float, *, span: VerticalSpan | None, given: bool) -> Walk:
        walks = [prior.begin(noise, strength, span=span, given=given) for prior in self._priors]
        return _MixedWalk(walks, self._shares)


@final
class _MixedWalk(Walk):
    def __init__(self, walks: Sequence[Walk], shares: Tensor) -> None:
        self._walks, self._shares = walks, shares
        self._mixture: Mixture | None = None

    def stage(self, index: int, size: Size, inherited: Tensor | None) -> Stage:
        """Join the stages of all priors; a finer scale begins with the weights that the coarser one ended with."""
        stages = [walk.stage(index, size, inherited) for walk in self._walks]
        walks = [(stage.schedule, stage.process, stage.channels) for stage in stages]
        if any(walk != walks[0] for walk in walks):
            raise InputError("models that are mixed must have the same options: train them alike")
        guesses = [stage.guess.expand(1, -1, *size) for stage in stages]
        begun = None if inherited is None else self._mixture
        owners = None if begun is None else functional.interpolate(begun.weights, size)
        weights = self._shares.to(guesses[0])[:, None, None, None] if owners is None else owners
        guess = sum((weight * guess for weight, guess in zip(weights, guesses, strict=True)), 0 * guesses[0])
        self._mixture = Mixture(stages, self._shares, owners)
        return replace(stages[0], denoiser=self._mixture, guess=guess, constrain=None, balance=None)

    def follow(self, index: int, bands: Tensor) -> None:
        for walk in self._walks:
            walk.follow(index, bands)


@final
class Mixture(Denoiser):
    """The estimate of each place's own denoiser."""

    def __init__(self, stages: Sequence[Stage], shares: Tensor, owners: Tensor | None = None) -> None:
        """`owners` are the weights (n, 1, h, w) of the coarser scale, if it has said whose the places are."""
        self._stages, self._shares, self._owners = stages, shares, owners
        self.weights: Tensor  # of the last estimate, (n, 1, h, w)

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        process, follows = self._stages[0].process, 0 if anchor is None else anchor.shape[1]
        signal, level = signals(process, t, x_t.shape[1], follows, like=x_t)
        noise = max(float(level), LEAST_NOISE)
        estimates = []
        for stage in self._stages:
            clean = stage.denoiser(x_t, t, anchor=anchor, condition=condition)
            estimates.append(clean if stage.constrain is None else stage.constrain(clean, float(t)))
        misfits = torch.cat([(x_t - signal * clean).square().sum(1, keepdim=True) for clean in estimates])
        around = functional.avg_pool2d(misfits, _PATCH, 1, _PATCH // 2, count_include_pad=False)
        evidence = -around * _PATCH**2 / (2 * noise**2)
        if self._owners is None:
            self.weights = priced(evidence, self._shares.to(x_t))
        else:
            self.weights = owned(evidence, self._owners)
        return sum((w * clean for w, clean in zip(self.weights, estimates, strict=True)), 0 * estimates[0])


def priced(evidence: Tensor, shares: Tensor) -> Tensor:
    """The softmax over n (n, 1, h, w), at prices by which each has its share of the places."""
    # Places that are certain are not for sale, at any price that a float can say.
    evidence = (evidence - evidence.amax(0)).clamp(min=-_CERTAIN)
    prices = shares.log()
    for _ in range(_ROUNDS):
        weights = (evidence + prices[:, None, None, None]).softmax(0)
        prices = prices + (shares / weights.mean((1, 2, 3)).clamp(min=1e-9)).log()
    return (evidence + prices[:, None, None, None]).softmax(0)


def owned(evidence: Tensor, owners: Tensor) -> Tensor:
    """The softmax over n, where places had owners: evidence may move the border of what one owns."""
    evidence = (evidence - evidence.amax(0)).clamp(min=-_BORDER)
    return (evidence + owners.log().clamp(min=-_CERTAIN)).softmax(0)
