"""Place: regions of the source are pinned in a new picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinwave.options import option
from sinwave.tasks.edits.files import Editing, Plan
from sinwave.tasks.edits.regions import parse_place, parse_region
from sinwave.tasks.sizes import parse_size

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave.rng import Noise
    from sinwave.systems.contracts import OnStep, SingleImageModel
    from sinwave.tasks.source import Source

__all__ = ["Place", "PlaceFiles"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Draw a new picture in which regions stand where they are wanted."""

    def run(
        self,
        model: SingleImageModel,
        pinned: Tensor,
        mask: Tensor,
        noise: Noise | None = None,
        *,
        keep: Tensor | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """A picture that is `pinned` (1, 3, h, w) where the mask (1, 1, h, w) is 1, and new elsewhere."""
        from sinwave.rng import NoiseSource
        from sinwave.tasks.edits.canvas import Canvas, redraw

        canvas = Canvas(pinned, 1 - mask).but(keep)
        return redraw(model, canvas, 1.0, noise or NoiseSource(0), on_step=on_step)


@dataclass(frozen=True, kw_only=True)
class PlaceFiles(Editing, Place):
    """Draw a new picture like SOURCE in which a region of it stands where it is wanted, once or several times."""

    region: str = option(help="the region of SOURCE: width, height, left and top", metavar="WxH+X+Y")
    at: tuple[str, ...] = option(help="where the region's upper left corner stands in the new picture", metavar="X+Y")
    size: str | None = option(None, "size of the new picture (default: that of SOURCE)", metavar="WIDTHxHEIGHT")

    def plan(self, source: Source) -> Plan:
        """The pinned regions and their mask."""
        from sinwave.tasks.edits.paste import pinned

        size = source.picture.size if self.size is None else parse_size(self.size)
        region, places = parse_region(self.region), [parse_place(place) for place in self.at]
        picture, mask = pinned(source.picture.pixels[None], region, places, size)
        return Plan(size, {"pinned": picture, "mask": mask})
