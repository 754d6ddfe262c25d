"""The loss: of crops of the pairs, turned and mirrored, the mean error of what the network adds.

    | F(pack guess) / 10 - pack(truth - guess) |

In bands, on half as large a grid, this is a quarter of the work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sinwave.nn.residual import ResidualNetwork
from sinwave.systems.zero_shot.pairs import Pair
from sinwave.training.recipe import Group, Recipe, Update
from sinwave.wavelets import pack

__all__ = ["DETAIL", "EnlargingRecipe", "turned", "turned_back"]

DETAIL = 0.1
"""What is missing is a tenth of what is there, or less; a network answers with numbers near 1."""

_RATE = 2e-3
_CROPS, _SIDE = 4, 64


def turned(picture: Tensor, way: int) -> Tensor:
    """One of the eight ways to lay a square down."""
    picture = picture.flip(3) if way & 1 else picture
    picture = picture.flip(2) if way & 2 else picture
    return picture.mT if way & 4 else picture


def turned_back(picture: Tensor, way: int) -> Tensor:
    """The inverse of `turned`."""
    picture = picture.mT if way & 4 else picture
    picture = picture.flip(2) if way & 2 else picture
    return picture.flip(3) if way & 1 else picture


@final
class EnlargingRecipe(Recipe):
    """The training of a network on the pairs of one picture."""

    def __init__(self, network: ResidualNetwork, pairs: Sequence[Pair]) -> None:
        self._network, self._pairs = network, pairs

    @property
    def module(self) -> nn.Module:
        """The network."""
        return self._network

    @property
    def companions(self) -> Mapping[str, nn.Module]:
        """None."""
        return {}

    def groups(self) -> Mapping[str, Group]:
        """All weights."""
        return {"network": Group(tuple(self._network.parameters()), _RATE)}

    def updates(self, seed: int) -> Iterator[Update]:
        """One."""
        yield Update("network", self._loss(seed))

    def held_out(self) -> Mapping[str, float]:
        """The loss of crops that are always the same; there is no other picture."""
        return {"loss": self._loss(0).item()}

    def _loss(self, seed: int) -> Tensor:
        crops = self._crops(torch.Generator().manual_seed(seed))
        guess, missing = (pack(each) for each in (crops.guess, crops.truth - crops.guess))
        answer: Tensor = self._network(guess.contiguous(memory_format=torch.channels_last))
        return (answer * DETAIL - missing).abs().mean() / DETAIL

    def _crops(self, generator: torch.Generator) -> Pair:
        """Some, each of any pair, (b, 3, side, side); what is smaller stands in the corner of zeros."""
        found = [self._crop(generator) for _ in range(_CROPS)]
        return Pair(torch.cat([each.guess for each in found]), torch.cat([each.truth for each in found]))

    def _crop(self, generator: torch.Generator) -> Pair:
        def below(count: int) -> int:
            return int(torch.randint(count, (), generator=generator))

        pair, way = self._pairs[below(len(self._pairs))], below(8)
        height, width = (min(_SIDE, side) for side in pair.truth.shape[2:])
        top, left = below(pair.truth.shape[2] - height + 1), below(pair.truth.shape[3] - width + 1)

        def cut(picture: Tensor) -> Tensor:
            crop = turned(picture[..., top : top + height, left : left + width], way)
            return functional.pad(crop, (0, _SIDE - crop.shape[3], 0, _SIDE - crop.shape[2]))

        return Pair(cut(pair.guess), cut(pair.truth))
