"""The blocks of diffusion U-Nets, under the names of the files of ADM and of what descends from it.

    residual    skip(r x) + conv(silu(norm(h) (1 + scale) + shift)),     h = conv(r silu(norm x))
    attention   x + project(softmax(q^T k / sqrt d) v),                  q, k, v from norm x, by heads of d channels

(scale, shift) are linear in silu of the embedding of time, and r halves the size by means of 2 x 2, doubles it by
repetition, or leaves it. The rows of q, k and v come head by head in the older files, all q first in the newer ones:
the wrong order fits every shape and answers noise. (Dhariwal and Nichol, "Diffusion models beat GANs on image
synthesis", NeurIPS 2021.)
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, final

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Attention", "Doubling", "Halving", "Order", "Residual", "Resize", "convolution", "through", "waves"]

Order: TypeAlias = Literal["by-head", "by-kind"]
"""Rows of q, k and v: [q_h, k_h, v_h] head by head, or all q, all k, all v."""

Resize: TypeAlias = Literal["none", "halve", "double"]

GROUPS = 32


@final
class Residual(nn.Module):
    """(b, before, h, w) and an embedding (b, e) -> (b, after, h', w')."""

    def __init__(
        self,
        before: int,
        after: int,
        embedding: int,
        *,
        groups: int = GROUPS,
        resize: Resize = "none",
        scales: bool = True,
        dropout: float = 0.0,
    ) -> None:
        """Without `scales` the embedding is only added, before the second norm."""
        super().__init__()
        self.resize, self.scales = resize, scales
        self.in_layers = nn.Sequential(nn.GroupNorm(groups, before), nn.SiLU(), convolution(before, after))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * after if scales else after))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(groups, after), nn.SiLU(), nn.Dropout(dropout), convolution(after, after)
        )
        self.skip_connection = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.in_layers[2](_resized(self.in_layers[:2](x), self.resize))
        moved = self.emb_layers(embedding)[:, :, None, None]
        if self.scales:
            scale, shift = moved.chunk(2, 1)
            h = self.out_layers[1:](self.out_layers[0](h) * (1 + scale) + shift)
        else:
            h = self.out_layers(h + moved)
        result: Tensor = self.skip_connection(_resized(x, self.resize)) + h
        return result


@final
class Attention(nn.Module):
    """Every place looks at all others: (b, c, h, w) -> (b, c, h, w)."""

    def __init__(self, channels: int, heads: int, order: Order = "by-head", groups: int = GROUPS) -> None:
        super().__init__()
        self.heads, self.order = heads, order
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        rows = self.qkv(self.norm(x.reshape(b, c, h * w)))
        q, k, v = split(rows.transpose(1, 2), self.heads, self.order)
        seen = functional.scaled_dot_product_attention(q, k, v)
        result: Tensor = x + self.proj_out(seen.transpose(2, 3).reshape(b, c, h * w)).reshape(x.shape)
        return result


def split(rows: Tensor, heads: int, order: Order) -> tuple[Tensor, ...]:
    """Split (b, n, 3 c) into q, k and v, (b, heads, n, c / heads)."""
    b, n, channels = rows.shape
    width = channels // 3 // heads
    if order == "by-head":
        return rows.reshape(b, n, heads, 3, width).permute(3, 0, 2, 1, 4).unbind(0)
    return rows.reshape(b, n, 3, heads, width).permute(2, 0, 3, 1, 4).unbind(0)


@final
class Halving(nn.Module):
    """A convolution of stride 2."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(before, after, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.op(x)
        return result


@final
class Doubling(nn.Module):
    """Repetition, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(_resized(x, "double"))
        return result


def convolution(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1)


def through(block: nn.Module, x: Tensor, embedding: Tensor) -> Tensor:
    """Apply the layers of a block one after another; only residual ones look at the embedding."""
    for layer in block.children():
        x = layer(x, embedding) if isinstance(layer, Residual) else layer(x)
    return x


def waves(index: Tensor, width: int) -> Tensor:
    """[cos(index f), sin(index f)], f_j = 10000^(-j / n), j = 0 .. n - 1: (b,) -> (b, width), in float32."""
    steps = torch.arange(width // 2, dtype=torch.float32, device=index.device)
    angles = index[:, None] * torch.exp(steps * (-2 * math.log(10000) / width))
    return torch.cat([angles.cos(), angles.sin()], 1)


def _resized(x: Tensor, resize: Resize) -> Tensor:
    if resize == "halve":
        return functional.avg_pool2d(x, 2)
    return functional.interpolate(x, scale_factor=2.0, mode="nearest") if resize == "double" else x
