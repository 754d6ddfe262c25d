"""Blind degradation of second order: the poor picture y that cameras and the internet could have made of a good one, x.

    D(x) = JPEG(noise(resize(blur(x))))        y = finish(D'(D(x)))        D' is D without its JPEG

(Wang, Xie, Dong and Shan, "Real-ESRGAN", ICCV Workshops 2021.) The finish is a resize to the asked size and a low-pass
that rings, and a JPEG, in random order; then 8 bits. The steps are drawn first and done then: `Degradation.draw` gives
them, `degrade` does them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar, final

import torch
from torch import Generator, Tensor

from sinwave.data.damage import KINDS, MODES, Blur, GaussianNoise, Jpeg, Kind, PoissonNoise, Rescale, Sinc, Step
from sinwave.data.kernels import check_sizes
from sinwave.errors import InputError
from sinwave.images import from_uint8, to_uint8
from sinwave.rng import fold
from sinwave.wavelets import Size

__all__ = ["REAL_ESRGAN", "RESSHIFT", "Degradation", "Range", "Stage", "degrade"]

T = TypeVar("T")


class Range(NamedTuple):
    """Numbers from `low` to `high`, as likely as one another."""

    low: float
    high: float

    def draw(self, generator: Generator) -> float:
        share = torch.rand((), generator=generator, dtype=torch.float64).item()
        return self.low + (self.high - self.low) * share


@final
@dataclass(frozen=True, kw_only=True)
class Stage:
    """A blur, a resize and noise; shares are probabilities, sizes of kernels are odd, noise is in levels of 255."""

    sizes: tuple[int, ...]
    sigma: Range
    up_down_keep: tuple[float, float, float]
    scale: Range
    gaussian: Range
    poisson: Range
    blur_share: float = 1.0
    sinc_share: float = 0.1
    kinds: tuple[float, ...] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    gaussian_share: float = 0.5
    gray_share: float = 0.4

    def __post_init__(self) -> None:
        if len(self.kinds) != len(KINDS):
            raise InputError(f"kinds has {len(self.kinds)} shares: there are {len(KINDS)} kinds of kernels")
        for name, weights in (("kinds", self.kinds), ("up down keep", self.up_down_keep)):
            if min(weights) < 0 or not 0 < sum(weights) < math.inf:
                raise InputError(f"{name} is {weights}: shares must not be below 0, and not all 0")
        check_sizes("sizes", self.sizes)
        _check_ranges(sigma=self.sigma, scale=self.scale, gaussian=self.gaussian, poisson=self.poisson)
        _check_shares(blur=self.blur_share, sinc=self.sinc_share, gaussian=self.gaussian_share, gray=self.gray_share)

    def draw(self, generator: Generator, *, of_target: bool) -> Iterator[Step]:
        """Draw the steps; the scale is that of the target if it is not of the picture."""
        if _happens(self.blur_share, generator):
            yield self._blur(generator)
        way = _index(self.up_down_keep, generator)
        scale = (Range(1, self.scale.high), Range(self.scale.low, 1), Range(1, 1))[way]
        yield Rescale(scale.draw(generator), _one_of(MODES, generator), of_target)
        is_gaussian, gray = _happens(self.gaussian_share, generator), _happens(self.gray_share, generator)
        strength = (self.gaussian if is_gaussian else self.poisson).draw(generator)
        yield GaussianNoise(strength, gray) if is_gaussian else PoissonNoise(strength, gray)

    def _blur(self, generator: Generator) -> Step:
        size = _one_of(self.sizes, generator)
        if _happens(self.sinc_share, generator):
            return Sinc(size, Range(math.pi / (3 if size < 13 else 5), math.pi).draw(generator))
        kind = KINDS[_index(self.kinds, generator)]
        along, turn = self.sigma.draw(generator), 0.0
        across = along
        if kind.endswith("anisotropic"):
            across, turn = self.sigma.draw(generator), Range(-math.pi, math.pi).draw(generator)
        return Blur(kind, size, (along, across), turn, _beta(kind, generator))


@final
@dataclass(frozen=True, kw_only=True)
class Degradation:
    """Two stages, the second of which may be left out, and the finish."""

    first: Stage
    second: Stage
    second_share: float
    ringing_sizes: tuple[int, ...]
    ringing_share: float = 0.8
    quality: tuple[int, int] = (30, 95)

    def __post_init__(self) -> None:
        check_sizes("ringing sizes", self.ringing_sizes)
        _check_shares(second=self.second_share, ringing=self.ringing_share)
        if not 1 <= self.quality[0] <= self.quality[1] <= 100:
            raise InputError(f"quality is {self.quality}: it must be two numbers from 1 to 100 in their order")

    def draw(self, generator: Generator) -> tuple[Step, ...]:
        """Draw the steps from a picture to its degraded one."""
        qualities = range(self.quality[0], self.quality[1] + 1)
        steps = [*self.first.draw(generator, of_target=False), Jpeg(_one_of(qualities, generator))]
        if _happens(self.second_share, generator):
            steps += self.second.draw(generator, of_target=True)
        fit: list[Step] = [Rescale(1, _one_of(MODES, generator), of_target=True)]
        if _happens(self.ringing_share, generator):
            fit.append(Sinc(_one_of(self.ringing_sizes, generator), Range(math.pi / 3, math.pi).draw(generator)))
        jpeg = Jpeg(_one_of(qualities, generator))
        return (*steps, jpeg, *fit) if _happens(0.5, generator) else (*steps, *fit, jpeg)


def _beta(kind: Kind, generator: Generator) -> float:
    """Draw the exponent, as often below 1 as above."""
    if kind in ("isotropic", "anisotropic"):
        return 1.0
    low, high = (1, 2) if kind.startswith("plateau") else (0.5, 4)
    return (Range(low, 1) if _happens(0.5, generator) else Range(1, high)).draw(generator)


def _happens(share: float, generator: Generator) -> bool:
    return Range(0, 1).draw(generator) < share


def _index(shares: Sequence[float], generator: Generator) -> int:
    return int(torch.multinomial(torch.tensor(shares, dtype=torch.float64), 1, generator=generator))


def _one_of(choices: Sequence[T], generator: Generator) -> T:
    return choices[int(torch.randint(len(choices), (), generator=generator))]


def _check_ranges(**ranges: Range) -> None:
    for name, (low, high) in ranges.items():
        if not 0 < low <= high < math.inf:
            raise InputError(f"{name} is {low:g} to {high:g}: it must be a range of numbers above 0")


def _check_shares(**shares: float) -> None:
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise InputError(f"the share of {name} is {share:g}: it must be between 0 and 1")


def _published(first: range, second: range, second_share: float) -> Degradation:
    """The published numbers, with the sizes of kernels and the share of second stages that papers differ in."""
    return Degradation(
        first=Stage(
            sizes=tuple(first),
            sigma=Range(0.2, 3),
            up_down_keep=(0.2, 0.7, 0.1),
            scale=Range(0.15, 1.5),
            gaussian=Range(1, 30),
            poisson=Range(0.05, 3),
        ),
        second=Stage(
            sizes=tuple(second),
            sigma=Range(0.2, 1.5),
            up_down_keep=(0.3, 0.4, 0.3),
            scale=Range(0.3, 1.2),
            gaussian=Range(1, 25),
            poisson=Range(0.05, 2.5),
            blur_share=0.8,
        ),
        second_share=second_share,
        ringing_sizes=tuple(second),
    )


RESSHIFT = _published(range(3, 20, 2), range(3, 14, 2), 0.5)
REAL_ESRGAN = _published(range(7, 22, 2), range(7, 22, 2), 1.0)


def degrade(
    picture: Tensor, size: Size, source: Generator | tuple[int, int, int], degradation: Degradation = REAL_ESRGAN
) -> Tensor:
    """Make a degraded picture (3, *size) of one (3, h, w), both in [-1, 1], the result of 8 bits.

    `source` is a generator, or the (seed, step, index) of the place in a training.
    """
    if picture.ndim != 3 or picture.shape[0] != 3 or not picture.is_floating_point() or 0 in picture.shape:
        raise InputError(
            f"the picture to degrade is {picture.dtype} {tuple(picture.shape)}: it must be float (3, h, w)"
        )
    if min(size) < 1:
        raise InputError(f"the size is {size[0]} x {size[1]}: it must be at least 1 x 1")
    if isinstance(source, tuple):
        seed, step, index = source
        source = Generator().manual_seed(fold(seed, "degrade", step, index))
    result = (picture.float() + 1) / 2
    for change in degradation.draw(source):
        result = change(result, size, source)
    return from_uint8(to_uint8(2 * result - 1))
