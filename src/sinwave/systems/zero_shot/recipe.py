"""The lesson of a picture about enlarging it: itself, reduced further, beside the detail that was lost by that.

    truth    the picture in several sizes, blurred
    guess    of all pictures with the reduction of the truth, the nearest to its smooth enlargement

A photograph is sharper the more it is reduced, since the blur of its lens does not shrink: a network that learned from
its reductions would draw more detail than there is. How much is missing falls from octave to octave, so for the one
above the picture

    e(2) = e(1)^2 / e(1/2)        e(s): deviation of truth - guess where the truth has s times the picture's size

and each truth is blurred until no more than that is missing of it.

The loss is the mean error of what the network adds to crops of the pairs, turned and mirrored,

    | F(pack guess) / 10 - pack(truth - guess) |

In bands, on half as large a grid, this is a quarter of the work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sinwave.images import from_uint8, to_uint8
from sinwave.nn.residual import ResidualNetwork
from sinwave.reduction import Reduction
from sinwave.resize import blur, resize
from sinwave.training.optimizer import AdamW
from sinwave.training.recipe import Player, Recipe, Update
from sinwave.wavelets import Size, pack

__all__ = ["DETAIL", "EnlargingRecipe", "Pair", "expected_loss", "guessed", "pairs", "turned", "turned_back"]

DETAIL = 0.1
"""What is missing is a tenth of what is there, or less; a network answers with numbers near 1."""

_RATE = 2e-3
_CROPS, _SIDE = 4, 64

SIZES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
_LEAST = 8
_STEPS, _MOST_BLUR = 6, 3.0
_ROUNDED = 0.5 / 127.5
"""Half a gray level: of any picture so much is missing because its reduction is rounded to bytes."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A picture (1, 3, h, w) of even size, and the guess of it from its reduction."""

    guess: Tensor
    truth: Tensor

    @classmethod
    def of(cls, truth: Tensor, factor: float) -> Pair:
        """The pair of a picture whose reduction is rounded to 8 bits like any other."""
        height, width = truth.shape[2:]
        small = resize(truth, (max(_LEAST // 2, round(height / factor)), max(_LEAST // 2, round(width / factor))))
        return cls(guessed(from_uint8(to_uint8(small)).to(truth), (height, width)), truth)

    @property
    def lost(self) -> float:
        return (self.truth - self.guess).square().mean().sqrt().item()


def guessed(small: Tensor, size: Size) -> Tensor:
    """The nearest to the smooth enlargement that is reduced to the small picture."""
    return Reduction(small).nearest(resize(small, size))


def expected_loss(picture: Tensor, factor: float) -> float:
    """The deviation that will be missing where the picture itself is enlarged, at most that of its own reduction."""
    whole, half = (Pair.of(_sized(picture, scale), factor).lost for scale in (1.0, 0.5))
    return max(_ROUNDED, whole * min(1.0, whole / max(half, _ROUNDED)))


def pairs(picture: Tensor, factor: float) -> list[Pair]:
    """A pair of each size, as hard as the picture itself will be."""
    most = expected_loss(picture, factor)
    return [_eased(_sized(picture, scale), factor, most) for scale in SIZES]


def _sized(picture: Tensor, scale: float) -> Tensor:
    """The picture in `scale` times its size, as even as the bands of a crop need it."""
    height, width = (max(_LEAST, round(scale * side) // 2 * 2) for side in picture.shape[2:])
    return resize(picture, (height, width))


def _eased(truth: Tensor, factor: float, most: float) -> Pair:
    """The pair with the least blur by which no more than `most` is missing."""
    pair, low, high = Pair.of(truth, factor), 0.0, _MOST_BLUR
    if pair.lost <= most:
        return pair
    pair = Pair.of(blur(truth, high), factor)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        trial = Pair.of(blur(truth, middle), factor)
        low, high, pair = (low, middle, trial) if trial.lost <= most else (middle, high, pair)
    return pair


def turned(picture: Tensor, way: int) -> Tensor:
    """The square in one of the eight ways to lay it down."""
    picture = picture.flip(3) if way & 1 else picture
    picture = picture.flip(2) if way & 2 else picture
    return picture.mT if way & 4 else picture


def turned_back(picture: Tensor, way: int) -> Tensor:
    picture = picture.mT if way & 4 else picture
    picture = picture.flip(2) if way & 2 else picture
    return picture.flip(3) if way & 1 else picture


@final
class EnlargingRecipe(Recipe[None]):
    """The training of a network on the pairs of one picture."""

    def __init__(self, network: ResidualNetwork, pairs: Sequence[Pair]) -> None:
        self._network, self._pairs = network, pairs

    @property
    def kept(self) -> nn.Module:
        return self._network

    @property
    def companions(self) -> Mapping[str, nn.Module]:
        return {}

    @property
    def players(self) -> Mapping[str, Player]:
        parameters = tuple(self._network.parameters())
        return {"network": Player(parameters, (AdamW(parameters),), lambda step: _RATE)}

    def updates(self, batch: None, generator: torch.Generator) -> Iterator[Update]:
        yield Update("network", self._loss(generator))

    def held_out(self) -> Mapping[str, float]:
        """The loss of crops that are always the same; there is no other picture."""
        return {"loss": self._loss(torch.Generator().manual_seed(0)).item()}

    def _loss(self, generator: torch.Generator) -> Tensor:
        crops = [self._crop(generator) for _ in range(_CROPS)]
        guess, truth = torch.cat([crop.guess for crop in crops]), torch.cat([crop.truth for crop in crops])
        answer = self._network(pack(guess).contiguous(memory_format=torch.channels_last))
        return torch.mean((answer * DETAIL - pack(truth - guess)).abs()) / DETAIL

    def _crop(self, generator: torch.Generator) -> Pair:
        """Cut a crop (1, 3, side, side) from any pair; a smaller picture stands in the corner of zeros."""

        def below(count: int) -> int:
            return int(torch.randint(count, (), generator=generator))

        pair, way = self._pairs[below(len(self._pairs))], below(8)
        height, width = (min(_SIDE, side) for side in pair.truth.shape[2:])
        top, left = below(pair.truth.shape[2] - height + 1), below(pair.truth.shape[3] - width + 1)

        def cut(picture: Tensor) -> Tensor:
            crop = turned(picture[..., top : top + height, left : left + width], way)
            return functional.pad(crop, (0, _SIDE - crop.shape[3], 0, _SIDE - crop.shape[2]))

        return Pair(cut(pair.guess), cut(pair.truth))
