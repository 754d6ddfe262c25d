"""Place: regions of the source are pinned in a new picture."""

from __future__ import annotations

from dataclasses import dataclass

from sinwave import option_kinds as kinds
from sinwave.options import option
from sinwave.tasks.base.task import Drawing, EditTask, Inputs

__all__ = ["Place"]


@dataclass(frozen=True, kw_only=True)
class Place(EditTask):
    """Draw a new picture like SOURCE with a region of it where you want it, once or several times."""

    region: kinds.Region = option(help="the region of SOURCE: width, height, left and top")
    at: tuple[kinds.Place, ...] = option(help="where the region's upper left corner stands in the new picture")
    size: kinds.Size | None = option(None, "size of the new picture (default: that of SOURCE)")

    def prepare(self, inputs: Inputs) -> Drawing:
        from sinwave.tasks.base.canvas import Canvas, pinned, redraw

        size = self.size or inputs.size
        inputs.check(size)
        picture, mask = (inputs.move(t) for t in pinned(inputs.opened.picture.pixels[None], self.region, self.at, size))
        canvas = Canvas(picture, 1 - mask)
        return Drawing(
            size,
            lambda model, noise, on_step: redraw(model, canvas, 1.0, noise, on_step=on_step),
            {"pinned": picture, "mask": mask},
        )
