"""Upscale: a larger picture whose detail is that of the picture itself, and which, reduced, is that picture again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sinwave.errors import InputError
from sinwave.options import option
from sinwave.tasks.edits.files import Editing, Plan, quick

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave.rng import Noise
    from sinwave.systems.contracts import OnStep, PictureConstraint, SingleImageModel, SuperResolver
    from sinwave.tasks.source import Source

__all__ = ["Upscale", "UpscaleFiles"]


@dataclass(frozen=True, kw_only=True)
class Upscale:
    """Enlarge a picture with detail that it has elsewhere; reduced again, it is the picture."""

    factor: float = option(2.0, "how many times larger each side becomes", low=1, high=8, metavar="FACTOR")
    strength: float = option(
        0.05, "0 = only what can be told from the picture, 1 = much new detail; the network has none", low=0, high=1
    )

    def run(
        self,
        model: SingleImageModel | SuperResolver,
        picture: Tensor,
        noise: Noise | None = None,
        *,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """The picture (1, 3, h, w), larger: by a network that learns from it, or from the patches of a model."""
        from sinwave.reduction import Reduction
        from sinwave.resize import resize
        from sinwave.rng import NoiseSource
        from sinwave.systems.contracts import SuperResolver
        from sinwave.tasks.edits.canvas import Canvas, after, redraw

        noise, known, large = noise or NoiseSource(0), Reduction(picture), picture
        sizes = self.sizes((picture.shape[2], picture.shape[3]))
        if isinstance(model, SuperResolver):
            return model.enlarge(picture, sizes[-1], noise, on_step=on_step) if sizes else picture
        for turn, size in enumerate(sizes):
            guess = known.nearest(resize(large, size))
            finest = len(model.scales(guess)) - 1

            def reduced(scale: int, last: int = finest) -> PictureConstraint | None:
                return known.nearest if scale == last else None

            stream, told = noise.child("turn", turn), after(turn, model, on_step)
            drawn = redraw(model, Canvas(guess), self.strength, stream, first=finest, also=[reduced], on_step=told)
            large = known.shown(drawn)
        return large

    def sizes(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """(height, width) of each turn, the last one of the result: by equal factors of 2 at the most."""
        from sinwave.systems.zero_shot.enlarger import turns

        return turns(size, (round(self.factor * size[0]), round(self.factor * size[1])))


@dataclass(frozen=True, kw_only=True)
class UpscaleFiles(Editing, Upscale):
    """Enlarge SOURCE with detail that it has elsewhere; reduced again, it is SOURCE within a gray level.

    The engine network is a small one that learns in seconds, from SOURCE itself, how to enlarge it: nearest to what a
    better camera would have seen. The others put in patches of SOURCE: sharper.
    """

    learns: ClassVar[bool] = True

    def plan(self, source: Source) -> Plan:
        """The picture and the sizes that it grows to."""
        from sinwave.systems.contracts import SuperResolver
        from sinwave.systems.zero_shot.enlarger import Enlarger

        pictures, sizes = {"picture": source.picture.pixels[None]}, tuple(self.sizes(source.picture.size))
        size = sizes[-1] if sizes else source.picture.size
        if self.engine != "network":

            def effort(model: SingleImageModel | SuperResolver) -> tuple[float, ...]:
                # Who enlarges in one go tells of one part of the work.
                if isinstance(model, SuperResolver):
                    return (1.0,)
                return tuple(part for each in sizes or (size,) for part in model.effort(each))

            return Plan(size, pictures, sizes, maker=quick, effort=effort)
        if self.avoid is not None or source.picture.opaque is not None:
            raise InputError(
                "the network learns from all of the picture, what is avoided or transparent too: use the closed form"
            )
        return Plan(size, pictures, maker=lambda source, device, dtype, convolutions: Enlarger())
