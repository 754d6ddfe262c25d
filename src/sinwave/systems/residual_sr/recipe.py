"""The training of a network that enlarges in one step, with the reduction A that small pictures came from.

    result = z + A+ (small - A z),      z = network(small)
    loss   = mean |result - truth| + mean |luma(result - truth)| + 0.1 mean |z - truth|

A result agrees with its small picture whatever the network answers, so the network learns only what the small picture
does not say; the last term binds the rest, for programs that use the network without its projection. In the condition
`photo` there is no A, and the result is z.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import final

import torch
from torch import Tensor, nn

from sinwave.reduction import Reduction
from sinwave.systems.residual_sr.network import EnlargingNetwork, hidden
from sinwave.systems.residual_sr.options import Settings
from sinwave.systems.residual_sr.pairs import Pairs, held_out_losses
from sinwave.training.optimizer import muon_and_adamw
from sinwave.training.recipe import Player, Recipe, Update
from sinwave.training.shares import Shares

__all__ = ["EnlargingRecipe"]

_LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)
"""BT.601 in its limited range, in which results are compared."""

_FREE = 0.1


@final
class EnlargingRecipe(Recipe[Pairs]):
    """The training of one network."""

    def __init__(self, settings: Settings, network: EnlargingNetwork, looks: Sequence[Pairs]) -> None:
        """`looks` are the pairs of the held-out loss."""
        self._settings, self._looks = settings, tuple(looks)
        self._network: EnlargingNetwork = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = network.head.weight.device
        self._dtype = getattr(torch, settings.precision)
        self._in_shares = Shares() if self._device.type == "cpu" else None

    @property
    def kept(self) -> nn.Module:
        return self._network

    @property
    def companions(self) -> Mapping[str, nn.Module]:
        return {}

    @property
    def players(self) -> Mapping[str, Player]:
        parameters, rate = tuple(self._network.parameters()), self._settings.rate
        optimizers = muon_and_adamw(parameters, hidden(self._network.body))
        return {"network": Player(parameters, optimizers, lambda step: rate)}

    def updates(self, batch: Pairs, generator: torch.Generator) -> Iterator[Update]:
        yield Update("network", self._losses(batch).mean())

    def held_out(self) -> Mapping[str, float]:
        """The loss for pairs that are always the same, and by factor."""
        return held_out_losses(self._looks, lambda number, pairs: self._losses(pairs))

    def _losses(self, batch: Pairs) -> Tensor:
        low, high = batch.low.to(self._device), batch.high.to(self._device)

        def losses_of(part: slice) -> Tensor:
            return self._loss(low[part], high[part], batch.factor)

        if self._in_shares is None:
            return losses_of(slice(None))
        # Only parameters of this factor have a gradient.
        used = [*self._network.head.parameters(), *self._network.body.parameters()]
        tail = self._network.tails[self._network.shape.factors.index(batch.factor)]
        return self._in_shares(losses_of, len(low), [*used, *tail.parameters()])

    def _loss(self, low: Tensor, high: Tensor, factor: int) -> Tensor:
        narrow = self._dtype != torch.float32
        with torch.autocast(self._device.type, self._dtype, enabled=narrow, cache_enabled=False):
            answer: Tensor = self._network(low.contiguous(memory_format=torch.channels_last), factor)
        free = answer.float() - high
        if self._settings.condition == "photo":
            return _length(free)
        return _length(Reduction(low).nearest(answer.float()) - high) + _FREE * free.abs().mean((1, 2, 3))


def _length(error: Tensor) -> Tensor:
    """Mean absolute errors (b,) of colors and of luma."""
    luma = (error * _weights(error.device)).sum(1)
    total: Tensor = error.abs().mean((1, 2, 3)) + luma.abs().mean((1, 2))
    return total


@lru_cache(maxsize=4)
def _weights(device: torch.device) -> Tensor:
    return torch.tensor(_LUMA, device=device)[:, None, None]
