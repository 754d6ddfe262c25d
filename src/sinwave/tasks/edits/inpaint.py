"""Inpaint: what a mask covers is removed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sinwave.options import option
from sinwave.tasks.edits.files import Editing, Plan, need_some, read_mask

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave.rng import Noise
    from sinwave.systems.contracts import OnStep, SingleImageModel
    from sinwave.tasks.source import Source

__all__ = ["Inpaint", "InpaintFiles"]


@dataclass(frozen=True, kw_only=True)
class Inpaint:
    """Remove what a mask covers, and fill the hole with what the rest of the picture is made of."""

    strength: float = option(1.0, "1 = nothing of what was there comes back", low=0, high=1)

    def run(
        self,
        model: SingleImageModel,
        picture: Tensor,
        mask: Tensor,
        noise: Noise | None = None,
        *,
        keep: Tensor | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """The picture (1, 3, h, w) without what the mask (1, 1, h, w) covers; the model should not know that either."""
        from sinwave.rng import NoiseSource
        from sinwave.systems.contracts import VerticalSpan
        from sinwave.tasks.edits.canvas import Canvas, redraw

        return redraw(
            model,
            Canvas(picture, mask).but(keep),
            self.strength,
            noise or NoiseSource(0),
            span=VerticalSpan(),
            on_step=on_step,
        )


@dataclass(frozen=True, kw_only=True)
class InpaintFiles(Editing, Inpaint):
    """Remove what MASK covers from SOURCE, and fill the hole with what the rest of it is made of."""

    mask: Path = option(help="white where something is to be removed, of any size", positional=True, metavar="MASK")

    def plan(self, source: Source) -> Plan:
        """The picture and the mask."""
        size = source.picture.size
        mask = need_some(read_mask(self.mask, size), self.mask)
        return Plan(size, {"picture": source.picture.pixels[None], "mask": (mask > 0).to(mask)} | self.kept(size))

    def unseen(self, source: Source) -> list[Tensor]:
        """What is removed should not be known."""
        return [*super().unseen(source), read_mask(self.mask, source.picture.size)]
