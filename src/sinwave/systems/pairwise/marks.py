"""Marks of an adaptation, where it is decided whether more steps are good.

    copies   the share of samples that are copies of a shot (see `data.likeness`)
    near     the share within 1.3 of the limit of a copy
    spread   the mean distance of two samples, over that of two samples of the source

More steps bring samples nearer to the look of the shots and, from some step on, to the shots themselves: within some
fifty steps few copies become many. At the first mark where more are near than

    most = max(.12, twice the share of the source)

the training ends, and the weights are kept that lie between those of the mark before and its own (of LoRA, between the
factors), by the share (most - before) / (now - before); or its own, if it is the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
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

__all__ = ["MarkedRecipe", "Marks", "share_due"]

_NEAR, _MOST_NEAR = 1.3, 0.12
"""Chosen in hindsight on fifteen cases, for few copies and a small FD."""

_SAMPLES, _STEPS = 64, 12
_FEW_SAMPLES, _FEW_STEPS, _SMALL = 24, 6, 1e10
"""For networks with more parameters times positions than those of pictures of about 64 pixels."""

_TOGETHER = 16
"""Samples of a batch; some batches are drawn side by side."""


@final
class Marks:
    """Samples of the same noise at every mark."""

    def __init__(self, before: Drawer, shots: Tensor) -> None:
        """`before` draws from the source, of which samples are drawn when they are needed."""
        source = before.source
        positions = source.configuration.size**2 // (4 if source.configuration.packed else 1)
        work = positions * sum(parameter.numel() for parameter in source.unet.parameters())
        self._count, self._steps = (_SAMPLES, _STEPS) if work <= _SMALL else (_FEW_SAMPLES, _FEW_STEPS)
        self._copies, self._drawer = Copies(shots), before

    @cached_property
    def _before(self) -> tuple[float, float]:
        """The share of the source's samples that are near, and their spread."""
        samples = self._samples(self._drawer, range(self._count // 2))
        return self._copies.share(samples, _NEAR), _spread(samples)

    @property
    def rule(self) -> dict[str, float]:
        """How near a copy is, which depends on the shots and on the rule of this version."""
        return {"copies below": round(self._copies.limit, 4), "near below": round(_NEAR * self._copies.limit, 4)}

    @property
    def most_near(self) -> float:
        """The share from which on more steps are too many."""
        return max(_MOST_NEAR, 2 * self._before[0])

    def at(self, drawer: Drawer) -> dict[str, float]:
        """Draw, and compare with the shots and the source; nothing if the samples are not finite.

        If of the first half none is near, it is enough.
        """
        half = self._count // 2
        samples = self._samples(drawer, range(half))
        if self._copies.share(samples, _NEAR) > 0:
            samples = torch.cat([samples, self._samples(drawer, range(half, self._count))])
        if not samples.isfinite().all():
            return {}
        return {
            "copies": self._copies.share(samples),
            "near": self._copies.share(samples, _NEAR),
            "spread": _spread(samples) / max(self._before[1], 1e-6),
        }

    def _samples(self, drawer: Drawer, numbers: range) -> Tensor:
        drawer, side = replace(drawer, walk=Walk(self._steps)), drawer.source.configuration.size
        noise, device = NoiseSource(0).child("mark"), next(drawer.source.unet.parameters()).device

        @torch.no_grad()
        def draw(part: range) -> Tensor:
            return drawer.generate((side, side), noise.batch(part)).cpu()

        parts = [numbers[first : first + _TOGETHER] for first in range(0, len(numbers), _TOGETHER)]
        return torch.cat(side_by_side([partial(draw, part) for part in parts], device))


def _spread(pictures: Tensor) -> float:
    return torch.pdist(drawings(pictures)).mean().item()


def share_due(before: float, now: float, most: float) -> float:
    """How far from the mark before to this one the share `most` is due, if `before` <= `most` < `now`."""
    return (most - before) / (now - before)


@final
class MarkedRecipe(Recipe[Tensor]):
    """A recipe with marks at its looks."""

    def __init__(self, recipe: Recipe[Tensor], drawer: Drawer, marks: Marks, *, stops: bool) -> None:
        """`drawer` has the network that the recipe trains; if it `stops`, the newest weights need not be those kept."""
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

    @property
    def kept_look(self) -> float | None:
        """The look whose weights are kept, counted from 1, if they are not the newest."""
        return None if self.best is None or not self.best.loss.isfinite() else self.best.look.item()

    def held_out(self) -> Mapping[str, float]:
        mark, self.reason = self._marks.at(self._drawer), None
        if self.best is not None:
            self.best.looks += 1
        if mark and self.best is not None:
            self._judge(self.best, mark["near"])
        return {**self._recipe.held_out(), **mark}

    def _judge(self, best: Best, near: float) -> None:
        most, first, before = self._marks.most_near, not best.loss.isfinite(), best.loss.item()
        if near <= most or first:
            best.keep(self.kept, near)
        elif before < most:
            best.approach(self.kept, most, share_due(before, near, most))
        if near > most:
            earlier = f"the weights of some steps before, where about {most:.0%} are due,"
            kept = "already at the first mark, whose weights" if first else earlier
            self.reason = f"{near:.0%} of the samples are copies or nearly: {kept} are kept"
