"""Extend: the canvas grows, and what is new continues the picture."""

from __future__ import annotations

from dataclasses import dataclass

from sinwave.options import option
from sinwave.systems.contracts import VerticalSpan
from sinwave.tasks.base.task import Drawing, Inputs, KeepingTask

__all__ = ["Extend"]


@dataclass(frozen=True, kw_only=True)
class Extend(KeepingTask):
    """Grow the canvas of SOURCE by margins that continue it; it stays as it is, to the bit.

    A mask of what is kept has the size of the result, and holds the mirror of SOURCE there.
    """

    left: int = option(0, "pixels to add on the left", low=0, high=100_000, metavar="PIXELS")
    right: int = option(0, "pixels to add on the right", low=0, high=100_000, metavar="PIXELS")
    top: int = option(0, "pixels to add above", low=0, high=100_000, metavar="PIXELS")
    bottom: int = option(0, "pixels to add below", low=0, high=100_000, metavar="PIXELS")
    strength: float = option(0.9, "0 = the margins mirror SOURCE, 1 = they are new", low=0, high=1)

    def prepare(self, inputs: Inputs) -> Drawing:
        from sinwave.tasks.base.canvas import mirrored, redraw

        height, width = inputs.size
        size = (height + self.top + self.bottom, width + self.left + self.right)
        inputs.check(size)
        picture = inputs.pixels
        rows, columns = mirrored(height, self.top, self.bottom), mirrored(width, self.left, self.right)
        new = 0 * picture[:, :1, rows][..., columns] + 1
        new[..., self.top : self.top + height, self.left : self.left + width] = 0
        canvas = self.canvas(inputs, picture[:, :, rows][..., columns], new)
        span = VerticalSpan(-self.top / height, 1 + self.bottom / height)
        return Drawing(
            size, lambda model, noise, on_step: redraw(model, canvas, self.strength, noise, span=span, on_step=on_step)
        )
