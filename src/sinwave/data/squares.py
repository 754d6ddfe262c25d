"""The middle square of a picture, in the size that a model has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sinwave.resize import resize
from sinwave.rng import fold

__all__ = ["Squares", "squared"]


@final
@dataclass(frozen=True)
class Squares:
    """The middle square of a picture, reduced to `side`, and half of them mirrored if there are `flips`."""

    side: int
    flips: bool = False

    def __call__(self, picture: Tensor, seed: int, step: int, index: int) -> Tensor:
        square = squared(picture, self.side)
        generator = torch.Generator().manual_seed(fold(seed, "flip", step, index))
        mirrored = self.flips and bool(torch.rand((), generator=generator) < 0.5)
        return square.flip(2) if mirrored else square


def squared(picture: Tensor, side: int) -> Tensor:
    """Cut the middle square out of a picture (3, h, w), and reduce it to (3, side, side)."""
    height, width = picture.shape[1:]
    least = min(height, width)
    top, left = (height - least) // 2, (width - least) // 2
    square = picture[None, :, top : top + least, left : left + least]
    return (square if least == side else resize(square, (side, side)).clamp(-1, 1))[0]
