"""Everything that a training of a wavelet model needs, put together from pictures and a preset."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, Literal, final

import torch
from torch import Tensor

from sinwave.images import Picture
from sinwave.nn.local import LocalNetwork
from sinwave.rng import fold
from sinwave.systems.trainable import Course, Wanted
from sinwave.systems.wavelet.depth import levels_for
from sinwave.systems.wavelet.material import Material
from sinwave.systems.wavelet.presets import Preset
from sinwave.systems.wavelet.recipe import Numerics, WaveletRecipe
from sinwave.systems.wavelet.trained import Trained
from sinwave.training.loop import Budget
from sinwave.training.schedule import Trapezoid

__all__ = ["Chosen", "Fitting", "common_levels"]

_DTYPES: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")

_HOPELESS = 4.0
"""A first step prepares what the others find, but on a processor it is not so many times as slow as they are."""


def common_levels(sizes: Sequence[tuple[int, int]]) -> int:
    """As many as the smallest picture bears."""
    return min(map(levels_for, sizes))


@final
@dataclass(frozen=True)
class Chosen:
    """A preset, some of it changed."""

    preset: Preset

    def facts(self) -> Mapping[str, Any]:
        """What must be the same for a training to go on."""
        configuration, preset = self.preset.configuration, self.preset
        details = json.dumps([configuration.to_json(), vars(preset.practice), preset.most], sort_keys=True)
        return {
            "receptive field": configuration.shape.field,
            "width": configuration.width,
            "progression": configuration.progression,
            "recipe": hashlib.sha256(details.encode()).hexdigest()[:16],
        }

    def begin(self, pictures: Sequence[Picture], seed: int, device: torch.device) -> Fitting:
        """Weights from the seed, the same on every device."""
        return Fitting.begin(pictures, self.preset, seed, device)


@final
@dataclass(frozen=True, eq=False)
class Fitting:
    """The material on a device, and the network as it begins."""

    pictures: tuple[Picture, ...]
    preset: Preset
    material: Material
    network: LocalNetwork

    @classmethod
    def begin(cls, pictures: Sequence[Picture], preset: Preset, seed: int, device: torch.device) -> Fitting:
        """Weights from the seed, the same on every device."""
        material = Material(
            [picture.pixels[None] for picture in pictures],
            preset.configuration.pyramid,
            crop=preset.practice.crop,
            opaque=[picture.opaque for picture in pictures],
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(fold(seed, "weights"))
            network = LocalNetwork(preset.configuration.shape)
        return cls(tuple(pictures), preset, material.to(device), network.to(device))

    @property
    def device(self) -> torch.device:
        """Where the material is."""
        return self.material.statistics.mean.device

    @property
    def parameters(self) -> int:
        """Of the network."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    @property
    def memory(self) -> float:
        """Results: steps take the same whatever the pictures are; sheets of samples take more of large ones."""
        return 0.8e9 + 1.6e3 * sum(picture.size[0] * picture.size[1] for picture in self.pictures)

    def plan(self, wanted: Wanted, on_try: Callable[[str], None]) -> Mapping[str, Any]:
        """How to compute: as was asked, or as is faster now."""
        if wanted.precision != "auto":
            return {"dtype": wanted.precision, "channels_last": True}
        return vars(self.fastest(on_try))

    def course(self, plan: Mapping[str, Any], wanted: Wanted) -> Course:
        """So many steps, or until the plateau; of a training of some minutes the last step is decided on the way."""
        numerics = Numerics(**plan)
        budget = Budget(wanted.steps, self.preset.most if wanted.minutes is None else 10**9)
        average = self.preset.practice.average
        trained = partial(self.trained, numerics=numerics)
        return Course(self.recipe(numerics), budget, Trapezoid(), average, str(numerics), trained)

    def recipe(self, numerics: Numerics) -> WaveletRecipe:
        """The training, computed in this way."""
        return WaveletRecipe(self.preset.configuration, self.preset.practice, self.material, self.network, numerics)

    def fastest(self, on_try: Callable[[str], None] = lambda words: None) -> Numerics:
        """The way that took the least time just now, in a few steps of each that leave nothing behind."""
        found = dict[Numerics, float]()
        for numerics in (Numerics(dtype, last) for dtype, last in product(_DTYPES, (False, True))):
            on_try(str(numerics))
            best = min(found.values(), default=float("inf"))
            found[numerics] = self._seconds(numerics, best)
            if self._hopeless(found[numerics], best):
                break
        return min(found, key=lambda each: found[each])

    def _hopeless(self, seconds: float, best: float) -> bool:
        return self.device.type == "cpu" and seconds > _HOPELESS * best

    def _seconds(self, numerics: Numerics, best: float, rounds: int = 4) -> float:
        """Of a step: the least of some, since whatever disturbs a measurement makes it longer.

        A way that is far from the `best` so far is given up at once: where bfloat16 is emulated a step takes seconds.
        """
        trial = Fitting(self.pictures, self.preset, self.material, copy.deepcopy(self.network))
        recipe, least = trial.recipe(numerics), float("inf")
        for index in range(rounds):
            start = time.perf_counter()
            for update in recipe.updates(fold(0, "trial", index)):
                update.loss.backward()  # type: ignore[no-untyped-call]
                update.loss.item()
            least = min(least, time.perf_counter() - start)
            if self._hopeless(least, best):
                break
        return least

    def trained(self, weights: Mapping[str, Tensor], numerics: Numerics) -> Trained:
        """The model with these weights, which shares none with the training."""
        configuration = replace(self.preset.configuration, precision=numerics.dtype)
        network = copy.deepcopy(self.network)
        network.load_state_dict(weights)
        return Trained(configuration, network, self.material.statistics, self.pictures)
