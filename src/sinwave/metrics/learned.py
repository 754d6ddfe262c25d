"""The one door to pyiqa, for metrics that other networks learned: NIMA, MUSIQ, CLIPIQA, MANIQA, DISTS.

pyiqa is an extra since its license allows no commercial use, and it brings its own networks and downloads their
weights itself. Figures depend on its version, which is part of their key.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any, final

import torch
from torch import Tensor

from sinwave.errors import InputError, MissingError

__all__ = ["LICENSE", "Learned"]

LICENSE = "comes from pyiqa, whose license (PolyForm Noncommercial, NTU S-Lab) allows no commercial use"


@final
class Learned:
    """A metric of pyiqa by its name there."""

    def __init__(self, name: str, device: torch.device) -> None:
        """Load it; a `MissingError` says why that is impossible."""
        try:
            import pyiqa
        except ImportError as error:
            raise MissingError.extra("pyiqa", "learned") from error
        try:
            with contextlib.redirect_stdout(sys.stderr):  # away from the result
                self._metric: Any = pyiqa.create_metric(name, device=device)
        except Exception as error:  # whatever a download or a foreign constructor raises
            raise MissingError(f"pyiqa cannot load {name} or its weights ({_reason(error)})") from error
        self._device = device
        self.version = str(getattr(pyiqa, "__version__", "unknown"))

    def __call__(self, *pictures: Tensor) -> float:
        """Measure a uint8 picture (c, h, w), or it and the true one; an `InputError` says that this is impossible."""
        try:
            with contextlib.redirect_stdout(sys.stderr):  # away from the result
                value = self._metric(*(picture.to(self._device).float()[None] / 255 for picture in pictures))
            return float(value.item())
        except MemoryError:
            raise
        except Exception as error:
            raise InputError(f"pyiqa cannot measure this picture ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
