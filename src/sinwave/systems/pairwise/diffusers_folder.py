"""A U-Net of ADM as a pipeline folder of diffusers, written without that library, by its published layout.

    model_index.json   scheduler/scheduler_config.json   unet/config.json   unet/diffusion_pytorch_model.safetensors

Attention keeps q, k and v apart there, so the rows of `qkv` are split by the order that the network has: a split in
thirds, of a file whose rows come head by head, fits every shape and draws noise. With learned variance, DDIM's
pipeline fails there, so the last convolution is cut to the three channels of noise unless `variance` is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from sinwave.errors import InputError
from sinwave.nn.blocks import Order
from sinwave.nn.unet import UNet, UNetShape
from sinwave.systems.contracts import Loaded
from sinwave.systems.pairwise.model import Trained

__all__ = ["config", "export", "folder", "parameters"]

_RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}


def export(loaded: Loaded, form: str, factor: int) -> dict[str, bytes]:
    """Encode a model that answers noise as the files of a folder; the index comes last."""
    from safetensors.torch import save

    if form != "diffusers" or not isinstance(loaded, Trained):
        raise InputError(f"a diffusion model has the form diffusers, not {form}")
    configuration, unet = loaded.source.configuration, loaded.source.unet
    if configuration.prediction != "noise" or configuration.packed:
        raise InputError(
            "diffusers has no counterpart of a model that answers pictures band by band: train with --prediction noise"
        )
    values = folder(unet, configuration.size, configuration.schedule)
    weights = {"unet/diffusion_pytorch_model.safetensors": save(parameters(unet), {"format": "pt"})}
    return weights | {name: json.dumps(values[name], indent=2).encode() for name in reversed(values)}


def folder(network: UNet, size: int, schedule: str = "linear", variance: bool = False) -> dict[str, Any]:
    """The content of every file but the weights, as JSON, by its path."""
    return {
        "model_index.json": {
            "_class_name": "DDPMPipeline",
            "_diffusers_version": "0.30.0",
            "scheduler": ["diffusers", "DDPMScheduler"],
            "unet": ["diffusers", "UNet2DModel"],
        },
        "scheduler/scheduler_config.json": {
            "_class_name": "DDPMScheduler",
            "num_train_timesteps": 1000,
            "beta_start": 1e-4,
            "beta_end": 0.02,
            "beta_schedule": {"linear": "linear", "cosine": "squaredcos_cap_v2"}[schedule],
            "clip_sample": True,
            "prediction_type": "epsilon",
            "variance_type": "learned_range" if variance else "fixed_small",
        },
        "unet/config.json": config(network.shape, size, variance),
    }


def config(shape: UNetShape, size: int, variance: bool = False) -> dict[str, Any]:
    """The configuration of a `UNet2DModel` with the layers of `shape`."""
    if not (shape.scales and shape.resampling and shape.multipliers[0] == 1):
        raise InputError(
            "diffusers has no counterpart of a U-Net unless its residual blocks scale and resample and its first "
            "multiplier is 1"
        )
    if any(width % shape.groups for width in shape.widths):
        raise InputError(f"the channels {shape.widths} are no multiples of {shape.groups}")
    levels = range(len(shape.widths))
    return {
        "_class_name": "UNet2DModel",
        "sample_size": size,
        "in_channels": shape.inputs,
        "out_channels": shape.outputs if variance else shape.inputs,
        "layers_per_block": shape.blocks,
        "block_out_channels": list(shape.widths),
        "down_block_types": ["AttnDownBlock2D" if n in shape.attention else "ResnetDownsampleBlock2D" for n in levels],
        "up_block_types": [
            "AttnUpBlock2D" if n in shape.attention else "ResnetUpsampleBlock2D" for n in reversed(levels)
        ],
        "downsample_type": "resnet",
        "upsample_type": "resnet",
        "resnet_time_scale_shift": "scale_shift",
        "attention_head_dim": shape.head,
        "norm_num_groups": shape.groups,
        "attn_norm_num_groups": shape.groups,
        "norm_eps": 1e-5,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "dropout": shape.dropout,
    }


def parameters(network: UNet, variance: bool = False) -> dict[str, Tensor]:
    """The network's parameters by their names in a `UNet2DModel`."""
    shape, named = network.shape, dict[str, Tensor]()
    places = dict(_places(shape))
    for name, value in network.state_dict().items():
        named |= _renamed(name, value.detach().float(), places, shape)
    if not variance:
        named |= {name: named[name][: shape.inputs].clone() for name in ("conv_out.weight", "conv_out.bias")}
    return named


def _renamed(name: str, value: Tensor, places: Mapping[str, str], shape: UNetShape) -> dict[str, Tensor]:
    layer, _, kind = name.rpartition(".")
    if layer in _ENDS:
        return {f"{_ENDS[layer]}.{kind}": value}
    block = next(place for place in places if name.startswith(f"{place}."))
    part, there = layer.removeprefix(f"{block}."), places[block]
    if part in _RESIDUAL:
        return {f"{there}.{_RESIDUAL[part]}.{kind}": value}
    if part == "norm":
        return {f"{there}.group_norm.{kind}": value}
    value = value.squeeze(2) if kind == "weight" else value
    if part == "proj_out":
        return {f"{there}.to_out.0.{kind}": value}
    rows = _kinds(value, shape.heads(len(value) // 3), shape.order)
    return {f"{there}.to_{letter}.{kind}": row for letter, row in zip("qkv", rows, strict=True)}


def _kinds(rows: Tensor, heads: int, order: Order) -> tuple[Tensor, ...]:
    """All rows of q, of k and of v, head after head: (3 c, ...) -> three times (c, ...)."""
    if order == "by-kind":
        return rows.chunk(3)
    apart = rows.reshape(heads, 3, -1, *rows.shape[1:])
    return tuple(apart[:, kind].flatten(0, 1).contiguous() for kind in range(3))


def _places(shape: UNetShape) -> Iterator[tuple[str, str]]:
    """The blocks by their places here and there."""
    yield from (("middle_block.0", "mid_block.resnets.0"), ("middle_block.1", "mid_block.attentions.0"))
    yield "middle_block.2", "mid_block.resnets.1"
    last, number = len(shape.widths) - 1, 1
    for level in range(last + 1):
        for turn in range(shape.blocks):
            yield from _pair(f"input_blocks.{number}", f"down_blocks.{level}", turn, level in shape.attention)
            number += 1
        if level < last:
            yield f"input_blocks.{number}.0", f"down_blocks.{level}.downsamplers.0"
            number += 1
    for number, (level, turn) in enumerate((n, m) for n in range(last, -1, -1) for m in range(shape.blocks + 1)):
        attention = level in shape.attention
        yield from _pair(f"output_blocks.{number}", f"up_blocks.{last - level}", turn, attention)
        if turn == shape.blocks and level:
            yield f"output_blocks.{number}.{1 + attention}", f"up_blocks.{last - level}.upsamplers.0"


def _pair(here: str, there: str, turn: int, attention: bool) -> Iterator[tuple[str, str]]:
    yield f"{here}.0", f"{there}.resnets.{turn}"
    if attention:
        yield f"{here}.1", f"{there}.attentions.{turn}"
