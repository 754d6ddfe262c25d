"""How the network of a wavelet model is trained: noise on crops of all scales, one loss.

With e the signal of each channel (a for the low band, which the anchor repeats, and a (1 - gamma) for the details) and
c the noise, both at a time that is drawn for each crop,

    z        = e x_0 + c eps                      the forward mix, since the anchor is x_0 without its details
    clean    | F(into (z - e mean)) - (x_0 - mean - skip (z - e mean)) / out |^2      mean: what is expected there
    noise    | F(z) - eps |

averaged over what is inside of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor, nn

from sinwave.diffusion.denoise import scalings
from sinwave.nn.local import LocalNetwork
from sinwave.rng import fold
from sinwave.systems.wavelet.configuration import STEPS, Configuration
from sinwave.systems.wavelet.expectation import Expectation
from sinwave.systems.wavelet.material import Batch, Material, crops_for, guide
from sinwave.training.recipe import Group, Recipe, Update
from sinwave.training.shares import Shares

__all__ = ["Numerics", "Practice", "WaveletRecipe"]

_LOOKS = 8
"""Batches of the held-out loss."""


@dataclass(frozen=True, kw_only=True)
class Practice:
    """What matters while training and is forgotten afterwards.

    muon              whether Muon moves the hidden weights; if not, AdamW moves them as it does all others
    positions         of all crops of a step together
    crop              positions along a side of a crop
    coarse_share      of the crops, are of the coarsest scale; the others share the rest
    noise_mean, noise_spread      of the normal distribution of log ratio at the coarsest scale
    """

    rate: float = 1e-2
    muon: bool = True
    positions: int = 12288
    crop: int = 48
    coarse_share: float = 0.5
    noise_mean: float = 0.0
    noise_spread: float = 1.6
    weight_decay: float = 0.0
    average: float = 0.999


@dataclass(frozen=True)
class Numerics:
    """How convolutions are computed; weights, losses and steps are float32 all the same."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False

    def __str__(self) -> str:
        return f"{self.dtype}, channels {'last' if self.channels_last else 'first'}"


class _Noised(NamedTuple):
    """z, its noise, the coefficients that led there, (b, c, 1, 1) and (b, 1, 1, 1), and the coarser scale's result."""

    z: Tensor
    eps: Tensor
    signal: Tensor
    noise: Tensor
    log_ratio: Tensor
    low: Tensor


@final
class WaveletRecipe(Recipe):
    """The training of one network on some pictures."""

    def __init__(
        self,
        configuration: Configuration,
        practice: Practice,
        material: Material,
        network: LocalNetwork,
        numerics: Numerics = Numerics(),
    ) -> None:
        self.configuration, self.practice, self.material = configuration, practice, material
        self.device = material.statistics.mean.device
        self._dtype = getattr(torch, numerics.dtype)
        self._layout = torch.channels_last if numerics.channels_last else torch.contiguous_format
        self.network: LocalNetwork = network.to(memory_format=self._layout)  # type: ignore[call-overload]
        self.count = crops_for(practice.positions, material.crop)
        channels = torch.arange(max(material.channels), device=self.device)[:, None, None]
        sizes = [
            torch.tensor([of(index) for index in range(material.scales)], device=self.device).view(-1, 1, 1, 1)
            for of in (configuration.known, configuration.channels)
        ]
        self._follows, self._present = (channels < each for each in sizes)
        self._chances = self._scale_chances()
        # A graphics processor has its own ways of doing many things at once.
        self._in_shares = Shares() if self.device.type == "cpu" else None
        self._expectation = Expectation.of(material.statistics, configuration)

    @property
    def module(self) -> nn.Module:
        """The network."""
        return self.network

    @property
    def companions(self) -> Mapping[str, nn.Module]:
        """None."""
        return {}

    def groups(self) -> Mapping[str, Group]:
        """All weights."""
        rate, decay = self.practice.rate, self.practice.weight_decay
        matrices = self.network.hidden if self.practice.muon else ()
        return {"network": Group(tuple(self.network.parameters()), rate, matrices, weight_decay=decay)}

    def updates(self, seed: int) -> Iterator[Update]:
        """One."""
        losses, scales = self._losses(seed)
        yield Update("network", losses.mean(), self._by_scale(losses.detach(), scales))

    @torch.no_grad()
    def held_out(self) -> Mapping[str, float]:
        """The loss for crops and noise that are always the same."""
        found = [self._losses(fold(0, "held out", index)) for index in range(_LOOKS)]
        losses, scales = torch.cat([each for each, _ in found]), torch.cat([each for _, each in found])
        return {"loss": losses.mean().item()} | {k: v.item() for k, v in self._by_scale(losses, scales).items()}

    def _losses(self, seed: int) -> tuple[Tensor, Tensor]:
        """The loss of each crop (b,), and its scale."""
        generator = torch.Generator().manual_seed(seed)
        scales = torch.multinomial(self._chances, self.count, replacement=True, generator=generator).tolist()
        batch = self.material.draw(scales, generator)
        noised = self._noised(batch, scales, generator)

        def some(part: slice) -> Tensor:
            return self._errors(Batch(*(each[part] for each in batch)), _Noised(*(each[part] for each in noised)))

        losses = (
            some(slice(None))
            if self._in_shares is None
            else self._in_shares(some, self.count, self.network.parameters())
        )
        return losses, batch.scale

    def _errors(self, batch: Batch, noised: _Noised) -> Tensor:
        """The mean over what is inside of the picture, (b,)."""
        weight = (1 - batch.outside) * self._present[batch.scale]
        answer, target = self._answer_and_target(batch, noised)
        error = (answer - target).square() if self.configuration.answers == "clean" else (answer - target).abs()
        return (error * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp(min=1)

    def _noised(self, batch: Batch, scales: list[int], generator: torch.Generator) -> _Noised:
        times = [self._time(scale, torch.rand((), generator=generator).item(), generator) for scale in scales]
        found = [self.configuration.process(scale).at(t) for scale, t in zip(scales, times, strict=True)]
        rows = [[float(a.signal), float(a.signal + a.anchor), float(a.noise)] for a in found]
        fading, whole, noise = torch.tensor(rows, device=self.device).T.reshape(3, -1, 1, 1, 1)
        signal = torch.where(self._follows[batch.scale], whole, fading)
        chance = self._on_device(generator)
        eps = torch.randn(batch.bands.shape, generator=chance, device=self.device)
        low = self._low(batch, chance)
        return _Noised(signal * batch.bands + noise * eps, eps, signal, noise, (noise / whole).log().flatten(), low)

    def _low(self, batch: Batch, chance: torch.Generator) -> Tensor:
        """What a coarser scale would have given: the low band with some noise, and no more of it than there is."""
        low = batch.bands[:, : self.configuration.guides]
        share = torch.rand(len(low), 1, 1, 1, generator=chance, device=self.device)
        noise = torch.randn(low.shape, generator=chance, device=self.device)
        return low + self.configuration.fault * share * noise

    def _answer_and_target(self, batch: Batch, noised: _Noised) -> tuple[Tensor, Tensor]:
        if self.configuration.answers == "noise":
            return self._network(noised.z, noised, batch), noised.eps
        mean, deviation = self._expectation(batch.scale, noised.low, batch.outside)
        scale = scalings(noised.signal, noised.noise, deviation)
        z = noised.z - noised.signal * mean
        return self._network(scale.into * z, noised, batch), (batch.bands - mean - scale.skip * z) / scale.out

    def _network(self, x: Tensor, noised: _Noised, batch: Batch) -> Tensor:
        seen = guide(noised.low, self.material.statistics, batch.scale)
        seen = seen * self._follows[batch.scale][:, : seen.shape[1]]
        x = torch.cat([x * self._present[batch.scale], seen], 1).to(memory_format=self._layout)
        # Each weight is used once, and what is kept of it would be another thread's too.
        narrow = self._dtype != torch.float32
        with torch.autocast(self.device.type, self._dtype, enabled=narrow, cache_enabled=False):
            answer: Tensor = self.network(x, batch.outside, noised.log_ratio, batch.scale)
        return answer.float()

    def _time(self, scale: int, uniform: float, generator: torch.Generator) -> float:
        """A time of the scale's process: any step, or a ratio that is normal or uniform in its logarithm."""
        configuration, practice = self.configuration, self.practice
        if configuration.answers == "noise":
            return math.ceil(max(uniform, 1e-9) * configuration.schedule(scale).times[0] * STEPS) / STEPS
        low, high = math.log(configuration.low), math.log(configuration.high if scale == 0 else configuration.start)
        exponent = low + uniform * (high - low)
        if scale == 0:
            normal = torch.randn((), generator=generator).item()
            exponent = min(max(practice.noise_mean + practice.noise_spread * normal, low), high)
        ratio = math.exp(exponent)
        return ratio / (1 + ratio)

    def _scale_chances(self) -> Tensor:
        count = self.material.scales
        if count == 1:
            return torch.ones(1)
        rest = (1 - self.practice.coarse_share) / (count - 1)
        return torch.tensor([self.practice.coarse_share] + [rest] * (count - 1))

    def _on_device(self, generator: torch.Generator) -> torch.Generator:
        """A generator of the device that goes on from the numbers of this one."""
        if self.device.type == "cpu":
            return generator
        seed = int(torch.randint(2**62, (), generator=generator))
        return torch.Generator(self.device).manual_seed(seed)

    def _by_scale(self, losses: Tensor, scales: Tensor) -> dict[str, Tensor]:
        found = {}
        for index in range(self.material.scales):
            some = losses[scales == index]
            if len(some):
                found[f"scale {index + 1}"] = some.mean()
        return found
