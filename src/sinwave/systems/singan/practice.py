"""How a SinGAN is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sinwave.wavelets import Size

__all__ = ["Practice"]


@dataclass(frozen=True, kw_only=True)
class Practice:
    """How a scale is trained; the defaults are those of the paper.

    iterations      of the finest scale; a scale whose sides are 1 / r of its has r^`coarser` times as many
    critic_steps    in each iteration, and then so many `generator_steps`
    rate            of Adam, and `fall` of it after the share `falls_at` of the iterations
    older           part of the rate of a generator that is trained along with the next finer one
    penalty         weight of the critic's penalty, which has it in one of `penalty_every` iterations, so many times
    fidelity        weight of the reconstruction
    """

    iterations: int = 2000
    coarser: float = 0.0
    critic_steps: int = 3
    generator_steps: int = 3
    rate: float = 5e-4
    falls_at: float = 0.8
    fall: float = 0.1
    older: float = 0.1
    penalty: float = 0.1
    penalty_every: int = 1
    fidelity: float = 10.0

    def counts(self, sizes: Sequence[Size]) -> tuple[int, ...]:
        """Iterations of each scale."""
        finest = math.prod(sizes[-1])
        return tuple(round(self.iterations * (finest / math.prod(size)) ** (self.coarser / 2)) for size in sizes)
