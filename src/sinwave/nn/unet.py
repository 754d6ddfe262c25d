"""The U-Net of ADM, F(x, index) -> (b, outputs, h, w), under the names of its published files.

    x         (b, inputs, h, w), sides multiples of 2^(levels - 1)
    index     (b,), fractions allowed: i = 0 .. T - 1 of the published ones, so the step k of T has the index k - 1
    down      a convolution; at every level `blocks` residual blocks, and one that halves the size between levels
    middle    residual, attention, residual
    up        at every level blocks + 1 residual blocks on [h, skip], the last of which doubles the size

Residual blocks of the levels in `attention` are followed by attention. Networks with learned variance answer noise in
the first half of their channels, and in the second where the variance is between its bounds. (Dhariwal and Nichol,
"Diffusion models beat GANs on image synthesis", NeurIPS 2021; see `blocks`.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, final

import torch
from torch import Tensor, nn

from sinwave.errors import InputError
from sinwave.nn.blocks import (
    GROUPS,
    Attention,
    Doubling,
    Halving,
    Order,
    Residual,
    Resize,
    convolution,
    through,
    waves,
)

__all__ = ["UNet", "UNetShape"]

_Layers: TypeAlias = list[nn.Module]


@dataclass(frozen=True)
class UNetShape:
    """Size of a network.

    width        channels of the finest level
    multipliers  channels of every level, as multiples of `width`
    blocks       residual blocks of a level, on the way down
    attention    the levels with attention, from 0, the finest
    head         channels of a head, or all
    outputs      6 with learned variance, else 3
    order        of q, k and v
    groups       of every norm
    scales       whether the embedding scales as well as shifts
    resampling   whether residual blocks change the size, or single convolutions
    dropout      in training
    """

    width: int = 128
    multipliers: tuple[float, ...] = (1, 1, 2, 2, 4, 4)
    blocks: int = 1
    attention: tuple[int, ...] = (4,)
    head: int | None = 64
    inputs: int = 3
    outputs: int = 6
    order: Order = "by-head"
    groups: int = GROUPS
    scales: bool = True
    resampling: bool = True
    dropout: float = 0.0

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of every level."""
        return tuple(round(self.width * multiplier) for multiplier in self.multipliers)

    @property
    def embedding(self) -> int:
        return 4 * self.width

    @property
    def multiple(self) -> int:
        """Both sides of a picture are multiples of this."""
        return 1 << (len(self.multipliers) - 1)

    def heads(self, channels: int) -> int:
        return 1 if self.head is None else channels // self.head

    def build(self) -> UNet:
        return UNet(self)


@final
class UNet(nn.Module):
    """F(x, index)."""

    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        self.shape = shape
        first = shape.widths[0]
        self.time_embed = nn.Sequential(
            nn.Linear(shape.width, shape.embedding), nn.SiLU(), nn.Linear(shape.embedding, shape.embedding)
        )
        down, skips = _down(shape)
        self.input_blocks = nn.ModuleList(map(nn.ModuleList, down))
        self.middle_block = nn.ModuleList(_middle(shape))
        self.output_blocks = nn.ModuleList(map(nn.ModuleList, _up(shape, skips)))
        self.out = nn.Sequential(nn.GroupNorm(shape.groups, first), nn.SiLU(), convolution(first, shape.outputs))

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        self._check(x)
        embedding = self.time_embed(waves(index, self.shape.width).to(x.dtype))
        h, skips = x, []
        for block in self.input_blocks:
            h = through(block, h, embedding)
            skips.append(h)
        h = through(self.middle_block, h, embedding)
        for block in self.output_blocks:
            h = through(block, torch.cat([h, skips.pop()], 1), embedding)
        result: Tensor = self.out(h)
        return result

    @torch.no_grad()
    def silence(self) -> UNet:
        """Let it answer 0, and every block change nothing, so that a training begins there."""
        last = [module.out_layers[3] for module in self.modules() if isinstance(module, Residual)]
        last += [module.proj_out for module in self.modules() if isinstance(module, Attention)]
        for layer in [*last, self.out[2]]:
            for parameter in layer.parameters():
                parameter.zero_()
        return self

    def _check(self, x: Tensor) -> None:
        channels, *sides = x.shape[1:]
        if channels != self.shape.inputs or any(side % self.shape.multiple for side in sides):
            due = f"{self.shape.inputs} channels, and sides that are multiples of {self.shape.multiple}"
            raise InputError(f"the picture is {tuple(x.shape[1:])}: it must have {due}")


def _down(shape: UNetShape) -> tuple[list[_Layers], list[int]]:
    """The blocks on the way down, and the channels of what they pass on."""
    width = shape.widths[0]
    blocks: list[_Layers] = [[convolution(shape.inputs, width)]]
    skips = [width]
    for level, after in enumerate(shape.widths):
        for _ in range(shape.blocks):
            blocks.append([_residual(shape, width, after), *_attention(shape, level)])
            skips.append(after)
            width = after
        if level < len(shape.widths) - 1:
            blocks.append([_residual(shape, width, width, "halve") if shape.resampling else Halving(width, width)])
            skips.append(width)
    return blocks, skips


def _middle(shape: UNetShape) -> _Layers:
    width = shape.widths[-1]
    attention = Attention(width, shape.heads(width), shape.order, shape.groups)
    return [_residual(shape, width, width), attention, _residual(shape, width, width)]


def _up(shape: UNetShape, skips: list[int]) -> list[_Layers]:
    """The blocks on the way up; `skips` are the channels of what the way down passed on."""
    width, skips, blocks = shape.widths[-1], list(skips), []
    for level, after in reversed(list(enumerate(shape.widths))):
        for turn in range(shape.blocks + 1):
            layers = [_residual(shape, width + skips.pop(), after), *_attention(shape, level)]
            width = after
            if turn == shape.blocks and level > 0:
                layers.append(_residual(shape, width, width, "double") if shape.resampling else Doubling(width))
            blocks.append(layers)
    return blocks


def _residual(shape: UNetShape, before: int, after: int, resize: Resize = "none") -> Residual:
    return Residual(
        before,
        after,
        shape.embedding,
        groups=shape.groups,
        resize=resize,
        scales=shape.scales,
        dropout=shape.dropout,
    )


def _attention(shape: UNetShape, level: int) -> _Layers:
    width = shape.widths[level]
    return [Attention(width, shape.heads(width), shape.order, shape.groups)] if level in shape.attention else []
