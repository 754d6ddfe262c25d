"""Generators and critics: the same five convolutions without padding, so that an output sees 11 x 11 pixels.

    conv 3x3, batch norm, leaky ReLU 0.2     four times;     conv 3x3

A batch is one picture, so in training the norm is by the statistics of that picture. When a scale is finished its
generator is given the mean statistics of some pictures, and from then on is a local function of what it sees. At the
coarsest scales it may go on with those of each picture: then there is about as much of everything in all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, pairwise, product
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sinwave.resize import Resampler
from sinwave.systems.singan.configuration import Configuration
from sinwave.systems.singan.norm import Norm
from sinwave.wavelets import Size

__all__ = ["Generators", "critics"]


def _network(channels: int, outputs: int, layers: int, *, own: bool = False) -> nn.Sequential:
    """Weights from N(0, 0.02), gains from N(1, 0.02)."""
    widths = [3, *(channels for _ in range(layers - 1))]
    blocks = [(nn.Conv2d(a, b, 3), Norm(b, own=own), nn.LeakyReLU(0.2, inplace=True)) for a, b in pairwise(widths)]
    network = nn.Sequential(*chain.from_iterable(blocks), nn.Conv2d(channels, outputs, 3))
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
    return network


def critics(configuration: Configuration, scales: int) -> nn.ModuleList:
    """One for each scale: picture (b, 3, h, w) -> what each patch is worth, (b, 1, h - 10, w - 10)."""
    return nn.ModuleList(_network(configuration.channels(n), 1, configuration.layers) for n in range(scales))


@final
class Generators(nn.Module):
    """The generators of all scales, with what is fixed once a scale begins.

    psi         networks, picture with noise and margin (b, 3, h + 10, w + 10) -> what is added to it, (b, 3, h, w)
    amplitude   (scales,), of the noise
    anchor      (1, 1, h_0, w_0), the z* of the coarsest scale, from which the picture itself is reconstructed
    progress    (2,), how many scales are trained, and how many steps the next one has had
    """

    amplitude: Tensor
    anchor: Tensor
    progress: Tensor

    def __init__(self, configuration: Configuration, sizes: tuple[Size, ...]) -> None:
        super().__init__()
        self.configuration, self.sizes = configuration, sizes
        self.psi = nn.ModuleList(
            _network(configuration.channels(n), 3, configuration.layers, own=n < configuration.own)
            for n in range(len(sizes))
        )
        self.register_buffer("amplitude", torch.ones(len(sizes)))
        self.register_buffer("anchor", torch.randn(1, 1, *sizes[0]))
        self.register_buffer("progress", torch.zeros(2, dtype=torch.long))
        self._enlargers: dict[tuple[int, torch.device, torch.dtype], Resampler] = {}

    @property
    def trained(self) -> int:
        """How many scales are."""
        return int(self.progress[0])

    def forward(self, index: int, coarser: Tensor, noise: Tensor | None, *, tile: int | None = None) -> Tensor:
        """The picture of a scale (b, 3, h, w) from the enlarged one of the coarser scale and noise (b, 1 or 3, h, w).

        At the coarsest scale there is no coarser picture: it is 0. With `tile` the memory does not grow with the size,
        except at the scales with statistics of their own, which see all of the picture at once.
        """
        seen = coarser if noise is None else coarser + self.amplitude[index] * noise
        radius, tile = self.configuration.radius, None if index < self.configuration.own else tile
        return coarser + _by_tiles(self.psi[index], functional.pad(seen, (radius,) * 4), radius, tile).tanh()

    def settle(self, index: int, shown: Iterable[tuple[Tensor, Tensor, float]]) -> None:
        """Keep the statistics of a scale's generator for what it is shown: coarser picture, noise, and its share."""
        psi, radius = self.psi[index].train(), self.configuration.radius
        norms = [layer for layer in psi.children() if isinstance(layer, Norm)]
        for norm in norms:
            norm.forget()
        for coarser, noise, share in shown:
            x = functional.pad(coarser + self.amplitude[index] * noise, (radius,) * 4)
            for layer in psi.children():
                if isinstance(layer, Norm):
                    layer.keep(x, share)
                x = layer(x)
        psi.eval()

    def reconstruct(self, stop: int, start: int = 0, picture: Tensor | None = None) -> Tensor:
        """The enlarged picture that scale `stop` begins with, (1, 3, h, w), if it is to be the known one.

        It is what the scales before make of the anchor; or those from `start` on, of what `start` begins with.
        """
        coarser = self.nothing() if picture is None else picture
        for index in range(start, stop):
            found = self(index, coarser, self.anchor if index == 0 else None)
            coarser = self.enlarged(found, index + 1)
        return coarser

    def enlarged(self, picture: Tensor, index: int) -> Tensor:
        """The picture that scale `index` begins with, from that of the scale before."""
        if index == len(self.sizes):
            return picture
        key = index, picture.device, picture.dtype
        if key not in self._enlargers:
            self._enlargers[key] = Resampler(self.sizes[index - 1], self.sizes[index], like=picture)
        return self._enlargers[key](picture)

    def nothing(self) -> Tensor:
        """A picture of zeros, which the coarsest scale begins with."""
        return self.anchor.new_zeros(1, 3, *self.sizes[0])


def _by_tiles(network: nn.Module, padded: Tensor, radius: int, tile: int | None) -> Tensor:
    """What a network makes of all of it; of tiles that overlap by what an output sees it is the same."""
    height, width = (side - 2 * radius for side in padded.shape[2:])
    whole: Tensor
    if tile is None or max(height, width) <= tile:
        whole = network(padded)
        return whole
    whole = padded.new_empty(len(padded), 3, height, width)
    for top, left in product(range(0, height, tile), range(0, width, tile)):
        some = padded[:, :, top : top + tile + 2 * radius, left : left + tile + 2 * radius]
        whole[:, :, top : top + tile, left : left + tile] = network(some)
    return whole
