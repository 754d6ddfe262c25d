"""Inpaint: what a mask covers is removed."""

from __future__ import annotations

from dataclasses import dataclass

from sinwave.option_kinds import Mask
from sinwave.options import option
from sinwave.systems.contracts import VerticalSpan
from sinwave.tasks.base.task import Drawing, Inputs, KeepingTask

__all__ = ["Inpaint"]


@dataclass(frozen=True, kw_only=True)
class Inpaint(KeepingTask):
    """Remove what MASK covers from SOURCE, and fill the hole with what the rest of it is made of."""

    mask: Mask = option(help="white where something is to be removed, of any size", positional=True)
    strength: float = option(1.0, "under the mask: 0 = SOURCE as it is, 1 = all new", low=0, high=1)

    def prepare(self, inputs: Inputs) -> Drawing:
        from sinwave.tasks.base.canvas import redraw

        mask, span = self.mask.partial(inputs.size), VerticalSpan()
        canvas = self.canvas(inputs, inputs.pixels, inputs.move((mask > 0).to(mask)))
        return Drawing(
            inputs.size,
            lambda model, noise, on_step: redraw(model, canvas, self.strength, noise, span=span, on_step=on_step),
            {"mask": mask},
            hidden=mask,  # what is removed is hidden from the model, too
        )
