"""Harmonize: what was pasted takes the look of the picture around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinwave.errors import InputError
from sinwave.option_kinds import Mask, Picture, Place
from sinwave.options import option
from sinwave.tasks.base.task import Drawing, Inputs, KeepingTask, first_scale

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Harmonize"]


@dataclass(frozen=True, kw_only=True)
class Harmonize(KeepingTask):
    """Make an object that was pasted into SOURCE look like SOURCE; outside of the feathered mask nothing changes.

    Either --composite, which holds the paste already, with a --mask that is white where it is; or --object, a picture
    with transparency, which is put --at a place.
    """

    composite: Picture | None = option(None, "the picture with the paste, of any size; or give --object")
    mask: Mask | None = option(None, "for --composite: white where the paste is, of any size, hard or soft")
    object: Picture | None = option(None, "the picture to be pasted, with transparency")
    at: Place | None = option(
        None, "where the middle of the object goes, in pixels of SOURCE (default: the middle of SOURCE)"
    )
    object_scale: float = option(1.0, "how many times larger the object becomes", low=0.01, high=100, metavar="FACTOR")
    strength: float = option(0.3, "how much noise is added to the paste; 0 leaves it as it is", low=0, high=1)
    shape: float = option(0.9, "how much of the paste's shape and colors stays", low=0, high=1)
    first: int = first_scale(
        1, "the coarsest scale that is redrawn: 0 = layout, 1 = texture and edges, 2+ = fine texture", low=1
    )
    feather: int = option(8, "how far changes may reach beyond the mask", low=0, high=1000, metavar="PIXELS")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.object is not None and (self.composite is not None or self.mask is not None):
            raise InputError("object excludes composite and mask: give one or the other")
        if self.object is None and (self.composite is None or self.mask is None):
            raise InputError("harmonize needs a composite and its mask, or an object")

    def prepare(self, inputs: Inputs) -> Drawing:
        from sinwave.tasks.base.canvas import feathered, redrawn_alike

        composite, mask = (inputs.move(tensor) for tensor in self._pasted(inputs))
        canvas = self.canvas(inputs, composite, feathered(mask, self.feather))
        draw = redrawn_alike(canvas, self.strength, self.first, self.shape)
        return Drawing(canvas.size, draw, {"composite": composite, "mask": mask})

    def _pasted(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        from sinwave.tasks.base.canvas import pasted

        if self.object is not None:
            thing = self.object.read(inputs.max_pixels, 1)
            return pasted(inputs.opened.picture.pixels[None], thing, self.object_scale, self.at)
        assert self.composite is not None and self.mask is not None  # checked above
        composite = self.composite.read(inputs.max_pixels).pixels[None]
        return composite, self.mask.partial((composite.shape[2], composite.shape[3]))
