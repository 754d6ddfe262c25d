"""The state of a training as a file, from which the same command goes on.

The file is replaced as a whole, so there is always a readable one. It holds a fingerprint of all that must not change
in between, and tensors that are equal once: most of the last good look is that of now. It is read with `weights_only`,
so nothing in it can run.
"""

from __future__ import annotations

import hashlib
import io
import time
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from sinwave.atomic import write_bytes
from sinwave.errors import InputError
from sinwave.training.loop import Report, Training

__all__ = ["Saver", "load", "save"]

_SCHEMA = 3
"""Schema 1 had the states of PyTorch's optimizers, and 2 all tensors twice, frozen ones too."""


_LATEST = 24.0


def save(path: Path, state: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> None:
    """Put a state into a file, whole or not at all."""
    buffer = io.BytesIO()
    torch.save({"schema": _SCHEMA, "fingerprint": dict(fingerprint), "state": _shared(state, {})}, buffer)
    write_bytes(path, buffer.getvalue(), overwrite=True)


def _shared(value: Any, tensors: dict[tuple[Any, ...], Tensor]) -> Any:
    """The same value, on the CPU, with one tensor for all that are equal in type, shape and every bit."""
    if isinstance(value, Mapping):
        return {name: _shared(item, tensors) for name, item in value.items()}
    if isinstance(value, list):
        return [_shared(item, tensors) for item in value]
    if not isinstance(value, Tensor):
        return value
    tensor = value.detach().cpu().contiguous()
    content = hashlib.blake2b(tensor.flatten().view(torch.uint8).numpy().data, digest_size=16).digest()
    return tensors.setdefault((tensor.dtype, tensor.shape, content), tensor)


def load(path: Path, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """The state in a file; an `InputError` says why it cannot be gone on from."""
    content = _read(path)
    if not isinstance(content, dict) or not isinstance(content.get("schema"), int):
        raise InputError(f"{path}: this is not a state of training of sinwave")
    if content["schema"] != _SCHEMA:
        age = "a newer" if content["schema"] > _SCHEMA else "an older"
        raise InputError(f"{path}: the state was written by {age} sinwave; --overwrite begins anew")
    saved = content.get("fingerprint")
    if not isinstance(saved, dict) or not isinstance(content.get("state"), dict):
        raise InputError(f"{path}: this is not a state of training of sinwave")
    for name in {**saved, **fingerprint}:
        if saved.get(name) != fingerprint.get(name):
            raise InputError(
                f"{path}: the training was begun with {name} {saved.get(name)}, not {fingerprint.get(name)}; "
                "--overwrite begins anew"
            )
    state: dict[str, Any] = content["state"]
    return state


def _read(path: Path) -> Any:
    if path.is_dir():  # Windows would speak of permissions
        raise InputError(f"{path}: this is a folder, not a file")
    try:
        data = io.BytesIO(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except OSError as error:
        raise InputError(f"{path}: the file cannot be read ({error.strerror or error})") from error
    try:
        return _content(data)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise InputError(f"{path}: the file is damaged, or no state of training; --overwrite begins anew") from error


def _content(data: io.BytesIO) -> Any:
    with zipfile.ZipFile(data) as archive:
        damaged = archive.testzip()  # torch itself compares no checksums
    if damaged is not None:
        raise ValueError(damaged)
    data.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about foreign files, which are then refused
        return torch.load(data, map_location="cpu", weights_only=True)


@final
class Saver:
    """A hook that saves at most every `seconds`, and at the end.

    With the `every` of a log no line of the log is cut in two when the training goes on; but where steps are slow it
    does not wait for that beyond 24 s, so what a kill can cost is at most that and a step.
    """

    def __init__(self, path: Path, fingerprint: Mapping[str, Any], seconds: float = 12.0, every: int = 1) -> None:
        self._path, self._fingerprint, self._every = path, fingerprint, every
        self._seconds, self._last = seconds, time.monotonic()

    def __call__(self, training: Training, report: Report) -> None:
        waited = time.monotonic() - self._last
        due = self._seconds if training.step % self._every == 0 else _LATEST
        if training.finished or waited >= due:
            self.save(training)

    def save(self, training: Training) -> None:
        save(self._path, training.state(), self._fingerprint)
        self._last = time.monotonic()
