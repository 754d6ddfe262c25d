"""What a SinGAN is, and how it is trained; the defaults are those of the paper and its code, but for `own`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sinwave.errors import InputError
from sinwave.systems.singan.pyramid import concurrent_sizes, published_sizes
from sinwave.wavelets import Size

__all__ = ["Configuration"]


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What a model file must know beside the weights; all of it is plain JSON.

    least, factor      shorter side of the coarsest scale in pixels, and the nominal ratio of two scales
    layers             convolutions of a generator and of a critic, 3 x 3 each
    width, most_width  their channels at the coarsest scale, doubled every `doubled_every` scales up to the most
    amplitude          of a finer scale's noise, in units of what the coarser scales fail to reconstruct
    own                so many coarsest scales normalize each picture by its own statistics when they draw, too
    together           scales that are trained at once, 1 as published; then there are at most six
    """

    least: int = 25
    factor: float = 0.75
    layers: int = 5
    width: int = 32
    most_width: int = 128
    doubled_every: int = 4
    amplitude: float = 0.1
    own: int = 2
    together: int = 1

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Configuration:
        """The configuration in a model file."""
        try:
            found = cls(**values)
            numbers = (vars(found) | {"own": found.own + 1}).values()
            if not all(isinstance(n, int | float) and 0 < n <= 4096 for n in numbers) or not 0.1 < found.factor < 1:
                raise ValueError(f"one of {list(numbers)} is out of range")
            found.channels(len(found.sizes((64, 64))) - 1)
            return found
        except (TypeError, ValueError, ArithmeticError) as error:
            raise InputError(f"the model's options make no sense: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """The other way round."""
        return dataclasses.asdict(self)

    def sizes(self, size: Size) -> tuple[Size, ...]:
        """(height, width) of the scales of a picture, coarsest first."""
        of = published_sizes if self.together == 1 else concurrent_sizes
        return of(size, least=self.least, factor=self.factor)

    def channels(self, index: int) -> int:
        """Of the networks of a scale."""
        return min(self.width << index // self.doubled_every, self.most_width)

    @property
    def radius(self) -> int:
        """How many pixels an output sees to each side."""
        return self.layers

    @property
    def field(self) -> int:
        """Pixels along a side that an output of one scale depends on."""
        return 1 + 2 * self.radius
