"""The one model file of all systems, `NAME.safetensors`: weights, manifest and pictures; reading it runs no code.

    tensors     the weights, and `picture.0`, `picture.1`, ... with the bytes of each training picture as PNG
    metadata    `sinwave`: a JSON object, the manifest

The manifest says which system it is, with which options, where it comes from, and the SHA-256 of that and of all
tensors, so that damage is seen. It stands at the beginning of the file and can be read alone, without torch.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sinwave.atomic import write_bytes
from sinwave.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave.images import Picture

__all__ = ["Manifest", "ModelFile", "encoded", "is_model_file", "read_manifest", "read_model", "write_model"]

SCHEMA = 1
_KEY = "sinwave"
_PICTURE = "picture."
_MOST_HEADER = 16 << 20
_MOST_BYTES = 4 << 30

Json: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Manifest:
    """What a model file says about itself."""

    system: str
    options: Json
    provenance: Json
    digest: str
    tensors: Mapping[str, tuple[int, ...]]

    @property
    def parameters(self) -> int:
        """How many numbers the weights have."""
        count = 0
        for name, shape in self.tensors.items():
            if not name.startswith(_PICTURE):
                size = 1
                for side in shape:
                    size *= side
                count += size
        return count


@dataclass(frozen=True, eq=False)
class ModelFile:
    """The content of a model file: of which `system`, with its weights and the PNG bytes of its pictures."""

    system: str
    options: Json
    provenance: Json
    weights: Mapping[str, Tensor]
    pictures: tuple[bytes, ...] = field(default=())


def write_model(path: Path, model: ModelFile, *, overwrite: bool = False) -> None:
    """Put a model into a file, whole or not at all; the same model gives the same bytes."""
    import torch
    from safetensors.torch import save

    weights = {name: model.weights[name].detach().cpu() for name in sorted(model.weights)}
    tensors = {name: weight.clone(memory_format=torch.contiguous_format) for name, weight in weights.items()}
    _check_numbers(path, tensors)
    for index, data in enumerate(model.pictures):
        tensors[f"{_PICTURE}{index}"] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    facts = {"system": model.system, "options": dict(model.options), "provenance": dict(model.provenance)}
    manifest = {"schema": SCHEMA, **facts, "sha256": _digest(tensors, facts)}
    write_bytes(path, save(tensors, {_KEY: json.dumps(manifest, sort_keys=True)}), overwrite=overwrite)


def encoded(picture: Picture) -> bytes:
    """A picture as a model file keeps it."""
    import torch

    from sinwave.images import encode

    image = picture.pixels
    if picture.opaque is not None:
        image = torch.cat([image, 2.0 * picture.opaque[None] - 1])
    return encode(image, Path("picture.png"), icc=picture.icc, grey=picture.grey)


def is_model_file(path: Path) -> bool:
    """Whether a file begins as one of safetensors does, whatever its name: the length of a header, and a brace."""
    try:
        if not path.is_file():  # to open a pipe would wait for ever
            return False
        with path.open("rb") as file:
            start = file.read(9)
    except (OSError, ValueError):
        return False
    return len(start) == 9 and start[8:] == b"{" and struct.unpack("<Q", start[:8])[0] <= _MOST_HEADER


def read_manifest(path: Path) -> Manifest:
    """The manifest of a model file, without its weights; an `InputError` says what is wrong with the file."""
    header = _header(path)
    metadata = header.pop("__metadata__", None)
    text = metadata.get(_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        names = ", ".join(sorted(header)[:3]) or "nothing"
        raise InputError(f"{path}: this safetensors file is of another program than sinwave (it holds {names}, ...)")
    try:
        manifest = json.loads(text)
        schema = manifest["schema"]
        if isinstance(schema, int) and schema > SCHEMA:
            raise InputError(
                f"{path}: the model was written by a newer sinwave (schema {schema}, this one reads up to {SCHEMA}): "
                "pip install -U sinwave"
            )
        tensors = {name: tuple(int(side) for side in entry["shape"]) for name, entry in header.items()}
        found = Manifest(manifest["system"], manifest["options"], manifest["provenance"], manifest["sha256"], tensors)
        kinds = (str, dict, dict, str)
        values = (found.system, found.options, found.provenance, found.digest)
        if not isinstance(schema, int) or not all(isinstance(v, kind) for v, kind in zip(values, kinds, strict=True)):
            raise TypeError("an entry has the wrong type")
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: the manifest of the model is damaged ({error})") from error
    return found


def read_model(path: Path) -> ModelFile:
    """The model in a file; an `InputError` says what is wrong with the file."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    manifest = read_manifest(path)
    try:
        tensors = load(path.read_bytes())
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"{path}: the model file is damaged or cut off ({error})") from error
    facts = {"system": manifest.system, "options": manifest.options, "provenance": manifest.provenance}
    if _digest(tensors, facts) != manifest.digest:
        raise InputError(f"{path}: the model file is damaged: it is not what was written")
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith(_PICTURE)}
    _check_numbers(path, weights)
    count = len(tensors) - len(weights)
    try:
        pictures = tuple(bytes(tensors[f"{_PICTURE}{index}"].numpy().tobytes()) for index in range(count))
    except KeyError as error:
        raise InputError(f"{path}: {error.args[0]} is missing in the model file") from error
    return ModelFile(manifest.system, manifest.options, manifest.provenance, weights, pictures)


def _header(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise InputError(f"{path}: this is a folder, not a model file")
        if size == 0:
            raise InputError(f"{path}: the file is empty")
        if size > _MOST_BYTES:
            raise InputError(f"{path}: a model file of {size / 1e9:.0f} GB is larger than any of sinwave")
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else _MOST_HEADER + 1
            if length > min(_MOST_HEADER, size):
                raise InputError(f"{path}: this is not a model file (safetensors), or it is cut off")
            header = json.loads(file.read(length))
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: this is not a model file (safetensors), or it is damaged") from error
    if not isinstance(header, dict):
        raise InputError(f"{path}: this is not a model file (safetensors), or it is damaged")
    return header


def _check_numbers(path: Path, weights: Mapping[str, Tensor]) -> None:
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(f"{path}: the weights {name} hold NaN or infinite values")


def _digest(tensors: Mapping[str, Tensor], facts: Json) -> str:
    """Of the facts, and of names, types, shapes and numbers."""
    import torch

    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
