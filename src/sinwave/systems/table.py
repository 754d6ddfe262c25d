"""Which systems there are, and how the model file of each becomes a model."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from sinwave.errors import InputError
from sinwave.systems.files import ModelFile, read_model
from sinwave.systems.trainable import TrainedModel

__all__ = ["SYSTEMS", "load"]


class _Module(Protocol):
    def from_file(self, file: ModelFile, path: Path) -> TrainedModel: ...


SYSTEMS: Mapping[str, str] = {
    "wavelet": "sinwave.systems.wavelet.trained",
    "singan": "sinwave.systems.singan.trained",
}


def load(path: Path) -> TrainedModel:
    """The model in a file; `InputError` says what is wrong with it."""
    file = read_model(path)
    if file.system not in SYSTEMS:
        raise InputError(
            f"{path}: the model is of the system {file.system}, and this version knows {', '.join(SYSTEMS)}"
        )
    return cast(_Module, import_module(SYSTEMS[file.system])).from_file(file, path)
