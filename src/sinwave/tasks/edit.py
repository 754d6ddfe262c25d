"""Edit: what was moved, copied or erased becomes plausible."""

from __future__ import annotations

from dataclasses import dataclass

from sinwave.option_kinds import Mask, Picture
from sinwave.options import option
from sinwave.tasks.base.task import MODELS_DEFAULT, Drawing, Inputs, KeepingTask, first_scale

__all__ = ["Edit"]


@dataclass(frozen=True, kw_only=True)
class Edit(KeepingTask):
    """Repair EDITED, a picture in which regions were moved, copied or erased, in the manner of SOURCE."""

    edited: Picture = option(help="the edited picture, of any size", positional=True, metavar="EDITED")
    mask: Mask | None = option(None, "white where something was done, of any size (default: everywhere)")
    strength: float = option(0.25, "0 = the edit as it is, 1 = newly drawn", low=0, high=1)
    first: int | None = first_scale(
        None, f"the coarsest scale that is redrawn; 0 (layout) may undo small edits {MODELS_DEFAULT}"
    )
    feather: int = option(16, "how far changes may reach beyond the mask", low=0, high=1000, metavar="PIXELS")

    def prepare(self, inputs: Inputs) -> Drawing:
        from sinwave.tasks.base.canvas import feathered, redraw

        edited = inputs.read(self.edited)
        mask = None if self.mask is None else inputs.move(self.mask.partial((edited.shape[2], edited.shape[3])))
        canvas = self.canvas(inputs, edited, None if mask is None else feathered(mask, self.feather))
        return Drawing(
            canvas.size,
            lambda model, noise, on_step: redraw(
                model, canvas, self.strength, noise, first=self.first, on_step=on_step
            ),
            {"edited": edited} | ({} if mask is None else {"mask": mask}),
        )
