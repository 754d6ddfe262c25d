"""A cut-out on a picture, and regions of a picture in a new one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.images import Picture
from sinwave.resize import resize
from sinwave.tasks.edits.regions import Place, Region

__all__ = ["pasted", "pinned"]


def pasted(picture: Tensor, thing: Picture, factor: float, middle: Place | None) -> tuple[Tensor, Tensor]:
    """A cut-out on a picture (1, 3, h, w), around a place or its middle: both, and where it is (1, 1, h, w)."""
    if thing.opaque is None:
        raise InputError(f"{thing.path}: the object has no transparency, so nobody knows where it ends")
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
