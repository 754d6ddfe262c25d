"""The one door to pyiqa, for metrics that other networks learned: NIMA, MUSIQ, CLIPIQA, MANIQA, DISTS.

pyiqa is an extra since its license allows no commercial use, and it brings its own networks and downloads their
weights itself. Figures depend on its version, which is part of their key.
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from sinwave.errors import MissingError

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
            self._metric: Any = pyiqa.create_metric(name, device=device)
        except Exception as error:  # whatever a download or a foreign constructor raises
            reason = " ".join(str(error).split()) or type(error).__name__
            raise MissingError(f"pyiqa cannot load {name} or its weights ({reason})") from error
        self._device = device
        self.version = str(getattr(pyiqa, "__version__", "unknown"))

    def __call__(self, *pictures: Tensor) -> float:
        """Of a uint8 picture (c, h, w), or of it and the true one."""
        value: float = self._metric(*(each.to(self._device).float()[None] / 255 for each in pictures)).item()
        return value
