"""The training of a wavelet model's network: noise on crops of all scales, one loss.

A crop has a time of its own, of the process of its scale, and the loss is that of the denoiser that will draw. The
anchor is the crop without its details, so the low band keeps its whole signal. As the coarser scale's result the
network is given the low band with noise in it, which stands for the faults of a drawn one. Errors are averaged over
the inside of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from sinwave.diffusion.denoise import FromNoise, Preconditioned, TrainableDenoiser
from sinwave.diffusion.process import Coefficients, Process, Scalar
from sinwave.nn.local import LocalNetwork
from sinwave.rng import fold
from sinwave.systems.wavelet.expectation import Expectation
from sinwave.systems.wavelet.material import Batch, Material, guide
from sinwave.systems.wavelet.options import STEPS, Settings
from sinwave.training.optimizer import muon_and_adamw
from sinwave.training.recipe import Player, Recipe, Update
from sinwave.training.shares import Shares

__all__ = ["WaveletRecipe"]

_LOOKS = 8
"""Batches of the held-out loss."""


class _Noised(NamedTuple):
    """The noise of crops, their times (b, 1, 1, 1), and the coarser scale's result."""

    eps: Tensor
    time: Tensor
    low: Tensor


@final
@dataclass(frozen=True, eq=False)
class _PerCrop(Process):
    """The processes of crops, each at a time of its own."""

    processes: tuple[Process, ...]

    def at(self, t: Scalar) -> Coefficients:
        """The coefficients, (b, 1, 1, 1) in float64 on the CPU."""
        times = torch.as_tensor(t, dtype=torch.float64).flatten().tolist()
        rows = [process.at(time) for process, time in zip(self.processes, times, strict=True)]
        columns = torch.tensor([[float(a) for a in row] for row in rows], dtype=torch.float64).T
        return Coefficients(*columns.reshape(3, -1, 1, 1, 1))


@final
class WaveletRecipe(Recipe[None]):
    """The training of one network on some pictures."""

    def __init__(self, settings: Settings, material: Material, network: LocalNetwork) -> None:
        self.settings, self.material = settings, material
        self.device = material.statistics.mean.device
        self._dtype = getattr(torch, settings.precision)
        self._layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        self.network: LocalNetwork = network.to(memory_format=self._layout)  # type: ignore[call-overload]
        self.count = max(1, settings.positions // math.prod(material.crop))
        channels = torch.arange(max(material.channels), device=self.device)[:, None, None]
        counts = [(settings.known(index), settings.channels(index)) for index in range(material.scales)]
        self._following, present = torch.tensor(counts, device=self.device).T[..., None, None, None]
        self._follows, self._present = channels < self._following, channels < present
        share, finer = settings.coarse_share, material.scales - 1
        self._chances = torch.tensor([share, *[(1 - share) / finer] * finer] if finer else [1.0])
        # A GPU has its own ways of doing many things at once.
        self._in_shares = Shares() if self.device.type == "cpu" else None
        self._expectation = Expectation.of(material.statistics, settings)

    @property
    def kept(self) -> nn.Module:
        return self.network

    @property
    def companions(self) -> Mapping[str, nn.Module]:
        return {}

    @property
    def players(self) -> Mapping[str, Player]:
        settings, parameters = self.settings, tuple(self.network.parameters())
        matrices = self.network.hidden if settings.muon else ()
        optimizers = muon_and_adamw(parameters, matrices, weight_decay=settings.weight_decay)
        return {"network": Player(parameters, optimizers, lambda step: settings.rate)}

    def updates(self, batch: None, generator: torch.Generator) -> Iterator[Update]:
        losses, scales = self._losses(generator)
        yield Update("network", losses.mean(), self._by_scale(losses.detach(), scales))

    @torch.no_grad()
    def held_out(self) -> Mapping[str, float]:
        """The loss for crops and noise that are always the same."""
        seeds = (fold(0, "held out", index) for index in range(_LOOKS))
        looks = [self._losses(torch.Generator().manual_seed(seed)) for seed in seeds]
        losses, scales = (torch.cat(parts) for parts in zip(*looks, strict=True))
        return {"loss": losses.mean().item()} | {k: v.item() for k, v in self._by_scale(losses, scales).items()}

    def _losses(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        scales = torch.multinomial(self._chances, self.count, replacement=True, generator=generator).tolist()
        batch = self.material.draw(scales, generator)
        noised = self._noised(batch, scales, generator)
        processes = [self.settings.process(scale) for scale in scales]

        def losses_of(part: slice) -> Tensor:
            crops, noise = Batch(*(x[part] for x in batch)), _Noised(*(x[part] for x in noised))
            denoiser = self._denoiser(crops, noise, _PerCrop(tuple(processes[part])))
            weight = (1 - crops.outside) * self._present[crops.scale]
            return denoiser.loss(crops.bands, noise.time, noise.eps, weight=weight)

        if self._in_shares is None:
            return losses_of(slice(None)), batch.scale
        return self._in_shares(losses_of, self.count, self.network.parameters()), batch.scale

    def _noised(self, batch: Batch, scales: list[int], generator: torch.Generator) -> _Noised:
        times = [self._time(scale, torch.rand((), generator=generator).item(), generator) for scale in scales]
        chance = self._on_device(generator)
        eps = torch.randn(batch.bands.shape, generator=chance, device=self.device)
        low = batch.bands[:, : self.settings.guides]
        share = torch.rand(len(low), 1, 1, 1, generator=chance, device=self.device)
        faults = self.settings.fault * share * torch.randn(low.shape, generator=chance, device=self.device)
        return _Noised(eps, torch.tensor(times, dtype=torch.float64)[:, None, None, None], low + faults)

    def _denoiser(self, batch: Batch, noised: _Noised, process: Process) -> TrainableDenoiser:
        follows = self._following[batch.scale]

        def network(x: Tensor, log_ratio: Scalar) -> Tensor:
            return self._answer(x, torch.as_tensor(log_ratio, device=x.device).flatten(), noised.low, batch)

        if self.settings.answers == "noise":
            statistics = self.material.statistics
            low, high = (bound[batch.scale, :, None, None] for bound in (statistics.low, statistics.high))
            return FromNoise(network, process, low, high, follows)
        return Preconditioned(network, process, *self._expectation(batch.scale, noised.low, batch.outside), follows)

    def _answer(self, x: Tensor, clock: Tensor, low: Tensor, batch: Batch) -> Tensor:
        guides = guide(low, self.material.statistics, batch.scale)
        guides = guides * self._follows[batch.scale][:, : guides.shape[1]]
        x = torch.cat([x * self._present[batch.scale], guides], 1).to(memory_format=self._layout)
        # Each weight is used once, and what is kept of it would be another thread's too.
        narrow = self._dtype != torch.float32
        with torch.autocast(self.device.type, self._dtype, enabled=narrow, cache_enabled=False):
            answer: Tensor = self.network(x, batch.outside, clock, batch.scale)
        return answer.float()

    def _time(self, scale: int, uniform: float, generator: torch.Generator) -> float:
        """A time of the scale's process: any step, or a ratio that is normal or uniform in its logarithm."""
        settings = self.settings
        if settings.answers == "noise":
            return math.ceil(max(uniform, 1e-9) * settings.schedule(scale).times[0] * STEPS) / STEPS
        low, high = math.log(settings.low), math.log(settings.high if scale == 0 else settings.start)
        exponent = low + uniform * (high - low)
        if scale == 0:
            normal = torch.randn((), generator=generator).item()
            exponent = min(max(settings.noise_mean + settings.noise_spread * normal, low), high)
        ratio = math.exp(exponent)
        return ratio / (1 + ratio)

    def _on_device(self, generator: torch.Generator) -> torch.Generator:
        """A generator of the device that goes on from the numbers of this one."""
        if self.device.type == "cpu":
            return generator
        seed = int(torch.randint(2**62, (), generator=generator))
        return torch.Generator(self.device).manual_seed(seed)

    def _by_scale(self, losses: Tensor, scales: Tensor) -> dict[str, Tensor]:
        groups = {f"scale {index + 1}": losses[scales == index] for index in range(self.material.scales)}
        return {name: group.mean() for name, group in groups.items() if len(group)}
