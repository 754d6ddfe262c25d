"""A Swin layer: attention inside of windows, which the second of its two blocks moves by half a window.

    layer(x) = narrow(block_2(block_1(widen(x))))               no residual around it: it replaces its input
    block(x) = y + mlp(norm y),    y = x + attention(norm x)
    attention over the 64 tokens of a window = softmax(q k' / sqrt(d) + bias[place of query - place of key] + mask) v

Maps are (b, c, h, w) with sides of whole windows. After Liu et al., "Swin transformer: hierarchical vision transformer
using shifted windows", ICCV 2021, as ResShift's published weights know it (Yue et al., 2023), which differs:

    norm    of groups of channels over the whole map, so a crop of the result is not the result of the crop
    shift   none on the level that is one window in training, whatever the size of the picture
    mask    in the last row of windows only, between the left and the right half of a window; the right edge has none

Parameters have the names and shapes of the published files.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["GROUPS", "Attention", "Block", "SwinLayer", "joined", "relative_index", "shift_mask", "windows"]

GROUPS = 32
_FORBIDDEN = -100.0


def windows(x: Tensor, side: int) -> Tensor:
    """Cut a map (b, c, h, w) into windows, row by row: (b, windows, side^2, c)."""
    b, c, h, w = x.shape
    tiles = x.reshape(b, c, h // side, side, w // side, side)
    return tiles.permute(0, 2, 4, 3, 5, 1).reshape(b, -1, side**2, c)


def joined(tokens: Tensor, side: int, height: int) -> Tensor:
    """Put windows together to a map of this height, the inverse of `windows`."""
    b, count, _, c = tokens.shape
    rows = height // side
    tiles = tokens.reshape(b, rows, count // rows, side, side, c).permute(0, 5, 1, 3, 2, 4)
    return tiles.reshape(b, c, height, -1)


def relative_index(side: int, device: torch.device | None = None) -> Tensor:
    """The row of the bias table for every query and key of a window: (side^2, side^2)."""
    steps = torch.arange(side, device=device)
    places = torch.cartesian_prod(steps, steps)
    down, right = (places[:, None] - places[None] + side - 1).unbind(-1)
    return down * (2 * side - 1) + right


def shift_mask(rows: int, columns: int, side: int, device: torch.device | None = None) -> Tensor:
    """The mask of rows x columns windows: (windows, side^2, side^2), 0 or -100."""
    left = torch.arange(side, device=device).repeat(side) < side // 2
    mask = torch.zeros(rows, columns, side**2, side**2, device=device)
    mask[-1] = torch.where(left[:, None] == left, 0.0, _FORBIDDEN)
    return mask.flatten(0, 1)


@final
class SwinLayer(nn.Module):
    """Maps (b, c, h, w) -> (b, c, h, w); `side` is that of the maps of its level in training."""

    def __init__(self, channels: int, width: int, heads: int, window: int, side: int) -> None:
        super().__init__()
        self.patch_embed = _Projection(channels, width)
        shift = window // 2 if side > window else 0
        self.blocks = nn.Sequential(Block(width, heads, window, 0, side), Block(width, heads, window, shift, side))
        self.patch_unembed = _Projection(width, channels)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.patch_unembed(self.blocks(self.patch_embed(x)))
        return result


@final
class Block(nn.Module):
    """Attention in windows that are moved by `shift`, and two layers for every place: (b, c, h, w), the same."""

    def __init__(self, width: int, heads: int, window: int, shift: int, side: int) -> None:
        super().__init__()
        self.window, self.shift, self.side = window, shift, side
        self.norm1 = nn.GroupNorm(GROUPS, width)
        self.attn = Attention(width, heads, window)
        self.norm2 = nn.GroupNorm(GROUPS, width)
        self.mlp = _Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attention(self.norm1(x))
        result: Tensor = x + self.mlp(self.norm2(x))
        return result

    def _attention(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if not self.shift:
            return joined(self.attn(windows(x, self.window)), self.window, height)
        mask = shift_mask(height // self.window, width // self.window, self.window, x.device)
        moved = x.roll((-self.shift, -self.shift), (2, 3))
        moved = joined(self.attn(windows(moved, self.window), mask), self.window, height)
        return moved.roll((self.shift, self.shift), (2, 3))


@final
class Attention(nn.Module):
    """Tokens of windows (b, windows, side^2, c) -> the same; a mask is (windows, side^2, side^2)."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        b, n, t, c = tokens.shape
        parts = self.qkv(tokens).reshape(b, n, t, 3, self.heads, c // self.heads)
        q, k, v = parts.permute(3, 0, 1, 4, 2, 5).unbind()
        bias = self.relative_position_bias_table[relative_index(self.window, tokens.device)].permute(2, 0, 1)
        scores = q * (c // self.heads) ** -0.5 @ k.mT + bias
        if mask is not None:
            scores = scores + mask[:, None].to(scores.dtype)
        result: Tensor = self.proj((scores.softmax(-1) @ v).transpose(2, 3).reshape(b, n, t, c))
        return result


@final
class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, 4 * width, 1)
        self.fc2 = nn.Conv2d(4 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return result


@final
class _Projection(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.proj(x)
        return result
