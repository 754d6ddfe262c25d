"""A small network beside a frozen model, which changes what that model estimates, and sees little at a time.

    D(x_t) = D_source(x_t) + out G(into z, (D_source(x_t) - mean) / deviation, log sigma),      z = x_t - signal mean

What sees a few pixels only cannot remember a composition, so the variety of the source stays (Kamb and Ganguli, 2025).
The last layer of G begins as 0, so D begins as the source. The scalings are those of `diffusion.denoise`; the loss is
|(D - x_0) / out|^2, and needs the source's estimates alone, never its gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from sinwave.diffusion.denoise import log_ratio, scalings
from sinwave.diffusion.process import Scalar
from sinwave.diffusion.sample import Denoiser
from sinwave.nn.local import LocalNetwork
from sinwave.systems.pairwise.adapt_options import AdapterConfiguration
from sinwave.systems.pairwise.source import Source

__all__ = ["Adapted", "Adapter"]

_MOST = 5.0
"""Deviations to which the source's estimate is clipped as an input: without a signal it is anything."""


@final
@dataclass(frozen=True, eq=False)
class Adapter:
    """G with its scalings."""

    configuration: AdapterConfiguration
    network: LocalNetwork

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        like = next(self.network.parameters())
        means, deviations = self.configuration.means, self.configuration.deviations
        mean, deviation = (like.new_tensor(values)[:, None, None] for values in (means, deviations))
        return mean, deviation

    def answer(self, source: Source, x_t: Tensor, t: Scalar, estimate: Tensor) -> tuple[Tensor, Tensor]:
        """G (b, c, h, w), and its factor `out`."""
        (signal, _, noise), (mean, deviation) = source.process.at(t), self._moments
        scale = scalings(signal, noise, deviation)
        guide = ((estimate - mean) / deviation).clamp(-_MOST, _MOST)
        seen = torch.cat([scale.into * (x_t - signal * mean), guide], 1)
        ratio = torch.as_tensor(log_ratio(source.process, t, like=x_t), dtype=x_t.dtype, device=x_t.device)
        clock = ratio.reshape(-1).expand(len(x_t))
        answer: Tensor = self.network(seen, torch.zeros_like(x_t[:, :1]), clock, torch.zeros_like(clock))
        return answer, scale.out

    def loss(self, source: Source, x_t: Tensor, t: Tensor, estimate: Tensor, clean: Tensor) -> Tensor:
        """The losses (b,) at times (b, 1, 1, 1)."""
        answer, out = self.answer(source, x_t, t, estimate)
        return (answer - (clean - estimate) / out).square().mean((1, 2, 3))


@final
@dataclass(frozen=True, eq=False)
class Adapted(Denoiser):
    """The source's estimate with an adapter's change."""

    source: Source
    adapter: Adapter

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        estimate = self.source.estimate(x_t, t)
        answer, out = self.adapter.answer(self.source, x_t, t, estimate)
        return torch.addcmul(estimate, out, answer)
