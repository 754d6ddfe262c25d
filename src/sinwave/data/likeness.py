"""Likeness of pictures by their drawing alone: where they are light and dark, with color and contrast aside.

    v = (y - mean y) / |y - mean y|,      y = luma of a picture,      |v - w|^2 = 2 - 2 correlation

A picture is a copy if it is nearer to one of n originals than 95 % of new pictures of the same kind would be. Where
there are no others to ask, that is at

    limit = .6 (median x least)^.6 (10 / n)^.16

of the distances between the originals, `least` the mean of the least fifteenth, as fitted to ten kinds of pictures.
Fewer than eight originals say too little, and a limit below that of a certain copy is none.

Features of networks are no measure of this: in those of EfficientNet, copies in slightly other colors are as far from
the originals as other pictures are.
"""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor

from sinwave.errors import InputError

__all__ = ["Copies", "Nearest", "drawings"]

_LUMA = (0.299, 0.587, 0.114)
_FLAT = 1e-3
"""A deviation of an eighth of a gray level: what is below is no drawing."""

_RARE, _ENOUGH = 0.05, 8
_LEAST = 1 / 15
"""The share of the distances between originals that are the least."""

_CERTAIN = 0.2
"""The distance of a correlation of .98, which says that a picture is a copy where there are too few originals."""


class Nearest(NamedTuple):
    """The nearest original of each picture, by number, how far it is, from 0 to 2, and whether that is a copy."""

    original: Tensor
    distance: Tensor
    copied: Tensor


def drawings(pictures: Tensor) -> Tensor:
    """Reduce pictures (n, 3, h, w) to unit vectors (n, h w)."""
    weights = torch.tensor(_LUMA, dtype=torch.float32, device=pictures.device)
    luma = torch.einsum("nchw,c->nhw", pictures.float(), weights).flatten(1)
    luma = luma - luma.double().mean(1, keepdim=True).float()
    norm = luma.norm(dim=1, keepdim=True)
    flat = norm < _FLAT * luma.shape[1] ** 0.5
    unit: Tensor = (luma / norm.clamp(min=1e-12)).masked_fill(flat, 0.0)
    return unit


@final
class Copies:
    """Originals, and the distance below which a picture is a copy of one."""

    def __init__(self, originals: Tensor, others: Tensor | None = None) -> None:
        """`originals` (n, 3, h, w); with `others` of the same kind a copy is nearer than 95 % of them are."""
        if not len(originals):
            raise InputError("there are no originals to compare with")
        self._drawings = drawings(originals)
        self.calibrated = others is not None or len(originals) >= _ENOUGH
        self.limit = _limit(torch.pdist(self._drawings), len(originals))
        if others is not None:
            self.limit = self.nearest(others).distance.quantile(_RARE).item()

    def nearest(self, pictures: Tensor, within: float = 1.0) -> Nearest:
        """Find the nearest originals of pictures (n, 3, h, w); a copy is `within` so many limits."""
        distances = torch.cdist(drawings(pictures), self._drawings)
        distance, original = distances.min(1)
        return Nearest(original, distance, distance < within * self.limit)

    def of_each(self, pictures: Tensor) -> Tensor:
        """Count the copies of every original among some pictures, (originals,)."""
        near = self.nearest(pictures)
        return torch.bincount(near.original[near.copied], minlength=len(self._drawings))

    def share(self, pictures: Tensor, within: float = 1.0) -> float:
        """The share of pictures that are copies, `within` so many limits."""
        return self.nearest(pictures, within).copied.double().mean().item()


def _limit(between: Tensor, count: int) -> float:
    """The distance from the nearest of `count` originals that a new picture has about once in twenty times."""
    if count < _ENOUGH:
        return _CERTAIN
    least = between.topk(max(1, round(_LEAST * len(between))), largest=False).values.mean().item()
    limit: float = 0.6 * (between.median().item() * least) ** 0.6 * (10 / count) ** 0.16
    return max(_CERTAIN, limit)
