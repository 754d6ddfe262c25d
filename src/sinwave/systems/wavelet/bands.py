"""A pyramid of wavelet bands: nothing is ever interpolated, and going up a scale is the inverse transform.

A picture becomes scales, coarsest first. A scale is a stack of bands on one grid; its leading channels are *known*,
given by the coarser scale, and the rest is what the scale adds. Two progressions make a picture's scales:

    Levels(J)   scale j rebuilds the low band of level J - j - 1, half as large as the next, and has all four bands;
                its low band is the picture of the coarser scale
    Bands()     one level, four scales of one size: {low}, {low, horizontal}, {low, horizontal, vertical}, {all};
                the picture of a scale has its missing bands zero

Low bands are halved on the way down and doubled on the way up, as the orthonormal low band of a constant picture c is
2 c. So the picture of every Haar level, a mean of pixels, has the range [-1, 1] too; where bands are missing, or with
a longer filter, it may overshoot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from sinwave.errors import InputError
from sinwave.wavelets import Size, pack, unpack

__all__ = ["Bands", "Levels", "Progression", "Scale", "grid"]


@dataclass(frozen=True, eq=False)
class Scale:
    """One scale of a picture.

    picture   (1, c, h, w), what the bands rebuild
    bands     (1, k c, ceil(h / 2), ceil(w / 2)) with k bands
    known     how many of the channels the coarser scale gives: 0 at the coarsest
    whole     (1, c, h, w), the picture whose transform the bands are the first of: `picture`, unless some are missing
    filter    that of the transform
    """

    picture: Tensor
    bands: Tensor
    known: int
    whole: Tensor
    filter: str

    def shifted(self, down: int, right: int) -> Tensor:
        """The bands of the picture without its first rows and columns, of even size so that nothing is repeated."""
        # A single row or column cannot be even; there is nothing else to be had of it.
        rest = self.whole[..., down:, right:]
        height, width = (max(side - side % 2, 1) for side in rest.shape[2:])
        return pack(rest[..., :height, :width], self.filter)[:, : self.bands.shape[1]]


def grid(size: Size) -> Size:
    """The size of the bands of a picture of `size`."""
    return (size[0] + 1) // 2, (size[1] + 1) // 2


class Progression(ABC):
    """How a picture becomes scales."""

    factor: ClassVar[int]
    """Positions along a side for each position of the next coarser scale."""

    @abstractmethod
    def sizes(self, size: Size) -> tuple[Size, ...]:
        """The picture size of each scale for a picture of `size`, coarsest first."""

    @abstractmethod
    def split(self, image: Tensor) -> tuple[Scale, ...]:
        """The scales of a picture (1, c, h, w), coarsest first."""

    @abstractmethod
    def picture(self, bands: Tensor, size: Size) -> Tensor:
        """The picture of `size` that the bands of a scale rebuild."""

    @abstractmethod
    def bands(self, picture: Tensor, channels: int) -> Tensor:
        """The bands of a scale, so many channels, that rebuild a picture (b, c, h, w), or come nearest to it."""

    @abstractmethod
    def known(self, bands: Tensor, size: Size) -> Tensor:
        """What the bands of a scale, whose picture has `size`, give to the next finer scale."""


@final
@dataclass(frozen=True)
class Levels(Progression):
    """`levels` levels of the transform, each a scale."""

    levels: int
    filter: str = "haar"
    factor: ClassVar[int] = 2

    def __post_init__(self) -> None:
        """Check the number of levels."""
        if self.levels < 1:
            raise InputError(f"levels is {self.levels}: it must be 1 or more")

    def sizes(self, size: Size) -> tuple[Size, ...]:
        """Each half as large as the next, rounded up."""
        sizes = [size]
        while len(sizes) < self.levels:
            sizes.append(grid(sizes[-1]))
        return tuple(reversed(sizes))

    def split(self, image: Tensor) -> tuple[Scale, ...]:
        """The picture, its low band, the low band of that, ... in reverse."""
        scales: list[Scale] = []
        channels = image.shape[1]
        for level in reversed(range(self.levels)):
            bands = pack(image, self.filter)
            scales.append(Scale(image, bands, channels if level else 0, image, self.filter))
            image = bands[:, :channels] / 2
        return tuple(reversed(scales))

    def picture(self, bands: Tensor, size: Size) -> Tensor:
        """The inverse transform."""
        return unpack(bands, size, self.filter)

    def bands(self, picture: Tensor, channels: int) -> Tensor:
        """The transform."""
        return pack(picture, self.filter)

    def known(self, bands: Tensor, size: Size) -> Tensor:
        """The low band of the next scale is this scale's picture."""
        return 2 * self.picture(bands, size)


@final
@dataclass(frozen=True)
class Bands(Progression):
    """One level of the transform, a scale for each band."""

    channels: int = 3
    filter: str = "haar"
    factor: ClassVar[int] = 1

    def sizes(self, size: Size) -> tuple[Size, ...]:
        """Four times the same."""
        return (size,) * 4

    def split(self, image: Tensor) -> tuple[Scale, ...]:
        """The first band, the first two, the first three, all four."""
        bands, size = pack(image, self.filter), (image.shape[2], image.shape[3])
        known = [index * image.shape[1] for index in range(5)]
        parts = [bands[:, :count] for count in known[1:]]
        return tuple(
            Scale(self.picture(part, size), part, count, image, self.filter)
            for part, count in zip(parts, known[:-1], strict=True)
        )

    def picture(self, bands: Tensor, size: Size) -> Tensor:
        """The inverse transform with the missing bands zero."""
        missing = bands.new_zeros(bands.shape[0], 4 * self.channels - bands.shape[1], *bands.shape[2:])
        return unpack(torch.cat([bands, missing], 1), size, self.filter)

    def bands(self, picture: Tensor, channels: int) -> Tensor:
        """The first bands of the transform."""
        return pack(picture, self.filter)[:, :channels]

    def known(self, bands: Tensor, size: Size) -> Tensor:
        """The bands themselves."""
        return bands
