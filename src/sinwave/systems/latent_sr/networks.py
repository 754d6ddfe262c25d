"""The networks of a latent diffusion pipeline, a U-Net and the autoencoder of its latents.

eps = unet([x_t, low], k - 1)           x_t (b, c, h, w), low (b, 3, h, w)
picture = decode(x_0)                   (b, 3, f h, f w), after the nearest codes of x_0 have been taken
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from sinwave.errors import InputError
from sinwave.pretrained.folder import config
from sinwave.pretrained.networks import network

__all__ = ["Networks"]


@final
@dataclass(frozen=True, eq=False)
class Networks:
    """A U-Net and its autoencoder, frozen.

    latent      channels of a latent
    multiple    a multiple of which the sides of a latent must be
    factor      pixels along a side of the picture for one number of the latent
    """

    unet: nn.Module
    autoencoder: nn.Module
    latent: int
    multiple: int
    factor: int

    @classmethod
    def load(cls, folder: Path) -> Networks:
        """Load both, on the CPU; a sentence says what does not fit."""
        unet, into = network("UNet2DModel", folder, "unet"), config(folder, "unet", "UNet2DModel")
        codes, out = network("VQModel", folder, "vqvae"), config(folder, "vqvae", "VQModel")
        latent = _first(codes, "post_quant_conv.weight", 1)
        _check_channels(folder, unet, codes, latent)
        if into.get("class_embed_type") is not None or into.get("num_class_embeds") is not None:
            raise InputError(f"{folder}: the U-Net wants classes of pictures, and upscale knows none")
        multiple, factor = (1 << len(part["block_out_channels"]) - 1 for part in (into, out))
        return cls(unet, codes, latent, multiple, factor)

    def answer(self, x_t: Tensor, low: Tensor, index: Tensor) -> Tensor:
        """The U-Net's answer, of the shape of x_t; `index` is k - 1 of every sample (b,)."""
        answer: Tensor = self.unet(torch.cat([x_t, low], 1), index).sample
        return answer

    def decode(self, latent: Tensor) -> Tensor:
        """The picture of a latent."""
        decode: Callable[..., Any] = self.autoencoder.decode  # type: ignore[assignment]
        picture: Tensor = decode(latent).sample
        return picture


def _check_channels(folder: Path, unet: nn.Module, codes: nn.Module, latent: int) -> None:
    """Refuse networks of which one does not take what the other gives."""
    ends: Sequence[tuple[str, int, int]] = (
        ("the U-Net's input", _first(unet, "conv_in.weight", 1), latent + 3),
        ("the U-Net's output", _first(unet, "conv_out.weight", 0), latent),
        ("the autoencoder's output", _first(codes, "decoder.conv_out.weight", 0), 3),
    )
    for name, channels, needed in ends:
        if channels != needed:
            raise InputError(f"{folder}: {name} has {channels} channels, and {needed} are needed")


def _first(module: nn.Module, name: str, axis: int) -> int:
    return int(module.get_parameter(name).shape[axis])
