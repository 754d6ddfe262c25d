"""Checkpoints of other programs: how their files become the parameters of a network, exactly or not at all.

    file = zip of tensors by name, perhaps wrapped in {"state_dict": ...}, perhaps with a prefix on every name
         = the parameters of a network, no more and no fewer, in its shapes
         + buffers that follow from its layout: compared, then dropped

A file is mapped, not read, until its names and shapes fit, so a wrong one costs no memory; no code in it can run.
"""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from sinwave.errors import InputError, one_line
from sinwave.pretrained.files import UnfitWeightsError

__all__ = ["Shapes", "fitting", "read", "shapes", "without_prefix"]

Shapes: TypeAlias = Mapping[str, Sequence[int]]

_PREFIXES = ("module._orig_mod.", "module.", "_orig_mod.")
_NAMED = 3
_ALMOST = 1e-2
"""Difference of a buffer that was averaged with the weights."""


def shapes(file: Path, most: int) -> dict[str, tuple[int, ...]]:
    """Read the names and shapes of what is in a file of at most so many bytes."""
    return {name: tuple(getattr(value, "shape", ())) for name, value in read(file, most).items()}


def read(file: Path, most: int) -> Mapping[str, Any]:
    """Map what is in a file of at most so many bytes, without wrappers and prefixes."""
    _check_size(file, most)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about foreign files, which are then refused
            mapped = zipfile.is_zipfile(file)
            content = torch.load(os.fspath(file), map_location="cpu", weights_only=True, mmap=mapped)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can raise anything
        fault = "it is damaged, or holds more than tensors"
        raise UnfitWeightsError(f"{file} cannot be read as weights: {fault}") from error
    if not isinstance(content, dict):
        raise UnfitWeightsError(f"{file} holds a {type(content).__name__}, where weights are tensors by their names")
    inner = content.get("state_dict")
    return without_prefix({str(name): value for name, value in (inner if isinstance(inner, dict) else content).items()})


def fitting(
    file: Path,
    wanted: str,
    content: Mapping[str, Any],
    parameters: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    hint: Callable[[bool], str],
) -> dict[str, Tensor]:
    """The parameters in a file as float32, if it has these names and shapes and these buffers.

    `hint(damaged)` ends the sentence of a refusal; `damaged`: most of the names are right.
    """
    expected = {**parameters, **buffers}

    def refuse(faults: Sequence[str]) -> None:
        faults = [fault for fault in faults if fault]
        if faults:
            more = f", and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
            damaged = 2 * len(content.keys() & expected.keys()) > len(expected)
            raise UnfitWeightsError(f"{file} is not {wanted}: {', '.join(faults[:_NAMED])}{more}{hint(damaged)}")

    refuse([_misfit(name, content, expected) for name in {**expected, **content}])
    refuse([_difference(name, content[name], buffers[name]) for name in buffers])
    values = {name: _single(content[name]) for name in parameters}
    refuse([_not_finite(name, value) for name, value in values.items()])
    return values


def without_prefix(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Strip what parallel and compiled training put before every name."""
    for prefix in _PREFIXES:
        if content and all(name.startswith(prefix) for name in content):
            return {name.removeprefix(prefix): value for name, value in content.items()}
    return content


def _misfit(name: str, content: Mapping[str, Any], expected: Mapping[str, Tensor]) -> str:
    """The fault of a name, its type or its shape; nothing if there is none."""
    shown = one_line(name[:120])
    if name not in content:
        return f"{shown} is missing"
    if name not in expected:
        return f"{shown} is not one of its parameters"
    value = content[name]
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta or value.is_complex():
        return f"{shown} is no tensor of plain numbers"
    if expected[name].is_floating_point() and not value.is_floating_point():
        return f"{shown} is {value.dtype}, where a parameter has fractions"
    if value.shape != expected[name].shape:
        return f"{shown} is {tuple(value.shape)} instead of {tuple(expected[name].shape)}"
    return ""


def _difference(name: str, value: Tensor, expected: Tensor) -> str:
    """The fault of a buffer: an index is exact, a mask was averaged."""
    apart = (value.double() - expected.double()).abs().max()
    near = apart == 0 if not expected.is_floating_point() else apart <= _ALMOST
    return "" if near else f"the values of {name} are not the ones that follow from the layout"


def _not_finite(name: str, value: Tensor) -> str:
    return "" if value.isfinite().all() else f"{name} holds NaN or infinite values"


def _single(value: Tensor) -> Tensor:
    """A copy as float32, so that the file may change and nothing of it stays mapped."""
    return torch.empty(value.shape, dtype=torch.float32).copy_(value)


def _check_size(file: Path, most: int) -> None:
    """Refuse a file that is absent, too large, or packed, so that it might become larger."""
    if not file.is_file():
        raise InputError(f"{file}: there is no such file")
    size = file.stat().st_size
    if size > most:
        raise UnfitWeightsError(f"{file} has {size / 1e9:.1f} GB, more than any of these networks")
    try:
        with zipfile.ZipFile(file) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise UnfitWeightsError(f"{file} is compressed, as no file of weights is")
    except zipfile.BadZipFile:
        pass  # of an older form, or damaged: reading it tells
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from error
