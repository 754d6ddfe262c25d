"""Which systems there are, and how the model file of each becomes a model."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import torch

from sinwave.errors import InputError
from sinwave.images import Picture
from sinwave.systems.files import ModelFile, read_model
from sinwave.systems.protocols import SingleImageModel

__all__ = ["SYSTEMS", "TrainedModel", "load"]


class TrainedModel(Protocol):
    """The content of a model file, ready to draw."""

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """What it was trained on."""

    @property
    def best_engine(self) -> str:
        """What draws unless the user says otherwise."""

    def model(
        self, engine: str, device: torch.device, dtype: torch.dtype, convolutions: torch.dtype | None = None
    ) -> SingleImageModel:
        """The model that draws with `engine`; networks as they were trained unless told."""


class _Module(Protocol):
    def from_file(self, file: ModelFile, path: Path) -> TrainedModel: ...


SYSTEMS: Mapping[str, str] = {"wavelet": "sinwave.systems.wavelet.trained"}


def load(path: Path) -> TrainedModel:
    """The model in a file; `InputError` says what is wrong with it."""
    file = read_model(path)
    if file.system not in SYSTEMS:
        raise InputError(
            f"{path}: the model is of the system {file.system}, and this version knows {', '.join(SYSTEMS)}"
        )
    return cast(_Module, import_module(SYSTEMS[file.system])).from_file(file, path)
