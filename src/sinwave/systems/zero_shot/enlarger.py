"""A picture's own teacher: a network learns from it in seconds, and then enlarges it."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from sinwave.nn.residual import ResidualNetwork
from sinwave.reduction import Reduction
from sinwave.rng import Noise, fold
from sinwave.systems.contracts import OnStep
from sinwave.systems.zero_shot.pairs import guessed, pairs
from sinwave.systems.zero_shot.recipe import DETAIL, EnlargingRecipe, turned, turned_back
from sinwave.training.loop import Budget, Report, Training, train
from sinwave.training.schedule import Trapezoid
from sinwave.wavelets import Size, pack, unpack

__all__ = ["Enlarger", "turns"]

_WIDTH, _BLOCKS, _STEPS, _AVERAGE = 32, 3, 200, 0.99
_WAYS = 8
_ROWS = 256


def turns(small: Size, large: Size) -> list[Size]:
    """The sizes on the way, each at most twice the one before: what is learned from half of a picture is less."""
    factor = max(b / a for a, b in zip(small, large, strict=True))
    count = max(0, math.ceil(math.log2(factor) - 1e-9))
    parts = [(turn + 1) / count for turn in range(count)]
    height, width = zip(small, large, strict=True)
    return [(_between(*height, part), _between(*width, part)) for part in parts]


def _between(small: int, large: int, part: float) -> int:
    return round(small * math.pow(large / small, part))


@final
class Enlarger:
    """A `SuperResolver`."""

    def effort(self, size: Size) -> tuple[float, ...]:
        """The training, whose crops are of one size, and the enlarging, in positions that the network sees."""
        return _STEPS * 3 * 4096.0, _WAYS * size[0] * size[1] / 4

    def enlarge(self, picture: Tensor, size: Size, noise: Noise, *, on_step: OnStep | None = None) -> Tensor:
        """The picture (1, 3, h, w) in `size`, up to eight times as large; reduced, it is the picture again."""
        sizes = turns((picture.shape[2], picture.shape[3]), size)
        if not sizes:
            return picture
        factor = max(b / a for a, b in zip(picture.shape[2:], size, strict=True)) ** (1 / len(sizes))
        network = _trained(picture, factor, noise, on_step)
        known, large = Reduction(picture), picture
        for turn, now in enumerate(sizes, 1):
            large = known.shown(_improved(network, guessed(large, now)))
            if on_step is not None:
                on_step(1, turn, len(sizes))
        return large


def _trained(picture: Tensor, factor: float, noise: Noise, on_step: OnStep | None) -> ResidualNetwork:
    """A network that has learned to enlarge the picture by this factor."""
    # Whoever only draws has no gradients recorded, and what was made so cannot be learned from.
    with torch.inference_mode(False), torch.enable_grad():
        source = picture.detach().clone().float()
        network = ResidualNetwork(4 * picture.shape[1], _WIDTH, _BLOCKS, noise.normal).to(source.device)
        recipe = EnlargingRecipe(network, pairs(source, factor))
        training = Training(
            recipe,
            Budget(_STEPS),
            fold(0, *map(repr, noise.normal((2,), "seed").tolist())),
            schedule=Trapezoid(warm_up=20, tail=0.5),
            longest_average=_AVERAGE,
        )

        def tell(training: Training, report: Report) -> None:
            if on_step is not None:
                on_step(0, report.step, _STEPS)

        train(training, [tell])
        network.load_state_dict(training.averages.values)
    return network.requires_grad_(False).to(picture.dtype)


def _improved(network: ResidualNetwork, guess: Tensor) -> Tensor:
    """The guess with what the network finds missing: the mean of what it says of it turned and mirrored."""
    missing = torch.zeros_like(guess)
    for way in range(_WAYS):
        side_by_side = turned(guess, way)
        bands = _by_rows(network, pack(side_by_side))
        missing += turned_back(unpack(bands, (side_by_side.shape[2], side_by_side.shape[3])), way)
    return guess + DETAIL / _WAYS * missing


def _by_rows(network: ResidualNetwork, bands: Tensor) -> Tensor:
    """The same as all at once, in the memory of a strip."""
    height, reach = bands.shape[2], network.radius
    found = []
    for first in range(0, height, _ROWS):
        above, last = max(first - reach, 0), min(first + _ROWS, height)
        strip = bands[:, :, above : min(last + reach, height)].contiguous(memory_format=torch.channels_last)
        found.append(network(strip)[:, :, first - above : last - above])
    return torch.cat(found, 2)
