"""Threads side by side, each with work of its own: cores that share an operation wait for each other after it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

__all__ = ["lanes", "threads"]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads an operation, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def lanes(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of `count` threads, but no more than PyTorch has, in which an operation has one.

    So no bit of a result depends on how many there are.
    """
    workers = min(count, torch.get_num_threads())
    # A new thread takes the number of the process at its first operation, so that is set too.
    with threads(1), ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield pool
