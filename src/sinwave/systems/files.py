"""The one file that a model is, of whichever system: `NAME.safetensors`.

It holds the weights, the pictures that they were trained on (the bytes of PNG files, as the uint8 tensors "picture.0",
"picture.1", ...), and the manifest. Reading it runs no code that is in it, and the same model gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from sinwave.atomic import write_bytes
from sinwave.errors import InputError
from sinwave.systems.manifest import PICTURE, SCHEMA, Manifest, header_of, is_model_file, open_model, read_manifest

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Manifest", "ModelFile", "is_model_file", "read_manifest", "read_model", "write_model"]


@final
@dataclass(frozen=True, eq=False)
class ModelFile:
    """What a model is made of.

    options      what JSON can hold; a tuple comes back as a list
    provenance   likewise: version of the package, seed, steps, torch, SHA-256 of the pictures, preset
    pictures     as the bytes of PNG files
    """

    system: str
    options: Mapping[str, Any]
    provenance: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    pictures: tuple[bytes, ...] = ()


def write_model(path: str | PathLike[str], model: ModelFile, *, overwrite: bool = False) -> None:
    """Write `model` to `path`, whole or not at all."""
    from safetensors.torch import save

    path = Path(path)
    _check_finite(path, model.weights)
    manifest, tensors = _manifest(path, model), _tensors(path, model)
    sealed = {**manifest, "sha256": _digest(manifest, tensors)}
    write_bytes(path, save(tensors, {"sinwave": _text(sealed)}), overwrite=overwrite)


def read_model(
    path: str | PathLike[str], *, systems: Collection[str] | None = None, max_bytes: int = 1 << 32
) -> ModelFile:
    """The model at `path`, on the CPU; `InputError` if it is none, is damaged, or is of none of the `systems`."""
    path = Path(path)
    with open_model(path) as file:
        size = file.seek(0, io.SEEK_END)
        if size > max_bytes:
            raise InputError(f"{path}: the file has {size:,} bytes, more than the {max_bytes:,} allowed")
        said = header_of(path, file, systems)
        file.seek(0)
        tensors = _loaded(path, file.read())
    weights = {name: value for name, value in tensors.items() if not name.startswith(PICTURE)}
    model = ModelFile(said.system, said.options, said.provenance, weights, _pictures(path, tensors))
    if _digest(_manifest(path, model), tensors) != said.sha256:
        raise InputError(f"{path}: the file is damaged: its contents do not have the SHA-256 that it names")
    _check_finite(path, weights)
    return model


def _tensors(path: Path, model: ModelFile) -> dict[str, Tensor]:
    """All that the file holds by name, in memory of its own, because weights may be views of one another."""
    import torch

    for name in model.weights:
        if name.startswith(PICTURE) or name == "__metadata__":
            raise InputError(f"{path}: no weights can have the name {name}, which means something else in a file")
    pictures = {f"{PICTURE}{index}": _checked(path, data) for index, data in enumerate(model.pictures)}
    tensors = {name: torch.frombuffer(bytearray(data), dtype=torch.uint8) for name, data in pictures.items()}
    weights = {name: value.detach().cpu().clone().contiguous() for name, value in model.weights.items()}
    return weights | tensors


def _loaded(path: Path, data: bytes) -> dict[str, Tensor]:
    from safetensors.torch import load

    try:
        return load(data)
    except MemoryError:
        raise
    except Exception as error:  # on hostile bytes, more than the SafetensorError that the library documents
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: the file is damaged: its tensors cannot be read ({reason})") from error


def _pictures(path: Path, tensors: Mapping[str, Tensor]) -> tuple[bytes, ...]:
    count = sum(name.startswith(PICTURE) for name in tensors)
    try:
        return tuple(_checked(path, bytes(tensors[f"{PICTURE}{index}"].numpy())) for index in range(count))
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: the file is damaged: its pictures are not what is stored as such") from error


def _checked(path: Path, picture: bytes) -> bytes:
    if not picture.startswith(b"\x89PNG"):
        raise InputError(f"{path}: a picture in a model file is a PNG file, not one that begins with {picture[:8]!r}")
    return picture


def _check_finite(path: Path, weights: Mapping[str, Tensor]) -> None:
    for name, value in weights.items():
        if value.dtype.itemsize == 1 and value.is_floating_point():
            raise InputError(f"{path}: the weights {name} are {value.dtype}, too short to compute with")
        if not value.isfinite().all():
            raise InputError(f"{path}: the weights {name} hold NaN or infinite values")


def _digest(manifest: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of all that the file says and holds, in whatever order it is stored."""
    import torch

    content = hashlib.sha256(_text(manifest).encode())
    for name, value in sorted(tensors.items()):
        content.update(f"\0{name} {value.dtype} {tuple(value.shape)}\0".encode())
        content.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return content.hexdigest()


def _manifest(path: Path, model: ModelFile) -> dict[str, Any]:
    """What the file says, without the SHA-256, which is also of this."""
    said = {"system": model.system, "options": model.options, "provenance": model.provenance}
    try:
        return {"schema": SCHEMA, **_plain(said)}
    except (TypeError, RecursionError) as error:
        raise InputError(f"{path}: options and provenance are what JSON can hold, and here is {error}") from error


def _plain(value: object) -> Any:
    """`value` if JSON gives it back; it would turn other keys into strings and write NaN, which is no JSON."""
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(each) for key, each in value.items()}
    raise TypeError(f"{value!r:.60}")


def _text(said: Mapping[str, Any]) -> str:
    return json.dumps(said, sort_keys=True, separators=(",", ":"))
