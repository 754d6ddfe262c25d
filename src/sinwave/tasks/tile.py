"""Tile: a texture that continues over its own border."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sinwave.option_kinds import Size
from sinwave.options import option
from sinwave.systems.contracts import OnStep, PictureConstraint, ScaleConstraint, SingleImageModel
from sinwave.tasks.base.task import Drawing, EditTask, Inputs

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave.rng import Noise

__all__ = ["Tile", "wrapping"]


@dataclass(frozen=True, kw_only=True)
class Tile(EditTask):
    """Draw a texture like SOURCE, of any size, that repeats without a seam.

    A margin around the tile repeats what is on its other side, in every estimate; a band along the border is drawn
    anew, from nothing, so that no end of the texture is left in it.
    """

    size: Size | None = option(None, "size of the tile in pixels (default: that of SOURCE)")
    variation: float | None = option(
        None,
        "0 = only borders are redrawn, 1 = a new texture (default: 0; 1 for a tile larger than SOURCE)",
        low=0,
        high=1,
    )
    axes: Literal["both", "x", "y"] = option("both", "x: left meets right; y: top meets bottom")
    band: float = option(0.2, "width redrawn along each border, as a share of the shorter side", low=0.01, high=0.5)

    def prepare(self, inputs: Inputs) -> Drawing:
        from sinwave.tasks.base.canvas import mirrored

        size, (h, w) = self.size or inputs.size, inputs.size
        inputs.check(size)
        tile = inputs.pixels[:, :, mirrored(h, 0, size[0] - h)][..., mirrored(w, 0, size[1] - w)]
        larger = size[0] > h or size[1] > w
        variation = float(larger) if self.variation is None else self.variation
        return Drawing(size, lambda model, noise, on_step: self._drawn(model, tile, variation, noise, on_step))

    def _drawn(
        self, model: SingleImageModel, tile: Tensor, variation: float, noise: Noise, on_step: OnStep | None
    ) -> Tensor:
        """Draw the tile with its margin, and then the seam."""
        from sinwave.tasks.base.canvas import Canvas, redraw, turned_into, wrapped

        height, width = tile.shape[2:]
        margin = _margin(model, tile)
        down, right = margin * (self.axes != "x"), margin * (self.axes != "y")
        rows, columns = wrapped(height + 2 * down, down) - down, wrapped(width + 2 * right, right) - right
        canvas = tile[:, :, rows][..., columns]
        wrap, turns = [wrapping(model, canvas, (down, right))], 1 + (variation < 1)
        report = turned_into(on_step, 0, turns)
        drawn = redraw(model, Canvas(canvas), variation, noise.child("all"), also=wrap, on_step=report)
        if variation < 1:
            seam, report = self._seam(tile)[:, :, rows][..., columns], turned_into(on_step, 1, turns)
            drawn = redraw(model, Canvas(drawn, seam), 1.0, noise.child("seam"), also=wrap, on_step=report)
        return drawn[..., down : down + height, right : right + width]

    def _seam(self, tile: Tensor) -> Tensor:
        """1 where the tile is new in any case, (1, 1, h, w)."""
        seam, short = 0 * tile[:, :1], min(tile.shape[2:])
        band = max(1, round(self.band * short))
        if self.axes != "x":
            seam[:, :, :band], seam[:, :, -band:] = 1, 1
        if self.axes != "y":
            seam[..., :band], seam[..., -band:] = 1, 1
        return seam


def _margin(model: SingleImageModel, picture: Tensor) -> int:
    """Pixels that are 16 of the coarsest scale: as far as the largest patch reaches."""
    return 16 * round(picture.shape[2] / model.scales(picture)[0].shape[2])


def wrapping(model: SingleImageModel, pixels: Tensor, margin: tuple[int, int]) -> ScaleConstraint:
    """Constrain estimates so that a margin, (height, width), repeats what is on the other side of the picture."""
    from sinwave.tasks.base.canvas import wrapped

    whole = pixels.shape[2:]
    sizes = [picture.shape[2:] for picture in model.scales(pixels)]

    def at_scale(index: int) -> PictureConstraint:
        near = (round(m * side / full) for m, side, full in zip(margin, sizes[index], whole, strict=True))
        rows, columns = (wrapped(side, m).to(pixels.device) for side, m in zip(sizes[index], near, strict=True))
        return lambda picture: picture[:, :, rows][..., columns]

    return at_scale
