"""What a network is trained on: crops of every scale, of the pictures themselves and of the same moved by one pixel.

Bands of a picture moved by one pixel are other numbers (the transform of even and odd places differs), so each scale
is seen in four phases. Around a picture there is a margin where `outside` is 1: a crop that lies at its border tells
so. The pyramids are made once; a crop is a slice of them, on the device where the training runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.systems.wavelet.bands import Progression, Scale
from sinwave.systems.wavelet.expectation import LEAST, activity, fitted
from sinwave.wavelets import Size

__all__ = ["MARGIN", "Batch", "Material", "Statistics", "crops_for", "guide", "hidden_positions"]

MARGIN = 2
"""Positions around a picture that say that there is none."""

_PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of each channel of each scale: (scales, c), over all pictures.

    `low` and `high` are the range; `offset` and `slope` are what the activity of the coarser scale says of details.
    """

    mean: Tensor
    deviation: Tensor
    low: Tensor
    high: Tensor
    offset: Tensor
    slope: Tensor

    @classmethod
    def of(cls, scales: Sequence[Sequence[Tensor]], activities: Sequence[Sequence[Tensor]]) -> Statistics:
        """From the inner values (c, n) of every picture, scale by scale, and the activities (n,) at their places."""
        pooled = [torch.cat(list(some), 1).double() for some in scales]
        found = ([each.mean(1), each.std(1), each.amin(1), each.amax(1)] for each in pooled)
        mean, deviation, low, high = (torch.stack(list(some)) for some in zip(*found, strict=True))
        deviation = deviation.clamp(min=LEAST)
        centered = (each - middle[:, None] for each, middle in zip(pooled, mean, strict=True))
        active = (torch.cat(list(some)).double() for some in activities)
        lines = [fitted(a, x) for a, x in zip(active, centered, strict=True)]
        offset, slope = (torch.stack(list(some)) for some in zip(*lines, strict=True))
        return cls(*(each.float() for each in (mean, deviation, low, high, offset, slope)))

    def check(self, scales: int, channels: int) -> None:
        """Raise `InputError` unless these are numbers for so many scales and channels."""
        for name, value in vars(self).items():
            if value.shape != (scales, channels) or not value.is_floating_point():
                raise InputError(f"the {name} of {scales} scales of {channels} channels is {tuple(value.shape)}")

    def to(self, device: torch.device) -> Statistics:
        """The same on another device."""
        return Statistics(**{name: value.to(device) for name, value in vars(self).items()})


class Batch(NamedTuple):
    """Crops: bands (b, c, h, w), outside (b, 1, h, w), and of which scale each is (b,)."""

    bands: Tensor
    outside: Tensor
    scale: Tensor


@final
class Material:
    """The crops of some pictures (1, 3, h, w) in [-1, 1]; what is not opaque counts as outside."""

    def __init__(
        self, images: Sequence[Tensor], progression: Progression, *, crop: int, opaque: Sequence[Tensor | None] = ()
    ) -> None:
        """Crops have `crop` positions along a side, fewer where a whole coarsest scale is smaller."""
        splits = [progression.split(image) for image in images]
        hidden = list(opaque) or [None] * len(images)
        coarsest = [scales[0].bands.shape[2:] for scales in splits]
        self.crop: Size = tuple(min(crop, max(sides) + 2 * MARGIN) for sides in zip(*coarsest, strict=True))
        self.known = [scale.known for scale in splits[0]]
        self.channels = [scale.bands.shape[1] for scale in splits[0]]
        self._planes: list[list[Tensor]] = []
        inner: list[list[Tensor]] = []
        activities: list[list[Tensor]] = []
        for index in range(len(splits[0])):
            planes, values, active = [], [], []
            for scales, mask in zip(splits, hidden, strict=True):
                for down, right in _PHASES:
                    bands = scales[index].shifted(down, right)
                    outside = _hidden(mask, scales[index], down, right, (bands.shape[2], bands.shape[3]))
                    planes.append(self._framed(bands, outside))
                    values.append(_filled(bands, max(self.channels))[0, :, ~outside])
                    known = bands[:, : self.known[index]]
                    active.append(activity(known, outside[None, None].to(bands))[0, 0, ~outside])
            self._planes.append(planes)
            inner.append(values)
            activities.append(active)
        self.statistics = Statistics.of(inner, activities)

    @property
    def scales(self) -> int:
        """How many scales there are."""
        return len(self._planes)

    def to(self, device: torch.device) -> Material:
        """Move the planes to another device."""
        self._planes = [[plane.to(device) for plane in planes] for planes in self._planes]
        self.statistics = self.statistics.to(device)
        return self

    def draw(self, scales: Sequence[int], generator: torch.Generator) -> Batch:
        """One crop of each scale named, anywhere on any picture in any phase; `generator` is of the CPU."""
        height, width = self.crop
        crops = []
        for scale in scales:
            planes = self._planes[scale]
            plane = planes[_below(len(planes), generator)]
            top, left = (
                _below(side - crop + 1, generator) for side, crop in zip(plane.shape[1:], self.crop, strict=True)
            )
            crops.append(plane[:, top : top + height, left : left + width])
        stack = torch.stack(crops)
        most = stack.shape[1] - 1
        index = torch.tensor(list(scales), device=stack.device)
        return Batch(stack[:, :most], stack[:, most:], index)

    def _framed(self, bands: Tensor, outside: Tensor) -> Tensor:
        """(c + 1, h, w): zero bands and outside 1 in the margin, which is wider where a crop would not fit."""
        bands = _filled(torch.where(outside, torch.zeros_like(bands), bands), max(self.channels))
        frame: list[int] = []
        for side, crop in zip(reversed(bands.shape[2:]), reversed(self.crop), strict=True):
            missing = max(crop - side - 2 * MARGIN, 0)
            frame += [MARGIN + missing // 2, MARGIN + missing - missing // 2]
        padded = functional.pad(bands, frame)
        return torch.cat([padded, functional.pad(outside[None, None].to(bands), frame, value=1.0)], 1)[0]


def _filled(bands: Tensor, channels: int) -> Tensor:
    """Bands that a scale does not have are zero."""
    return functional.pad(bands, (0, 0, 0, 0, 0, channels - bands.shape[1]))


def _hidden(opaque: Tensor | None, scale: Scale, down: int, right: int, size: Size) -> Tensor:
    if opaque is None:
        return torch.zeros(size, dtype=torch.bool, device=scale.bands.device)
    return hidden_positions(~opaque, (scale.picture.shape[2], scale.picture.shape[3]), down, right, size)


def hidden_positions(hidden: Tensor, picture: Size, down: int, right: int, size: Size) -> Tensor:
    """Which positions (h, w) of a grid of `size` have a hidden pixel (h', w') below them, the picture moved first."""
    spread = functional.adaptive_max_pool2d(hidden.float()[None, None], picture)[..., down:, right:]
    even = functional.pad(spread, (0, spread.shape[3] % 2, 0, spread.shape[2] % 2), mode="replicate")
    return (functional.max_pool2d(even, 2) > 0)[0, 0, : size[0], : size[1]]


def _below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator)) if count > 1 else 0


def guide(low: Tensor, statistics: Statistics, scale: Tensor) -> Tensor:
    """The leading bands (b, k, h, w) of scales (b,) as a network sees them, of mean 0 and deviation 1."""
    count = low.shape[1]
    mean, deviation = (each[scale, :count, None, None] for each in (statistics.mean, statistics.deviation))
    return (low - mean) / deviation


def crops_for(positions: int, crop: Size) -> int:
    """How many crops have about `positions` positions together."""
    return max(1, math.floor(positions / math.prod(crop)))
