"""A trained wavelet model and its file: the weights, what the network is, the statistics, and the pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sinwave.errors import InputError
from sinwave.images import Picture, read_bytes
from sinwave.nn.local import LocalNetwork
from sinwave.systems.files import ModelFile, encoded
from sinwave.systems.wavelet.closed_form import ClosedForm, closed_form_model
from sinwave.systems.wavelet.configuration import Configuration
from sinwave.systems.wavelet.energy import Sight
from sinwave.systems.wavelet.hybrid import OPTIONS, HybridPrior
from sinwave.systems.wavelet.material import Statistics
from sinwave.systems.wavelet.model import WaveletModel
from sinwave.systems.wavelet.network import NetworkPrior

__all__ = ["SYSTEM", "Trained", "from_file"]

SYSTEM = "wavelet"


@dataclass(frozen=True, eq=False)
class Trained:
    """What training leaves behind."""

    configuration: Configuration
    network: LocalNetwork
    statistics: Statistics
    pictures: tuple[Picture, ...]

    def to_file(self, provenance: Mapping[str, Any]) -> ModelFile:
        """The content of the model file."""
        weights = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        weights |= {f"statistics.{name}": getattr(self.statistics, name) for name in _STATISTICS}
        options = self.configuration.to_json()
        pictures = tuple(encoded(picture) for picture in self.pictures)
        return ModelFile(SYSTEM, options, provenance, {n: w.detach().cpu() for n, w in weights.items()}, pictures)

    @property
    def best_engine(self) -> str:
        """The hybrid, where there is one picture and a process that it shares with the closed form."""
        return "hybrid" if len(self.pictures) == 1 and self.configuration.answers == "clean" else "network"

    def model(
        self, engine: str, device: torch.device, dtype: torch.dtype, convolutions: torch.dtype | None = None
    ) -> WaveletModel:
        """The model that draws with `engine`; convolutions as they were trained unless told."""
        convolutions = convolutions or getattr(torch, self.configuration.precision)
        if engine != "network" and len(self.pictures) > 1:
            raise InputError(f"the engine {engine} knows one picture, and this model has {len(self.pictures)}: network")
        images = [picture.pixels[None].to(device, dtype) for picture in self.pictures]
        opaques = [None if picture.opaque is None else picture.opaque.to(device) for picture in self.pictures]
        if engine == "closed-form":
            return closed_form_model(images[0], opaque=opaques[0])
        progression, statistics = self.configuration.pyramid, self.statistics.to(device)
        sights = [Sight(progression.split(image), opaque) for image, opaque in zip(images, opaques, strict=True)]
        # The published walk has no estimates that are given energy.
        seen = sights if self.configuration.answers == "clean" else ()
        network = NetworkPrior(self.network.to(device), self.configuration, statistics, seen, dtype=convolutions)
        if engine == "network":
            return WaveletModel(images[0], progression, network)
        closed_form = ClosedForm(sights[0].scales, progression, opaques[0], OPTIONS)
        return WaveletModel(images[0], progression, HybridPrior(network, closed_form))


_STATISTICS = ("mean", "deviation", "low", "high", "offset", "slope")


def from_file(file: ModelFile, path: Path) -> Trained:
    """The model in a file; a sentence says what of it does not fit."""
    configuration = Configuration.from_json(file.options)
    network = LocalNetwork(configuration.shape)
    prefix = "network."
    weights = {n.removeprefix(prefix): w for n, w in file.weights.items() if n.startswith(prefix)}
    try:
        network.load_state_dict(weights)
        statistics = Statistics(*(file.weights[f"statistics.{name}"] for name in _STATISTICS))
        statistics.check(configuration.scales, configuration.shape.channels)
    except (RuntimeError, KeyError) as error:
        raise InputError(f"{path}: the weights do not fit the options of the model ({error})") from error
    if not file.pictures:
        raise InputError(f"{path}: the model holds no picture")
    pictures = tuple(read_bytes(data, path) for data in file.pictures)
    return Trained(configuration, network, statistics, pictures)
