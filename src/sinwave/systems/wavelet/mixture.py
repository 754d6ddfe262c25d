"""Several pictures as one source: each place belongs to the one whose estimate fits best what is there.

With the estimates x_i of every prior for one x_t, the weight of prior i at a place is that of a mixture,

    w_i = softmax_i( price_i - sum over a patch around it of (x_t - signal x_i)^2 / (2 noise^2) ),    x_0 = sum w_i x_i

and the prices see to it that each source has its share of the places. In much noise all weights are alike; where two
sources meet, both see what is on the other side, so they meet where that goes best. Whose a place is the coarsest scale
decides. At a finer one its weights stand where the prices were, so that borders may move and nothing else: two networks
are each content with little detail in what they do not know, and with nothing but evidence all places would be shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.diffusion.denoise import Denoiser, signals
from sinwave.diffusion.process import Scalar
from sinwave.errors import InputError
from sinwave.rng import Noise
from sinwave.systems.contracts import VerticalSpan
from sinwave.systems.wavelet.model import Prior, Stage, Walk
from sinwave.systems.wavelet.patches import LEAST_NOISE
from sinwave.wavelets import Size

__all__ = ["MixedPrior", "Mixture", "owned", "priced"]

_PATCH = 5
_ROUNDS = 30
_CERTAIN = 60.0
_BORDER = 10.0
"""So much evidence may move a border; more of it than an owner is certain of would make two owners of one place."""


@final
class MixedPrior(Prior):
    """Priors of one kind, each with its share of the places."""

    def __init__(self, priors: Sequence[Prior], shares: Sequence[float]) -> None:
        """The shares are positive; only their proportions matter."""
        self._priors, self._shares = list(priors), torch.tensor(shares) / sum(shares)

    def begin(self, noise: Noise, strength: float, *, span: VerticalSpan | None, given: bool) -> Walk:
        """All side by side, with one horizon."""
        walks = [prior.begin(noise, strength, span=span, given=given) for prior in self._priors]
        return _MixedWalk(walks, self._shares)

    @property
    def max_batch(self) -> int:
        """One: the weights are those of one picture."""
        return 1

    @property
    def default_first_scale(self) -> int:
        """That of the first."""
        return self._priors[0].default_first_scale

    def effort(self, index: int, size: Size) -> float:
        """That of all."""
        return sum(prior.effort(index, size) for prior in self._priors)


@final
class _MixedWalk(Walk):
    def __init__(self, walks: Sequence[Walk], shares: Tensor) -> None:
        self._walks, self._shares = walks, shares
        self._mixture: Mixture | None = None

    def stage(self, index: int, size: Size, known: Tensor | None) -> Stage:
        """One walk for all; a finer scale begins with the weights that the coarser one ended with."""
        stages = [walk.stage(index, size, known) for walk in self._walks]
        if any((each.schedule, each.process, each.channels) != _walk(stages[0]) for each in stages):
            raise InputError("models that are mixed must have the same options: train them alike")
        guesses = [stage.guess.expand(1, -1, *size) for stage in stages]
        owners = None
        if known is not None and self._mixture is not None:
            owners = functional.interpolate(self._mixture.weights, size)
        weights = self._shares.to(guesses[0])[:, None, None, None] if owners is None else owners
        guess = sum((weight * guess for weight, guess in zip(weights, guesses, strict=True)), 0 * guesses[0])
        self._mixture = Mixture(stages, self._shares, owners)
        return replace(stages[0], denoiser=self._mixture, guess=guess, constrain=None, balance=None)

    def follow(self, index: int, bands: Tensor) -> None:
        """All do."""
        for walk in self._walks:
            walk.follow(index, bands)


def _walk(stage: Stage) -> tuple[object, object, int]:
    return stage.schedule, stage.process, stage.channels


@final
class Mixture(Denoiser):
    """The estimate of each place's own denoiser."""

    def __init__(self, stages: Sequence[Stage], shares: Tensor, owners: Tensor | None = None) -> None:
        """`owners` are the weights (n, 1, h, w) of the coarser scale, if it has said whose the places are."""
        self._stages, self._shares, self._owners = stages, shares, owners
        self.weights: Tensor
        """Those of the last estimate, (n, 1, h, w)."""

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """E[x_0 | x_t] of bands (1, c, h, w)."""
        process, follows = self._stages[0].process, 0 if anchor is None else anchor.shape[1]
        signal, level = signals(process, t, x_t.shape[1], follows, like=x_t)
        noise = max(float(level), LEAST_NOISE)
        estimates = [_estimate(stage, x_t, t, anchor, condition) for stage in self._stages]
        misfits = torch.cat([(x_t - signal * each).square().sum(1, keepdim=True) for each in estimates])
        evidence = -_around(misfits) * _PATCH**2 / (2 * noise**2)
        if self._owners is None:
            self.weights = priced(evidence, self._shares.to(x_t))
        else:
            self.weights = owned(evidence, self._owners)
        return sum((w * each for w, each in zip(self.weights, estimates, strict=True)), 0 * estimates[0])


def _estimate(stage: Stage, x_t: Tensor, t: Scalar, anchor: Tensor | None, condition: Tensor | None) -> Tensor:
    """That of one source, with what holds for its own estimates."""
    clean = stage.denoiser(x_t, t, anchor=anchor, condition=condition)
    return clean if stage.constrain is None else stage.constrain(clean, float(t))


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


def _around(values: Tensor) -> Tensor:
    """The mean over a patch around each place, as far as it is inside."""
    return functional.avg_pool2d(values, _PATCH, 1, _PATCH // 2, count_include_pad=False)
