"""Everything that a training of a SinGAN needs, put together from a picture and a preset."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, final

import torch
from torch import Tensor, nn

from sinwave.errors import InputError
from sinwave.images import Picture
from sinwave.resize import resize
from sinwave.rng import fold
from sinwave.systems.singan.configuration import Configuration
from sinwave.systems.singan.networks import Generators, critics
from sinwave.systems.singan.practice import Practice
from sinwave.systems.singan.pyramid import reduced
from sinwave.systems.singan.recipe import SinganRecipe
from sinwave.systems.singan.trained import Trained
from sinwave.systems.trainable import Course, Wanted
from sinwave.training.loop import Budget, Training
from sinwave.training.schedule import Trapezoid

__all__ = ["PRESETS", "Chosen", "Fitting", "chosen"]

_LEAST = 16
"""Pixels along a side that a critic of 11 has something to choose from."""

_TENSORS = 50
"""With their gradients and second derivatives, while a critic's penalty is computed beside its other losses."""

_STEADY = Trapezoid(warm_up=0, tail=0.0)
"""The rates are the recipe's business."""

_RESERVE = 0.92
"""Of the minutes that are asked for; the rest is for looks, samples and checkpoints."""


@final
@dataclass(frozen=True)
class Chosen:
    """A preset, some of it changed; a picture whose longer side is more than `most` is reduced to it."""

    configuration: Configuration
    practice: Practice
    most: int | None

    def facts(self) -> Mapping[str, Any]:
        """What must be the same for a training to go on."""
        details = json.dumps([self.configuration.to_json(), vars(self.practice)], sort_keys=True)
        return {
            "system": "singan",
            "receptive field": self.configuration.field,
            "concurrent stages": self.configuration.together,
            "max size": self.most,
            "recipe": hashlib.sha256(details.encode()).hexdigest()[:16],
        }

    def begin(self, pictures: Sequence[Picture], seed: int, device: torch.device) -> Fitting:
        """Weights from the seed, the same on every device."""
        (picture,) = pictures
        if picture.opaque is not None:
            raise InputError("the system singan cannot leave out what is transparent: take the system wavelet")
        size = reduced(picture.size, self.most)
        if size != picture.size:
            picture = replace(picture, pixels=resize(picture.pixels[None], size)[0].clamp(-1, 1))
        if min(size) < _LEAST:
            raise InputError(
                f"the picture is reduced to {size[1]} x {size[0]}, and singan needs {_LEAST} pixels a side"
            )
        sizes = self.configuration.sizes(size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(fold(seed, "weights"))
            generators, judges = Generators(self.configuration, sizes), critics(self.configuration, len(sizes))
        scales = tuple(resize(picture.pixels[None], each).clamp(-1, 1).to(device) for each in sizes)
        return Fitting(picture, self.practice, generators.to(device), judges.to(device), scales)


PRESETS = {
    "fast": Chosen(
        Configuration(most_width=32),
        Practice(iterations=800, coarser=0.25, critic_steps=1, generator_steps=1, rate=1e-3, penalty_every=4),
        None,
    ),
    "official": Chosen(Configuration(), Practice(), 250),
}


def chosen(name: str, *, together: int | None, most: int | None) -> Chosen:
    """A preset with some of it changed."""
    found = PRESETS[name]
    if together is not None:
        found = replace(found, configuration=replace(found.configuration, together=together))
    return found if most is None else replace(found, most=most)


@final
@dataclass(frozen=True, eq=False)
class Fitting:
    """The picture at all scales on a device, and the networks as they begin."""

    picture: Picture
    practice: Practice
    generators: Generators
    critics: nn.ModuleList
    scales: tuple[Tensor, ...]

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """One."""
        return (self.picture,)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.generators.anchor.device

    @property
    def parameters(self) -> int:
        """Of the generators."""
        return sum(parameter.numel() for parameter in self.generators.parameters())

    @property
    def memory(self) -> float:
        """Results: so many tensors of what a layer makes of the finest scale."""
        height, width = self.generators.sizes[-1]
        channels = self.generators.configuration.channels(len(self.scales) - 1)
        return 0.4e9 + _TENSORS * 4 * channels * height * width

    def plan(self, wanted: Wanted, on_try: Callable[[str], None]) -> Mapping[str, Any]:
        """How many iterations the finest scale has: as was asked, or as many as the minutes allow."""
        if wanted.minutes is None:
            return {"iterations": wanted.steps or self.practice.iterations}
        seconds, many = 0.0, 1000
        for index, count in enumerate(replace(self.practice, iterations=many).counts(self.generators.sizes)):
            on_try(f"scale {index + 1} of {len(self.scales)}")
            seconds += self._seconds(index) * count / many
        return {"iterations": max(1, round(_RESERVE * 60 * wanted.minutes / seconds))}

    def course(self, plan: Mapping[str, Any], wanted: Wanted) -> Course:
        """So many iterations of the finest scale; the rates are the recipe's business."""
        practice = replace(self.practice, iterations=int(plan["iterations"]))
        recipe = SinganRecipe(practice, self.generators, self.critics, self.scales)
        configuration, ends = self.generators.configuration, list(accumulate(recipe.counts))
        costs = [h * w * configuration.channels(n) ** 2 for n, (h, w) in enumerate(self.generators.sizes)]

        def effort(step: int) -> float:
            begun = zip(costs, ends, recipe.counts, strict=True)
            return float(sum(cost * min(count, max(0, step - end + count)) for cost, end, count in begun))

        return Course(
            recipe,
            Budget(ends[-1]),
            _STEADY,
            average=0.0,
            numerics="float32, channels first",
            trained=self.trained,
            effort=effort,
            shows=lambda step: step >= ends[0],
        )

    def trained(self, weights: Mapping[str, Tensor]) -> Trained:
        """The model with these weights, which shares none with the training."""
        generators = copy.deepcopy(self.generators)
        generators.load_state_dict(weights)
        return Trained(generators, self.picture)

    def _seconds(self, index: int) -> float:
        """Of an iteration of a scale: the mean of some, with and without penalty, after two that prepare them."""
        generators, judges = copy.deepcopy(self.generators), copy.deepcopy(self.critics)
        counted, first = self.practice.penalty_every, 2
        # No scale is finished in so few.
        practice = replace(self.practice, iterations=first + counted + 1, coarser=0.0)
        generators.progress.copy_(torch.tensor([index, 0]))
        recipe, start = SinganRecipe(practice, generators, judges, self.scales), 0.0
        training = Training(recipe, Budget(), 0, schedule=_STEADY, longest_average=0.0)
        for number in range(first + counted):
            if number == first:
                start = time.perf_counter()
            training.advance()
        return (time.perf_counter() - start) / counted
