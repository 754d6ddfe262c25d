"""What a model file says about itself, with no tensor read and no torch imported.

    the length of the header, 8 bytes, little-endian | the header, JSON | the tensors, one after the other

is a safetensors file, and a model file is one whose header has, under "__metadata__" and there under "sinwave", the
manifest: JSON with the schema, the system, its options, the provenance, and the SHA-256 of these and of the tensors.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, final

from sinwave.errors import InputError

__all__ = ["PICTURE", "SCHEMA", "Manifest", "header_of", "is_model_file", "open_model", "read_manifest"]

SCHEMA = 1
PICTURE = "picture."
"""Tensors of this name and a number are pictures; all others are weights."""

_MAX_HEADER = 1 << 24  # bytes; the header of a model has some thousands
_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)
_STRING, _OBJECT = (str, "string"), (dict, "object")
_FIELDS = {"system": _STRING, "options": _OBJECT, "provenance": _OBJECT, "sha256": _STRING}


@final
@dataclass(frozen=True)
class Manifest:
    """`options` and `provenance` hold what JSON can hold; `shapes` are those of all tensors, pictures included."""

    system: str
    options: Mapping[str, Any]
    provenance: Mapping[str, Any]
    sha256: str
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def parameters(self) -> int:
        """How many numbers the weights are."""
        return sum(math.prod(shape) for name, shape in self.shapes.items() if not name.startswith(PICTURE))

    @property
    def pictures(self) -> int:
        """How many pictures the file carries."""
        return sum(name.startswith(PICTURE) for name in self.shapes)


def is_model_file(path: str | PathLike[str]) -> bool:
    """Whether the first bytes, not the name, are those of a safetensors file; no picture file begins like this."""
    try:
        with open_model(Path(path)) as file:
            start = file.read(9)
    except InputError:
        return False
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= _MAX_HEADER


def read_manifest(path: str | PathLike[str], *, systems: Collection[str] | None = None) -> Manifest:
    """The manifest of the model at `path`; `InputError` if it is none, is cut, or is of none of the `systems`."""
    path = Path(path)
    with open_model(path) as file:
        return header_of(path, file, systems)


def open_model(path: Path) -> BinaryIO:
    """Open a regular, non-empty file; looking before opening, because opening a FIFO waits for ever."""
    try:
        if not path.exists():
            raise InputError(f"{path}: there is no such file")
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "a device or a pipe"
            raise InputError(f"{path}: this is {kind}, not a model file")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty")
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def header_of(path: Path, file: BinaryIO, systems: Collection[str] | None) -> Manifest:
    """The manifest of an opened model file."""
    size = file.seek(0, io.SEEK_END)
    try:
        header = json.loads(_header(path, file, size).decode())
        texts = header.pop("__metadata__", {})
        shapes = {name: tuple(map(int, entry["shape"])) for name, entry in header.items()}
        data = max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
    except _MALFORMED as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: the file is damaged: its header is not that of a safetensors file") from error
    if size - file.tell() < data:
        raise InputError(f"{path}: the file is truncated: it has {size:,} of {file.tell() + data:,} bytes")
    if not isinstance(texts, dict) or "sinwave" not in texts:
        raise InputError(f"{path}: this is a safetensors file, but not a model of sinwave ({_whose(texts, shapes)})")
    return _parsed(path, texts["sinwave"], shapes, systems)


def _header(path: Path, file: BinaryIO, size: int) -> bytes:
    file.seek(0)
    start, brace = file.read(8), file.read(1)
    length = int.from_bytes(start, "little")
    if brace not in (b"{", b""):
        raise InputError(f"{path}: {_what_else(path, start)}, not a model file, which is a safetensors file")
    if brace and length > _MAX_HEADER:
        raise InputError(f"{path}: the file is damaged: its header would have {length:,} bytes")
    if not brace or size < 8 + length:
        raise InputError(f"{path}: the file is truncated: it ends within its header, after {size:,} bytes")
    file.seek(8)
    return file.read(length)


def _parsed(
    path: Path, text: object, shapes: Mapping[str, tuple[int, ...]], systems: Collection[str] | None
) -> Manifest:
    try:
        said = json.loads(str(text))
        schema = said["schema"]
    except _MALFORMED as error:
        raise InputError(f"{path}: the file is damaged: its manifest is not a JSON object with a schema") from error
    if type(schema) is not int or schema < 1:
        raise InputError(f"{path}: the schema of a manifest is a whole number from 1 on, not {_short(schema)}")
    if schema > SCHEMA:
        newer = f"schema {schema}, this one reads up to {SCHEMA}"
        raise InputError(f"{path}: the file was written by a newer sinwave ({newer}): pip install -U sinwave")
    for key, (kind, name) in _FIELDS.items():
        if not isinstance(said.get(key), kind):
            raise InputError(f"{path}: the {key} of a manifest is a JSON {name}, not {_short(said.get(key))}")
    if systems is not None and said["system"] not in systems:
        known = ", ".join(sorted(systems))
        raise InputError(f"{path}: the system of a model is one of {known}, not {_short(said['system'])}")
    return Manifest(**{key: said[key] for key in _FIELDS}, shapes=shapes)


def _what_else(path: Path, start: bytes) -> str:
    if start.startswith((b"PK\x03\x04", b"\x80")):
        return "this is a pickle or a file of torch.save, whose code is never run"
    from sinwave.images import probe  # only now, as it loads Pillow

    try:
        return f"this is a picture ({probe(path).format})"
    except InputError:
        return "this is something else"


def _whose(texts: object, shapes: Mapping[str, object]) -> str:
    """The first names in a file of another program, by which the user may know it."""
    kind, names = ("metadata", list(texts)) if isinstance(texts, dict) and texts else ("tensors", list(shapes))
    return f"{kind}: {', '.join(f'{name:.40}' for name in names[:3]) or 'none'}{', ...' * (len(names) > 3)}"


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
