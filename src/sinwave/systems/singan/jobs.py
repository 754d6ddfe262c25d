"""The losses of a step, one after another, each with its gradients, and how a device computes them.

    draw      random numbers -> what the loss begins with, such as a fake; it does not depend on what the step changes
    parts     that, and more random numbers -> scalars to be computed, whose sum is the loss

A processor draws for all losses side by side, and then computes the parts of each side by side: a small picture leaves
two threads that share an operation nothing to do but wait. A CUDA device has recordings, one for each kind of job.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, final

import torch
from torch import Tensor, nn

from sinwave.training.recorded import Recording
from sinwave.training.shares import Shares, known

__all__ = ["Chance", "Draw", "Job", "Parameters", "Parts", "Way", "way_for"]


@final
class Chance:
    """The random numbers of one update, on the device of `like`."""

    def __init__(self, seed: int, like: Tensor) -> None:
        self.generator, self._like = torch.Generator(like.device).manual_seed(seed), like

    def noise(self, channels: int, picture: Tensor) -> Tensor:
        """Standard normal, as large as a picture."""
        shape = (len(picture), channels, *picture.shape[2:])
        return torch.randn(shape, generator=self.generator, device=self._like.device).to(self._like)

    def uniform(self) -> Tensor:
        """From 0 to 1, a scalar."""
        return torch.rand((), generator=self.generator, device=self._like.device).to(self._like)


Draw: TypeAlias = Callable[[Chance], Tensor]
Parts: TypeAlias = Callable[[Tensor, Chance], Sequence[Callable[[], Tensor]]]
Parameters: TypeAlias = Sequence[nn.Parameter]


@final
@dataclass(frozen=True, eq=False)
class Job:
    """A loss of the `group` of `parameters`; those of one `kind` differ in nothing but the seed and the weights."""

    group: str
    kind: Hashable
    seed: int
    draw: Draw
    parts: Parts
    parameters: Parameters


class Way(ABC):
    """How jobs are done."""

    @abstractmethod
    def sums(self, jobs: Sequence[Job]) -> Iterator[tuple[Tensor, Tensor]]:
        """The loss of each job, found when it is asked for, and the parts (n,) of which it is the sum."""

    @abstractmethod
    def forget(self) -> None:
        """What is kept for the jobs so far may go."""


@final
class SideBySide(Way):
    """By threads, or one after another."""

    def __init__(self, count: int, like: Tensor) -> None:
        self._shares, self._like = Shares(count), like

    def sums(self, jobs: Sequence[Job]) -> Iterator[tuple[Tensor, Tensor]]:
        """Draw for all, then compute each."""
        chances = [Chance(job.seed, self._like) for job in jobs]
        # Each thread has every other job, since those of a player are alike.
        order = [*range(0, len(jobs), 2), *range(1, len(jobs), 2)]
        found = self._shares.map(lambda n: torch.no_grad()(jobs[n].draw)(chances[n]), order)
        pictures = dict(zip(order, found, strict=True))
        for n, job in enumerate(jobs):
            yield self._shares.sum(job.parts(pictures[n], chances[n]), job.parameters)

    def forget(self) -> None:
        """Nothing is kept."""


@final
class Recorded(Way):
    """By recordings."""

    def __init__(self, like: Tensor) -> None:
        self._chance, self._recordings = Chance(0, like), dict[Hashable, Recording]()
        self._stream = torch.cuda.Stream(like.device)  # type: ignore[no-untyped-call]

    def sums(self, jobs: Sequence[Job]) -> Iterator[tuple[Tensor, Tensor]]:
        """Draw and compute each, recorded if it is the first of its kind."""
        for job in jobs:
            key = job.group, job.kind
            if key not in self._recordings:
                self._recordings[key] = Recording(partial(self._found, job), self._chance.generator, self._stream)
            values, *gradients = self._recordings[key](job.seed)
            yield known(values.sum(), gradients, job.parameters), values

    def forget(self) -> None:
        """Make room."""
        self._recordings.clear()

    def _found(self, job: Job) -> tuple[Tensor, ...]:
        """The parts (n,), and the gradients of their sum."""
        with torch.no_grad():
            picture = job.draw(self._chance)
        with torch.enable_grad():
            values = torch.stack([part() for part in job.parts(picture, self._chance)])
            gradients = torch.autograd.grad(values.sum(), list(job.parameters), materialize_grads=True)
        return values.detach(), *gradients


def way_for(like: Tensor) -> Way:
    """The way of a device."""
    return Recorded(like) if like.device.type == "cuda" else SideBySide(2 if like.device.type == "cpu" else 1, like)
