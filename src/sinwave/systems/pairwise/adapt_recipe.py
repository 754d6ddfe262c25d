"""The trainings of an adaptation: of an adapter beside the source, and of all weights with pairwise distances.

    local      |(D - x_0) / out|^2 on the pool of noisy shots
    pairwise   L_simple + T / 1000 L_vlb + l_2 L_img + l_3 L_hf + l_4 L_hfmse        (see `losses`)

A step of the second gives the same x_t and t to the adapted network and to the source, which has neither gradient nor
dropout. What `direct` trains is `recipe.SourceRecipe`, from the source's weights on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from sinwave.nn.local import LocalNetwork
from sinwave.systems.pairwise.adapt_options import Settings
from sinwave.systems.pairwise.adapter import Adapter
from sinwave.systems.pairwise.losses import details, pairwise, snr_weights, variational, weighted
from sinwave.systems.pairwise.pool import Pool
from sinwave.systems.pairwise.recipe import Draw, drawn
from sinwave.systems.pairwise.source import FromIndex, Source
from sinwave.training.optimizer import AdamW, muon_and_adamw
from sinwave.training.recipe import Player, Recipe, Update
from sinwave.training.shares import Shares

__all__ = ["Best", "Fold", "LocalRecipe", "PairwiseRecipe", "folds_of"]


class Fold(NamedTuple):
    """An adapter that does not see some of the shots, the places of the others in the pool, and theirs in the looks."""

    adapter: Adapter
    seen: Tensor
    left_out: Tensor


def folds_of(build: Callable[[int], Adapter], pool: Pool, looks: Pool, most: int = 5) -> tuple[Fold, ...]:
    """Leave out every shot once, in so many folds at the most; one shot alone has none."""
    total = int(pool.shots.max()) + 1
    count = min(most, total) if total > 1 else 0
    folds = []
    for number in range(count):
        seen, left_out = pool.shots % count != number, looks.shots % count == number
        folds.append(Fold(build(number), seen.nonzero().flatten(), left_out.nonzero().flatten()))
    return tuple(folds)


@final
class Best(nn.Module):
    """The weights of the best mark, its loss, and which of all looks it is, as buffers that the state holds.

    They may be a mean of two marks' weights: then `look` is a fraction.
    """

    loss: Tensor
    look: Tensor
    looks: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.register_buffer("loss", torch.tensor(math.inf))
        self.register_buffer("look", torch.tensor(0.0))
        self.register_buffer("looks", torch.tensor(0))
        moving = {name: value for name, value in network.named_parameters() if value.requires_grad}
        self._names = {name: name.replace(".", "/") for name in moving}
        for name, value in moving.items():
            self.register_buffer(self._names[name], value.detach().clone())

    def take(self, network: nn.Module, loss: float) -> None:
        """Remember the weights, if the loss is the least so far."""
        if loss < self.loss.item():
            self.keep(network, loss)

    def keep(self, network: nn.Module, loss: float) -> None:
        """Remember the weights in any case."""
        self.loss.fill_(loss)
        self.look.copy_(self.looks)
        for name, place in self._names.items():
            self.get_buffer(place).copy_(network.get_parameter(name).detach())

    def approach(self, network: nn.Module, loss: float, share: float) -> None:
        """Go a share of the way to these weights, where `loss` is due."""
        self.loss.fill_(loss)
        self.look.lerp_(self.looks.to(self.look), share)
        for name, place in self._names.items():
            self.get_buffer(place).lerp_(network.get_parameter(name).detach(), share)

    @property
    def weights(self) -> dict[str, Tensor]:
        return {name: self.get_buffer(place) for name, place in self._names.items()}


@final
class LocalRecipe(Recipe[Tensor]):
    """The training of an adapter on places of a pool, beside others that leave out some shots.

    `left out` is the mean loss of shots by an adapter that has not seen them: while the adapters learn the look of the
    shots it falls, and it rises when they learn the shots. `loss` is the least so far, and the weights of that mark are
    the result.
    """

    def __init__(
        self, settings: Settings, source: Source, adapter: Adapter, pool: Pool, looks: Pool, folds: Sequence[Fold] = ()
    ) -> None:
        """`looks` are the draws of the held-out losses."""
        self._settings, self._source, self._adapter, self._pool, self._looks = settings, source, adapter, pool, looks
        self._folds = {f"fold-{number}": fold for number, fold in enumerate(folds)}
        networks = {"adapter": adapter.network, **{name: fold.adapter.network for name, fold in self._folds.items()}}
        self._networks = nn.ModuleDict(networks)
        self.best = Best(adapter.network)
        self._in_shares = Shares() if pool.x_t.device.type == "cpu" else None

    @property
    def kept(self) -> nn.Module:
        return self._networks

    @property
    def companions(self) -> Mapping[str, nn.Module]:
        return {"best": self.best}

    @property
    def players(self) -> Mapping[str, Player]:
        return {name: self._player(network) for name, network in self._networks.items()}

    def _player(self, network: nn.Module) -> Player:
        assert isinstance(network, LocalNetwork)
        parameters, rate = tuple(network.parameters()), self._settings.rate
        return Player(parameters, muon_and_adamw(parameters, network.hidden), lambda step: rate)

    def updates(self, batch: Tensor, generator: torch.Generator) -> Iterator[Update]:
        yield Update("adapter", self._losses(self._adapter, self._pool, batch).mean())
        for name, fold in self._folds.items():
            places = fold.seen[torch.randint(len(fold.seen), (len(batch),), generator=generator)]
            yield Update(name, self._losses(fold.adapter, self._pool, places).mean())

    def held_out(self) -> Mapping[str, float]:
        learned = self._mean(self._adapter, torch.arange(len(self._looks)))
        losses = [self._mean(fold.adapter, fold.left_out) for fold in self._folds.values()] or [learned]
        left_out = sum(losses) / len(losses)
        if not math.isfinite(left_out):
            return {"loss": left_out}
        self.best.take(self._adapter.network, left_out)
        return {"loss": self.best.loss.item(), "left out": left_out, "shots": learned}

    def _mean(self, adapter: Adapter, places: Tensor) -> float:
        parts = [places[first : first + 64] for first in range(0, len(places), 64)]
        return torch.cat([self._losses(adapter, self._looks, part) for part in parts]).mean().item()

    def _losses(self, adapter: Adapter, pool: Pool, places: Tensor) -> Tensor:
        places = places.to(pool.x_t.device)

        def losses_of(part: slice) -> Tensor:
            chosen = places[part]
            x_t, times, estimate, clean = (x[chosen] for x in (pool.x_t, pool.times, pool.estimate, pool.clean))
            return adapter.loss(self._source, x_t, times, estimate, clean)

        if self._in_shares is None:
            return losses_of(slice(None))
        return self._in_shares(losses_of, len(places), adapter.network.parameters())


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
            clean, t, noise = (x.to(self._device) for x in (clean, draw.times, draw.noise))
            x_t = self._adapted.chain.diffuse(clean, t, noise)
            answer, _ = FromIndex(self._adapted.unet, self._adapted.chain).answer(x_t, t)
            losses.append((answer - noise).square().mean())
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
