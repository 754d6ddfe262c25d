"""Edit: what was moved, copied or erased becomes plausible."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sinwave.options import option
from sinwave.tasks.edits.files import Editing, Plan, need_some, read_mask, read_pixels

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave.rng import Noise
    from sinwave.systems.contracts import OnStep, SingleImageModel
    from sinwave.tasks.source import Source

__all__ = ["Edit", "EditFiles"]


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Make a picture plausible again in which regions were moved, copied or erased."""

    strength: float = option(0.25, "0 = the edit as it is, 1 = something else in its place", low=0, high=1)
    first: int | None = option(
        None,
        "the first scale that is redrawn: 0 may undo small edits (default: 1; 0 for a wavelet network, 2 for SinGAN)",
        low=0,
        high=16,
        metavar="SCALE",
    )
    feather: int = option(16, "pixels outside of the mask that may change too", low=0, high=1000, metavar="PIXELS")

    def run(
        self,
        model: SingleImageModel,
        edited: Tensor,
        mask: Tensor | None = None,
        noise: Noise | None = None,
        *,
        keep: Tensor | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """The edited picture (1, 3, h, w), redrawn where the mask (1, 1, h, w) is; without one, all of it."""
        from sinwave.rng import NoiseSource
        from sinwave.tasks.edits.canvas import Canvas, redraw
        from sinwave.tasks.edits.masks import feathered

        canvas = Canvas(edited, None if mask is None else feathered(mask, self.feather)).but(keep)
        first = model.default_first_scale if self.first is None else self.first
        return redraw(model, canvas, self.strength, noise or NoiseSource(0), first=first, on_step=on_step)


@dataclass(frozen=True, kw_only=True)
class EditFiles(Editing, Edit):
    """Make EDITED plausible, a picture in which regions were moved, copied or erased, in the manner of SOURCE."""

    edited: Path = option(help="the edited picture, of any size", positional=True, metavar="EDITED")
    mask: Path | None = option(
        None, "white where something was done, of any size (default: all of EDITED is redrawn)", metavar="MASK"
    )

    def plan(self, source: Source) -> Plan:
        """The edited picture and the mask."""
        edited = read_pixels(self.edited, self.max_pixels).pixels[None]
        size = (edited.shape[2], edited.shape[3])
        masks = {} if self.mask is None else {"mask": need_some(read_mask(self.mask, size), self.mask)}
        return Plan(size, {"edited": edited} | masks | self.kept(size))
