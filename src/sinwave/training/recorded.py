"""The same computation again and again, recorded once: a GPU that is told of each small operation waits for Python.

A recording (a CUDA graph) reads all tensors where they were when it was made, and writes its results where they were.
So weights may change only in place, no shape may change at all, and a result lasts until the next time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

__all__ = ["Recording"]

_REHEARSALS = 2
"""What libraries prepare at first use cannot be recorded."""


@final
class Recording:
    """Some work on a CUDA device, all of whose random numbers come from `generator`."""

    def __init__(self, work: Callable[[], Sequence[Tensor]], generator: torch.Generator) -> None:
        self._work = work  # what it refers to must stay where it is
        self._generator, self._graph = generator, torch.cuda.CUDAGraph()
        self._graph.register_generator_state(generator)
        aside = torch.cuda.Stream(generator.device)  # type: ignore[no-untyped-call]
        here = torch.cuda.current_stream(generator.device)
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            for _ in range(_REHEARSALS):
                work()
        here.wait_stream(aside)
        with torch.cuda.graph(self._graph):
            self._results = work()

    def __call__(self, seed: int) -> Sequence[Tensor]:
        """The results of the work, with the random numbers of a seed."""
        self._generator.manual_seed(seed)
        self._graph.replay()
        return self._results
