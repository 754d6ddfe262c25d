"""Devices, threads and precision: the options that every task shares, and pictures that are drawn side by side.

Small pictures are drawn several at once, one on each core: cores that share an operation wait for each other after it.
The first picture is measured, and says how long each step of the others takes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, final

from sinwave.errors import InputError
from sinwave.options import option
from sinwave.systems.contracts import Computing, OnStep, Progress

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Hardware", "Machine", "OnEstimate", "OnProgress", "Tally", "check_memory", "device_memory", "in_parallel"]
__all__ += ["peak_memory", "silent", "usable_device", "workers_for"]

Item = TypeVar("Item")
Result = TypeVar("Result")

OnProgress: TypeAlias = Callable[[str, float, float], None]
"""`on_progress(label, done, total)`: how much of the whole job is done, in units of equal time."""

OnEstimate: TypeAlias = "Callable[[int, Tensor], None]"
"""`on_estimate(number, picture)`: the newest estimate (3, h, w) of result `number`, in [-1, 1], at its own scale."""

_FEW_PIXELS = 1 << 19
"""Pixels up to which pictures are drawn several at once."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Device and threads."""

    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps, ...; auto: the fastest")
    threads: int | None = option(None, "threads to use (default: one per core)", low=1, high=1024)

    @contextmanager
    def on(self, dtype: torch.dtype) -> Iterator[torch.device]:
        """Compute with so many threads for a while, on the device, checked by a small computation in `dtype`."""
        from sinwave.threads import threads

        with threads(self.threads):
            yield usable_device(self.device, dtype)


@dataclass(frozen=True, kw_only=True)
class Hardware(Machine):
    """Device, threads and precision."""

    dtype: Literal["auto", "float32", "float64"] = option(
        "auto", "the precision to compute in; auto: float32, but a trained network may use bfloat16"
    )

    @contextmanager
    def computing(self, *, quick: bool = False) -> Iterator[Computing]:
        """Compute for a while as the options ask."""
        import torch

        dtype = torch.float64 if self.dtype == "float64" else torch.float32
        with self.on(dtype) as device:
            yield Computing(device, dtype, None if self.dtype == "auto" else dtype, quick)


def check_memory(subject: str, needed: float, device: torch.device, hint: str = "") -> None:
    """Refuse what the device cannot hold, before it is brought to its knees."""
    available = device_memory(device)
    if available is not None and needed > available:
        place = "this machine" if device.type == "cpu" else f"the device {device}"
        raise InputError(
            f"{subject} needs about {needed / 1e9:.0f} GB of memory, and {place} has {available / 1e9:.0f}"
            + (f"; {hint}" if hint else "")
        )


def usable_device(name: str, dtype: torch.dtype) -> torch.device:
    """Choose the device of that name, `auto` for the fastest, and check it by a small computation."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.ones(1, device=device, dtype=dtype).sum().item()
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        shown = str(dtype).removeprefix("torch.")
        raise InputError(f"device {name} cannot compute in {shown} here: {reason}") from error
    return device


def peak_memory() -> int | None:
    """Look up the most memory in bytes that this process has had, None where the system does not say."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def device_memory(device: torch.device) -> int | None:
    """Look up the bytes of memory that a device has, None where the system does not say; a CPU has the machine's."""
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    if device.type != "cpu":
        return None
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def silent(label: str, done: float, total: float) -> None:
    """Report nothing."""


class _StoppedError(Exception):
    """Raised where a picture is being drawn that nobody wants any more."""


@final
class Tally:
    """Adds up the progress of results that are drawn at the same time."""

    def __init__(
        self, on_progress: OnProgress, done: int, total: int, on_estimate: OnEstimate | None = None, before: str = ""
    ) -> None:
        self._on_progress, self._on_estimate, self._prefix = on_progress, on_estimate, before
        self._before, self._total = done, total
        self._parts: dict[int, float] = {}
        self._shares: dict[tuple[int, int], float] = {}
        self._lock, self._stop = Lock(), Event()

    def reporter(self, numbers: Sequence[int]) -> OnStep:
        """Make the `on_step` of results that are drawn in one batch."""
        first, last, start = numbers[0] + 1, numbers[-1] + 1, time.perf_counter()
        name = f"picture {first}" if first == last else f"pictures {first} to {last}"
        seconds: dict[tuple[int, int], float] = {}

        def report(progress: Progress) -> None:
            part, parts, step, steps, estimate = progress
            seconds[part, step] = time.perf_counter() - start
            where = f", scale {part + 1} of {parts}" if parts > 1 else ""
            label = f"{self._prefix}{name} of {self._total}{where}, step {step} of {steps}"
            with self._lock, self._stopping_all():
                done = self._shares.get((part, step), (part + step / steps) / parts)
                self._parts[first] = len(numbers) * done
                self._on_progress(label, self._before + sum(self._parts.values()), self._total)
                if self._on_estimate is not None:
                    for number, picture in zip(numbers, estimate(), strict=False):
                        self._on_estimate(number, picture)
                if (part + 1, step) == (parts, steps) and not self._shares:
                    whole = seconds[part, step]
                    self._shares = {key: second / whole for key, second in seconds.items()}

        return report

    @contextmanager
    def _stopping_all(self) -> Iterator[None]:
        """Let what a callback raises end the other results too, and let none of them call it again."""
        if self._stop.is_set():
            raise _StoppedError
        try:
            yield
        except BaseException:
            self._stop.set()
            raise

    def stop(self) -> None:
        """End whatever reports next."""
        self._stop.set()


def workers_for(device: torch.device, count: int, pixels: int) -> int:
    """Choose one worker a core for small pictures; a large one has work for all cores."""
    import torch

    small = device.type == "cpu" and pixels <= _FEW_PIXELS
    return max(1, min(torch.get_num_threads(), count)) if small else 1


def in_parallel(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, stop: Callable[[], None]
) -> Iterator[Result]:
    """Give the results in the order of the items; if one fails, or the reader goes away, `stop` ends the others."""
    if workers == 1:
        yield from map(work, items)
        return
    from sinwave.threads import one_thread_each

    with one_thread_each(workers) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                yield future.result()
        except BaseException as error:
            stop()
            pool.shutdown(cancel_futures=True)
            causes = [future.exception() for future in futures if not future.cancelled()]
            if isinstance(error, _StoppedError):
                raise next((e for e in causes if e and not isinstance(e, _StoppedError)), error) from None
            raise
