"""Generate: new pictures that look like one picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from sinwave.errors import InputError
from sinwave.option_kinds import Scale, Size
from sinwave.options import option
from sinwave.systems.contracts import Steerable
from sinwave.tasks.base.task import Drawing, EngineTask, Inputs, Opened, open_source

__all__ = ["Generate"]

_VARIATION = 0.7


@dataclass(frozen=True, kw_only=True)
class Generate(EngineTask):
    """Draw new pictures that look like SOURCE, of any size: a picture, with nothing to train, or a trained model.

    Writes NAME-0000.png, NAME-0001.png, ... and the contact sheet NAME-sheet.png. The same seed draws the same
    pictures: picture 5 of 8 is picture 5 of 100. Run the same command again to go on after an interruption.
    """

    count: ClassVar[int] = 8

    size: Size | None = option(None, "size of the new pictures in pixels (default: that of SOURCE)")
    scale: Scale | None = option(None, "size as a multiple of SOURCE's: 2, or 1.5x1 for width and height")
    variation: float = option(
        _VARIATION, "0 = SOURCE itself, 0.5 = other details, 0.7 = other objects, 1 = a new composition", low=0, high=1
    )
    steps: int | None = option(None, "models of many pictures: steps of drawing (default: 25)", low=2, high=1000)
    guidance: float = option(
        1.0, "adapted models: share of the adaptation; 0 is the source, above 1 exaggerates", low=0, high=10
    )
    source_above: float | None = option(
        None,
        "adapted models: noise level, such as 3, above which the source draws, which keeps its compositions",
        low=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size is not None and self.scale is not None:
            raise InputError("size and scale exclude each other: give one of them")

    def open(self, max_pixels: int) -> Opened:
        opened = open_source(self.source, self.engine, max_pixels, alone=True)
        if (self.steps, self.guidance, self.source_above) == (None, 1.0, None):
            return opened
        if not isinstance(opened.loaded, Steerable):
            raise InputError(f"{self.source}: steps, guidance and source-above are for models of many pictures")
        return replace(opened, loaded=opened.loaded.steered(self.steps, self.guidance, self.source_above))

    def prepare(self, inputs: Inputs) -> Drawing:
        size = self.size or (inputs.size if self.scale is None else self.scale.of(inputs.size))
        alone = not inputs.opened.loaded.pictures
        if alone and (self.variation != _VARIATION or size != inputs.size):
            height, width = inputs.size
            raise InputError(
                f"{self.source}: the model has learned from many pictures and draws {width} x {height}: "
                "size, scale and variation have no effect, so leave them out"
            )
        inputs.check(size)
        return Drawing(
            size,
            lambda model, noise, on_step: model.generate(size, noise, variation=self.variation, on_step=on_step),
            alone=alone,
        )
