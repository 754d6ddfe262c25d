"""A pyramid of wavelet bands: the step to a finer scale is the inverse transform, without any interpolation.

A picture is split into scales, coarsest first. A scale is a stack of bands on one grid. Its leading channels are
*inherited* from the coarser scale, and it adds the others. There are two ways to split, called progressions:

    Levels(J)   scale j rebuilds the low band of level J - j - 1, half as large as that of scale j + 1, and has all four
                bands; its low band is the picture of the coarser scale
    Bands()     one level, four scales of one size: {low}, {low, horizontal}, {low, horizontal, vertical}, {all};
                in the picture of a scale the missing bands are zero

The orthonormal low band of a constant picture c is 2 c, so low bands are halved on the way to coarser scales and
doubled on the way back. The picture of every Haar level is then a mean of pixels, in [-1, 1]; with missing bands or a
longer filter it may overshoot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.wavelets import Size, pack, unpack

__all__ = ["Bands", "Levels", "Progression", "Scale", "grid"]


@dataclass(frozen=True, eq=False)
class Scale:
    """Scale of a picture.

    picture    (1, c, h, w), rebuilt from the bands
    bands      (1, k c, ceil(h / 2), ceil(w / 2)) with k bands
    inherited  number of leading channels that come from the coarser scale, 0 at the coarsest
    whole      (1, c, h, w), the picture whose first k bands these are: equal to `picture` if k = 4
    filter     of the transform
    """

    picture: Tensor
    bands: Tensor
    inherited: int
    whole: Tensor
    filter: str

    def shifted(self, down: int, right: int) -> Tensor:
        """Transform the picture without its first rows and columns, cropped to even sizes to repeat nothing."""
        # A single row or column cannot be cropped to an even size.
        rest = self.whole[..., down:, right:]
        height, width = (max(side - side % 2, 1) for side in rest.shape[2:])
        return pack(rest[..., :height, :width], self.filter)[:, : self.bands.shape[1]]

    def hidden(self, opaque: Tensor | None, down: int = 0, right: int = 0) -> Tensor:
        """Mark the positions (h, w) of the bands that cover a pixel which is not `opaque`, after a shift."""
        if opaque is None:
            return torch.zeros(self.bands.shape[2:], dtype=torch.bool, device=self.bands.device)
        spread = functional.adaptive_max_pool2d((~opaque).float()[None, None], self.picture.shape[2:])
        spread = spread[..., down:, right:]
        even = functional.pad(spread, (0, spread.shape[3] % 2, 0, spread.shape[2] % 2), mode="replicate")
        return (functional.max_pool2d(even, 2) > 0)[0, 0]


def grid(size: Size) -> Size:
    """Size of the bands of a picture of `size`."""
    return (size[0] + 1) // 2, (size[1] + 1) // 2


class Progression(ABC):
    """Rule that splits a picture into scales."""

    filter: str
    factor: ClassVar[int]
    """Ratio of the grid of a scale to that of the next coarser one, along a side."""

    @abstractmethod
    def sizes(self, size: Size) -> tuple[Size, ...]:
        """Sizes of the pictures of all scales for a picture of `size`, coarsest first."""

    @abstractmethod
    def split(self, image: Tensor) -> tuple[Scale, ...]:
        """Split a picture (1, c, h, w) into scales, coarsest first."""

    @abstractmethod
    def picture(self, bands: Tensor, size: Size) -> Tensor:
        """Rebuild the picture of `size` from the bands of a scale."""

    def bands(self, picture: Tensor, channels: int) -> Tensor:
        """Return the bands of a scale with that many channels whose picture is nearest to `picture` (b, c, h, w)."""
        return pack(picture, self.filter)[:, :channels]

    @abstractmethod
    def inherited(self, bands: Tensor, size: Size) -> Tensor:
        """Return the channels that the next finer scale inherits from these bands, whose picture has `size`."""


@final
@dataclass(frozen=True)
class Levels(Progression):
    """Progression with a scale for each of `levels` levels of the transform."""

    levels: int
    filter: str = "haar"
    factor: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.levels < 1:
            raise InputError(f"levels is {self.levels}: it must be 1 or more")

    def sizes(self, size: Size) -> tuple[Size, ...]:
        sizes = [size]
        while len(sizes) < self.levels:
            sizes.append(grid(sizes[-1]))
        return tuple(reversed(sizes))

    def split(self, image: Tensor) -> tuple[Scale, ...]:
        scales: list[Scale] = []
        channels = image.shape[1]
        for level in reversed(range(self.levels)):
            bands = pack(image, self.filter)
            scales.append(Scale(image, bands, channels if level else 0, image, self.filter))
            image = bands[:, :channels] / 2
        return tuple(reversed(scales))

    def picture(self, bands: Tensor, size: Size) -> Tensor:
        return unpack(bands, size, self.filter)

    def inherited(self, bands: Tensor, size: Size) -> Tensor:
        return 2 * self.picture(bands, size)


@final
@dataclass(frozen=True)
class Bands(Progression):
    """Progression with one level of the transform and a scale for each of its bands."""

    channels: int = 3
    filter: str = "haar"
    factor: ClassVar[int] = 1

    def sizes(self, size: Size) -> tuple[Size, ...]:
        return (size,) * 4

    def split(self, image: Tensor) -> tuple[Scale, ...]:
        bands, size = pack(image, self.filter), (image.shape[2], image.shape[3])
        parts = [bands[:, : (index + 1) * image.shape[1]] for index in range(4)]
        return tuple(
            Scale(self.picture(part, size), part, index * image.shape[1], image, self.filter)
            for index, part in enumerate(parts)
        )

    def picture(self, bands: Tensor, size: Size) -> Tensor:
        missing = bands.new_zeros(bands.shape[0], 4 * self.channels - bands.shape[1], *bands.shape[2:])
        return unpack(torch.cat([bands, missing], 1), size, self.filter)

    def inherited(self, bands: Tensor, size: Size) -> Tensor:
        return bands
