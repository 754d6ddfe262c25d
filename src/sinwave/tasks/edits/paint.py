"""Paint: a drawing becomes a picture of the source's kind."""

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

__all__ = ["Paint", "PaintFiles"]


@dataclass(frozen=True, kw_only=True)
class Paint:
    """Turn strokes or clip art into a picture of the source's kind."""

    strength: float = option(0.5, "0 = the drawing as it is, 1 = little of it but where things are", low=0, high=1)
    first: int | None = option(
        None,
        "the first scale that is redrawn, from 0 (default: 1; 0 for a wavelet network, 2 for SinGAN)",
        low=0,
        high=16,
        metavar="SCALE",
    )
    colors: int | None = option(
        None, "paint the drawing with so many colors of the source first", low=2, high=64, metavar="N"
    )

    def run(
        self,
        model: SingleImageModel,
        drawing: Tensor,
        source: Tensor,
        noise: Noise | None = None,
        *,
        keep: Tensor | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """The drawing (1, 3, h, w) as the model would have drawn it; `source` (1, 3, h', w') is what it knows."""
        from sinwave.rng import NoiseSource
        from sinwave.tasks.edits.canvas import Canvas, redraw
        from sinwave.tasks.edits.palette import repainted

        painted = drawing if self.colors is None else repainted(drawing, source, self.colors)
        first = model.default_first_scale if self.first is None else self.first
        # A network lays out at its coarsest scale what it is shown there, so little noise is enough.
        strength = self.strength if first else self.strength / 5
        noise = noise or NoiseSource(0)
        return redraw(model, Canvas(painted).but(keep), strength, noise, first=first, on_step=on_step)


@dataclass(frozen=True, kw_only=True)
class PaintFiles(Editing, Paint):
    """Turn DRAWING, strokes or clip art, into a picture of the kind of SOURCE."""

    drawing: Path = option(help="the drawing, of any size", positional=True, metavar="DRAWING")

    def plan(self, source: Source) -> Plan:
        """The drawing."""
        drawing = read_pixels(self.drawing, self.max_pixels).pixels[None]
        size = (drawing.shape[2], drawing.shape[3])
        pictures = {"drawing": drawing, "source": source.picture.pixels[None]}
        return Plan(size, pictures | self.kept(size))
