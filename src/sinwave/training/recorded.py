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
    """Some work on a CUDA device, all of whose random numbers come from `generator`; what it refers to must last."""

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
        """The results of the work, with the random numbers of a seed."""
        self._generator.manual_seed(seed)
        self._graph.replay()
        return self._results
