"""The end of a walk to a clean signal c, by means over fresh noise:

    c <- 1 / n  sum over k = 1 .. n  D(c + noise eps_k, t)      (with the signal of t), for falling times t

A walk takes one estimate a step, and with it the error of a network for that noise. Where noise is weak, all else is
decided, and the mean of several estimates errs less than any of them. (Averaged over noise a denoiser also serves as a
prior of inverse problems: Martin et al., "PnP-Flow", 2025.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sinwave.diffusion.process import Process
from sinwave.diffusion.sample import Constraint, Denoiser
from sinwave.rng import Noise

__all__ = ["averaged"]


@torch.no_grad()
def averaged(
    denoiser: Denoiser,
    process: Process,
    clean: Tensor,
    times: Sequence[float],
    count: int,
    noise: Noise,
    *,
    constrain: Constraint = lambda clean, t: clean,
    on_step: Callable[[int, Tensor], None] = lambda index, clean: None,
) -> Tensor:
    """Average `count` estimates at each of the `times`, from clean signals (b, c, h, w)."""
    for index, t in enumerate(times):
        draws = noise.child("average", index)
        total = torch.zeros_like(clean)
        for number in range(count):
            x_t = process.diffuse(clean, t, draws.normal(clean.shape, number, like=clean))
            total += constrain(denoiser(x_t, t), t)
        clean = total / count
        on_step(index, clean)
    return clean
