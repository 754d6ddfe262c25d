"""The training of a SinGAN, put together from a picture and options."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sinwave.data.batches import Constant
from sinwave.errors import InputError
from sinwave.images import Picture
from sinwave.resize import resize
from sinwave.rng import fold
from sinwave.systems.contracts import OnTry, Setup, TrainingRequest
from sinwave.systems.files import ModelFile, encoded
from sinwave.systems.singan.networks import Generators, critics
from sinwave.systems.singan.options import Options, Settings, reduced
from sinwave.systems.singan.recipe import SinganRecipe
from sinwave.training.loop import Budget, Training
from sinwave.training.schedule import Trapezoid

__all__ = ["Start", "begin", "model_file", "setup", "to_learn"]

_LEAST = 16
"""Pixels along a side that a critic of 11 has something to choose from."""

_TENSORS = 50
"""With their gradients and second derivatives, while a critic's penalty is computed beside its other losses."""

_STEADY = Trapezoid(warm_up=0, tail=0.0)
"""The rates are the recipe's business."""

_RESERVE = 0.92
"""The share of the minutes that are asked for; the rest is for looks, samples and checkpoints."""


class Start(NamedTuple):
    """The picture at all scales on a device, and the networks as they begin."""

    generators: Generators
    critics: nn.ModuleList
    scales: tuple[Tensor, ...]

    def recipe(self, settings: Settings) -> SinganRecipe:
        return SinganRecipe(settings, self.generators, self.critics, self.scales)


def setup(pictures: Sequence[Picture], options: Options, request: TrainingRequest) -> Setup:
    """Prepare a training of so many iterations of the finest scale, or as many as the minutes allow."""
    settings = options.settings()
    picture, usual = to_learn(pictures, settings), settings
    sizes = settings.sizes(picture.size)
    features = 4 * settings.channels(len(sizes) - 1) * math.prod(picture.size)
    request.reserve(0.4e9 + _TENSORS * features, "--max-size trains on a smaller picture")
    start = begin(picture, settings, request.seed, request.device)
    if request.minutes is None:
        settings = dataclasses.replace(settings, iterations=request.steps or settings.iterations)
    else:
        seconds = 60 * request.minutes
        plan = request.decide(lambda on_try: {"iterations": _iterations(start, settings, seconds, on_try)})
        settings = dataclasses.replace(settings, **plan)
    counts = settings.counts(sizes)
    return Setup(
        recipe=start.recipe(settings),
        batches=Constant(None),
        budget=Budget(sum(counts)),
        schedule=_STEADY,
        average=0.0,
        settings=dataclasses.asdict(settings),
        numerics="float32, channels first",
        parameters=sum(parameter.numel() for parameter in start.generators.parameters()),
        keep=lambda weights: model_file(settings, weights, picture),
        enough=sum(usual.counts(sizes)),
        receptive_field=settings.receptive_field,
        size=picture.size,
        preview=lambda step: step >= counts[0],
        work=_work(settings, start.generators, counts),
    )


def to_learn(pictures: Sequence[Picture], settings: Settings) -> Picture:
    """The one picture, reduced if it is to be; an `InputError` if it cannot be learned from."""
    if len(pictures) > 1:
        raise InputError("the system singan learns from one picture, not from several")
    (picture,) = pictures
    if picture.opaque is not None:
        raise InputError("the system singan cannot leave out what is transparent: take the system wavelet")
    size = reduced(picture.size, settings.max_size)
    if min(size) < _LEAST:
        raise InputError(f"the picture is reduced to {size[1]} x {size[0]}, and singan needs {_LEAST} pixels a side")
    if size == picture.size:
        return picture
    return dataclasses.replace(picture, pixels=resize(picture.pixels[None], size)[0].clamp(-1, 1))


def begin(picture: Picture, settings: Settings, seed: int, device: torch.device) -> Start:
    """Draw the first weights from the seed, the same on every device."""
    sizes = settings.sizes(picture.size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(fold(seed, "weights"))
        generators, judges = Generators(settings, sizes), critics(settings, len(sizes))
    scales = tuple(resize(picture.pixels[None], size).clamp(-1, 1).to(device) for size in sizes)
    return Start(generators.to(device), judges.to(device), scales)


def model_file(settings: Settings, weights: Mapping[str, Tensor], picture: Picture) -> ModelFile:
    return ModelFile("singan", settings.to_json(), {}, weights, (encoded(picture),))


def _work(settings: Settings, generators: Generators, counts: Sequence[int]) -> Callable[[int], float]:
    """The multiplications of the first so many steps, in some unit."""
    ends = list(accumulate(counts))
    costs = [h * w * settings.channels(n) ** 2 for n, (h, w) in enumerate(generators.sizes)]

    def work(step: int) -> float:
        scales = zip(costs, ends, counts, strict=True)
        return float(sum(cost * min(count, max(0, step - end + count)) for cost, end, count in scales))

    return work


def _iterations(start: Start, settings: Settings, seconds: float, on_try: OnTry) -> int:
    needed, many = 0.0, 1000
    counts = dataclasses.replace(settings, iterations=many).counts(start.generators.sizes)
    for index, count in enumerate(counts):
        on_try(f"scale {index + 1} of {len(start.scales)}")
        needed += _seconds(start, settings, index) * count / many
    return max(1, round(_RESERVE * seconds / needed))


def _seconds(start: Start, settings: Settings, index: int) -> float:
    """Measure an iteration of a scale: the mean of some, with and without penalty, after two that prepare them."""
    trial = Start(copy.deepcopy(start.generators), copy.deepcopy(start.critics), start.scales)
    measured, first, before = settings.penalty_every, 2, 0.0
    # No scale is finished in so few.
    recipe = trial.recipe(dataclasses.replace(settings, iterations=first + measured + 1, coarser=0.0))
    trial.generators.progress.copy_(torch.tensor([index, 0]))
    training = Training(recipe, Constant(None), Budget(), 0, schedule=_STEADY, longest_average=0.0)
    for number in range(first + measured):
        if number == first:
            before = time.perf_counter()
        training.advance()
    return (time.perf_counter() - before) / measured
