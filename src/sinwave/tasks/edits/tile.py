"""Tile: a texture that continues over its own border."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sinwave.options import option
from sinwave.tasks.edits.files import Editing, Plan
from sinwave.tasks.sizes import parse_size

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave.rng import Noise
    from sinwave.systems.contracts import OnStep, PictureConstraint, ScaleConstraint, SingleImageModel
    from sinwave.tasks.source import Source

__all__ = ["Tile", "TileFiles", "wrapping"]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """Draw a texture that continues over its own border, so that it may be laid side by side without a seam.

    A margin around the tile repeats what is on its other side, in every estimate; a band along the border is drawn
    anew, from nothing, so that no end of the texture is left in it.
    """

    variation: float | None = option(
        None,
        "0 = the source but for its seams, 1 = a new texture (default: 0, and 1 where the tile is larger)",
        low=0,
        high=1,
    )
    axes: Literal["both", "x", "y"] = option("both", "x: left meets right; y: top meets bottom; both")
    band: float = option(0.2, "the part along each border that is new in any case", low=0.01, high=0.5)

    def run(
        self,
        model: SingleImageModel,
        picture: Tensor,
        size: tuple[int, int] | None = None,
        noise: Noise | None = None,
        *,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """A tile (1, 3, h, w) of `size`, that of the picture (1, 3, h, w) unless told."""
        from sinwave.rng import NoiseSource
        from sinwave.tasks.edits.canvas import Canvas, after, redraw
        from sinwave.tasks.edits.lines import mirrored, wrapped

        noise = noise or NoiseSource(0)
        (height, width), (h, w) = size or picture.shape[2:], picture.shape[2:]
        # A tile that is larger than the texture begins with its mirror images.
        tile = picture[:, :, mirrored(h, 0, height - h)][..., mirrored(w, 0, width - w)]
        larger = height > h or width > w
        variation = float(larger) if self.variation is None else self.variation
        margin = _margin(model, tile)
        down, right = margin * (self.axes != "x"), margin * (self.axes != "y")
        rows, columns = wrapped(height + 2 * down, down) - down, wrapped(width + 2 * right, right) - right
        canvas = tile[:, :, rows][..., columns]
        wrap = [wrapping(model, canvas, (down, right))]
        drawn = redraw(model, Canvas(canvas), variation, noise.child("all"), also=wrap, on_step=on_step)
        if variation < 1:
            seam, told = self._seam(tile)[:, :, rows][..., columns], after(1, model, on_step)
            drawn = redraw(model, Canvas(drawn, seam), 1.0, noise.child("seam"), also=wrap, on_step=told)
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
    """The constraint that a margin, (height, width), repeats what is on the other side of the picture."""
    from sinwave.tasks.edits.lines import wrapped

    whole = pixels.shape[2:]
    sizes = [each.shape[2:] for each in model.scales(pixels)]

    def at_scale(index: int) -> PictureConstraint:
        near = (round(m * side / full) for m, side, full in zip(margin, sizes[index], whole, strict=True))
        rows, columns = (wrapped(side, m).to(pixels.device) for side, m in zip(sizes[index], near, strict=True))
        return lambda picture: picture[:, :, rows][..., columns]

    return at_scale


@dataclass(frozen=True, kw_only=True)
class TileFiles(Editing, Tile):
    """Draw a texture like SOURCE that continues over its own border, of any size."""

    size: str | None = option(None, "size of the tile in pixels (default: that of SOURCE)", metavar="WIDTHxHEIGHT")

    def plan(self, source: Source) -> Plan:
        """The texture and the size of the tile."""
        size = source.picture.size if self.size is None else parse_size(self.size)
        return Plan(size, {"picture": source.picture.pixels[None]}, (size, size), {"size": size})
