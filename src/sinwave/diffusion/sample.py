"""The loop from noise to a clean signal: denoise, remove a part of the noise, repeat.

A denoiser answers one question, which clean signal is expected behind a noisy one, and the loop asks nothing else about
the data. Its answer is the minimizer of the mean squared error:

    D(x_t, t) = E[x_0 | x_t]

All systems use this loop. Tasks steer it by one hook, a constraint on the denoised estimate: fixed pixels, a pinned
region, tiling, consistency with a low-resolution input, a guide image. A step is of first or second order, with or
without fresh noise.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar, TypeAlias, final

import torch
from torch import Tensor

from sinwave.diffusion.process import Process, Scalar
from sinwave.errors import InputError
from sinwave.rng import Noise

__all__ = [
    "Constraint",
    "Ddim",
    "Denoiser",
    "Heun",
    "Multistep",
    "Sampler",
    "Step",
    "by_strips",
    "compose",
    "even_times",
    "flow_times",
    "karras_times",
    "sample",
]

Constraint: TypeAlias = Callable[[Tensor, float], Tensor]
"""`constrain(x_0, t) -> x_0` returns the nearest estimate that the task allows."""

Draw: TypeAlias = Callable[..., Tensor]
"""`draw(shape, *key) -> noise`, independent for different keys."""

STRIP = 1 << 22
"""Numbers per picture in one strip: of pictures that nearly fill the memory the temporaries stay small."""


class Denoiser(ABC):
    """E[x_0 | x_t]: a trained network, a closed form, or another denoiser with something added."""

    @abstractmethod
    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """The estimate of x_0, of the shape of x_t `(b, c, h, w)`; t is a number, or (b, 1, 1, 1), one a sample.

        `anchor` is the y of the process; `condition` is any further input, in a form that the denoiser defines.
        """


def sample(
    denoiser: Denoiser,
    process: Process,
    sampler: Sampler,
    x_t: Tensor,
    times: Sequence[float],
    noise: Noise,
    *,
    anchor: Tensor | None = None,
    condition: Tensor | None = None,
    constrain: Constraint | None = None,
    on_step: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Tensor:
    """Walk from x_t at `times[0]` down to `times[-1]`, which is usually 0, and return x at that time.

    Every estimate of x_0 passes through `constrain`, so a walk down to 0 returns exactly a constrained estimate.
    `on_step(index, x, x_0)` gets the result of every step and the estimate used for it; copy x to keep it, since the
    next step may overwrite it. Step i draws its noise with the key ("step", i). No gradient is recorded.
    """
    if len(times) < 2 or any(t <= s for t, s in pairwise(times)):
        raise InputError(f"times are {list(times)}: two or more are needed, and they must fall")

    def estimate(x: Tensor, t: float) -> Tensor:
        clean = denoiser(x, t, anchor=anchor, condition=condition)
        return clean if constrain is None else constrain(clean, t)

    x, before, like = x_t, None, x_t.new_empty(0)
    del x_t  # one copy less in memory, which matters for very large pictures
    with torch.no_grad():
        for index, (t, s) in enumerate(pairwise(times)):
            clean = estimate(x, t)
            draw = partial(noise.child("step", index).normal, like=like)
            x = sampler.step(Step(process, t, s, x, clean, anchor, estimate, draw, before, owned=index > 0))
            if on_step is not None:
                on_step(index, x, clean)
            before = (t, clean) if sampler.looks_back else None
            del clean
    return x


def compose(*constraints: Constraint) -> Constraint:
    """Chain constraints into one, applied in this order."""

    def constrain(clean: Tensor, t: float) -> Tensor:
        for constraint in constraints:
            clean = constraint(clean, t)
        return clean

    return constrain


def even_times(steps: int, start: float = 1.0) -> tuple[float, ...]:
    """Times of `steps` equal steps from `start` down to 0."""
    if steps < 1 or not start > 0:
        raise InputError(f"{steps} steps from {start}: at least 1 step and a positive start are needed")
    return tuple(start * index / steps for index in range(steps, -1, -1))


def karras_times(steps: int, low: float = 0.002, high: float = 80.0, rho: float = 7.0) -> tuple[float, ...]:
    """Noise levels from `high` to `low`, even in sigma^(1 / rho), and then 0 (Karras et al., 2022, equation 5)."""
    if steps < 2 or not 0 < low < high:
        raise InputError(f"{steps} steps from {high} to {low}: at least 2 steps and 0 < low < high are needed")
    last, first = low ** (1 / rho), high ** (1 / rho)
    levels = ((first + index / (steps - 1) * (last - first)) ** rho for index in range(steps))
    return (*levels, 0.0)


def flow_times(steps: int, low: float, high: float) -> tuple[float, ...]:
    """Times of `Flow` whose noise-to-signal ratio t / (1 - t) falls from `high` to `low` by equal factors, and then 0.

    A large patch is recognized while its noise is still strong, so decisions are taken at ratios of all magnitudes, and
    equal factors give every magnitude the same number of steps.
    """
    if steps < 1 or not 0 < low <= high:
        raise InputError(f"{steps} steps from {high} to {low}: at least 1 step and 0 < low <= high are needed")
    ratios = (high * (low / high) ** (index / max(steps - 1, 1)) for index in range(steps))
    return (*(ratio / (1 + ratio) for ratio in ratios), 0.0)


@dataclass(frozen=True, eq=False)
class Step:
    """Input of a sampler for its step from t to s < t."""

    process: Process
    t: float
    s: float
    x_t: Tensor
    clean: Tensor
    """The estimate at x_t."""
    anchor: Tensor | None
    estimate: Callable[[Tensor, float], Tensor]
    """Returns the constrained estimate of x_0 at another point: `estimate(x, t)`."""
    draw: Draw
    """Fresh noise of this step: `draw(shape, *key)`, always the same for the same arguments."""
    before: tuple[float, Tensor] | None = None
    """Time and estimate of the step before, for a sampler with `looks_back`."""
    owned: bool = False
    """Whether x_t may be overwritten."""


class Sampler(ABC):
    """Rule of a step; with `looks_back` it also gets the estimate of the step before, which costs memory."""

    looks_back: ClassVar[bool] = False

    @abstractmethod
    def step(self, step: Step) -> Tensor:
        """Return x_s, of the shape of x_t."""


@final
@dataclass(frozen=True)
class Ddim(Sampler):
    """Family between the deterministic walk and the Markov chain (DDIM: Song et al., 2021), for any process.

        x_s = signal_s x_0 + anchor_s y + noise_s (sqrt(1 - f) eps + sqrt(f) z),        z ~ N(0, I)
        f   = stochasticity^2 (1 - r^2 noise_s^2 / noise_t^2)

    eps is the noise in x_t given the estimate x_0; f is the share of it that is drawn anew; r carries x_s to x_t in the
    Markov chain. Stochasticity 0 is DDIM, and SinSR's step for the residual shift; stochasticity 1 draws from the
    posterior q(x_s | x_t, x_0), which is DDPM, and ResShift's sampler for the residual shift.
    """

    stochasticity: float = 0.0

    def __post_init__(self) -> None:
        _check_share(self.stochasticity)

    def step(self, step: Step) -> Tensor:
        return _ddim_step(step, self.stochasticity)


@final
@dataclass(frozen=True)
class Multistep(Sampler):
    """`Ddim` of second order at the same cost (DPM-Solver++ 2M and its SDE: Lu et al., 2022), for any process.

    With lambda = log(signal / noise), the estimate is extrapolated along a straight line in lambda, through this one
    and the one before, and the step uses its value D in the middle of the step:

        D = x_0(t) + (lambda_s - lambda_t) / (2 (lambda_t - lambda_before)) (x_0(t) - x_0(before))

    The first step has no estimate before it, and for the last step lambda is infinite: both are steps of `Ddim`. The
    weights in D sum to 1, so D satisfies every affine constraint that both estimates satisfy.
    """

    stochasticity: float = 0.0
    looks_back: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_share(self.stochasticity)

    def step(self, step: Step) -> Tensor:
        if step.before is None or _vanishes(step.process.at(step.s).noise):
            return _ddim_step(step, self.stochasticity)
        time, before = step.before
        first, here, there = (_log_snr(step.process, at) for at in (time, step.t, step.s))
        return _ddim_step(step, self.stochasticity, (there - here) / (2 * (here - first)), before)


@final
@dataclass(frozen=True)
class Heun(Sampler):
    """Second-order walk along the probability-flow ODE (Karras et al., 2022, algorithm 1), for any process.

    With z = (x - anchor y) / signal and sigma = noise / signal, the ODE is dz / dsigma = eps, the noise in x given its
    estimate. Heun's rule uses the mean of the slopes at both ends of the step:

        z_s = z_t + (sigma_s - sigma_t) (eps_t + eps_s) / 2

    At the end, sigma = 0, there is no eps_s, and at a start without signal there is no z_t. Such a step is Euler's, the
    deterministic step of `Ddim`.
    """

    def step(self, step: Step) -> Tensor:
        process, t, s, anchor = step.process, step.t, step.s, step.anchor
        eps_t = process.noise_in(step.x_t, t, step.clean, anchor)
        x_s = process.diffuse(step.clean, s, eps_t, anchor)
        if _vanishes(process.at(s).noise) or _vanishes(process.at(t).signal):
            return x_s
        eps_s = process.noise_in(x_s, s, step.estimate(x_s, s), anchor)
        slope = (eps_t + eps_s) / 2
        # The straight line in (sigma, z) through x_t with this slope reaches a clean signal at sigma = 0.
        return process.diffuse(process.clean_in(step.x_t, t, slope, anchor), s, slope, anchor)


def _ddim_step(step: Step, stochasticity: float, ahead: Scalar = 0.0, before: Tensor | None = None) -> Tensor:
    """Take the step of `Ddim`, its estimate extrapolated by the factor `ahead` from the one `before`."""
    process, t, s = step.process, step.t, step.s
    carried = process.carry(s, t) * process.at(s).noise / process.at(t).noise
    fresh = stochasticity**2 * (1 - carried**2)

    def compute(x_t: Tensor, clean: Tensor, anchor: Tensor | None, before: Tensor | None, *drawn: Tensor) -> Tensor:
        if before is not None:
            clean = clean + ahead * (clean - before)
        eps = process.noise_in(x_t, t, clean, anchor)
        if drawn:
            eps = _root(1 - fresh) * eps + _root(fresh) * drawn[0]
        return process.diffuse(clean, s, eps, anchor)

    draw = step.draw if stochasticity > 0 else None
    into = step.x_t if step.owned else None
    return by_strips(compute, step.x_t, step.clean, step.anchor, before, draw=draw, into=into)


def _check_share(stochasticity: float) -> None:
    if not 0 <= stochasticity <= 1:
        raise InputError(f"stochasticity is {stochasticity}: it must be between 0 and 1")


def _root(share: Scalar) -> Scalar:
    # Rounding may make a share of zero slightly negative.
    return share.clamp(min=0).sqrt() if isinstance(share, Tensor) else math.sqrt(max(share, 0.0))


def _log_snr(process: Process, t: float) -> Scalar:
    """Logarithm of signal over noise; minus infinity without signal."""
    signal, _, noise = process.at(t)
    ratio = signal / noise
    if isinstance(ratio, Tensor):
        return ratio.log()
    return math.log(ratio) if ratio > 0 else -math.inf


def _vanishes(coefficient: Scalar) -> bool:
    return bool((coefficient == 0).any()) if isinstance(coefficient, Tensor) else coefficient == 0


def by_strips(
    compute: Callable[..., Tensor],
    x: Tensor,
    *others: Tensor | None,
    draw: Draw | None = None,
    into: Tensor | None = None,
) -> Tensor:
    """Compute `compute(x, *others)`, of the shape of x, strip by strip if x is large.

    Each row of the result may depend only on the same row of the tensors, `(b, c, h, w)` with the same h; then the
    result is bit-identical. With `draw`, noise of the shape of the strip is the last argument. The result is
    written `into` that tensor if x is large; it may be x itself.
    """
    if x.dim() != 4 or x[0].numel() <= STRIP:
        return compute(x, *others, *([draw(x.shape)] if draw else []))
    height = x.shape[2]
    rows = max(1, STRIP * height // x[0].numel())  # independent of the size of the batch
    result = torch.empty_like(x) if into is None else into
    for first in range(0, height, rows):
        strip = slice(first, first + rows)
        parts = [None if tensor is None else tensor[:, :, strip] for tensor in (x, *others)]
        if draw:
            parts.append(draw(x[:, :, strip].shape, "rows", first))
        result[:, :, strip] = compute(*parts)
    return result
