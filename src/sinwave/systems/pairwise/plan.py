"""The walk from noise to a picture: a chain down to some noise level, and below it means over fresh noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from sinwave.diffusion.averaging import averaged
from sinwave.diffusion.process import Process
from sinwave.diffusion.sample import Constraint, Denoiser, Sampler, sample
from sinwave.rng import Noise

__all__ = ["Plan"]


class Plan(NamedTuple):
    """The times of a chain, and those at whose noise its result is averaged, so many estimates at each."""

    times: tuple[float, ...]
    averaged: tuple[float, ...] = ()

    @property
    def repeats(self) -> int:
        """Estimates at each of the averaged times."""
        return len(self.averaged)

    @property
    def steps(self) -> int:
        """All estimates."""
        return len(self.times) - 1 + self.repeats * len(self.averaged)

    def walk(
        self,
        denoiser: Denoiser,
        process: Process,
        sampler: Sampler,
        x: Tensor,
        noise: Noise,
        constrain: Constraint,
        on_step: Callable[[int, Tensor], None],
    ) -> Tensor:
        """Walk from x (b, c, h, w); `on_step` gets how many estimates there were, and the newest."""
        clean = sample(
            *(denoiser, process, sampler, x, self.times, noise),
            constrain=constrain,
            on_step=lambda index, x, clean: on_step(index + 1, clean),
        )
        before = len(self.times) - 1
        return averaged(
            *(denoiser, process, clean, self.averaged, self.repeats, noise),
            constrain=constrain,
            on_step=lambda index, clean: on_step(before + self.repeats * (index + 1), clean),
        )
