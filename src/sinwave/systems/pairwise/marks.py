"""Marks of an adaptation, where it is decided whether more steps are good.

    copies   the share of samples that are copies of a shot (see `data.likeness`)
    spread   the mean distance of two samples, over that of two samples of the source

More steps bring samples nearer to the look of the shots and, from some step on, to the shots themselves: within some
fifty steps few copies become many. The weights of the last mark with few copies are kept, and there the training ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import final

import torch
from torch import Tensor, nn

from sinwave.data.likeness import Copies, drawings
from sinwave.rng import NoiseSource
from sinwave.systems.pairwise.adapt_recipe import Best
from sinwave.systems.pairwise.guided import Walk
from sinwave.systems.pairwise.model import Drawer
from sinwave.threads import side_by_side
from sinwave.training.recipe import Player, Recipe, Update

__all__ = ["MOST_COPIES", "MarkedRecipe", "Marks"]

MOST_COPIES = 0.1
_SAMPLES, _BATCH, _STEPS = 96, 16, 12


@final
class Marks:
    """Samples of the same noise at every mark."""

    def __init__(self, before: Drawer, shots: Tensor) -> None:
        """`before` draws from the source."""
        self._copies = Copies(shots)
        self._before = _spread(_samples(before))

    def at(self, drawer: Drawer) -> dict[str, float]:
        """Draw, and compare with the shots and the source; nothing if the samples are not finite."""
        samples = _samples(drawer)
        if not samples.isfinite().all():
            return {}
        return {"copies": self._copies.share(samples), "spread": _spread(samples) / self._before}


def _samples(drawer: Drawer) -> Tensor:
    drawer, side = replace(drawer, walk=Walk(_STEPS)), drawer.source.configuration.size
    noise, device = NoiseSource(0).child("mark"), next(drawer.source.unet.parameters()).device

    @torch.no_grad()
    def draw(first: int) -> Tensor:
        return drawer.generate((side, side), noise.batch(range(first, first + _BATCH))).cpu()

    return torch.cat(side_by_side([partial(draw, first) for first in range(0, _SAMPLES, _BATCH)], device))


def _spread(pictures: Tensor) -> float:
    return torch.pdist(drawings(pictures)).mean().item()


@final
class MarkedRecipe(Recipe[Tensor]):
    """A recipe with marks at its looks."""

    def __init__(self, recipe: Recipe[Tensor], drawer: Drawer, marks: Marks, *, stops: bool) -> None:
        """`drawer` has the network that the recipe trains; if it `stops`, the weights of the best mark are kept."""
        self._recipe, self._drawer, self._marks = recipe, drawer, marks
        self.best = Best(recipe.kept) if stops else None
        self.reason: str | None = None

    @property
    def kept(self) -> nn.Module:
        return self._recipe.kept

    @property
    def companions(self) -> Mapping[str, nn.Module]:
        return self._recipe.companions if self.best is None else {**self._recipe.companions, "mark": self.best}

    @property
    def players(self) -> Mapping[str, Player]:
        return self._recipe.players

    def updates(self, batch: Tensor, generator: torch.Generator) -> Iterator[Update]:
        return self._recipe.updates(batch, generator)

    def held_out(self) -> Mapping[str, float]:
        mark = self._marks.at(self._drawer)
        if mark and self.best is not None:
            few = mark["copies"] <= MOST_COPIES
            if few or not self.best.loss.isfinite():
                self.best.keep(self.kept, mark["copies"])
            if not few:
                share = mark["copies"]
                self.reason = f"{share:.0%} of the samples are copies: the weights of the mark before are kept"
        return {**self._recipe.held_out(), **mark}
