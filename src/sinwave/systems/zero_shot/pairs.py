"""What a picture teaches about enlarging it: itself, reduced further, beside what was lost by that.

    truth    the picture in several sizes, blurred
    guess    the nearest to the smooth enlargement of what has the same reduction as the truth

A photograph is sharper the more it is reduced, since the blur of its lens does not shrink: a network that learned from
its reductions would draw more detail than there is. How much is missing falls from octave to octave, so for the one
above the picture

    e(2) = e(1)^2 / e(1/2)        e(s): deviation of truth - guess where the truth has s times the picture's size

and each truth is blurred until no more than that is missing of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sinwave.images import from_uint8, to_uint8
from sinwave.reduction import Reduction
from sinwave.resize import blur, resize
from sinwave.wavelets import Size

__all__ = ["Pair", "expected_loss", "guessed", "pairs"]

SIZES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
_LEAST = 8
_STEPS, _MOST_BLUR = 6, 3.0
_ROUNDED = 0.5 / 127.5
"""Half a gray level: of any picture so much is missing because its reduction is rounded to bytes."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A picture (1, 3, h, w) of even size, and what can be said of it from its reduction."""

    guess: Tensor
    truth: Tensor

    @classmethod
    def of(cls, truth: Tensor, factor: float) -> Pair:
        """What is left of a picture, reduced to 8 bits like any other."""
        height, width = truth.shape[2:]
        small = resize(truth, (max(_LEAST // 2, round(height / factor)), max(_LEAST // 2, round(width / factor))))
        return cls(guessed(from_uint8(to_uint8(small)).to(truth), (height, width)), truth)

    @property
    def lost(self) -> float:
        """The deviation of what is missing."""
        return (self.truth - self.guess).square().mean().sqrt().item()


def guessed(small: Tensor, size: Size) -> Tensor:
    """The nearest to the smooth enlargement that is reduced to the small picture."""
    return Reduction(small).nearest(resize(small, size))


def expected_loss(picture: Tensor, factor: float) -> float:
    """How much will be missing where the picture itself is enlarged; no more than is of its own reduction."""
    whole, half = (Pair.of(_sized(picture, scale), factor).lost for scale in (1.0, 0.5))
    return max(_ROUNDED, whole * min(1.0, whole / max(half, _ROUNDED)))


def pairs(picture: Tensor, factor: float) -> list[Pair]:
    """Of each size one, as hard as the picture itself will be."""
    most = expected_loss(picture, factor)
    return [_eased(_sized(picture, scale), factor, most) for scale in SIZES]


def _sized(picture: Tensor, scale: float) -> Tensor:
    """In `scale` times its size, as even as the bands of a crop need it."""
    height, width = (max(_LEAST, round(scale * side) // 2 * 2) for side in picture.shape[2:])
    return resize(picture, (height, width))


def _eased(truth: Tensor, factor: float, most: float) -> Pair:
    """With the least blur by which no more is missing."""
    pair, low, high = Pair.of(truth, factor), 0.0, _MOST_BLUR
    if pair.lost <= most:
        return pair
    pair = Pair.of(blur(truth, high), factor)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        found = Pair.of(blur(truth, middle), factor)
        low, high, pair = (low, middle, found) if found.lost <= most else (middle, high, pair)
    return pair
