"""The one door to diffusers and transformers: networks of a folder, each by the name of its class.

A configuration says how a network is built; that happens without memory, on torch's meta device. Only when all names
and shapes are those in the header of the safetensors file are weights read: a configuration cannot ask for more memory
than the file has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from sinwave.errors import InputError, MissingError, one_line
from sinwave.pretrained.files import UnfitWeightsError, frozen, skeleton
from sinwave.pretrained.folder import Json, config, weights

__all__ = ["class_of", "network", "text_encoder"]

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

_OLD = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD_NAME = re.compile(r"(?<=\.)(query|key|value|proj_attn)(?=\.(?:weight|bias)$)")
"""Layers of attention in files from before diffusers 0.15, such as those of LDM-SR."""

_PREFIX, _COUNTER = "text_model.", "embeddings.position_ids"
"""Of the names of CLIP's files from before transformers 5, and a buffer that some of them hold."""


def network(kind: str, folder: Path, part: str) -> nn.Module:
    """Load a part of a pipeline, a network of diffusers, frozen, on the CPU; a sentence says what does not fit."""
    build = class_of("diffusers", kind).from_config
    return _load(build, config(folder, part, kind), weights(folder, part), kind, _renamed)


def text_encoder(folder: Path, part: str = "text_encoder") -> nn.Module:
    """Load CLIP's text encoder."""
    kind = class_of("transformers", "CLIPTextModel")

    def build(options: Json) -> nn.Module:
        built: nn.Module = kind(kind.config_class.from_dict(options))
        return built

    options, file = config(folder, part, kind.__name__), weights(folder, part, "model.safetensors")
    usual = skeleton(lambda: build({})).state_dict()
    prefix = _PREFIX if any(name.startswith(_PREFIX) for name in usual) else ""

    def renamed(name: str) -> str | None:
        name = name.removeprefix(_PREFIX)
        return None if name == _COUNTER else prefix + name

    encoder = _load(build, options, file, kind.__name__, renamed)
    for name, buffer in encoder.named_buffers():
        if buffer.is_meta:  # the places of the words, which no file of today holds
            owner = encoder.get_submodule(name.rpartition(".")[0])
            owner.register_buffer(name.rpartition(".")[2], torch.arange(buffer.shape[-1])[None], persistent=False)
    return encoder


def class_of(library: Literal["diffusers", "transformers"], kind: str) -> Any:
    """Import a class; the error of an absent library names the extra."""
    try:
        if library == "diffusers":
            import diffusers

            return getattr(diffusers, kind)
        import transformers

        return getattr(transformers, kind)
    except ImportError as error:
        raise MissingError.extra(library, "diffusers" if library == "diffusers" else "onestep") from error


def _renamed(name: str) -> str | None:
    return _OLD_NAME.sub(lambda match: _OLD[match[0]], name)


def _load(
    build: Callable[[Json], nn.Module], options: Json, file: Path, kind: str, renamed: Callable[[str], str | None]
) -> nn.Module:
    try:
        with safe_open(file, framework="pt") as content:
            names = {new: name for name in content.keys() if (new := renamed(name)) is not None}  # noqa: SIM118
            shapes = {name: tuple(content.get_slice(old).get_shape()) for name, old in names.items()}
            built = _built(build, options, file, shapes, kind)
            values = {name: content.get_tensor(old) for name, old in names.items()}
    except (SafetensorError, OSError) as error:
        raise UnfitWeightsError(f"{file} is damaged, or no safetensors file ({one_line(str(error))})") from error
    for name, value in values.items():
        if not value.is_floating_point() or not value.isfinite().all():
            raise UnfitWeightsError(f"{file}: its parameter {name} holds what is no finite number")
    return frozen(built, {name: value.float() for name, value in values.items()})


def _built(build: Callable[[Json], nn.Module], options: Json, file: Path, shapes: Shapes, kind: str) -> nn.Module:
    """Build a network without values, if the parameters in the file are its own."""
    for name in ("layers_per_block", "num_hidden_layers"):
        layers = options.get(name, 1)
        if not isinstance(layers, int) or layers > len(shapes):  # such a network would take hours to build
            raise UnfitWeightsError(f"{file}: {name} is {str(layers)[:40]}, and it holds {len(shapes)} parameters")
    try:
        built = skeleton(lambda: build(dict(options)))
    except MemoryError:
        raise
    except Exception as error:  # a foreign constructor raises anything for a bad configuration
        raise InputError(f"{file.parent}: its config.json makes no {kind} ({one_line(str(error))})") from error
    expected = {name: tuple(value.shape) for name, value in built.state_dict().items()}
    for name in sorted({*shapes, *expected}):
        here, there = shapes.get(name, "missing"), expected.get(name, "missing")
        if here != there:
            name = one_line(name)
            raise UnfitWeightsError(
                f"{file} does not fit its config.json: {name} is {here} in the file and {there} in the network"
            )
    return built
