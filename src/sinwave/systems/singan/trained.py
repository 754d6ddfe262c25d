"""A trained SinGAN and its file: the generators, what they are, and the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sinwave.errors import InputError
from sinwave.images import Picture, read_bytes
from sinwave.systems.contracts import SingleImageModel
from sinwave.systems.files import ModelFile, encoded
from sinwave.systems.singan.configuration import Configuration
from sinwave.systems.singan.model import SinganModel
from sinwave.systems.singan.networks import Generators

__all__ = ["SYSTEM", "Trained", "from_file"]

SYSTEM = "singan"


@dataclass(frozen=True, eq=False)
class Trained:
    """What training leaves behind."""

    generators: Generators
    picture: Picture

    def to_file(self, provenance: Mapping[str, Any]) -> ModelFile:
        """The content of the model file."""
        weights = {name: value.detach().cpu() for name, value in self.generators.state_dict().items()}
        options = self.generators.configuration.to_json()
        return ModelFile(SYSTEM, options, provenance, weights, (encoded(self.picture),))

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """One."""
        return (self.picture,)

    @property
    def best_engine(self) -> str:
        """The generators."""
        return "network"

    def model(
        self, engine: str, device: torch.device, dtype: torch.dtype, convolutions: torch.dtype | None = None
    ) -> SingleImageModel:
        """The model that draws; there is one engine."""
        if engine != "network":
            raise InputError(f"a model of SinGAN has no engine {engine}: network, or closed-form from its picture")
        return SinganModel(self.generators.to(device, convolutions or dtype), picture=self.picture.pixels)


def from_file(file: ModelFile, path: Path) -> Trained:
    """The model in a file; a sentence says what of it does not fit."""
    configuration = Configuration.from_json(file.options)
    if len(file.pictures) != 1:
        raise InputError(f"{path}: the model holds {len(file.pictures)} pictures, not one")
    picture = read_bytes(file.pictures[0], path)
    try:
        generators = Generators(configuration, configuration.sizes(picture.size))
        generators.load_state_dict(dict(file.weights))
    except RuntimeError as error:
        raise InputError(f"{path}: the weights do not fit the options of the model ({error})") from error
    if not 0 <= generators.trained <= len(generators.sizes):
        raise InputError(f"{path}: the model says that {generators.trained} scales of it are trained")
    return Trained(generators, picture)
