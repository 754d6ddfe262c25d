"""Restyle: a picture in the texture and the palette of another."""

from __future__ import annotations

from dataclasses import dataclass

from sinwave.option_kinds import Picture
from sinwave.options import option
from sinwave.tasks.base.task import Drawing, Inputs, KeepingTask, first_scale

__all__ = ["Restyle"]


@dataclass(frozen=True, kw_only=True)
class Restyle(KeepingTask):
    """Draw CONTENT in the texture and the palette of SOURCE; its coarse structure stays."""

    content: Picture = option(help="the picture to restyle, of any size", positional=True, metavar="CONTENT")
    strength: float = option(0.3, "how much noise is added before redrawing; 0 only exchanges colors", low=0, high=1)
    shape: float = option(0.7, "how much of CONTENT's shapes stays", low=0, high=1)
    palette: float = option(1.0, "how far SOURCE's colors replace CONTENT's", low=0, high=1)
    first: int = first_scale(1, "the coarsest scale that is redrawn; 0 is the layout")

    def prepare(self, inputs: Inputs) -> Drawing:
        from sinwave.tasks.base.canvas import redrawn_alike
        from sinwave.tasks.base.palette import recolored

        content = inputs.read(self.content)
        canvas = self.canvas(inputs, recolored(content, inputs.pixels, self.palette))
        draw = redrawn_alike(canvas, self.strength, self.first, self.shape)
        return Drawing(canvas.size, draw, {"content": content})
