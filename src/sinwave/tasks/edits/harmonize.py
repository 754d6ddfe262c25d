"""Harmonize: what was pasted takes the look of the picture around it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sinwave.errors import InputError
from sinwave.options import option
from sinwave.tasks.edits.files import Editing, Plan, need_some, read_mask, read_pixels
from sinwave.tasks.edits.regions import parse_place

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave.rng import Noise
    from sinwave.systems.contracts import OnStep, SingleImageModel
    from sinwave.tasks.source import Source

__all__ = ["Harmonize", "HarmonizeFiles"]


@dataclass(frozen=True, kw_only=True)
class Harmonize:
    """Give what was pasted into a picture the look of that picture; outside of the feathered mask nothing changes."""

    strength: float = option(0.3, "how much noise the paste is redrawn from; 0 leaves it as it is", low=0, high=1)
    shape: float = option(0.9, "how much of its shape and its colors stays", low=0, high=1)
    first: int = option(
        1,
        "the first scale that is redrawn: 1 for texture and edges, later ones for less",
        low=1,
        high=16,
        metavar="SCALE",
    )
    feather: int = option(8, "pixels outside of the mask that may change too", low=0, high=1000, metavar="PIXELS")

    def run(
        self,
        model: SingleImageModel,
        composite: Tensor,
        mask: Tensor,
        noise: Noise | None = None,
        *,
        keep: Tensor | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """The composite (1, 3, h, w) with what the mask (1, 1, h, w) covers in the look of the model's picture."""
        from sinwave.rng import NoiseSource
        from sinwave.tasks.edits.canvas import Canvas, redraw, resembling
        from sinwave.tasks.edits.masks import feathered

        canvas = Canvas(composite, feathered(mask, self.feather)).but(keep)
        alike = resembling(model, composite, self.first - 1, self.shape)
        noise = noise or NoiseSource(0)
        return redraw(model, canvas, self.strength, noise, first=self.first, also=[alike], on_step=on_step)


@dataclass(frozen=True, kw_only=True)
class HarmonizeFiles(Editing, Harmonize):
    """Give what was pasted into a picture the look of SOURCE; outside of the feathered mask nothing changes.

    Either --composite, which holds the paste already, with a --mask that is white where it is; or --object, a picture
    with transparency, which is put --at a place.
    """

    composite: Path | None = option(None, "the picture with the paste, of any size", metavar="FILE")
    mask: Path | None = option(None, "white where the paste is, of any size, hard or soft", metavar="MASK")
    object: Path | None = option(None, "what is to be pasted, with transparency", metavar="FILE")
    at: str | None = option(None, "the middle of the object in pixels of SOURCE (default: its middle)", metavar="X+Y")
    object_scale: float = option(
        1.0, "size of the object as a multiple of its own", low=0.01, high=100, metavar="FACTOR"
    )

    def plan(self, source: Source) -> Plan:
        """The composite and its mask, or one that is made."""
        from sinwave.tasks.edits.paste import pasted

        if self.object is not None:
            if self.composite is not None or self.mask is not None:
                raise InputError("object excludes composite and mask: give one or the other")
            thing = read_pixels(self.object, self.max_pixels, min_side=1)
            middle = None if self.at is None else parse_place(self.at)
            composite, mask = pasted(source.picture.pixels[None], thing, self.object_scale, middle)
        elif self.composite is None or self.mask is None:
            raise InputError("harmonize needs a composite and its mask, or an object")
        else:
            composite = read_pixels(self.composite, self.max_pixels).pixels[None]
            mask = need_some(read_mask(self.mask, (composite.shape[2], composite.shape[3])), self.mask)
        size = (composite.shape[2], composite.shape[3])
        return Plan(size, {"composite": composite, "mask": mask} | self.kept(size))
