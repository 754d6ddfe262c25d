"""The authors' files, `osediff.pkl` and `osediff_face.pkl`: what is in them, read exactly and written alike.

    rank_unet, rank_vae                                        4
    state_dict_unet, state_dict_vae                            the changes, see `adapters`
    unet_lora_encoder_modules, .._decoder_.., .._others_..     names of the U-Net's layers, by adapter
    vae_lora_encoder_modules                                   those of the autoencoder, some of them several times

The rate alpha and the base are not in them. Reading one runs no code in it. Wu, Sun, Ma and Zhang, "One-step effective
diffusion network for real-world image super-resolution", NeurIPS 2024.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sinwave.errors import InputError, one_line
from sinwave.pretrained import checkpoint
from sinwave.pretrained.files import UnfitWeightsError
from sinwave.systems.onestep_sr.adapters import UNET, VAE, Adapters, factors

__all__ = ["about", "read", "written"]

_MOST = 1 << 30
_RANKS = ("rank_unet", "rank_vae")
_STATES = ("state_dict_unet", "state_dict_vae")
_LISTS = {
    "unet_lora_encoder_modules": UNET[0],
    "unet_lora_decoder_modules": UNET[1],
    "unet_lora_others_modules": UNET[2],
}
_VAE_LIST = "vae_lora_encoder_modules"
_WIDTHS = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x"}
"""The width of the text's features, by which one sees the family of a base."""


def read(file: Path) -> Adapters:
    """Read a file; an `InputError` says what is wrong with it."""
    content = checkpoint.read(file, _MOST)
    expected = {*_RANKS, *_STATES, *_LISTS, _VAE_LIST}
    if content.keys() != expected:
        missing, other = sorted(expected - content.keys()), sorted(content.keys() - expected)
        fault = f"{missing[0]} is missing" if missing else f"{one_line(other[0][:120])} is not one of its entries"
        raise UnfitWeightsError(f"{file} is not a file of OSEDiff: {fault}")
    try:
        unet, vae = (_state(content[name], name) for name in _STATES)
        adapters = Adapters(unet, vae)
        for name, rank in zip(_RANKS, adapters.ranks, strict=True):
            if content[name] != rank:
                raise InputError(f"{name} is {one_line(str(content[name])[:40])}, and its layers have {rank}")
        _check_lists(content, adapters)
    except InputError as error:
        raise UnfitWeightsError(f"{file} is not a file of OSEDiff: {error}") from error
    return adapters


def written(adapters: Adapters) -> bytes:
    """Encode changes as the authors' program reads them."""
    by_adapter = _by_adapter(adapters)
    buffer = io.BytesIO()
    torch.save(
        {
            _VAE_LIST: list(factors(adapters.vae)),
            **{name: by_adapter[adapter] for name, adapter in _LISTS.items()},
            **dict(zip(_RANKS, adapters.ranks, strict=True)),
            **dict(zip(_STATES, (dict(adapters.unet), dict(adapters.vae)), strict=True)),
        },
        buffer,
    )
    return buffer.getvalue()


def about(file: Path) -> Mapping[str, Any]:
    """Say what a file is, what it needs and what is in it, without the base."""
    adapters = read(file)
    unet, layers = factors(adapters.unet), _by_adapter(adapters)
    width = next((pair.down.shape[1] for name, pair in unet.items() if name.endswith("attn2.to_k")), None)
    first = adapters.unet["conv_in.base_layer.weight"]
    return {
        "what": "low-rank changes of a latent diffusion model, by which it restores a picture in one step (OSEDiff)",
        "needs": f"--base FOLDER, {_WIDTHS.get(width or 0, 'a model')} in the layout of diffusers",
        "U-Net": f"{len(unet)} layers ({', '.join(f'{name} {len(layers[name])}' for name in UNET)}), "
        f"rank {adapters.ranks[0]}, {sum(value.numel() for value in adapters.unet.values()):,} numbers, "
        f"with a first layer of {first.shape[0]} channels in full",
        "autoencoder": f"{len(factors(adapters.vae))} layers of the encoder, rank {adapters.ranks[1]}, "
        f"{sum(value.numel() for value in adapters.vae.values()):,} numbers",
        "keys": f"{len(adapters.unet)} and {len(adapters.vae)}",
        "parameters": adapters.parameters,
        "alpha": f"{adapters.alpha:g} (not in the file)",
    }


def _by_adapter(adapters: Adapters) -> dict[str, list[str]]:
    layers = factors(adapters.unet)
    return {adapter: [name for name, pair in layers.items() if pair.adapter == adapter] for adapter in UNET}


def _state(content: Any, name: str) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        raise InputError(f"{name} is a {type(content).__name__}, where tensors are by their names")
    for key, value in content.items():
        plain = isinstance(value, Tensor) and value.layout == torch.strided and value.is_floating_point()
        if not isinstance(key, str) or not plain or value.is_meta or not value.isfinite().all():
            raise InputError(f"{one_line(str(key)[:120])} of {name} is no tensor of finite numbers")
    return {key: value.float() for key, value in content.items()}


def _check_lists(content: Mapping[str, Any], adapters: Adapters) -> None:
    there = {**_by_adapter(adapters), _VAE_LIST: list(factors(adapters.vae))}
    if odd := [pair.adapter for pair in factors(adapters.vae).values() if pair.adapter != VAE]:
        raise InputError(f"the autoencoder has an adapter {odd[0]}, where {VAE} is the only one")
    if odd := [pair.adapter for pair in factors(adapters.unet).values() if pair.adapter not in UNET]:
        raise InputError(f"the U-Net has an adapter {odd[0]}, where it has {', '.join(UNET)}")
    for name, adapter in {**_LISTS, _VAE_LIST: _VAE_LIST}.items():
        names = content[name]
        if not isinstance(names, list) or not all(isinstance(item, str) for item in names):
            raise InputError(f"{name} is no list of names")
        if different := set(names) ^ set(there[adapter]):
            raise InputError(f"{name} and the tensors disagree about {one_line(min(different)[:120])}")
