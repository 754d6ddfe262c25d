"""Extend: the canvas grows, and what is new continues the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinwave.options import option
from sinwave.tasks.edits.files import Editing, Plan

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave.rng import Noise
    from sinwave.systems.contracts import OnStep, SingleImageModel
    from sinwave.tasks.source import Source

__all__ = ["Extend", "ExtendFiles"]


@dataclass(frozen=True, kw_only=True)
class Extend:
    """Grow the canvas by margins that continue the picture, which stays as it is, to the bit."""

    left: int = option(0, "pixels to add on the left", low=0, high=100_000, metavar="PIXELS")
    right: int = option(0, "pixels to add on the right", low=0, high=100_000, metavar="PIXELS")
    top: int = option(0, "pixels to add above", low=0, high=100_000, metavar="PIXELS")
    bottom: int = option(0, "pixels to add below", low=0, high=100_000, metavar="PIXELS")
    strength: float = option(0.9, "0 = the margins are a mirror, 1 = they are new", low=0, high=1)

    def run(
        self,
        model: SingleImageModel,
        picture: Tensor,
        noise: Noise | None = None,
        *,
        keep: Tensor | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """The picture (1, 3, h, w) with its margins; `keep`, of the size of the result, holds the mirror there."""
        from sinwave.rng import NoiseSource
        from sinwave.systems.contracts import VerticalSpan
        from sinwave.tasks.edits.canvas import Canvas, redraw
        from sinwave.tasks.edits.lines import mirrored

        height, width = picture.shape[2:]
        rows, columns = mirrored(height, self.top, self.bottom), mirrored(width, self.left, self.right)
        new = 0 * picture[:, :1, rows][..., columns] + 1
        new[..., self.top : self.top + height, self.left : self.left + width] = 0
        canvas = Canvas(picture[:, :, rows][..., columns], new).but(keep)
        span = VerticalSpan(-self.top / height, 1 + self.bottom / height)
        return redraw(model, canvas, self.strength, noise or NoiseSource(0), span=span, on_step=on_step)

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the result for a picture of `size`."""
        return size[0] + self.top + self.bottom, size[1] + self.left + self.right


@dataclass(frozen=True, kw_only=True)
class ExtendFiles(Editing, Extend):
    """Grow the canvas of SOURCE by margins that continue it; it stays as it is, to the bit."""

    def plan(self, source: Source) -> Plan:
        """The picture and the size that it grows to."""
        size = self.size(source.picture.size)
        return Plan(size, {"picture": source.picture.pixels[None]} | self.kept(size))
