"""Options of a training, the facts of a model, the two presets, and the sizes of scales; loads without torch.

With S the shorter side of the picture, `least` that of the coarsest scale, and a nominal factor f,

    scales     N = ceil(log_f(least / S)) + 1
    factor     r = (least / S)^(1 / (N - 1)), so that the shorter side of the coarsest scale is exactly `least`
    size n     r^e(n) of the picture,      e(n) = N - 1 - n

When scales are trained together, fewer are enough, and more of them are coarse: with M = N - 1, scale n < M has
e(n) = (M - 1) ln(M - n) / ln M + 1, and the finest e = 0.

The defaults of `Configuration` and `Settings` are those of the paper and its code, but for `instance_norm_scales`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from sinwave.errors import InputError
from sinwave.options import check, from_json, option
from sinwave.systems.contracts import Size

__all__ = ["FAST", "OFFICIAL", "Configuration", "Options", "Settings", "concurrent_sizes", "published_sizes", "reduced"]

_RENAMED = {"own": "instance_norm_scales", "together": "concurrent_stages"}
"""Names in older model files."""


def published_sizes(size: Size, *, least: int = 25, factor: float = 0.75) -> tuple[Size, ...]:
    """Sizes of the scales of a picture (h, w), each larger than the one before by nearly the same factor."""
    count = _count(size, least, factor)
    return _sizes(size, least, [count - 1 - index for index in range(count)])


def concurrent_sizes(size: Size, *, count: int = 6, least: int = 25, factor: float = 0.75) -> tuple[Size, ...]:
    """Sizes of at most `count` scales, closer to each other the coarser they are."""
    last = min(count, _count(size, least, factor)) - 1
    steepness = (last - 1) / math.log(last) if last > 1 else 0.0
    return _sizes(size, least, [*(steepness * math.log(last - n) + 1 for n in range(last)), 0.0])


def reduced(size: Size, most: int | None) -> Size:
    """Size of a picture after a reduction of its longer side to at most `most` pixels."""
    share = 1.0 if most is None else min(1.0, most / max(size))
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def _count(size: Size, least: int, factor: float) -> int:
    # Rounding must not add a scale if least / S is a power of the factor.
    return max(0, math.ceil(math.log(least / min(size), factor) - 1e-9)) + 1


def _sizes(size: Size, least: int, exponents: list[float]) -> tuple[Size, ...]:
    """`exponents` from the coarsest, the largest, to 0."""
    ratio = (least / min(size)) ** (1 / exponents[0]) if exponents[0] else 1.0
    return tuple((round(size[0] * ratio**e), round(size[1] * ratio**e)) for e in exponents)


@dataclass(frozen=True, kw_only=True)
class Options:
    """SinGAN, the adversarial pyramid: a generator and a critic for each scale, trained one after another."""

    preset: Literal["fast", "official"] = option(
        "fast",
        "fast: 800 steps at the finest scale, minutes on a laptop; official: as published, "
        "2,000 at every scale, hours on a GPU",
    )
    concurrent_stages: int | None = option(
        None, "how many scales train at once (default: 1); above 1, the pyramid has at most six scales", low=1, high=6
    )
    max_size: int | None = option(
        None, "the longest side; larger pictures are reduced to it (fast: none; official: 250)", low=32, high=100_000
    )

    def __post_init__(self) -> None:
        check(self)

    def settings(self) -> Settings:
        """Complete the options by their preset."""
        preset = {"fast": FAST, "official": OFFICIAL}[self.preset]
        stages, largest = self.concurrent_stages or preset.concurrent_stages, self.max_size or preset.max_size
        return replace(preset, concurrent_stages=stages, max_size=largest)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything that a model file must know beside the weights."""

    least: int = option(25, "the shorter side of the coarsest scale in pixels", low=1, high=4096)
    factor: float = option(0.75, "the nominal ratio of two scales", low=0.1, high=0.99)
    layers: int = option(5, "convolutions of a generator and of a critic, 3 x 3 each", low=1, high=64)
    width: int = option(32, "their channels at the coarsest scale", low=1, high=4096)
    most_width: int = option(128, "their channels at the most", low=1, high=4096)
    doubled_every: int = option(4, "the width is doubled every so many scales", low=1, high=4096)
    amplitude: float = option(
        0.1, "of a finer scale's noise, in units of what the coarser scales fail to reconstruct", low=1e-9, high=4096
    )
    instance_norm_scales: int = option(
        2, "so many coarsest scales normalize each picture by its own statistics when they draw, too", low=0, high=4096
    )
    concurrent_stages: int = option(
        1, "scales that are trained at once, 1 as published; then there are at most six", low=1, high=4096
    )

    def __post_init__(self) -> None:
        check(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Configuration:
        try:
            return from_json(cls, {_RENAMED.get(name, name): value for name, value in values.items()})
        except InputError as error:
            raise InputError(f"the model's options make no sense: {error}") from error

    def to_json(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(Configuration)}

    def sizes(self, size: Size) -> tuple[Size, ...]:
        """(height, width) of the scales of a picture, coarsest first."""
        scales = published_sizes if self.concurrent_stages == 1 else concurrent_sizes
        return scales(size, least=self.least, factor=self.factor)

    def channels(self, index: int) -> int:
        return min(self.width << index // self.doubled_every, self.most_width)

    @property
    def radius(self) -> int:
        return self.layers

    @property
    def receptive_field(self) -> int:
        return 1 + 2 * self.radius


@dataclass(frozen=True, kw_only=True)
class Settings(Configuration):
    """A configuration, and how a scale of it is trained, which a model file does not need."""

    iterations: int = option(2000, "iterations of the finest scale", low=1)
    coarser: float = option(0.0, "a scale whose sides are 1 / r of the finest has r^`coarser` times as many", low=0)
    critic_steps: int = option(3, "steps of the critic in each iteration", low=1)
    generator_steps: int = option(3, "steps of the generator after them", low=1)
    rate: float = option(5e-4, "the learning rate of Adam", low=0)
    decay_at: float = option(0.8, "the share of the iterations after which the rate falls", low=0, high=1)
    decay: float = option(0.1, "the factor by which it falls", low=0, high=1)
    finer_scale_rate: float = option(
        0.1, "the factor of a generator's rate for each finer scale that it is trained along with", low=0, high=1
    )
    penalty: float = option(0.1, "the weight of the critic's penalty", low=0)
    penalty_every: int = option(1, "one of so many iterations has the penalty, so many times", low=1)
    fidelity: float = option(10.0, "the weight of the reconstruction", low=0)
    max_size: int | None = option(None, "reduce a picture whose longer side is larger", low=1)

    def counts(self, sizes: Sequence[Size]) -> tuple[int, ...]:
        finest = math.prod(sizes[-1])
        return tuple(round(self.iterations * (finest / math.prod(size)) ** (self.coarser / 2)) for size in sizes)


FAST = Settings(
    most_width=32, iterations=800, coarser=0.25, critic_steps=1, generator_steps=1, rate=1e-3, penalty_every=4
)
OFFICIAL = Settings(max_size=250)
