"""The mechanism of all edits: a picture is redrawn from a strength on, and constraints hold for every estimate.

At each scale the constraint for what is given is the nearest estimate that keeps it,

    x_0 <- given + change (x_0 - given)          change: how much a pixel may change, from 0 to 1

so what is redrawn sees what is around it at every step, and joins on to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.images import Picture
from sinwave.option_kinds import Place, Region
from sinwave.resize import resize
from sinwave.rng import Noise
from sinwave.systems.contracts import OnStep, PictureConstraint, ScaleConstraint, SingleImageModel, Size, VerticalSpan

__all__ = ["Canvas", "all_of", "feathered", "keeping", "mirrored", "pasted", "pinned", "redraw", "redrawn_alike"]
__all__ += ["resembling", "turned_into", "wrapped"]

Draw: TypeAlias = Callable[[SingleImageModel, Noise, OnStep | None], Tensor]


@dataclass(frozen=True, eq=False)
class Canvas:
    """The picture that an edit begins with (1, 3, h, w), and how much each pixel may change (1, 1, h, w), None: all."""

    pixels: Tensor
    change: Tensor | None = None

    @property
    def size(self) -> Size:
        """(height, width)."""
        return self.pixels.shape[2], self.pixels.shape[3]

    def but(self, keep: Tensor) -> Canvas:
        """Keep what a mask covers, too."""
        change = 1 - keep if self.change is None else torch.minimum(self.change, 1 - keep)
        return Canvas(self.pixels, change)

    def __post_init__(self) -> None:
        if self.change is not None and self.change.shape[2:] != self.pixels.shape[2:]:
            (height, width), (h, w) = self.pixels.shape[2:], self.change.shape[2:]
            raise InputError(f"the mask of a picture of {width} x {height} must have its size, not {w} x {h}")


def redraw(
    model: SingleImageModel,
    canvas: Canvas,
    strength: float,
    noise: Noise,
    *,
    first: int | None = 0,
    span: VerticalSpan | None = None,
    also: Sequence[ScaleConstraint] = (),
    on_step: OnStep | None = None,
) -> Tensor:
    """Draw the canvas as the model would have: at strength 0 it stays, at 1 all that may change is new.

    It is redrawn from the scale `first` on, None for the one that the model has for pictures that are new to it. Pixels
    that may not change at all are those of the canvas, to the bit.
    """
    pixels, change = canvas.pixels, canvas.change
    if strength == 0 or (change is not None and not change.any()):
        return pixels
    first = min(model.default_first_scale if first is None else first, len(model.scales(pixels)) - 1)
    constraints = list(also) if change is None else [*also, keeping(model, pixels, change)]
    constrain = all_of(*constraints) if constraints else None
    drawn = model.refine(pixels, strength, noise, first=first, span=span, constrain=constrain, on_step=on_step)
    return drawn if change is None else torch.where(change > 0, drawn, pixels)


def keeping(model: SingleImageModel, pixels: Tensor, change: Tensor, fade: float = 1.0) -> ScaleConstraint:
    """Constrain estimates so that only what may change does, and joins on.

    What the estimate misses of the given pixels is carried on beyond them, less and less with the distance, so that no
    step is left at the seam (a membrane, as in Perez et al., "Poisson image editing", 2003).
    """
    given = model.scales(pixels)
    # A reduced mask may overshoot, and what is carried on would have no bounds where less than nothing is given.
    free = [mask.clamp(0, 1) for mask in model.scales(change.expand(-1, 3, -1, -1))]

    def at_scale(index: int) -> PictureConstraint:
        kept, may = given[index], free[index]
        return lambda picture: kept + may * (picture + _continued(kept - picture, 1 - may, fade) - kept)

    return at_scale


def resembling(model: SingleImageModel, pixels: Tensor, index: int, amount: float) -> ScaleConstraint:
    """Constrain estimates so that what scale `index` shows of a picture stays, all of it with an amount of 1.

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


def redrawn_alike(canvas: Canvas, strength: float, first: int, shape: float) -> Draw:
    """Make a redrawing from scale `first` on in which a share of what the scale before shows of the canvas stays."""

    def draw(model: SingleImageModel, noise: Noise, on_step: OnStep | None) -> Tensor:
        alike = resembling(model, canvas.pixels, max(first - 1, 0), shape)
        return redraw(model, canvas, strength, noise, first=first, also=[alike], on_step=on_step)

    return draw


def _continued(values: Tensor, weight: Tensor, fade: float) -> Tensor:
    """Fill values (1, c, h, w) of weight 0 from those around, at half the resolution `fade` times as much.

    Pull and push (Gortler et al., "The lumigraph", 1996): means of what is there, coarser and coarser, fill the holes.
    """
    if min(values.shape[2:]) < 2 or bool((weight == 1).all()):
        return weight * values
    size = values.shape[2:]
    there = functional.avg_pool2d(weight, 2, ceil_mode=True, count_include_pad=False)
    mean = functional.avg_pool2d(weight * values, 2, ceil_mode=True, count_include_pad=False) / there.clamp(min=1e-6)
    coarse = _continued(mean, (4 * there).clamp(max=1), fade)
    filled = functional.interpolate(coarse, size, mode="bilinear", align_corners=False)
    return weight * values + (1 - weight) * fade * filled


def turned_into(on_step: OnStep | None, turn: int, turns: int) -> OnStep | None:
    """Report the steps of one of several equal turns."""
    if on_step is None:
        return None
    report = on_step
    return lambda progress: report(progress.after(turn, turns))


def all_of(*constraints: ScaleConstraint) -> ScaleConstraint:
    """Make several constraints one, obeyed in the order given."""

    def at_scale(index: int) -> PictureConstraint | None:
        active = [constrain for constrain in (constraint(index) for constraint in constraints) if constrain is not None]

        def constrain_all(picture: Tensor) -> Tensor:
            for constrain in active:
                picture = constrain(picture)
            return picture

        return constrain_all if active else None

    return at_scale


def feathered(mask: Tensor, pixels: int) -> Tensor:
    """Give a mask (1, 1, h, w) a soft edge outside: as it was where it was not 0, and 0 from `pixels` away on.

    Two boxes, each half as wide as the edge, are drawn over the mask grown by half of it: a smooth ramp with an end.
    """
    reach = pixels // 4
    if reach == 0:
        return mask
    soft = functional.max_pool2d(mask, 4 * reach + 1, 1, 2 * reach)
    for _ in range(2):
        padded = functional.pad(soft, (reach,) * 4, mode="replicate")
        soft = functional.avg_pool2d(padded, 2 * reach + 1, 1)
    return torch.maximum(mask, soft.clamp(0, 1))


def mirrored(side: int, before: int, after: int) -> Tensor:
    """Index `before` places, a line of `side`, and `after` places (less than 0 cuts) into the line and its mirrors.

    1 0 | 0 1 2 | 2 1 0 | 0 ...
    """
    place = torch.arange(-before, side + after) % (2 * side)
    return torch.where(place < side, place, 2 * side - 1 - place)


def wrapped(side: int, margin: int) -> Tensor:
    """Index a line of `side` with a margin at each end into what is between the margins, which repeats.

    2 3 | 2 3 | 2 3      side 6, margin 2
    """
    return margin + (torch.arange(side) - margin) % (side - 2 * margin)


def pasted(picture: Tensor, thing: Picture, factor: float, middle: Place | None) -> tuple[Tensor, Tensor]:
    """A cut-out on a picture (1, 3, h, w), around a place or its middle: both, and where it is (1, 1, h, w)."""
    if thing.opaque is None:
        raise InputError(f"{thing.path or 'the object'}: it has no transparency, so nobody knows where it ends")
    height, width = (max(1, round(side * factor)) for side in thing.size)
    colors = resize(thing.pixels[None], (height, width))
    alpha = resize(thing.opaque.to(colors)[None, None], (height, width), "area")
    whole = (picture.shape[2], picture.shape[3])
    place = middle or Place(whole[0] // 2, whole[1] // 2)
    top, left = place.top - height // 2, place.left - width // 2
    # Negative padding cuts off what hangs over the border.
    frame = (left, whole[1] - left - width, top, whole[0] - top - height)
    if min(frame[0] + width, frame[1] + width, frame[2] + height, frame[3] + height) <= 0:
        raise InputError(f"the object around {place.left}+{place.top} lies outside of the picture")
    colors, alpha = functional.pad(colors, frame), functional.pad(alpha, frame)
    return torch.lerp(picture, colors, alpha), (alpha > 0).to(alpha)


def pinned(picture: Tensor, region: Region, places: Sequence[Place], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A region of a picture (1, 3, h, w) at places of a new one of `size`, and the mask of where that is."""
    top, left, height, width = region
    if top + height > picture.shape[2] or left + width > picture.shape[3]:
        raise InputError(
            f"the region {width}x{height}+{left}+{top} reaches beyond the picture of "
            f"{picture.shape[3]} x {picture.shape[2]} pixels"
        )
    piece = picture[..., top : top + height, left : left + width]
    new = picture.mean((2, 3), keepdim=True).expand(-1, -1, *size).clone()
    mask = picture.new_zeros(1, 1, *size)
    for place in places:
        if place.top < 0 or place.left < 0 or place.top + height > size[0] or place.left + width > size[1]:
            raise InputError(
                f"a region of {width} x {height} at {place.left}+{place.top} reaches beyond the new picture of "
                f"{size[1]} x {size[0]} pixels"
            )
        inside = (..., slice(place.top, place.top + height), slice(place.left, place.left + width))
        new[inside], mask[inside] = piece, 1
    return new, mask
