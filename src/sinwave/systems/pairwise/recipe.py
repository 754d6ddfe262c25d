"""The training of a diffusion model from many pictures.

    picture   mean (F - target)^2,     log sigma ~ N(-1.2, 1.2^2) (Karras et al., 2022)
    noise     mean (eps(x_t) - eps)^2 + T / 1000 L_vlb,     i uniform (Nichol and Dhariwal, 2021)

The times of a batch are stratified: one from each part of equal probability.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from sinwave.diffusion.denoise import Preconditioned
from sinwave.nn.blocks import Attention, Residual
from sinwave.nn.unet import UNet
from sinwave.rng import NoiseSource
from sinwave.systems.pairwise.losses import variational
from sinwave.systems.pairwise.source import HIGH, Source
from sinwave.training.optimizer import AdamW, muon_and_adamw
from sinwave.training.recipe import Player, Recipe, Update
from sinwave.training.shares import Shares

__all__ = ["Draw", "SourceRecipe", "drawn", "hidden"]

_MEAN, _SPREAD = -1.2, 1.2
_LOWEST, _LEAST = 0.005, 0.02
"""The lowest noise level of a training, and that below which few pictures have nothing left to teach."""

_SHARES = 2
"""Of a batch: convolutions of fewer than eight small pictures at once cost half as much again for one."""

ACTIVATIONS = 200.0
"""Bytes that a training keeps for a channel at a position of the finest level and a residual block, measured."""

STATE = 56.0
"""Bytes for a weight: itself, gradient, an optimizer's memories, average, the last good look, and what is saved."""


class Draw(NamedTuple):
    """Random numbers of a step: times (b, 1, 1, 1) and noise (b, c, h, w)."""

    times: Tensor
    noise: Tensor


@final
class SourceRecipe(Recipe[Tensor]):
    """The training of one network."""

    def __init__(self, source: Source, looks: Sequence[Tensor], rate: float, *, muon: bool = True) -> None:
        """`looks` are the pictures of the held-out loss; without `muon` AdamW moves all weights, and gently."""
        self._source, self._looks, self._rate, self._muon = source, tuple(looks), rate, muon
        self._unet: UNet = source.unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = next(source.unet.parameters()).device
        self._moving = tuple(parameter for parameter in self._unet.parameters() if parameter.requires_grad)
        self._in_shares = Shares(_SHARES) if self._device.type == "cpu" else None

    @property
    def kept(self) -> nn.Module:
        return self._unet

    @property
    def companions(self) -> Mapping[str, nn.Module]:
        return {}

    @property
    def players(self) -> Mapping[str, Player]:
        parameters = self._moving
        optimizers = muon_and_adamw(parameters, hidden(self._unet)) if self._muon else (AdamW(parameters),)
        return {"network": Player(parameters, optimizers, lambda step: self._rate)}

    def updates(self, batch: Tensor, generator: torch.Generator) -> Iterator[Update]:
        clean = self._source.seen(batch)
        yield Update("network", self._losses(clean, drawn(self._source, clean, generator)).mean())

    def held_out(self) -> Mapping[str, float]:
        losses = []
        for number, pictures in enumerate(self._looks):
            clean = self._source.seen(pictures)
            generator = torch.Generator().manual_seed(number)
            losses.append(self._losses(clean, drawn(self._source, clean, generator)))
        return {"loss": torch.cat(losses).mean().item()}

    def _losses(self, clean: Tensor, draw: Draw) -> Tensor:
        def losses_of(part: slice) -> Tensor:
            values = (x[part].to(self._device) for x in (clean, draw.times, draw.noise))
            return _loss(self._source, *values)

        if self._in_shares is None:
            return losses_of(slice(None))
        return self._in_shares(losses_of, len(clean), self._moving)


def _loss(source: Source, clean: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """The losses (b,) of pictures at their times."""
    clean, noise = (x.contiguous(memory_format=torch.channels_last) for x in (clean, noise))
    denoiser = source.denoiser
    if isinstance(denoiser, Preconditioned):
        return denoiser.loss(clean, t, noise)
    x_t = denoiser.process.diffuse(clean, t, noise)
    answer, interpolation = denoiser.answer(x_t, t)
    losses = (answer - noise).square().mean((1, 2, 3))
    if interpolation is None:
        return losses
    steps = len(denoiser.process.alphas_cumprod) - 1
    index = (t.flatten() * steps).round().long() - 1
    return losses + steps / 1000 * variational(denoiser.process, index, x_t, clean, answer, interpolation)


def drawn(source: Source, clean: Tensor, generator: torch.Generator, *, even: bool = False) -> Draw:
    """Draw times and noise for (b, c, h, w); `even`: no noise level of a walk more often than another."""
    count = len(clean)
    shares = (torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)) / count
    noise = torch.randn(clean.shape, generator=generator)
    if source.configuration.prediction == "noise":
        steps = len(source.chain.alphas_cumprod) - 1
        times = ((shares * steps).floor() + 1).clamp(max=steps) / steps
    elif even:
        times = _LEAST * (HIGH / _LEAST) ** shares
    else:
        levels = torch.special.ndtri(shares.double().clamp(1e-6, 1 - 1e-6)).float()
        times = (_MEAN + _SPREAD * levels).exp().clamp(_LOWEST, HIGH)
    return Draw(times[:, None, None, None], noise)


def hidden(unet: UNet) -> tuple[nn.Parameter, ...]:
    """The matrices and kernels inside of the blocks, for Muon."""
    layers = list[nn.Module]()
    for module in unet.modules():
        if isinstance(module, Residual):
            layers += [module.in_layers[2], module.out_layers[3]]
        elif isinstance(module, Attention):
            layers += [module.qkv, module.proj_out]
    return tuple(layer.get_parameter("weight") for layer in layers)


def weights_from(unet: UNet, noise: NoiseSource) -> UNet:
    """Draw the weights of a network from the seed, the same on every device; blocks begin as nothing."""
    for name, parameter in unet.named_parameters():
        if parameter.ndim > 1:
            bound = (parameter[0].numel()) ** -0.5
            parameter.data.copy_(noise.normal(parameter.shape, name) * bound)
        else:
            norm = name.endswith("weight")
            parameter.data.fill_(1.0 if norm else 0.0)
    return unet.silence()
