"""Threads side by side, each with work of its own: cores that share an operation wait for each other after it.

A convolution gives other bits with another number of threads, so networks compute with one thread each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

__all__ = ["one_thread_each", "side_by_side", "threads"]

Result = TypeVar("Result")


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with so many threads an operation for a while; `None` leaves the number as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_thread_each(count: int) -> Iterator[ThreadPoolExecutor]:
    """Open a pool of `count` threads, but no more than PyTorch has, in which an operation has one.

    So no bit of a result depends on how many there are.
    """
    workers = min(count, torch.get_num_threads())
    # A new thread takes the number of the process at its first operation, so that is set too.
    with threads(1), ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield pool


def side_by_side(tasks: Sequence[Callable[[], Result]], device: torch.device) -> list[Result]:
    """Do some tasks on a device: a CPU gives each one thread, another device does them one after another."""
    if device.type != "cpu":
        return [task() for task in tasks]
    with one_thread_each(len(tasks)) as pool:
        return list(pool.map(lambda task: task(), tasks))
