"""The training of a wavelet model, put together from pictures and options."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sinwave.data.batches import Constant
from sinwave.images import Picture
from sinwave.nn.local import LocalNetwork
from sinwave.rng import fold
from sinwave.systems.contracts import OnTry, Setup, TrainingRequest
from sinwave.systems.files import ModelFile, encoded
from sinwave.systems.wavelet.material import Material
from sinwave.systems.wavelet.options import Options, Settings, levels_for
from sinwave.systems.wavelet.recipe import WaveletRecipe
from sinwave.training.loop import Budget
from sinwave.training.schedule import Trapezoid

__all__ = ["Start", "begin", "common_levels", "fastest", "model_file", "setup"]

_DTYPES: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")

_HOPELESS = 4.0
"""A first step prepares what the others find, but on a CPU it is not so many times as slow as they are."""

_UNKNOWN = 10**9
"""Steps at the most of a training of some minutes, whose last step is decided on the way."""


class Start(NamedTuple):
    """The material on a device, and the network as it begins."""

    material: Material
    network: LocalNetwork

    def recipe(self, settings: Settings) -> WaveletRecipe:
        return WaveletRecipe(settings, self.material, self.network)


def setup(pictures: Sequence[Picture], options: Options, request: TrainingRequest) -> Setup:
    """Prepare a training of so many steps or minutes, or until the plateau; as fast as it can be computed here."""
    # Steps take the same whatever the pictures are; sheets of samples take more of large ones.
    request.reserve(0.8e9 + 1.6e3 * sum(math.prod(picture.size) for picture in pictures), "")
    settings = options.settings(common_levels(pictures))
    start = begin(pictures, settings, request.seed, request.device)
    if options.precision == "auto":
        plan = request.decide(lambda on_try: _plan(fastest(start, settings, on_try)))
    else:
        plan = {"precision": options.precision, "channels_last": True}
    settings = dataclasses.replace(settings, **plan)
    return Setup(
        recipe=start.recipe(settings),
        batches=Constant(None),
        budget=Budget(request.steps, settings.steps if request.minutes is None else _UNKNOWN),
        schedule=Trapezoid(),
        average=settings.average,
        settings=dataclasses.asdict(settings),
        numerics=settings.numerics,
        parameters=sum(parameter.numel() for parameter in start.network.parameters()),
        keep=lambda weights: model_file(settings, start.material, weights, pictures),
        enough=settings.steps,
        receptive_field=settings.receptive_field,
        size=pictures[0].size,
    )


def common_levels(pictures: Sequence[Picture]) -> int:
    return min(levels_for(picture.size) for picture in pictures)


def begin(pictures: Sequence[Picture], settings: Settings, seed: int, device: torch.device) -> Start:
    """Draw the first weights from the seed, the same on every device."""
    images, opaque = [picture.pixels[None] for picture in pictures], [picture.opaque for picture in pictures]
    material = Material(images, settings.pyramid, crop=settings.crop, opaque=opaque)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(fold(seed, "weights"))
        network = LocalNetwork(settings.shape)
    return Start(material.to(device), network.to(device))


def model_file(
    settings: Settings, material: Material, weights: Mapping[str, Tensor], pictures: Sequence[Picture]
) -> ModelFile:
    tensors = {f"network.{name}": weight for name, weight in weights.items()}
    tensors |= {f"statistics.{name}": value for name, value in vars(material.statistics).items()}
    return ModelFile("wavelet", settings.to_json(), {}, tensors, tuple(encoded(picture) for picture in pictures))


def fastest(start: Start, settings: Settings, on_try: OnTry = lambda words: None) -> Settings:
    """Choose the way that took the least time just now, in a few steps of each that leave nothing behind."""
    seconds = dict[Settings, float]()
    for precision, channels_last in product(_DTYPES, (False, True)):
        trial = dataclasses.replace(settings, precision=precision, channels_last=channels_last)
        on_try(trial.numerics)
        best = min(seconds.values(), default=float("inf"))
        seconds[trial] = _seconds(start, trial, best)
        if _is_hopeless(start, seconds[trial], best):
            break
    return min(seconds, key=lambda trial: seconds[trial])


def _plan(settings: Settings) -> dict[str, str | bool]:
    return {"precision": settings.precision, "channels_last": settings.channels_last}


def _is_hopeless(start: Start, seconds: float, best: float) -> bool:
    return start.material.statistics.mean.device.type == "cpu" and seconds > _HOPELESS * best


def _seconds(start: Start, settings: Settings, best: float, rounds: int = 4) -> float:
    """Measure a step: the least of some, since whatever disturbs a measurement makes it longer.

    A way that is far from the `best` so far is given up at once: where bfloat16 is emulated a step takes seconds.
    """
    recipe, least = Start(start.material, copy.deepcopy(start.network)).recipe(settings), float("inf")
    for index in range(rounds):
        before = time.perf_counter()
        for update in recipe.updates(None, torch.Generator().manual_seed(fold(0, "trial", index))):
            update.loss.backward()  # type: ignore[no-untyped-call]
            update.loss.item()
        least = min(least, time.perf_counter() - before)
        if _is_hopeless(start, least, best):
            break
    return least
