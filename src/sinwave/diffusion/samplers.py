"""A step of the walk from noise to a clean signal, of the first order or the second, with or without fresh noise."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from sinwave.diffusion.process import Process, Scalar
from sinwave.diffusion.strips import Draw, by_strips
from sinwave.errors import InputError

__all__ = ["Ddim", "Heun", "Multistep", "Sampler", "Step"]


@dataclass(frozen=True, eq=False)
class Step:
    """What a sampler may look at on its way from t to s < t."""

    process: Process
    t: float
    s: float
    x_t: Tensor
    clean: Tensor
    """The estimate at x_t."""
    anchor: Tensor | None
    estimate: Callable[[Tensor, float], Tensor]
    """Estimates x_0 elsewhere: `estimate(x, t)`, constrained."""
    draw: Draw
    """The fresh noise of this step, the same at each call with a shape."""
    before: tuple[float, Tensor] | None = None
    """Time and estimate of the step before, for a sampler that looks back."""
    owned: bool = False
    """Whether x_t may be overwritten."""


class Sampler(ABC):
    """One step of the walk; one that `looks_back` is told the estimate before, which is kept for it."""

    looks_back: ClassVar[bool] = False

    @abstractmethod
    def step(self, step: Step) -> Tensor:
        """x_s, of the shape of x_t."""


@final
@dataclass(frozen=True)
class Ddim(Sampler):
    """The family between the deterministic walk and the Markov chain (DDIM: Song et al., 2021), for any process.

        x_s = signal_s x_0 + anchor_s y + noise_s (sqrt(1 - f) eps + sqrt(f) z),        z ~ N(0, I)
        f   = stochasticity^2 (1 - r^2 noise_s^2 / noise_t^2)

    eps is the noise in x_t given the estimate x_0; f is the share of it that is drawn afresh; r carries x_s to x_t in
    the Markov chain. Stochasticity 0 is DDIM, and SinSR's step for the residual shift; stochasticity 1 draws from the
    posterior q(x_s | x_t, x_0), which is DDPM, and ResShift's sampler for the residual shift.
    """

    stochasticity: float = 0.0

    def __post_init__(self) -> None:
        """Check the range."""
        _check_share(self.stochasticity)

    def step(self, step: Step) -> Tensor:
        """x_s, with one estimate a step."""
        return _walked(step, self.stochasticity)


@final
@dataclass(frozen=True)
class Multistep(Sampler):
    """`Ddim` of the second order at the same price (DPM-Solver++ 2M and its SDE: Lu et al., 2022), for any process.

    With lambda = log(signal / noise), the estimate is thought of as a straight line in lambda through this one and the
    one before, and the step is taken as if it were constant at the value in the middle:

        D = x_0(t) + (lambda_s - lambda_t) / (2 (lambda_t - lambda_before)) (x_0(t) - x_0(before))

    The first step and the one to the end have nothing to look back to, or infinitely far to go, and are those of
    `Ddim`. The weights in D sum to 1, so what an affine constraint says of both estimates holds for D.
    """

    stochasticity: float = 0.0
    looks_back: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the range."""
        _check_share(self.stochasticity)

    def step(self, step: Step) -> Tensor:
        """x_s, with one estimate a step."""
        if step.before is None or _vanishes(step.process.at(step.s).noise):
            return _walked(step, self.stochasticity)
        time, before = step.before
        first, here, there = (_log_snr(step.process, at) for at in (time, step.t, step.s))
        return _walked(step, self.stochasticity, (there - here) / (2 * (here - first)), before)


@final
@dataclass(frozen=True)
class Heun(Sampler):
    """The second-order walk along the probability-flow ODE (Karras et al., 2022, algorithm 1), for any process.

    With z = (x - anchor y) / signal and sigma = noise / signal, the ODE is dz / dsigma = eps, the noise in x given its
    estimate. Heun's rule follows the mean of the slopes at both ends of the step:

        z_s = z_t + (sigma_s - sigma_t) (eps_t + eps_s) / 2

    At the end sigma = 0 there is no eps_s, and at a start without signal there is no z_t; there the step is Euler's,
    which is the deterministic step of `Ddim`.
    """

    def step(self, step: Step) -> Tensor:
        """x_s, with two estimates a step."""
        process, t, s, anchor = step.process, step.t, step.s, step.anchor
        eps_t = process.noise_in(step.x_t, t, step.clean, anchor)
        x_s = process.diffuse(step.clean, s, eps_t, anchor)
        if _vanishes(process.at(s).noise) or _vanishes(process.at(t).signal):
            return x_s
        eps_s = process.noise_in(x_s, s, step.estimate(x_s, s), anchor)
        slope = (eps_t + eps_s) / 2
        # The straight line in (sigma, z) through x_t with this slope meets sigma = 0 in a clean signal.
        return process.diffuse(process.clean_in(step.x_t, t, slope, anchor), s, slope, anchor)


def _walked(step: Step, stochasticity: float, ahead: Scalar = 0.0, before: Tensor | None = None) -> Tensor:
    """The step of `Ddim`, with the estimate led `ahead` on its way from the one `before`."""
    process, t, s = step.process, step.t, step.s
    carried = process.carry(s, t) * process.at(s).noise / process.at(t).noise
    fresh = stochasticity**2 * (1 - carried**2)

    def walked(x_t: Tensor, clean: Tensor, anchor: Tensor | None, before: Tensor | None, *drawn: Tensor) -> Tensor:
        if before is not None:
            clean = clean + ahead * (clean - before)
        eps = process.noise_in(x_t, t, clean, anchor)
        if drawn:
            eps = _root(1 - fresh) * eps + _root(fresh) * drawn[0]
        return process.diffuse(clean, s, eps, anchor)

    draw = step.draw if stochasticity > 0 else None
    into = step.x_t if step.owned else None
    return by_strips(walked, step.x_t, step.clean, step.anchor, before, draw=draw, into=into)


def _check_share(stochasticity: float) -> None:
    if not 0 <= stochasticity <= 1:
        raise InputError(f"stochasticity is {stochasticity}: it must be between 0 and 1")


def _root(share: Scalar) -> Scalar:
    # Rounding may leave a share of zero a little below it.
    return share.clamp(min=0).sqrt() if isinstance(share, Tensor) else math.sqrt(max(share, 0.0))


def _log_snr(process: Process, t: float) -> Scalar:
    """The logarithm of signal over noise; without any signal, minus infinity."""
    signal, _, noise = process.at(t)
    ratio = signal / noise
    if isinstance(ratio, Tensor):
        return ratio.log()
    return math.log(ratio) if ratio > 0 else -math.inf


def _vanishes(coefficient: Scalar) -> bool:
    return bool((coefficient == 0).any()) if isinstance(coefficient, Tensor) else coefficient == 0
