"""The trainings of an adaptation: of an adapter beside the source, and of all weights with pairwise distances.

    local      |(D - x_0) / out|^2 on the pool of noisy shots
    pairwise   L_simple + T / 1000 L_vlb + l_2 L_img + l_3 L_hf + l_4 L_hfmse        (see `losses`)

A step of the second gives the same x_t and t to the adapted network and to the source, which has neither gradient nor
dropout. What `direct` trains is `recipe.SourceRecipe`, from the source's weights on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn

from sinwave.systems.pairwise.adapt_options import Settings
from sinwave.systems.pairwise.adapter import Adapter
from sinwave.systems.pairwise.losses import details, pairwise, snr_weights, variational, weighted
from sinwave.systems.pairwise.recipe import Draw, drawn
from sinwave.systems.pairwise.shots import Pool
from sinwave.systems.pairwise.source import FromIndex, Source
from sinwave.training.optimizer import AdamW, muon_and_adamw
from sinwave.training.recipe import Player, Recipe, Update

__all__ = ["LocalRecipe", "PairwiseRecipe"]


@final
class LocalRecipe(Recipe[Tensor]):
    """The training of an adapter on places of a pool."""

    def __init__(self, settings: Settings, source: Source, adapter: Adapter, pool: Pool, looks: Pool) -> None:
        """`looks` are the draws of the held-out loss."""
        self._settings, self._source, self._adapter, self._pool, self._looks = settings, source, adapter, pool, looks

    @property
    def kept(self) -> nn.Module:
        return self._adapter.network

    @property
    def companions(self) -> Mapping[str, nn.Module]:
        return {}

    @property
    def players(self) -> Mapping[str, Player]:
        network = self._adapter.network
        parameters, rate = tuple(network.parameters()), self._settings.rate
        return {"adapter": Player(parameters, muon_and_adamw(parameters, network.hidden), lambda step: rate)}

    def updates(self, batch: Tensor, generator: torch.Generator) -> Iterator[Update]:
        yield Update("adapter", self._losses(self._pool, batch).mean())

    def held_out(self) -> Mapping[str, float]:
        places = torch.arange(len(self._looks))
        losses = [self._losses(self._looks, places[first : first + 64]) for first in range(0, len(places), 64)]
        return {"loss": torch.cat(losses).mean().item()}

    def _losses(self, pool: Pool, places: Tensor) -> Tensor:
        places = places.to(pool.x_t.device)
        x_t, times, estimate, clean = (x[places] for x in (pool.x_t, pool.times, pool.estimate, pool.clean))
        return self._adapter.loss(self._source, x_t, times, estimate, clean)


@final
class PairwiseRecipe(Recipe[Tensor]):
    """The training of DDPM-PA: all weights of a network that answers noise."""

    def __init__(self, settings: Settings, adapted: Source, source: Source, looks: Sequence[Tensor]) -> None:
        """`adapted` begins with the weights of `source`, which does not move; `looks` are pictures."""
        self._settings, self._adapted, self._looks = settings, adapted, tuple(looks)
        source.unet.requires_grad_(False).eval()
        self._source = source
        self._device = next(adapted.unet.parameters()).device

    @property
    def kept(self) -> nn.Module:
        return self._adapted.unet

    @property
    def companions(self) -> Mapping[str, nn.Module]:
        return {}

    @property
    def players(self) -> Mapping[str, Player]:
        parameters, rate = tuple(self._adapted.unet.parameters()), self._settings.rate
        return {"network": Player(parameters, (AdamW(parameters),), lambda step: rate, clip=None)}

    def updates(self, batch: Tensor, generator: torch.Generator) -> Iterator[Update]:
        clean = self._adapted.seen(batch)
        terms = self.terms(clean, drawn(self._adapted, clean, generator))
        logs = {name: term.detach() for name, term in terms.items()}
        yield Update("network", torch.stack(list(terms.values())).sum(), logs)

    def held_out(self) -> Mapping[str, float]:
        """L_simple alone: what keeps distances is no measure of what was learned."""
        losses = []
        for number, pictures in enumerate(self._looks):
            clean = self._adapted.seen(pictures)
            draw = drawn(self._adapted, clean, torch.Generator().manual_seed(number))
            losses.append(self.terms(clean, draw)["simple"])
        return {"loss": torch.stack(losses).mean().item()}

    def terms(self, clean: Tensor, draw: Draw) -> dict[str, Tensor]:
        """Every term with its weight, by its name."""
        settings, process = self._settings, self._adapted.chain
        clean, t, noise = (x.to(self._device) for x in (clean, draw.times, draw.noise))
        x_t = process.diffuse(clean, t, noise)
        answer, interpolation = FromIndex(self._adapted.unet, process).answer(x_t, t)
        with torch.no_grad():
            theirs = self._source.shown(
                process.clean_in(x_t, t, FromIndex(self._source.unet, process).answer(x_t, t)[0])
            )
        ours = self._adapted.shown(process.clean_in(x_t, t, answer))
        weights = snr_weights(process, t) if settings.weighting == "snr" else torch.ones_like(t)
        near = weighted(ours, weights)
        here, there = details(near, settings.bands), details(theirs, settings.bands)
        true = details(self._adapted.shown(clean), settings.bands)
        errors = (weights * (details(ours, settings.bands) - true).square()).mean()
        terms = {
            "simple": (answer - noise).square().mean(),
            "pairs": settings.pairs * self._distances(near, theirs),
            "details": settings.details * self._distances(here, there),
            "detail errors": settings.detail_errors * errors,
        }
        if interpolation is not None:
            steps = len(process.alphas_cumprod) - 1
            index = (t.flatten() * steps).round().long() - 1
            bits = variational(process, index, x_t, clean, answer, interpolation).mean()
            terms["variance"] = steps / 1000 * bits
        return terms

    def _distances(self, ours: Tensor, theirs: Tensor) -> Tensor:
        return pairwise(ours, theirs, group=self._settings.group, direction=self._settings.direction)
