"""The mechanism of all edits: a picture is redrawn from a strength on, and constraints hold for every estimate.

At each scale the constraint for what is known is the nearest estimate that keeps it,

    x_0 <- known + change (x_0 - known)          change: how much a pixel may change, from 0 to 1

so what is redrawn sees what is around it at every step, and joins on to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.resize import resize
from sinwave.rng import Noise
from sinwave.systems.contracts import OnStep, PictureConstraint, ScaleConstraint, SingleImageModel, VerticalSpan

__all__ = ["Canvas", "after", "all_of", "keeping", "redraw", "resembling"]


@dataclass(frozen=True, eq=False)
class Canvas:
    """What an edit begins with: pixels (1, 3, h, w), and how much each may change (1, 1, h, w); `None` is all."""

    pixels: Tensor
    change: Tensor | None = None

    def but(self, keep: Tensor | None) -> Canvas:
        """The same, but what is kept does not change either."""
        if keep is None:
            return self
        change = 1 - keep if self.change is None else torch.minimum(self.change, 1 - keep)
        return Canvas(self.pixels, change)

    def __post_init__(self) -> None:
        """Check that both are of one size."""
        if self.change is not None and self.change.shape[2:] != self.pixels.shape[2:]:
            (height, width), (h, w) = self.pixels.shape[2:], self.change.shape[2:]
            raise InputError(f"the mask of a picture of {width} x {height} must have its size, not {w} x {h}")


def redraw(
    model: SingleImageModel,
    canvas: Canvas,
    strength: float,
    noise: Noise,
    *,
    first: int = 0,
    span: VerticalSpan | None = None,
    also: Sequence[ScaleConstraint] = (),
    on_step: OnStep | None = None,
) -> Tensor:
    """The canvas as the model would have drawn it: at strength 0 it stays, at 1 all that may change is new.

    Pixels that may not change at all are those of the canvas, to the bit.
    """
    pixels, change = canvas.pixels, canvas.change
    if strength == 0 or (change is not None and not change.any()):
        return pixels
    first = min(first, len(model.scales(pixels)) - 1)
    constraints = list(also) if change is None else [*also, keeping(model, pixels, change)]
    constrain = all_of(*constraints) if constraints else None
    drawn = model.refine(pixels, strength, noise, first=first, span=span, constrain=constrain, on_step=on_step)
    return drawn if change is None else torch.where(change > 0, drawn, pixels)


def keeping(model: SingleImageModel, pixels: Tensor, change: Tensor, fade: float = 1.0) -> ScaleConstraint:
    """The constraint that only what may change does, and that it joins on.

    What the estimate misses of the known pixels is carried on beyond them, less and less with the distance, so that no
    step is left at the seam (a membrane, as in Perez et al., "Poisson image editing", 2003).
    """
    known = model.scales(pixels)
    # A reduced mask may overshoot, and where less than nothing is known, what is carried on has no bounds.
    free = [each.clamp(0, 1) for each in model.scales(change.expand(-1, 3, -1, -1))]

    def at_scale(index: int) -> PictureConstraint:
        kept, may = known[index], free[index]
        return lambda picture: kept + may * (picture + continued(kept - picture, 1 - may, fade) - kept)

    return at_scale


def resembling(model: SingleImageModel, pixels: Tensor, index: int, amount: float) -> ScaleConstraint:
    """The constraint that what scale `index` can show of a picture stays, all of it with an amount of 1.

    x_0 <- x_0 + amount low(pixels - x_0)
    """
    views = model.scales(pixels)
    index = min(index, len(views) - 1)
    size = (views[index].shape[2], views[index].shape[3])

    def low(picture: Tensor) -> Tensor:
        whole = (picture.shape[2], picture.shape[3])
        return picture if whole == size else resize(resize(picture, size, "area"), whole)

    def at_scale(scale: int) -> PictureConstraint | None:
        return (lambda picture: picture + amount * low(views[scale] - picture)) if scale >= index else None

    return at_scale


def continued(values: Tensor, weight: Tensor, fade: float) -> Tensor:
    """Values (1, c, h, w) where their weight is 1; elsewhere what is around, at half the resolution `fade` times it.

    Pull and push (Gortler et al., "The lumigraph", 1996): means of what is known, coarser and coarser, fill the holes.
    """
    if min(values.shape[2:]) < 2 or bool((weight == 1).all()):
        return weight * values
    size = values.shape[2:]
    known = functional.avg_pool2d(weight, 2, ceil_mode=True, count_include_pad=False)
    mean = functional.avg_pool2d(weight * values, 2, ceil_mode=True, count_include_pad=False) / known.clamp(min=1e-6)
    coarse = continued(mean, (4 * known).clamp(max=1), fade)
    filled = functional.interpolate(coarse, size, mode="bilinear", align_corners=False)
    return weight * values + (1 - weight) * fade * filled


def after(turns: int, model: SingleImageModel, on_step: OnStep | None) -> OnStep | None:
    """What is told of a turn, if so many were before it, all of as many scales."""
    if on_step is None:
        return None
    told, scales = on_step, len(model.effort(model.size))
    return lambda scale, step, steps: told(turns * scales + scale, step, steps)


def all_of(*constraints: ScaleConstraint) -> ScaleConstraint:
    """Several constraints as one, obeyed in the order given."""

    def at_scale(index: int) -> PictureConstraint | None:
        found = [each for each in (constraint(index) for constraint in constraints) if each is not None]

        def constrain(picture: Tensor) -> Tensor:
            for each in found:
                picture = each(picture)
            return picture

        return constrain if found else None

    return at_scale
