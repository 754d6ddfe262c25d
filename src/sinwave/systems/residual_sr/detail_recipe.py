"""The trainings of the network that draws detail, beside an enlarger that does not move.

    teacher    mean |B^-1 (D(x_t) - x_0)|^2 / out^2,       t one of 1/T, 2/T, .. 1 (ResShift: Yue et al., 2023)
    student    with x_T = y + kappa sqrt(eta_T) e, and z_0 the end of the teacher's deterministic walk from it,
               |D(x_T) - z_0|^2 + |n(z_0) - e|^2 + |D(y + kappa sqrt(eta_T) n(x_0)) - x_0|^2
               + w_d sliced Wasserstein distance of the bands of B^-1 D(x_T) and B^-1 x_0
               + w_e error maps of D(x_T) and x_0 (Seo and Lee)

The first three terms of a student are SinSR's (Wang et al., 2024), and their differences are multiplied by B^-1. n is
the network at index 0, and no gradient flows through n(x_0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sinwave.diffusion.sample import Ddim, even_times, sample
from sinwave.reduction import Reduction
from sinwave.rng import NoiseSource
from sinwave.systems.residual_sr.detail import Detail, DetailDenoiser, Gap
from sinwave.systems.residual_sr.deviation import Deviations, Missing, bands_of, measured
from sinwave.systems.residual_sr.error_maps import ErrorMapLoss
from sinwave.systems.residual_sr.network import EnlargingNetwork, hidden
from sinwave.systems.residual_sr.options import Settings
from sinwave.systems.residual_sr.pairs import Pairs, held_out_losses
from sinwave.training.optimizer import muon_and_adamw
from sinwave.training.recipe import Player, Recipe, Update
from sinwave.training.shares import Shares

__all__ = ["DetailRecipe", "Teaching", "deviations_of", "enlarged", "sliced_distance"]

_DIRECTIONS = 64
_PATCH = 3


class Teaching(NamedTuple):
    """A student's teacher, and the error maps of its result if they count."""

    teacher: Detail
    error_maps: ErrorMapLoss | None = None


class _Draw(NamedTuple):
    """Random numbers of a part of a batch: white noise (b, 3, s h, s w), time indices (b,), directions (27, n)."""

    white: Tensor
    times: Tensor
    directions: Tensor


@final
class DetailRecipe(Recipe[Pairs]):
    """The training of a teacher, or with `teaching` of a student."""

    def __init__(
        self,
        settings: Settings,
        enlarger: EnlargingNetwork,
        detail: Detail,
        looks: Sequence[Pairs],
        teaching: Teaching | None = None,
    ) -> None:
        """`looks` are the pairs of the held-out loss."""
        self._settings, self._detail, self._looks, self._teaching = settings, detail, tuple(looks), teaching
        self._enlarger = enlarger.eval().requires_grad_(False)
        self._device = detail.network.clock.device
        self._dtype = getattr(torch, settings.precision)
        self._in_shares = Shares() if self._device.type == "cpu" else None

    @property
    def kept(self) -> nn.Module:
        return self._detail.network

    @property
    def companions(self) -> Mapping[str, nn.Module]:
        return {}

    @property
    def players(self) -> Mapping[str, Player]:
        parameters, rate = tuple(self._detail.network.parameters()), self._settings.rate
        optimizers = muon_and_adamw(parameters, hidden(self._detail.network.body))
        return {"network": Player(parameters, optimizers, lambda step: rate)}

    def updates(self, batch: Pairs, generator: torch.Generator) -> Iterator[Update]:
        yield Update("network", self._losses(batch, generator).mean())

    def held_out(self) -> Mapping[str, float]:
        """The loss for pairs and noise that are always the same, and by factor."""
        return held_out_losses(
            self._looks, lambda number, pairs: self._losses(pairs, torch.Generator().manual_seed(number))
        )

    def _losses(self, batch: Pairs, generator: torch.Generator) -> Tensor:
        low, high = batch.low.to(self._device), batch.high.to(self._device)
        steps = self._detail.network.shape.steps
        draw = _Draw(
            torch.randn(high.shape, generator=generator).to(self._device),
            torch.randint(1, steps + 1, (len(high),), generator=generator).to(self._device),
            functional.normalize(torch.randn(3 * _PATCH**2, _DIRECTIONS, generator=generator), dim=0).to(self._device),
        )

        def losses_of(part: slice) -> Tensor:
            return self._loss(low[part], high[part], draw._replace(white=draw.white[part], times=draw.times[part]))

        if self._in_shares is None:
            return losses_of(slice(None))
        return self._in_shares(losses_of, len(low), self._used(batch.factor))

    def _used(self, factor: int) -> list[nn.Parameter]:
        """Parameters that have a gradient with this factor."""
        network = self._detail.network
        level = network.shape.factors.index(factor)
        return [
            network.clock,
            *network.heads[level].parameters(),
            *network.body.parameters(),
            *network.tails[level].parameters(),
        ]

    def _loss(self, low: Tensor, high: Tensor, draw: _Draw) -> Tensor:
        factor, reduced = high.shape[2] // low.shape[2], self._settings.condition == "clean"
        with torch.no_grad(), self._narrow():
            base = enlarged(self._enlarger, low, factor, reduced)
            gap = Gap(low, base, self._settings.doubt.of(base, factor), reduced)
        denoiser, noise = self._denoiser(self._detail, gap), gap.colored(draw.white)
        if self._teaching is not None:
            return self._taught(self._teaching, denoiser, high, noise, draw.directions)
        t = (draw.times / self._detail.network.shape.steps)[:, None, None, None]
        x_t = self._detail.process.diffuse(high, t, noise, base)
        error = gap.whitened(denoiser(x_t, t, anchor=base) - high) / denoiser.scale(t, high)
        return error.square().mean((1, 2, 3))

    def _taught(
        self, teaching: Teaching, student: DetailDenoiser, high: Tensor, noise: Tensor, directions: Tensor
    ) -> Tensor:
        process, gap, base = self._detail.process, student.gap, student.gap.base
        start = process.diffuse(base, 1.0, noise, base)
        teacher, times = self._denoiser(teaching.teacher, gap), even_times(teaching.teacher.steps)
        end = sample(teacher, process, Ddim(0.0), start, times, NoiseSource(0), anchor=base)
        drawn = student(start, 1.0, anchor=base)
        with torch.no_grad():
            back = process.diffuse(base, 1.0, student.noise(high, base), base)
        errors = (drawn - end, student.noise(end, base) - noise, student(back, 1.0, anchor=base) - high)
        loss = torch.stack([gap.whitened(error).square().mean((1, 2, 3)) for error in errors]).sum(0)
        if self._settings.distribution:
            ours, theirs = gap.whitened(drawn), gap.whitened(high)
            loss = loss + self._settings.distribution * sliced_distance(ours, theirs, directions)
        if teaching.error_maps is not None:
            loss = loss + self._settings.error_maps * teaching.error_maps(drawn, high)
        return loss

    def _denoiser(self, detail: Detail, gap: Gap) -> DetailDenoiser:
        def answer(state: Tensor, index: Tensor) -> Tensor:
            with self._narrow():
                result: Tensor = detail.network(gap.low, gap.guide, state, index)
            return result.float()

        return DetailDenoiser(detail, gap, answer)

    def _narrow(self) -> torch.autocast:
        narrow = self._dtype != torch.float32
        return torch.autocast(self._device.type, self._dtype, enabled=narrow, cache_enabled=False)


def enlarged(network: EnlargingNetwork, low: Tensor, factor: int, reduced: bool = True) -> Tensor:
    """Enlarge small pictures (b, 3, h, w) by one of the network's factors, as exactly as they allow."""
    answer: Tensor = network(low.contiguous(memory_format=torch.channels_last), factor).float()
    return Reduction(low).nearest(answer) if reduced else answer


def deviations_of(
    network: EnlargingNetwork, pairs: Callable[[int], Sequence[Pairs]], reduced: bool = True
) -> Deviations:
    """Measure what the network's enlargements of the `pairs` of each factor miss."""

    def missing(factor: int) -> Iterator[Missing]:
        for pair in pairs(factor):
            base = enlarged(network, pair.low, factor, reduced)
            yield Missing(base, pair.high - base)

    with torch.no_grad():
        return measured(missing)


def sliced_distance(drawn: Tensor, truth: Tensor, directions: Tensor) -> Tensor:
    """Sliced Wasserstein distance of 3 x 3 patches of the six detail bands, with directions (27, n): a scalar."""
    distances = []
    for bands in zip(bands_of(drawn)[:-1], bands_of(truth)[:-1], strict=True):
        patches = (functional.unfold(band, _PATCH).movedim(1, 2).flatten(0, 1) for band in bands)
        ours, theirs = ((patch @ directions).sort(0).values for patch in patches)
        distances.append((ours - theirs).abs().mean())
    return torch.stack(distances).mean()
