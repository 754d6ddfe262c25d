"""A picture's own teacher: a network learns from it in seconds, and then enlarges it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NoReturn, final

import torch
from torch import Tensor

from sinwave.data.batches import Constant
from sinwave.errors import InputError
from sinwave.images import Picture
from sinwave.nn.residual import ResidualNetwork
from sinwave.reduction import Reduction
from sinwave.rng import Noise, fold
from sinwave.systems.contracts import Ability, Computing, Loaded, OnStep, Progress
from sinwave.systems.zero_shot.recipe import DETAIL, EnlargingRecipe, guessed, pairs, turned, turned_back
from sinwave.threads import side_by_side, threads
from sinwave.training.loop import Budget, Report, Training, train
from sinwave.training.schedule import Trapezoid
from sinwave.wavelets import Size, pack, unpack

__all__ = ["Enlarger", "Untrained", "turns"]

_WIDTH, _BLOCKS, _STEPS, _AVERAGE = 32, 3, 200, 0.99
_WAYS = 8
_ROWS = 256


def turns(small: Size, large: Size) -> list[Size]:
    """List the sizes on the way, each at most twice the one before: a picture of half the size teaches less."""
    down, right = (b / a for a, b in zip(small, large, strict=True))
    count = max(0, math.ceil(math.log2(max(down, right)) - 1e-9))
    parts = [(turn + 1) / count for turn in range(count)]
    return [(round(small[0] * math.pow(down, part)), round(small[1] * math.pow(right, part))) for part in parts]


@final
class Enlarger:
    """A `SuperResolver` that learns from the picture itself while the user waits."""

    def upscale(self, low: Tensor, size: Size, noise: Noise, *, on_step: OnStep | None = None) -> Tensor:
        """Enlarge a picture (1, 3, h, w) to `size`, up to eight times; reduced, it is the picture again."""
        sizes = turns((low.shape[2], low.shape[3]), size)
        if not sizes:
            return low
        factor = max(b / a for a, b in zip(low.shape[2:], size, strict=True)) ** (1 / len(sizes))
        network = _trained(low, factor, noise, on_step)
        reduction, large = Reduction(low), low
        for turn, now in enumerate(sizes, 1):
            large = reduction.in_range(_improved(network, guessed(large, now)))
            if on_step is not None:
                on_step(Progress(1, 2, turn, len(sizes), lambda large=large: large))  # type: ignore[misc]
        return large


def _trained(picture: Tensor, factor: float, noise: Noise, on_step: OnStep | None) -> ResidualNetwork:
    """Train a network to enlarge the picture by this factor; one thread, so that their number changes no bit."""
    # In inference mode no gradients are recorded, and tensors that it made cannot be learned from.
    with torch.inference_mode(False), torch.enable_grad(), threads(1 if picture.device.type == "cpu" else None):
        source = picture.detach().clone().float()
        network = ResidualNetwork(4 * picture.shape[1], _WIDTH, _BLOCKS, noise.normal).to(source.device)
        training = Training(
            EnlargingRecipe(network, pairs(source, factor)),
            Constant(None),
            Budget(_STEPS),
            fold(0, *map(repr, noise.normal((2,), "seed").tolist())),
            schedule=Trapezoid(warm_up=20, tail=0.5),
            longest_average=_AVERAGE,
        )

        def report_step(training: Training, report: Report) -> None:
            if on_step is not None:
                on_step(Progress(0, 2, report.step, _STEPS, lambda: picture))

        train(training, [report_step])
        network.load_state_dict(training.averages.values)
    return network.requires_grad_(False).to(picture.dtype)


def _improved(network: ResidualNetwork, guess: Tensor) -> Tensor:
    """Add the detail that the network misses: the mean of its answers to the guess, turned and mirrored."""
    missing = torch.zeros_like(guess)
    for way in range(0, _WAYS, 2):
        for detail in side_by_side([partial(_detail, network, guess, way + n) for n in range(2)], guess.device):
            missing += detail
    return guess + DETAIL / _WAYS * missing


def _detail(network: ResidualNetwork, guess: Tensor, way: int) -> Tensor:
    picture = turned(guess, way)
    with threads(1 if guess.device.type == "cpu" else None):
        bands = _by_rows(network, pack(picture))
    return turned_back(unpack(bands, (picture.shape[2], picture.shape[3])), way)


def _by_rows(network: ResidualNetwork, bands: Tensor) -> Tensor:
    height, reach = bands.shape[2], network.radius
    strips = []
    for first in range(0, height, _ROWS):
        above, last = max(first - reach, 0), min(first + _ROWS, height)
        strip = bands[:, :, above : min(last + reach, height)].contiguous(memory_format=torch.channels_last)
        strips.append(network(strip)[:, :, first - above : last - above])
    return torch.cat(strips, 2)


@final
@dataclass(frozen=True, eq=False)
class Untrained:
    """A picture as its own teacher, for enlarging alone."""

    picture: Picture
    abilities: ClassVar[frozenset[Ability]] = frozenset({"upscale"})
    engines: ClassVar[tuple[str, ...]] = ("network",)

    @property
    def size(self) -> Size:
        return self.picture.size

    @property
    def pictures(self) -> tuple[Picture, ...]:
        return (self.picture,)

    def build(self, engine: str, computing: Computing) -> Enlarger:
        if self.picture.opaque is not None:
            raise InputError("zero-shot learns from all of the picture, what is transparent too: take another model")
        return Enlarger()

    def mix(self, others: Sequence[Loaded], shares: Sequence[float], engine: str, computing: Computing) -> NoReturn:
        raise InputError("a network that enlarges one picture cannot be mixed with others")

    def memory(self, engine: str, size: Size) -> float:
        """Estimate the bytes: the picture and its reductions, and strips of what is between the layers."""
        return 0.5e9 + 120 * size[0] * size[1]
