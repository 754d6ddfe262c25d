"""The autoencoder whose latents are shifted: VQ-f4, a picture in a quarter of its size and three channels.

    encode(picture) = quant_conv(encoder(picture))                  not quantized: a network predicts this
    decode(z)       = decoder(post_quant_conv(nearest code to z))   the gradient of the code is passed to z
    residual        x + conv(silu(norm(conv(silu(norm x)))))
    attention       x + proj(softmax(q k' / sqrt(c)) v), one head over all places, in the middle only

Pictures (b, 3, h, w) in [-1, 1], latents (b, latent, h / f, w / f), not scaled. (Esser, Rombach and Ommer, "Taming
transformers for high-resolution image synthesis", CVPR 2021; Rombach et al., "High-resolution image synthesis with
latent diffusion models", CVPR 2022.) Parameters have the names and shapes of the published files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sinwave.systems.residual_sr.swin import GROUPS

__all__ = ["VQ_F4", "VQ_F8_FACE", "Autoencoder", "AutoencoderLayout"]

_PLACES = 1 << 12  # whose distances to all codes are computed at once


@dataclass(frozen=True)
class AutoencoderLayout:
    """Channels of a latent, channels and residual blocks of the levels, and how many codes there are."""

    latent: int = 3
    widths: tuple[int, ...] = (128, 256, 512)
    blocks: tuple[int, ...] = (2, 2, 2)
    codes: int = 8192

    @property
    def factor(self) -> int:
        """Pixels along a side of the part of a picture that a place of the latent stands for."""
        return 1 << (len(self.widths) - 1)

    def build(self) -> Autoencoder:
        return Autoencoder(self)


VQ_F4 = AutoencoderLayout()
VQ_F8_FACE = AutoencoderLayout(8, (64, 128, 256, 512), (1, 2, 3, 4), 4096)


@final
class Autoencoder(nn.Module):
    """Pictures to latents and back."""

    def __init__(self, layout: AutoencoderLayout = VQ_F4) -> None:
        super().__init__()
        self.layout = layout
        self.encoder = _Encoder(layout)
        self.decoder = _Decoder(layout)
        self.quantize = _Codes(layout)
        self.quant_conv = nn.Conv2d(layout.latent, layout.latent, 1)
        self.post_quant_conv = nn.Conv2d(layout.latent, layout.latent, 1)

    def encode(self, picture: Tensor) -> Tensor:
        """The latent of a picture whose sides are multiples of the factor."""
        result: Tensor = self.quant_conv(self.encoder(picture))
        return result

    def decode(self, latent: Tensor, *, quantize: bool = True) -> Tensor:
        """The picture of a latent, of its nearest codes if it is to `quantize`; it may leave [-1, 1] a little."""
        result: Tensor = self.decoder(self.post_quant_conv(self.quantize(latent) if quantize else latent))
        return result


@final
class _Codes(nn.Module):
    def __init__(self, layout: AutoencoderLayout) -> None:
        super().__init__()
        self.embedding = nn.Embedding(layout.codes, layout.latent)

    def forward(self, z: Tensor) -> Tensor:
        """Replace each place of z by the nearest code; the gradient passes as if nothing had happened."""
        codes = self.embedding.weight
        places = z.detach().movedim(1, -1).flatten(0, 2)
        nearest = torch.cat([_nearest(part, codes) for part in places.chunk(-(-len(places) // _PLACES))])
        b, c, h, w = z.shape
        code = codes[nearest].reshape(b, h, w, c).movedim(-1, 1)
        return z + (code - z).detach()


def _nearest(places: Tensor, codes: Tensor) -> Tensor:
    """The index of the code nearest to each place: |z - e|^2 = |z|^2 + |e|^2 - 2 z e'."""
    return (codes.square().sum(1) - 2 * places @ codes.mT).argmin(1)


@final
class _Encoder(nn.Module):
    def __init__(self, layout: AutoencoderLayout) -> None:
        super().__init__()
        widths, last = layout.widths, len(layout.widths) - 1
        self.conv_in = _convolution(3, widths[0])
        self.down = nn.ModuleList(
            _DownLevel(widths[max(level - 1, 0)], after, blocks, level < last)
            for level, (after, blocks) in enumerate(zip(widths, layout.blocks, strict=True))
        )
        self.mid = _Middle(widths[-1])
        self.norm_out = _norm(widths[-1])
        self.conv_out = _convolution(widths[-1], layout.latent)

    def forward(self, picture: Tensor) -> Tensor:
        x = self.conv_in(picture)
        for level in self.down:
            x = level(x)
        result: Tensor = self.conv_out(functional.silu(self.norm_out(self.mid(x))))
        return result


@final
class _Decoder(nn.Module):
    def __init__(self, layout: AutoencoderLayout) -> None:
        super().__init__()
        widths, last = layout.widths, len(layout.widths) - 1
        self.conv_in = _convolution(layout.latent, widths[-1])
        self.mid = _Middle(widths[-1])
        self.up = nn.ModuleList(
            _UpLevel(widths[min(level + 1, last)], after, blocks + 1, level > 0)
            for level, (after, blocks) in enumerate(zip(widths, layout.blocks, strict=True))
        )
        self.norm_out = _norm(widths[0])
        self.conv_out = _convolution(widths[0], 3)

    def forward(self, latent: Tensor) -> Tensor:
        x = self.mid(self.conv_in(latent))
        for level in reversed(self.up):
            x = level(x)
        result: Tensor = self.conv_out(functional.silu(self.norm_out(x)))
        return result


@final
class _DownLevel(nn.Module):
    def __init__(self, before: int, after: int, blocks: int, halves: bool) -> None:
        super().__init__()
        self.block = _blocks(before, after, blocks)
        self.downsample = _Downsample(after) if halves else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.downsample(self.block(x))
        return result


@final
class _UpLevel(nn.Module):
    def __init__(self, before: int, after: int, blocks: int, doubles: bool) -> None:
        super().__init__()
        self.block = _blocks(before, after, blocks)
        self.upsample = _Upsample(after) if doubles else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.upsample(self.block(x))
        return result


@final
class _Middle(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1 = _Residual(channels, channels)
        self.attn_1 = _Attention(channels)
        self.block_2 = _Residual(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.block_2(self.attn_1(self.block_1(x)))
        return result


@final
class _Residual(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(before), _convolution(before, after)
        self.norm2, self.conv2 = _norm(after), _convolution(after, after)
        self.nin_shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(functional.silu(self.norm1(x)))
        h = self.conv2(functional.silu(self.norm2(h)))
        result: Tensor = self.nin_shortcut(x) + h
        return result


@final
class _Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (part(h).flatten(2).mT[:, None].contiguous() for part in (self.q, self.k, self.v))
        mixed = functional.scaled_dot_product_attention(q, k, v)[:, 0].mT.reshape(x.shape)
        result: Tensor = x + self.proj_out(mixed)
        return result


@final
class _Downsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(functional.pad(x, (0, 1, 0, 1)))
        return result


@final
class _Upsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return result


def _blocks(before: int, after: int, count: int) -> nn.Sequential:
    return nn.Sequential(_Residual(before, after), *(_Residual(after, after) for _ in range(count - 1)))


def _convolution(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, channels, eps=1e-6)
