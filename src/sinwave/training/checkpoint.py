"""The state of a training as a file, from which the same command goes on.

The file is replaced as a whole, so there is always a readable one. It holds a fingerprint of all that must not change
in between; it is read with `weights_only`, so nothing in it can run.
"""

from __future__ import annotations

import io
import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import torch

from sinwave.atomic import write_bytes
from sinwave.errors import InputError
from sinwave.training.loop import Report, Training

__all__ = ["Saver", "load", "save"]

_SCHEMA = 1


def save(path: Path, state: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> None:
    """Put a state into a file, whole or not at all."""
    buffer = io.BytesIO()
    torch.save({"schema": _SCHEMA, "fingerprint": dict(fingerprint), "state": dict(state)}, buffer)
    write_bytes(path, buffer.getvalue(), overwrite=True)


def load(path: Path, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """The state in a file; an `InputError` says why it cannot be gone on from."""
    content = _read(path)
    if not isinstance(content, dict) or not isinstance(content.get("schema"), int):
        raise InputError(f"{path}: this is not a state of training of sinwave")
    if content["schema"] > _SCHEMA:
        raise InputError(f"{path}: the state was written by a newer sinwave (schema {content['schema']})")
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
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except IsADirectoryError as error:
        raise InputError(f"{path}: this is a folder, not a file") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise InputError(f"{path}: the file is damaged, or no state of training; --overwrite begins anew") from error


@final
class Saver:
    """A hook that saves at most every `seconds`, and at the end."""

    def __init__(self, path: Path, fingerprint: Mapping[str, Any], seconds: float = 15.0) -> None:
        self._path, self._fingerprint, self._seconds = path, fingerprint, seconds
        self._last = time.monotonic()

    def __call__(self, training: Training, report: Report) -> None:
        """Save if it is time."""
        if training.finished or time.monotonic() - self._last >= self._seconds:
            self.save(training)

    def save(self, training: Training) -> None:
        """Save now."""
        save(self._path, training.state(), self._fingerprint)
        self._last = time.monotonic()
