"""Noisy shots with what the source estimates of them, computed once."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from sinwave.rng import fold
from sinwave.systems.pairwise.recipe import drawn
from sinwave.systems.pairwise.source import Source
from sinwave.threads import threads

__all__ = ["Indices", "Pool", "together"]

_CHUNK, _POSITIONS = 32, 1 << 18
"""Pictures that are drawn at once, and positions of those that a source estimates at once."""


@final
class Pool:
    """`count` noisy pictures x_t with their times, what the source estimates of them, and the clean ones."""

    def __init__(self, source: Source, shots: Tensor, count: int, seed: int, *, flips: bool = False) -> None:
        """Every shot comes equally often; the times are stratified, and as many are of high noise as of low.

        At high noise the source decides what a picture is, and the adapter must change that too.
        """
        device, parts = next(source.unet.parameters()).device, []
        for first in range(0, count, _CHUNK):
            places = torch.arange(first, min(first + _CHUNK, count)) % len(shots)
            generator = torch.Generator().manual_seed(fold(seed, "pool", first))
            pictures = shots[places]
            if flips:
                mirrored = torch.rand(len(places), generator=generator) < 0.5
                pictures = torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)
            clean = source.seen(pictures)
            draw = drawn(source, clean, generator, even=True)
            x_t = source.process.diffuse(clean, draw.times, draw.noise).to(device)
            with torch.no_grad(), threads(1 if device.type == "cpu" else None):
                size = together(math.prod(x_t.shape[2:]))
                pairs = zip(torch.split(x_t, size), torch.split(draw.times.to(device), size), strict=True)
                estimate = torch.cat([source.estimate(*pair) for pair in pairs])
            parts.append((x_t, draw.times.to(device), estimate, clean.to(device), places))
        self.x_t, self.times, self.estimate, self.clean, self.shots = map(torch.cat, zip(*parts, strict=True))

    def __len__(self) -> int:
        return len(self.x_t)


def together(positions: int) -> int:
    """How many pictures of so many positions a source estimates at once."""
    return max(1, min(_CHUNK, _POSITIONS // positions))


@final
class Indices:
    """Batches of places in a pool: every pass has an order of its own and leaves out none."""

    def __init__(self, total: int, count: int, seed: int) -> None:
        self._total, self._count, self._seed = total, count, seed

    def at(self, step: int) -> Tensor:
        """The places (count,)."""
        places = torch.arange(step * self._count, (step + 1) * self._count)
        turns = {turn: self._order(turn) for turn in set((places // self._total).tolist())}
        return torch.stack([turns[int(place) // self._total][int(place) % self._total] for place in places])

    def _order(self, turn: int) -> Tensor:
        return torch.randperm(self._total, generator=torch.Generator().manual_seed(fold(self._seed, "order", turn)))
