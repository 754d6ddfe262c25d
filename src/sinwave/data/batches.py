"""A batch for each step: a pure function of (seed, step), so a training that goes on has the same ones."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar, final

from sinwave.errors import InputError

__all__ = ["Batches", "Constant", "Prefetched"]

B = TypeVar("B")
B_co = TypeVar("B_co", covariant=True)


class Batches(Protocol[B_co]):
    """The batches of a training."""

    def at(self, step: int) -> B_co:
        """The batch of a step, counted from 0; the same whenever it is asked for, and whatever was asked before."""


@final
class Constant(Generic[B]):
    """The same batch for every step, such as None for a recipe that draws what it learns from."""

    def __init__(self, batch: B) -> None:
        self._batch = batch

    def at(self, step: int) -> B:
        return self._batch


@final
class Prefetched(Generic[B]):
    """Batches that threads make while the training is busy with those before; the same ones.

    An error of a batch is raised where that batch is asked for. At the end of a `with` block the threads are gone.
    """

    def __init__(self, batches: Batches[B], workers: int = 2, ahead: int = 4) -> None:
        """`ahead` batches more than the one that is asked for are begun."""
        if workers < 1 or ahead < 1:
            raise InputError(f"workers is {workers} and ahead {ahead}: both must be 1 or more")
        self._batches, self._ahead = batches, ahead
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
        self._begun: dict[int, Future[B]] = {}

    def at(self, step: int) -> B:
        wanted = range(step, step + 1 + self._ahead)
        for other in [other for other in self._begun if other not in wanted]:
            self._begun.pop(other).cancel()
        for other in wanted:
            if other not in self._begun:
                self._begun[other] = self._pool.submit(self._batches.at, other)
        return self._begun.pop(step).result()

    def close(self) -> None:
        """End the threads, when they have finished the batches that they are at."""
        self._begun.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Prefetched[B]:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
