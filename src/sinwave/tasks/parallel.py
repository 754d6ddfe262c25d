"""Several small pictures at once, one on each core: the cores wait for each other after every operation of one picture.

Each is drawn by one thread, and the numbers are those that it has alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Event, Lock
from typing import TypeVar, final

__all__ = ["Tally", "in_parallel"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class _StoppedError(Exception):
    """Raised where a picture is being drawn that nobody wants any more."""


@final
class Tally:
    """Adds up what is done of parts that go on at the same time."""

    def __init__(self, on_progress: Callable[[str, float, float], None], done: float, total: float) -> None:
        self._on_progress, self._before, self._total = on_progress, done, total
        self._parts: dict[int, float] = {}
        self._lock, self._stop = Lock(), Event()

    def tell(self, part: int, label: str, done: float) -> None:
        """A part has come so far."""
        if self._stop.is_set():
            raise _StoppedError
        with self._lock:
            self._parts[part] = done
            self._on_progress(label, self._before + sum(self._parts.values()), self._total)

    def stop(self) -> None:
        """Whoever tells next is ended by that."""
        self._stop.set()


def in_parallel(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, stop: Callable[[], None]
) -> Iterator[Result]:
    """The results in the order of the items; if one fails, or the reader goes away, the others are told to `stop`."""
    if workers == 1:
        yield from map(work, items)
        return
    from sinwave.threads import one_thread_each

    with one_thread_each(workers) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                yield future.result()
        except BaseException:
            stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
