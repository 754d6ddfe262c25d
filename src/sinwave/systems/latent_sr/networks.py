"""The one door to diffusers: the networks of a latent diffusion pipeline, a U-Net and the autoencoder of its latents.

    eps = unet([x_t, low], k - 1)           x_t (b, c, h, w), low (b, 3, h, w)
    picture = decode(x_0)                   (b, 3, f h, f w), after the nearest codes of x_0 have been taken

A configuration says how a network is built; that happens without memory, on torch's meta device. Only when all names
and shapes are those in the header of the safetensors file are weights read: a configuration cannot ask for more memory
than the file has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from sinwave.errors import InputError, MissingError, one_line
from sinwave.pretrained.files import UnfitWeightsError, frozen, skeleton
from sinwave.systems.latent_sr.folder import Json, config, weights

__all__ = ["Networks"]

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

_OLD = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD_NAME = re.compile(r"(?<=\.)(query|key|value|proj_attn)(?=\.(?:weight|bias)$)")
"""Layers of attention in files from before diffusers 0.15, such as those of LDM-SR."""


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
        try:
            from diffusers import UNet2DModel, VQModel
        except ImportError as error:
            raise MissingError.extra("diffusers", "diffusers") from error
        unet, into = _load(UNet2DModel, folder, "unet"), config(folder, "unet", "UNet2DModel")
        codes, out = _load(VQModel, folder, "vqvae"), config(folder, "vqvae", "VQModel")
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


def _load(kind: Any, folder: Path, part: str) -> nn.Module:
    options, file = config(folder, part, kind.__name__), weights(folder, part)
    try:
        with safe_open(file, framework="pt") as content:
            names = {_OLD_NAME.sub(lambda match: _OLD[match[0]], name): name for name in content.keys()}  # noqa: SIM118
            shapes = {name: tuple(content.get_slice(old).get_shape()) for name, old in names.items()}
            network = _built(kind, options, file, shapes)
            values = {name: content.get_tensor(old) for name, old in names.items()}
    except (SafetensorError, OSError) as error:
        raise UnfitWeightsError(f"{file} is damaged, or no safetensors file ({one_line(str(error))})") from error
    for name, value in values.items():
        if not value.is_floating_point() or not value.isfinite().all():
            raise UnfitWeightsError(f"{file}: its parameter {name} holds what is no finite number")
    return frozen(network, {name: value.float() for name, value in values.items()})


def _built(kind: Any, options: Json, file: Path, shapes: Shapes) -> nn.Module:
    """Build a network without values, if the parameters in the file are its own."""
    layers = options.get("layers_per_block", 1)
    if not isinstance(layers, int) or layers > len(shapes):  # such a network would take hours to build
        raise UnfitWeightsError(
            f"{file}: layers_per_block is {str(layers)[:40]}, and it holds {len(shapes)} parameters"
        )
    try:
        network: nn.Module = skeleton(lambda: kind.from_config(dict(options)))
    except MemoryError:
        raise
    except Exception as error:  # a foreign constructor raises anything for a bad configuration
        raise InputError(f"{file.parent}: its config.json makes no {kind.__name__} ({one_line(str(error))})") from error
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    for name in sorted({*shapes, *expected}):
        here, there = shapes.get(name, "missing"), expected.get(name, "missing")
        if here != there:
            name = one_line(name)
            raise UnfitWeightsError(
                f"{file} does not fit its config.json: {name} is {here} in the file and {there} in the network"
            )
    return network


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


def _first(network: nn.Module, name: str, axis: int) -> int:
    return int(network.get_parameter(name).shape[axis])
