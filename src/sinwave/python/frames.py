"""Animations in Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import final

from torch import Tensor

from sinwave.images import write_frames

__all__ = ["Frames"]


@final
@dataclass(frozen=True, eq=False)
class Frames:
    """An animation; `frames` is a tensor (n, 3, h, w) in [-1, 1]."""

    frames: Tensor
    fps: float
    text: Mapping[str, str] = field(default_factory=dict, repr=False)

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> Frames:
        """Write it as .gif, .webp or .mp4."""
        write_frames(Path(path), self.frames, self.fps, overwrite=overwrite, text=self.text)
        return self

    def __repr__(self) -> str:
        count, _, height, width = self.frames.shape
        return f"<Frames: {count} of {width} x {height}, {self.fps:g} a second>"
