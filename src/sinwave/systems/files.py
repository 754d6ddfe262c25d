"""The one model file of all systems, `NAME.safetensors`: weights, manifest and pictures; reading it runs no code.

    tensors     the weights, and `picture.0`, `picture.1`, ... with the bytes of each training picture as PNG
    metadata    `sinwave`: a JSON object, the manifest

The manifest says which system it is, with which options, where it comes from, on which published weights it builds, if
it holds adapters of them, and the SHA-256 of that and of all tensors, so that damage is seen. It stands at the
beginning of the file and can be read alone, without torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from sinwave.atomic import write_bytes
from sinwave.errors import InputError
from sinwave.systems.contracts import MOST_HEADER

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sinwave.images import Picture

__all__ = ["Base", "Manifest", "ModelFile", "encoded", "model_bytes", "read_manifest", "read_model", "with_weights"]
__all__ += ["write_model"]

SCHEMA = 1
_KEY = "sinwave"
_PICTURE = "picture."
_MOST_BYTES = 4 << 30

Json: TypeAlias = Mapping[str, Any]
Network = TypeVar("Network", bound="nn.Module")


class Base(NamedTuple):
    """The published weights that adapters belong to."""

    id: str
    revision: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Facts that a model file gives about itself."""

    system: str
    options: Json
    provenance: Json
    digest: str
    tensors: Mapping[str, tuple[int, ...]]
    base: Base | None = None

    @property
    def parameters(self) -> int:
        return sum(math.prod(shape) for name, shape in self.tensors.items() if not name.startswith(_PICTURE))


@dataclass(frozen=True, eq=False)
class ModelFile:
    """The content of a model file; `pictures` are the PNG bytes of what it learned from, if it needs them to draw."""

    system: str
    options: Json
    provenance: Json
    weights: Mapping[str, Tensor]
    pictures: tuple[bytes, ...] = ()
    base: Base | None = None


def write_model(path: Path, model: ModelFile, *, overwrite: bool = False) -> None:
    """Put a model into a file, whole or not at all; the same model gives the same bytes."""
    write_bytes(path, model_bytes(path, model), overwrite=overwrite)


def model_bytes(path: Path, model: ModelFile) -> bytes:
    """Encode a model as the content of a file; `path` is for the sentence of a refusal."""
    import torch
    from safetensors.torch import save

    weights = {name: model.weights[name].detach().cpu() for name in sorted(model.weights)}
    tensors = {name: weight.clone(memory_format=torch.contiguous_format) for name, weight in weights.items()}
    _check_numbers(path, tensors)
    for index, data in enumerate(model.pictures):
        tensors[f"{_PICTURE}{index}"] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    manifest = {"schema": SCHEMA, **_facts(model), "sha256": _digest(tensors, model)}
    content: bytes = save(tensors, {_KEY: json.dumps(manifest, sort_keys=True)})
    return content


def encoded(picture: Picture) -> bytes:
    import torch

    from sinwave.images import encode

    image = picture.pixels
    if picture.opaque is not None:
        image = torch.cat([image, 2.0 * picture.opaque[None] - 1])
    return encode(image, Path("picture.png"), icc=picture.icc, gray=picture.gray)


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
        entries = [manifest[name] for name in ("system", "options", "provenance", "sha256")]
        base = Base(**manifest["base"]) if "base" in manifest else None
        kinds = (int, str, dict, dict, str, *(str for _ in base or ()))
        if not all(map(isinstance, (schema, *entries, *(base or ())), kinds)):
            raise TypeError("an entry has the wrong type")
        system, facts, provenance, digest = entries
        return Manifest(system, facts, provenance, digest, tensors, base)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, AttributeError) as error:
        raise InputError(f"{path}: the manifest of the model is damaged ({error})") from error


def read_model(path: Path) -> ModelFile:
    """The model in a file; an `InputError` says what is wrong with the file."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    manifest = read_manifest(path)
    try:
        tensors = load(path.read_bytes())
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"{path}: the model file is damaged or cut off ({error})") from error
    if _digest(tensors, manifest) != manifest.digest:
        raise InputError(f"{path}: the model file is damaged: it is not what was written")
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith(_PICTURE)}
    _check_numbers(path, weights)
    count = len(tensors) - len(weights)
    try:
        pictures = tuple(bytes(tensors[f"{_PICTURE}{index}"].numpy().tobytes()) for index in range(count))
    except KeyError as error:
        raise InputError(f"{path}: {error.args[0]} is missing in the model file") from error
    return ModelFile(manifest.system, manifest.options, manifest.provenance, weights, pictures, manifest.base)


def with_weights(path: Path, weights: Mapping[str, Tensor], build: Callable[[], Network]) -> Network:
    """Build a network around the weights of a file, if they fit; nothing is allocated before that is certain."""
    import torch

    with torch.device("meta"):
        network = build()
    expected = network.state_dict()
    for name in sorted({*weights, *expected}):
        here, there = (tuple(tensors[name].shape) if name in tensors else "missing" for tensors in (weights, expected))
        if here != there:
            raise InputError(
                f"{path}: the weights do not fit the options of the model ({name} is {here} in the file and {there} "
                "by the options)"
            )
    # A copy, since a network may be changed in place and the content of a file may not.
    network.load_state_dict(
        {name: weights[name].to(tensor.dtype, copy=True) for name, tensor in expected.items()}, assign=True
    )
    return network


def _facts(model: ModelFile | Manifest) -> dict[str, Any]:
    """The entries of a manifest that its digest covers."""
    facts = {"system": model.system, "options": dict(model.options), "provenance": dict(model.provenance)}
    return facts if model.base is None else {**facts, "base": model.base._asdict()}


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
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else MOST_HEADER + 1
            if length > min(MOST_HEADER, size):
                raise InputError(f"{path}: this is not a model file (safetensors), or it is cut off")
            return dict(json.loads(file.read(length)).items())
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError, AttributeError) as error:
        raise InputError(f"{path}: this is not a model file (safetensors), or it is damaged") from error


def _check_numbers(path: Path, weights: Mapping[str, Tensor]) -> None:
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(f"{path}: the weights {name} hold NaN or infinite values")


def _digest(tensors: Mapping[str, Tensor], model: ModelFile | Manifest) -> str:
    """Hash the facts of a model, and names, types, shapes and numbers of its tensors."""
    import torch

    digest = hashlib.sha256(json.dumps(_facts(model), sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
