"""Retarget: another shape of the picture, with its layout, and nothing in it stretched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinwave.errors import InputError
from sinwave.options import option
from sinwave.tasks.edits.files import Editing, Plan
from sinwave.tasks.sizes import check_size, parse_scale, parse_size

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave.rng import Noise
    from sinwave.systems.contracts import OnStep, SingleImageModel
    from sinwave.tasks.source import Source

__all__ = ["Retarget", "RetargetFiles"]


@dataclass(frozen=True, kw_only=True)
class Retarget:
    """Bring a picture into another shape with its layout kept and nothing in it stretched.

    It is stretched a little and redrawn, again and again: what is stretched a little is recognized, and comes back in
    its own proportions (as in GPNN: Granot et al., 2022).
    """

    strength: float = option(0.5, "0 = only stretched, 1 = a layout of its own", low=0, high=1)
    stretch: float = option(1.15, "the most that a side grows or shrinks at a time", low=1.01, high=4, metavar="FACTOR")

    def run(
        self,
        model: SingleImageModel,
        picture: Tensor,
        size: tuple[int, int],
        noise: Noise | None = None,
        *,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """The picture (1, 3, h, w) in `size`."""
        from sinwave.resize import resize
        from sinwave.rng import NoiseSource
        from sinwave.systems.contracts import VerticalSpan
        from sinwave.tasks.edits.canvas import Canvas, after, redraw

        noise, old = noise or NoiseSource(0), (picture.shape[2], picture.shape[3])
        for turn, (height, width) in enumerate(self.sizes(old, size)):
            stretched = Canvas(resize(picture, (height, width)))
            turned = noise.child("turn", turn)
            told = after(turn, model, on_step)
            picture = redraw(model, stretched, self.strength, turned, span=VerticalSpan(), on_step=told)
        return picture

    def sizes(self, old: tuple[int, int], new: tuple[int, int]) -> list[tuple[int, int]]:
        """Those on the way, by equal factors."""
        factors = [after / before for before, after in zip(old, new, strict=True)]
        turns = math.ceil(max(abs(math.log(factor)) for factor in factors) / math.log(self.stretch) - 1e-9)
        way = [
            tuple(round(side * f ** (turn / turns)) for side, f in zip(old, factors, strict=True))
            for turn in range(1, turns)
        ]
        return [(height, width) for height, width in way] + ([new] if turns else [])


@dataclass(frozen=True, kw_only=True)
class RetargetFiles(Editing, Retarget):
    """Bring SOURCE into another shape with its layout kept and nothing in it stretched."""

    size: str | None = option(None, "the new size in pixels", metavar="WIDTHxHEIGHT")
    scale: str | None = option(None, "the new size as multiples of width and height: 2x1", metavar="FACTOR")

    def plan(self, source: Source) -> Plan:
        """The picture and its new size."""
        if (self.size is None) == (self.scale is None):
            raise InputError("retarget needs the new size or a scale, one of them")
        old = source.picture.size
        new = parse_size(self.size) if self.size is not None else parse_scale(self.scale or "1", old)
        check_size(new, self.max_pixels)
        return Plan(new, {"picture": source.picture.pixels[None]}, tuple(self.sizes(old, new)), {"size": new})
