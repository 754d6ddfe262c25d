"""Changes of low rank to the convolutions of a network that itself stays as it is (LoRA).

    W x  ->  W x + B (A x),      A: c -> r with the kernel of W,      B: r -> c' at single positions,      B begins as 0

A network whose changes are merged has the kernels W + B A and costs what it did before. (Hu et al., "LoRA: Low-rank
adaptation of large language models", ICLR 2022.)
"""

from __future__ import annotations

import copy
from typing import TypeAlias, TypeVar, final

import torch
from torch import Tensor, nn

from sinwave.rng import NoiseSource

__all__ = ["LowRank", "changed", "drawn_from", "merged", "of_low_rank"]

Network = TypeVar("Network", bound=nn.Module)
Convolution: TypeAlias = "nn.Conv1d | nn.Conv2d"


@final
class LowRank(nn.Module):
    """A convolution with its change."""

    def __init__(self, layer: Convolution, rank: int) -> None:
        super().__init__()
        kind = type(layer)
        self.layer = layer
        self.down = kind(
            layer.in_channels,
            rank,
            layer.kernel_size,  # type: ignore[arg-type]
            stride=layer.stride,  # type: ignore[arg-type]
            padding=layer.padding,  # type: ignore[arg-type]
            bias=False,
        )
        self.up = kind(rank, layer.out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x) + self.up(self.down(x))
        return result

    @torch.no_grad()
    def merge(self) -> Convolution:
        """Add the change to the kernel."""
        change = torch.einsum("or,ri...->oi...", self.up.weight.flatten(1), self.down.weight)
        self.layer.weight += change
        return self.layer


def of_low_rank(network: Network, rank: int) -> Network:
    """Copy a network, frozen, with changes for all convolutions that a rank of so many makes smaller."""
    network = copy.deepcopy(network).requires_grad_(False)
    for parent, name, layer in _inside(network, (nn.Conv1d, nn.Conv2d)):
        assert isinstance(layer, nn.Conv1d | nn.Conv2d)
        if rank < min(layer.in_channels, layer.out_channels):
            setattr(parent, name, LowRank(layer, rank).to(layer.weight.device))
    return network


@torch.no_grad()
def drawn_from(network: Network, noise: NoiseSource) -> Network:
    """Draw A from the seed, and let B be 0, in place."""
    for name, change in changed(network).items():
        down, up = change.down.weight, change.up.weight
        down.copy_(noise.normal(down.shape, name) * down[0].numel() ** -0.5)
        up.zero_()
    return network


def changed(network: nn.Module) -> dict[str, LowRank]:
    """The changes in a network, by the names of their convolutions."""
    return {name: part for name, part in network.named_modules() if isinstance(part, LowRank)}


def merged(network: Network) -> Network:
    """Copy a network, with its changes in the kernels."""
    network = copy.deepcopy(network)
    for parent, name, layer in _inside(network, (LowRank,)):
        assert isinstance(layer, LowRank)
        setattr(parent, name, layer.merge())
    return network


def _inside(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> list[tuple[nn.Module, str, nn.Module]]:
    """Parts of these kinds, with their parents and the names there."""
    return [
        (parent, name, part)
        for parent in network.modules()
        for name, part in parent.named_children()
        if isinstance(part, kinds)
    ]
