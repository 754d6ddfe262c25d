"""Paint: a drawing becomes a picture of the source's kind."""

from __future__ import annotations

from dataclasses import dataclass

from sinwave.option_kinds import Picture
from sinwave.options import option
from sinwave.systems.contracts import SingleImageModel
from sinwave.tasks.base.task import MODELS_DEFAULT, Drawing, Inputs, KeepingTask, first_scale

__all__ = ["Paint"]


@dataclass(frozen=True, kw_only=True)
class Paint(KeepingTask):
    """Turn DRAWING, strokes or clip art, into a picture of the kind of SOURCE."""

    drawing: Picture = option(help="the drawing, of any size", positional=True, metavar="DRAWING")
    strength: float = option(0.5, "0 = the drawing as it is; higher is freer", low=0, high=1)
    first: int | None = first_scale(None, f"the coarsest scale that is redrawn; 0 is the layout {MODELS_DEFAULT}")
    colors: int | None = option(None, "first reduce DRAWING to N colors of SOURCE", low=2, high=64, metavar="N")

    def prepare(self, inputs: Inputs) -> Drawing:
        from sinwave.tasks.base.canvas import redraw
        from sinwave.tasks.base.palette import repainted

        picture = inputs.read(self.drawing)
        painted = picture if self.colors is None else repainted(picture, inputs.pixels, self.colors)
        canvas = self.canvas(inputs, painted)
        return Drawing(
            canvas.size,
            lambda model, noise, on_step: redraw(
                model, canvas, self._strength(model), noise, first=self.first, on_step=on_step
            ),
            {"drawing": picture},
        )

    def _strength(self, model: SingleImageModel) -> float:
        first = model.default_first_scale if self.first is None else self.first
        # A network lays out at its coarsest scale what it is shown there, so little noise is enough.
        return self.strength if first else self.strength / 5
