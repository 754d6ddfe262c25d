"""Where and how precisely to compute: the options that every task shares, and what a machine has."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sinwave.errors import InputError
from sinwave.options import option

if TYPE_CHECKING:
    import torch

__all__ = ["Hardware", "Machine", "peak_memory", "physical_memory", "usable_device"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Device and threads."""

    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps, ...; auto takes the fastest that is there")
    threads: int | None = option(None, "processor threads to use (default: one a core)", low=1, high=1024)

    def place(self, dtype: torch.dtype) -> torch.device:
        """Set the number of threads; the device, checked by a small computation in `dtype`."""
        import torch

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        return usable_device(self.device, dtype)


@dataclass(frozen=True, kw_only=True)
class Hardware(Machine):
    """Device, threads and precision."""

    dtype: Literal["auto", "float32", "float64"] = option(
        "auto", "the precision to compute in; auto: float32, and of a trained network that of its training"
    )

    def prepare(self) -> tuple[torch.device, torch.dtype]:
        """The device and the type to compute with."""
        import torch

        dtype = torch.float64 if self.dtype == "float64" else torch.float32
        return self.place(dtype), dtype


def usable_device(name: str, dtype: torch.dtype) -> torch.device:
    """The device of that name, `auto` for the fastest, checked by a small computation."""
    import torch

    name = _fastest() if name == "auto" else name
    try:
        device = torch.device(name)
        torch.ones(1, device=device, dtype=dtype).sum().item()
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        shown = str(dtype).removeprefix("torch.")
        raise InputError(f"device {name} cannot compute in {shown} here: {reason}") from error
    return device


def _fastest() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def peak_memory() -> int | None:
    """The most memory in bytes that this process has had, or None where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def physical_memory() -> int | None:
    """The memory of the machine in bytes, or None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
