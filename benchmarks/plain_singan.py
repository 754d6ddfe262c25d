"""A reference: the training loop of SinGAN as in the paper, without any optimization.

    critic step        D(real), D(fake) and the penalty, each with a backward pass of its own
    generator step     the critic's output and ten times the squared error of the reconstruction, likewise

Every step draws noise for all scales and runs all generators before the trained one; only the input of the
reconstruction is computed once. All gradients are computed, and those of the other player set to zero.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PlainSingan"]


def network(width: int, outputs: int) -> nn.Sequential:
    """Five convolutions of 3 x 3, four of them with batch norm and leaky ReLU."""
    layers: list[nn.Module] = []
    for inputs in (3, width, width, width):
        layers += [nn.Conv2d(inputs, width, 3), nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]
    module = nn.Sequential(*layers, nn.Conv2d(width, outputs, 3))
    for layer in module:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, 0, 0.02)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1, 0.02)
    return module


@final
class PlainSingan:
    """Scales (1, 3, h, w), coarsest first, and the index of the trained one; coarser ones keep random weights."""

    def __init__(self, scales: list[Tensor], widths: list[int], index: int) -> None:
        self.scales, self.index = scales, index
        self.generators = [network(width, 3) for width in widths[: index + 1]]
        self.critic = network(widths[index], 1)
        for generator in self.generators[:-1]:
            generator.eval().requires_grad_(False)
        self.anchor = torch.randn(1, 1, *scales[0].shape[2:])
        self.amplitudes = [1.0] + [0.1] * index
        self.begun = torch.zeros_like(scales[0])
        with torch.no_grad():
            for n, generator in enumerate(self.generators[:-1]):
                noise = self.anchor if n == 0 else torch.zeros_like(scales[n])
                self.begun = self._next(generator, self.begun, noise, n)
        settings = {"lr": 5e-4, "betas": (0.5, 0.999)}
        self.of_generator = torch.optim.Adam(self.generators[-1].parameters(), **settings)  # type: ignore[arg-type]
        self.of_critic = torch.optim.Adam(self.critic.parameters(), **settings)  # type: ignore[arg-type]

    def iteration(self) -> None:
        """Take three steps of the critic and three of the generator."""
        real = self.scales[self.index]
        for _ in range(3):
            self.critic.zero_grad()
            (-self.critic(real).mean()).backward()
            fake = self._drawn().detach()
            self.critic(fake).mean().backward()
            (0.1 * self._penalty(real, fake)).backward()
            self.of_critic.step()
        for _ in range(3):
            self.generators[-1].zero_grad()
            (-self.critic(self._drawn()).mean()).backward()
            (10 * functional.mse_loss(self._reconstructed(), real)).backward()
            self.of_generator.step()

    def _penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        share = torch.rand(1, 1)
        mixed = (share * real + (1 - share) * fake).requires_grad_()
        opinion = self.critic(mixed)
        (slope,) = torch.autograd.grad(opinion, mixed, torch.ones_like(opinion), create_graph=True, retain_graph=True)
        return ((slope.norm(2, dim=1) - 1) ** 2).mean()

    def _drawn(self) -> Tensor:
        picture = torch.zeros_like(self.scales[0])
        for index, generator in enumerate(self.generators):
            shape = self.scales[index].shape
            noise = torch.randn(1, 1, *shape[2:]).expand(shape) if index == 0 else torch.randn(shape)
            picture = self._next(generator, picture, self.amplitudes[index] * noise, index)
        return picture

    def _reconstructed(self) -> Tensor:
        noise = self.anchor if self.index == 0 else torch.zeros_like(self.scales[self.index])
        return self._next(self.generators[-1], self.begun, noise, self.index)

    def _next(self, generator: nn.Module, picture: Tensor, noise: Tensor, index: int) -> Tensor:
        size = self.scales[index].shape[2:]
        if picture.shape[2:] != size:
            picture = functional.interpolate(picture, tuple(size), mode="bicubic", align_corners=False)
        change: Tensor = generator(functional.pad(picture + noise, (5, 5, 5, 5)))
        return picture + change.tanh()
