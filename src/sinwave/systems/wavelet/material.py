"""The training data of a network: crops of every scale, of the pictures themselves and of shifted copies.

The transform is not shift-invariant, so every scale is used in four phases: shifted by 0 or 1 pixel along both axes.
Around a picture there is a margin where `outside` is 1, so a crop shows where the border lies. The pyramids are
computed once; a crop is a slice of them, on the device of the training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.systems.wavelet.bands import Progression
from sinwave.systems.wavelet.expectation import Statistics, activity
from sinwave.wavelets import Size

__all__ = ["MARGIN", "Batch", "Material", "guide"]

MARGIN = 2
"""Width of the margin around a picture, in positions."""

_PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))


class Batch(NamedTuple):
    """Crops: bands (b, c, h, w), outside (b, 1, h, w), and the indices of their scales (b,)."""

    bands: Tensor
    outside: Tensor
    scale: Tensor


@final
class Material:
    """Crops of pictures (1, 3, h, w) in [-1, 1]; transparent pixels count as outside."""

    def __init__(
        self, images: Sequence[Tensor], progression: Progression, *, crop: int, opaque: Sequence[Tensor | None] = ()
    ) -> None:
        """Crops have `crop` positions along a side, fewer if the whole coarsest scale is smaller."""
        splits = [progression.split(image) for image in images]
        hidden = list(opaque) or [None] * len(images)
        coarsest = [scales[0].bands.shape[2:] for scales in splits]
        self.crop: Size = tuple(min(crop, max(sides) + 2 * MARGIN) for sides in zip(*coarsest, strict=True))
        inherited = [scale.inherited for scale in splits[0]]
        self.channels, self.scales = [scale.bands.shape[1] for scale in splits[0]], len(splits[0])
        self._planes: list[list[Tensor]] = []
        inner: list[list[Tensor]] = []
        activities: list[list[Tensor]] = []
        for index in range(self.scales):
            planes, values, active = [], [], []
            for scales, mask in zip(splits, hidden, strict=True):
                for down, right in _PHASES:
                    bands = scales[index].shifted(down, right)
                    outside = scales[index].hidden(mask, down, right)[: bands.shape[2], : bands.shape[3]]
                    planes.append(self._framed(bands, outside))
                    values.append(_filled(bands, max(self.channels))[0, :, ~outside])
                    low = bands[:, : inherited[index]]
                    active.append(activity(low, outside[None, None].to(bands))[0, 0, ~outside])
            self._planes.append(planes)
            inner.append(values)
            activities.append(active)
        self.statistics = Statistics.of(inner, activities)

    def to(self, device: torch.device) -> Material:
        self._planes = [[plane.to(device) for plane in planes] for planes in self._planes]
        self.statistics = self.statistics.to(device)
        return self

    def draw(self, scales: Sequence[int], generator: torch.Generator) -> Batch:
        """Draw a random crop for each of `scales`, from any picture and phase; `generator` is on the CPU."""
        height, width = self.crop
        crops = []
        for scale in scales:
            plane = self._planes[scale][_below(len(self._planes[scale]), generator)]
            top, left = (_below(plane.shape[axis + 1] - self.crop[axis] + 1, generator) for axis in (0, 1))
            crops.append(plane[:, top : top + height, left : left + width])
        stack = torch.stack(crops)
        most = stack.shape[1] - 1
        index = torch.tensor(list(scales), device=stack.device)
        return Batch(stack[:, :most], stack[:, most:], index)

    def _framed(self, bands: Tensor, outside: Tensor) -> Tensor:
        """Add the margin, wider where a crop would not fit; there bands are 0 and outside 1: (c + 1, h, w)."""
        bands = _filled(torch.where(outside, torch.zeros_like(bands), bands), max(self.channels))
        frame: list[int] = []
        for side, crop in zip(reversed(bands.shape[2:]), reversed(self.crop), strict=True):
            missing = max(crop - side - 2 * MARGIN, 0)
            frame += [MARGIN + missing // 2, MARGIN + missing - missing // 2]
        padded = functional.pad(bands, frame)
        return torch.cat([padded, functional.pad(outside[None, None].to(bands), frame, value=1.0)], 1)[0]


def _filled(bands: Tensor, channels: int) -> Tensor:
    """Append zeros for the bands that a scale does not have."""
    return functional.pad(bands, (0, 0, 0, 0, 0, channels - bands.shape[1]))


def _below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator)) if count > 1 else 0


def guide(low: Tensor, statistics: Statistics, scale: Tensor) -> Tensor:
    """Normalize the inherited bands (b, k, h, w) of scales (b,) to mean 0 and deviation 1, as input of a network."""
    count = low.shape[1]
    mean, deviation = (rows[scale, :count, None, None] for rows in (statistics.mean, statistics.deviation))
    return (low - mean) / deviation
