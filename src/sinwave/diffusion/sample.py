"""A sampler walks back from noise to a clean signal: denoise, remove a part of the noise, repeat.

One loop serves every system. Tasks steer it by one hook, a constraint on the denoised estimate: known pixels, a pinned
region, tiling, consistency with a low-resolution input, a guide image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor

from sinwave.diffusion.denoise import Denoiser
from sinwave.diffusion.process import Process
from sinwave.diffusion.samplers import Sampler, Step
from sinwave.errors import InputError
from sinwave.rng import Noise

__all__ = [
    "Constraint",
    "compose",
    "even_times",
    "flow_times",
    "karras_times",
    "sample",
]

Constraint: TypeAlias = Callable[[Tensor, float], Tensor]
"""`constrain(x_0, t) -> x_0`: the nearest estimate that the task allows."""


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

    Each estimate of x_0 goes through `constrain`, so a walk down to 0 returns a constrained estimate, exactly.
    `on_step(index, x, x_0)` sees the result of each step and the estimate that it used; of a large picture, x is
    overwritten by the next step. Step i draws its noise under the key ("step", i). No gradient is recorded.
    """
    if len(times) < 2 or any(t <= s for t, s in pairwise(times)):
        raise InputError(f"times are {list(times)}: two or more are needed, and they must fall")

    def estimate(x: Tensor, t: float) -> Tensor:
        clean = denoiser(x, t, anchor=anchor, condition=condition)
        return clean if constrain is None else constrain(clean, t)

    x, before, like = x_t, None, x_t.new_empty(0)
    del x_t  # of a very large picture every copy counts
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
    """One constraint from several, obeyed in the order given."""

    def constrain(clean: Tensor, t: float) -> Tensor:
        for constraint in constraints:
            clean = constraint(clean, t)
        return clean

    return constrain


def even_times(steps: int, start: float = 1.0) -> tuple[float, ...]:
    """`steps` equal steps from `start` down to 0."""
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

    A patch of many numbers is recognized long before its noise is small, so the decisions of a walk lie at ratios of
    many magnitudes, and equal factors give each magnitude its share.
    """
    if steps < 1 or not 0 < low <= high:
        raise InputError(f"{steps} steps from {high} to {low}: at least 1 step and 0 < low <= high are needed")
    ratios = (high * (low / high) ** (index / max(steps - 1, 1)) for index in range(steps))
    return (*(ratio / (1 + ratio) for ratio in ratios), 0.0)
