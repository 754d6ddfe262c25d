"""Retarget: another shape of the picture, with its layout, and nothing in it stretched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinwave.errors import InputError
from sinwave.option_kinds import Scale, Size
from sinwave.options import option
from sinwave.systems.contracts import OnStep, SingleImageModel, VerticalSpan
from sinwave.tasks.base.task import Drawing, EditTask, Inputs

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave.rng import Noise

__all__ = ["Retarget"]


@dataclass(frozen=True, kw_only=True)
class Retarget(EditTask):
    """Bring SOURCE into another shape with its layout kept and its objects in proportion.

    It is stretched a little and redrawn, again and again: what is stretched a little is recognized, and comes back in
    its own proportions (as in GPNN: Granot et al., 2022).
    """

    size: Size | None = option(None, "the new size in pixels")
    scale: Scale | None = option(None, "the new size as multiples of width and height: 2x1")
    strength: float = option(0.5, "noise added after each step of --stretch; 1 = a new layout", low=0, high=1)
    stretch: float = option(
        1.15, "the size changes in steps of at most this factor", low=1.01, high=4, metavar="FACTOR"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.size is None) == (self.scale is None):
            raise InputError("retarget needs the new size or a scale, one of them")

    def prepare(self, inputs: Inputs) -> Drawing:
        from sinwave.resize import resize
        from sinwave.tasks.base.canvas import Canvas, redraw, turned_into

        new = self.size or (self.scale or Scale(1, 1)).of(inputs.size)
        inputs.check(new)
        sizes, source = self.sizes(inputs.size, new), inputs.pixels
        inputs.check(*sizes)

        def draw(model: SingleImageModel, noise: Noise, on_step: OnStep | None) -> Tensor:
            picture = source
            for turn, size in enumerate(sizes):
                canvas, report = Canvas(resize(picture, size)), turned_into(on_step, turn, len(sizes))
                chance = noise.child("turn", turn)
                picture = redraw(model, canvas, self.strength, chance, span=VerticalSpan(), on_step=report)
            return picture

        return Drawing(new, draw)

    def sizes(self, old: tuple[int, int], new: tuple[int, int]) -> list[tuple[int, int]]:
        """List the sizes on the way, by equal factors."""
        factors = [after / before for before, after in zip(old, new, strict=True)]
        turns = math.ceil(max(abs(math.log(factor)) for factor in factors) / math.log(self.stretch) - 1e-9)
        way = [
            tuple(round(side * f ** (turn / turns)) for side, f in zip(old, factors, strict=True))
            for turn in range(1, turns)
        ]
        return [(height, width) for height, width in way] + ([new] if turns else [])
