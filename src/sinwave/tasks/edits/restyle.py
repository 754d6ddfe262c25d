"""Restyle: a picture in the texture and the palette of another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sinwave.options import option
from sinwave.tasks.edits.files import Editing, Plan, read_pixels

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave.rng import Noise
    from sinwave.systems.contracts import OnStep, SingleImageModel
    from sinwave.tasks.source import Source

__all__ = ["Restyle", "RestyleFiles"]


@dataclass(frozen=True, kw_only=True)
class Restyle:
    """Draw a picture in the texture and the palette of the source; its coarse structure stays."""

    strength: float = option(0.3, "how much noise its texture is redrawn from; 0 only exchanges colors", low=0, high=1)
    shape: float = option(0.7, "how much of its shapes stays", low=0, high=1)
    palette: float = option(1.0, "how much of its colors is exchanged", low=0, high=1)
    first: int = option(1, "the first scale that is redrawn, from 0", low=0, high=16, metavar="SCALE")

    def run(
        self,
        model: SingleImageModel,
        content: Tensor,
        source: Tensor,
        noise: Noise | None = None,
        *,
        keep: Tensor | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """The content (1, 3, h, w) in the manner of `source` (1, 3, h', w'), the picture that the model knows."""
        from sinwave.rng import NoiseSource
        from sinwave.tasks.edits.canvas import Canvas, redraw, resembling
        from sinwave.tasks.edits.palette import recolored

        colored = recolored(content, source, self.palette)
        alike = resembling(model, colored, max(self.first - 1, 0), self.shape)
        canvas, noise = Canvas(colored).but(keep), noise or NoiseSource(0)
        return redraw(model, canvas, self.strength, noise, first=self.first, also=[alike], on_step=on_step)


@dataclass(frozen=True, kw_only=True)
class RestyleFiles(Editing, Restyle):
    """Draw CONTENT in the texture and the palette of SOURCE; its coarse structure stays."""

    content: Path = option(help="the picture to be drawn otherwise, of any size", positional=True, metavar="CONTENT")

    def plan(self, source: Source) -> Plan:
        """The content, and the source as the style."""
        content = read_pixels(self.content, self.max_pixels).pixels[None]
        size = (content.shape[2], content.shape[3])
        return Plan(size, {"content": content, "source": source.picture.pixels[None]} | self.kept(size))
