"""The losses of a step, one after another, each with its gradients, and how a device computes them.

    draw      random numbers -> what the loss begins with, such as a fake; it does not depend on what the step changes
    parts     that, and more random numbers -> scalars to be computed, whose sum is the loss

A CPU draws for all losses side by side, and then computes the parts of each side by side: a small picture leaves two
threads that share an operation nothing to do but wait. A CUDA device has recordings (CUDA graphs), one for each kind
of job, since so many small operations would wait for Python one by one (docs/singan.md has the times). A recording
reads all tensors where they were when it was made, and writes its results where they were. So weights may change only
in place, no shape may change at all, and a result lasts until the next time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, final

import torch
from torch import Tensor, nn

from sinwave.training.shares import Shares, with_gradients

__all__ = ["Chance", "Draw", "Job", "Parameters", "Parts", "Way", "way_for"]

_REHEARSALS = 2
"""Libraries prepare at first use, which cannot be recorded."""


@final
class Chance:
    """The random numbers of one update, on the device of `like`."""

    def __init__(self, seed: int, like: Tensor) -> None:
        self.generator, self._like = torch.Generator(like.device).manual_seed(seed), like

    def noise(self, channels: int, picture: Tensor) -> Tensor:
        shape = (len(picture), channels, *picture.shape[2:])
        return torch.randn(shape, generator=self.generator, device=self._like.device).to(self._like)

    def uniform(self) -> Tensor:
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
    """A way to do jobs."""

    @abstractmethod
    def sums(self, jobs: Sequence[Job]) -> Iterator[tuple[Tensor, Tensor]]:
        """The loss of each job, computed when it is asked for, and the parts (n,) of which it is the sum."""


@final
class SideBySide(Way):
    """Threads do the jobs, or they are done one after another."""

    def __init__(self, count: int, like: Tensor) -> None:
        self._shares, self._like = Shares(count), like

    def sums(self, jobs: Sequence[Job]) -> Iterator[tuple[Tensor, Tensor]]:
        """Draw for all, then compute each."""
        chances = [Chance(job.seed, self._like) for job in jobs]
        # Each thread has every other job, since those of a player are alike.
        order = [*range(0, len(jobs), 2), *range(1, len(jobs), 2)]
        drawn = self._shares.map(lambda n: torch.no_grad()(jobs[n].draw)(chances[n]), order)
        pictures = dict(zip(order, drawn, strict=True))
        for n, job in enumerate(jobs):
            yield self._shares.sum(job.parts(pictures[n], chances[n]), job.parameters)


@final
class Recording:
    """Work on a CUDA device, all of whose random numbers come from `generator`; its tensors must outlive it."""

    def __init__(
        self, work: Callable[[], Sequence[Tensor]], generator: torch.Generator, stream: torch.cuda.Stream
    ) -> None:
        self._generator, self._graph = generator, torch.cuda.CUDAGraph()
        with torch.cuda.device(generator.device):
            self._graph.register_generator_state(generator)
            here = torch.cuda.current_stream()
            stream.wait_stream(here)
            with torch.cuda.stream(stream):
                for _ in range(_REHEARSALS):
                    work()
            here.wait_stream(stream)
            with torch.cuda.graph(self._graph, stream=stream):
                self._results = work()

    def __call__(self, seed: int) -> Sequence[Tensor]:
        self._generator.manual_seed(seed)
        self._graph.replay()
        return self._results


@final
class Recorded(Way):
    """Recordings do the jobs."""

    def __init__(self, like: Tensor) -> None:
        self._chance, self._recordings = Chance(0, like), dict[tuple[str, Hashable], Recording]()
        self._stream = torch.cuda.Stream(like.device)  # type: ignore[no-untyped-call]

    def sums(self, jobs: Sequence[Job]) -> Iterator[tuple[Tensor, Tensor]]:
        """Draw and compute each, recorded if it is the first of its kind; a new scale makes room for its own."""
        groups = {job.group for job in jobs}
        self._recordings = {key: kept for key, kept in self._recordings.items() if key[0] in groups}
        for job in jobs:
            key = job.group, job.kind
            if key not in self._recordings:
                self._recordings[key] = Recording(partial(self._computed, job), self._chance.generator, self._stream)
            values, *gradients = self._recordings[key](job.seed)
            yield with_gradients(values.sum(), gradients, job.parameters), values

    def _computed(self, job: Job) -> tuple[Tensor, ...]:
        """Compute the parts (n,), and the gradients of their sum."""
        with torch.no_grad():
            picture = job.draw(self._chance)
        with torch.enable_grad():
            values = torch.stack([part() for part in job.parts(picture, self._chance)])
            gradients = torch.autograd.grad(values.sum(), list(job.parameters), materialize_grads=True)
        return values.detach(), *gradients


def way_for(like: Tensor) -> Way:
    return Recorded(like) if like.device.type == "cuda" else SideBySide(2 if like.device.type == "cpu" else 1, like)
