"""Pairs of a small and a large picture to learn from: crops of pictures, and their reduction.

A step has one factor, and its small crops one size, so a step of factor 2 has large crops half as wide as one of 4.
Some large crops are blurred first, as by a lens: pictures that were reduced are sharper than those of a camera.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import NamedTuple, final

import torch
from torch import Tensor

from sinwave.data.batches import Batches
from sinwave.images import from_uint8, to_uint8
from sinwave.resize import blur, resize
from sinwave.rng import fold
from sinwave.systems.residual_sr.network import FACTORS
from sinwave.systems.residual_sr.options import Condition

__all__ = ["PairBatches", "Pairs", "held_out_losses"]

_BLUR = (0.3, 0.9)
"""Pixels."""

_SHARES = (0.3, 0.15, 0.55)
"""Of the factors: the largest has the most to learn."""


class Pairs(NamedTuple):
    """Small pictures (b, 3, h, w), and large ones that are `factor` times as large, all in [-1, 1]."""

    low: Tensor
    high: Tensor
    factor: int


@final
class PairBatches:
    """Pairs made of crops (b, 3, side, side), side = max(factors) times that of the small ones."""

    def __init__(
        self, sources: Sequence[Batches[Tensor]], side: int, condition: Condition, soft: float, seed: int
    ) -> None:
        """`sources` give parts of a batch; small crops have `side` pixels a side; a share of `soft` is blurred."""
        self._sources, self._side, self._condition = tuple(sources), side, condition
        self._soft, self._seed = soft, seed

    def at(self, step: int) -> Pairs:
        generator = torch.Generator().manual_seed(fold(self._seed, "pairs", step))
        factor = FACTORS[int(torch.multinomial(torch.tensor(_SHARES), 1, generator=generator))]
        return self._pairs(step, factor, generator)

    def of(self, factor: int, step: int) -> Pairs:
        """Pairs of one factor."""
        return self._pairs(step, factor, torch.Generator().manual_seed(fold(self._seed, "pairs", factor, step)))

    def _pairs(self, step: int, factor: int, generator: torch.Generator) -> Pairs:
        crops = torch.cat([source.at(step) for source in self._sources])
        crops = _turned(crops, generator)
        if self._condition == "clean":  # what repairs must learn sharp truths
            crops = _softened(crops, self._soft, generator)
        high = crops[..., : factor * self._side, : factor * self._side].contiguous()
        return Pairs(self._low(high, generator), high, factor)

    def _low(self, high: Tensor, generator: torch.Generator) -> Tensor:
        size = (self._side, self._side)
        if self._condition == "photo":
            from sinwave.data.degrade import REAL_ESRGAN, degrade

            return torch.stack([degrade(picture, size, generator, REAL_ESRGAN) for picture in high])
        return from_uint8(to_uint8(resize(high, size)))


def held_out_losses(looks: Sequence[Pairs], loss: Callable[[int, Pairs], Tensor]) -> dict[str, float]:
    """Average the losses `loss(number, pairs)` of pairs that are always the same: over all, and by factor."""
    with torch.no_grad():
        losses = [(pairs.factor, loss(number, pairs).mean().item()) for number, pairs in enumerate(looks)]
    by_factor = {
        f"factor {factor}": fmean(loss for other, loss in losses if other == factor)
        for factor in sorted({factor for factor, _ in losses})
    }
    return {"loss": fmean(loss for _, loss in losses), **by_factor}


def _softened(crops: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Blur a share of the crops, differently."""
    draws = torch.rand(len(crops), 2, generator=generator).tolist()
    least, most = _BLUR
    blurred = [
        blur(crop[None], least + place * (most - least)) if chance < share else crop[None]
        for crop, (chance, place) in zip(crops, draws, strict=True)
    ]
    return torch.cat(blurred)


def _turned(crops: Tensor, generator: torch.Generator) -> Tensor:
    """Turn a batch of squares by one of the four ways that mirroring left and right leaves open."""
    way = int(torch.randint(4, (), generator=generator))
    crops = crops.flip(2) if way & 1 else crops
    return crops.mT if way & 2 else crops
