"""Likeness of pictures by their drawing alone: where they are light and dark, with color and contrast aside.

    v = (y - mean y) / |y - mean y|,      y = luma of a picture,      |v - w|^2 = 2 - 2 correlation

A picture is a copy if it is nearer to one of some originals than any two of them are to each other. Features of
networks are no measure of this: in those of EfficientNet, copies in slightly other colors are as far from the originals
as other pictures are.
"""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor

from sinwave.errors import InputError

__all__ = ["Copies", "Nearest", "drawings"]

_LUMA = (0.299, 0.587, 0.114)
_RARE = 0.05
_CERTAIN = 0.2
"""The distance of a correlation of .98, which says that a picture is a copy where there are no two originals."""


class Nearest(NamedTuple):
    """The nearest original of each picture, by number, and how far it is, from 0 to 2."""

    original: Tensor
    distance: Tensor


def drawings(pictures: Tensor) -> Tensor:
    """Reduce pictures (n, 3, h, w) to unit vectors (n, h w)."""
    weights = torch.tensor(_LUMA, dtype=torch.float32, device=pictures.device)
    luma = torch.einsum("nchw,c->nhw", pictures.float(), weights).flatten(1)
    luma = luma - luma.mean(1, keepdim=True)
    unit: Tensor = luma / luma.norm(dim=1, keepdim=True).clamp(min=1e-6)
    return unit


@final
class Copies:
    """Originals, and the distance below which a picture is a copy of one."""

    def __init__(self, originals: Tensor, others: Tensor | None = None) -> None:
        """`originals` (n, 3, h, w); with `others` of the same kind a copy is nearer than 95 % of them are."""
        if not len(originals):
            raise InputError("there are no originals to compare with")
        self._drawings = drawings(originals)
        between = torch.pdist(self._drawings)
        self.limit = between.min().item() if len(between) else _CERTAIN
        if others is not None:
            self.limit = self.nearest(others).distance.quantile(_RARE).item()

    def nearest(self, pictures: Tensor) -> Nearest:
        """Find the nearest originals of pictures (n, 3, h, w)."""
        distance, original = torch.cdist(drawings(pictures), self._drawings).min(1)
        return Nearest(original, distance)

    def of_each(self, pictures: Tensor) -> Tensor:
        """Count the copies of every original among some pictures, (originals,)."""
        near = self.nearest(pictures)
        copied = near.original[near.distance < self.limit]
        return torch.bincount(copied, minlength=len(self._drawings))

    def share(self, pictures: Tensor) -> float:
        """The share of pictures that are copies."""
        return self.of_each(pictures).sum().item() / len(pictures)
