"""ResShift's U-Net: from a noisy latent and the small picture to the clean latent, F(x, index, low) = x_0.

    x      (b, latent, h, w), already divided by sqrt(kappa^2 eta_t + 1)
    index  (b,), 0 .. T - 1: the step k of T has the index k - 1; it is not scaled to 1000
    low    (b, guide, H, W) in [-1, 1], never scaled; H = h 2^halvings, and a few convolutions halve it so often

    embedding   [cos(index f), sin(index f)],  f_j = 10000^(-j / n), j = 0 .. n - 1
    residual    x + conv(silu(norm(h) (1 + scale) + shift)),  h = conv(silu(norm x)),  (scale, shift) from the embedding

The first residual block of each level, down and up, and that of the middle are followed by a `SwinLayer`. (Yue, Wang
and Loy, "ResShift: efficient diffusion model for image super-resolution by residual shifting", NeurIPS 2023.) SinSR has
the same network (Wang et al., CVPR 2024). Parameters have the names and shapes of the published files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, final

import torch
from torch import Tensor, nn

from sinwave.errors import InputError
from sinwave.nn.blocks import Doubling, Halving, Residual, convolution, through, waves
from sinwave.systems.residual_sr.swin import GROUPS, Block, SwinLayer, relative_index, shift_mask

__all__ = ["FACE", "INPAINTING", "X2", "X4", "UNet", "UNetLayout", "derived_buffers"]

_Layers: TypeAlias = list[nn.Module]


@dataclass(frozen=True)
class UNetLayout:
    """Channels and sizes of a network.

    latent     channels of x and of x_0
    guide      channels of the small picture
    halvings   how often the small picture is halved to the size of the latent
    features   channels of the first convolution on the way
    widths     channels of the levels
    side       side of the latent in training, which decides where windows move
    swin       channels inside of the Swin layers
    """

    latent: int = 3
    guide: int = 3
    halvings: int = 0
    features: int = 16
    widths: tuple[int, ...] = (160, 320, 320, 640)
    side: int = 64
    swin: int = 192
    heads: int = 6
    window: int = 8

    @property
    def embedding(self) -> int:
        return 4 * self.widths[0]

    @property
    def inputs(self) -> int:
        """Channels of the first convolution: the latent, then the small picture or its features."""
        return self.latent + (self.features << self.halvings if self.halvings else self.guide)

    @property
    def multiple(self) -> int:
        """Both sides of a latent are multiples of this, so that the last level is whole windows."""
        return self.window << (len(self.widths) - 1)

    def build(self) -> UNet:
        return UNet(self)


X4 = UNetLayout()
X2 = UNetLayout(halvings=1)
INPAINTING = UNetLayout(guide=4, halvings=2)
FACE = UNetLayout(latent=8, halvings=3)


@final
class UNet(nn.Module):
    """F(x, index, low) -> x_0, (b, latent, h, w)."""

    def __init__(self, layout: UNetLayout = X4) -> None:
        super().__init__()
        self.layout = layout
        width = layout.widths[0]
        self.time_embed = nn.Sequential(
            nn.Linear(width, layout.embedding), nn.SiLU(), nn.Linear(layout.embedding, layout.embedding)
        )
        self.feature_extractor = nn.Sequential(*_features(layout))
        down, skips = _down(layout)
        self.input_blocks = nn.ModuleList(map(nn.ModuleList, down))
        self.middle_block = nn.ModuleList(_middle(layout))
        self.output_blocks = nn.ModuleList(map(nn.ModuleList, _up(layout, skips)))
        self.out = nn.Sequential(nn.GroupNorm(GROUPS, width), nn.SiLU(), convolution(width, layout.latent))

    def forward(self, x: Tensor, index: Tensor, low: Tensor) -> Tensor:
        self._check(x, low)
        embedding = self.time_embed(waves(index, self.layout.widths[0]).to(x.dtype))
        h, skips = torch.cat([x, self.feature_extractor(low)], 1), []
        for block in self.input_blocks:
            h = through(block, h, embedding)
            skips.append(h)
        h = through(self.middle_block, h, embedding)
        for block in self.output_blocks:
            h = through(block, torch.cat([h, skips.pop()], 1), embedding)
        result: Tensor = self.out(h)
        return result

    def _check(self, x: Tensor, low: Tensor) -> None:
        height, width = x.shape[2:]
        if height % self.layout.multiple or width % self.layout.multiple:
            raise InputError(f"the latent is {height} x {width}: sides must be multiples of {self.layout.multiple}")
        due = (self.layout.guide, height << self.layout.halvings, width << self.layout.halvings)
        if tuple(low.shape[1:]) != due:
            raise InputError(f"the small picture is {tuple(low.shape[1:])}: with this latent it must be {due}")


def derived_buffers(network: UNet) -> dict[str, Tensor]:
    """The buffers of the published files by name: they follow from the layout, and this network has none."""
    window, buffers = network.layout.window, {}
    for name, block in network.named_modules():
        if isinstance(block, Block):
            buffers[f"{name}.attn.relative_position_index"] = relative_index(window)
        if isinstance(block, Block) and block.shift:
            buffers[f"{name}.attn_mask"] = shift_mask(block.side // window, block.side // window, window)
    return buffers


def _features(layout: UNetLayout) -> _Layers:
    """The way of the small picture to the size of the latent; nothing if it has that size."""
    layers: _Layers = []
    for stage in range(layout.halvings):
        width = layout.features << stage
        layers += [convolution(width if stage else layout.guide, width), nn.SiLU(), Halving(width, 2 * width)]
    return layers


def _down(layout: UNetLayout) -> tuple[list[_Layers], list[int]]:
    """The blocks on the way down, two a level and one between levels, and the channels of what they pass on."""
    width = layout.widths[0]
    blocks: list[_Layers] = [[convolution(layout.inputs, width)]]
    skips = [width]
    for level, after in enumerate(layout.widths):
        blocks += [
            [Residual(width, after, layout.embedding), _swin(layout, level)],
            [Residual(after, after, layout.embedding)],
        ]
        skips += [after, after]
        if level < len(layout.widths) - 1:
            blocks.append([Halving(after, after)])
            skips.append(after)
        width = after
    return blocks, skips


def _middle(layout: UNetLayout) -> _Layers:
    width, level = layout.widths[-1], len(layout.widths) - 1
    return [
        Residual(width, width, layout.embedding),
        _swin(layout, level),
        Residual(width, width, layout.embedding),
    ]


def _up(layout: UNetLayout, skips: list[int]) -> list[_Layers]:
    """The blocks on the way up, three a level; `skips` are the channels of what the way down passed on."""
    width, skips = layout.widths[-1], list(skips)
    blocks = []
    for level, after in reversed(list(enumerate(layout.widths))):
        for turn in range(3):
            layers: _Layers = [Residual(width + skips.pop(), after, layout.embedding)]
            layers += [_swin(layout, level)] if turn == 0 else []
            layers += [Doubling(after)] if turn == 2 and level > 0 else []
            blocks.append(layers)
            width = after
    return blocks


def _swin(layout: UNetLayout, level: int) -> SwinLayer:
    return SwinLayer(layout.widths[level], layout.swin, layout.heads, layout.window, layout.side >> level)
