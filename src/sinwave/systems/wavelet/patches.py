"""The patches of a scale, from which the closed form is computed.

A patch is p x p positions of the bands around a center, p odd: `(c p p)` numbers in the order of `unfold`. The mean of
the bands is subtracted and zeros are padded, so a patch may reach over the border of the picture; its mask of p x p
ones and zeros marks the positions inside. Borders carry the layout: the sky touches the upper one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.systems.wavelet.bands import Scale
from sinwave.wavelets import Size

__all__ = ["LEAST_NOISE", "Overlap", "PatchBank", "principal_axes", "strips", "unfold", "useful_patch", "window"]

_LEAST, _MOST_OF = 5, 0.7
_MOST = 1 << 24  # numbers in the largest temporary
_MOST_PAIRS = 1 << 31  # pairs of patches compared in one search

LEAST_NOISE = 1e-3
"""Smallest noise in exponents: below it a softmax over patches is a maximum anyway, and a float would overflow."""


def unfold(bands: Tensor, patch: int) -> Tensor:
    """Return the patches of centered bands (1, c, h, w) around every position: (h w, c p p)."""
    return functional.unfold(bands, patch, padding=patch // 2)[0].T


def window(side: int, width: float, like: Tensor) -> Tensor:
    """Gaussian weights of the places in a square, exp(-(g / width)^2 / 2) with g from -1 to 1: (side side,)."""
    half = (side - 1) / 2
    line: Tensor = (torch.arange(side, dtype=like.dtype, device=like.device) - half) / (half or 1)
    weights = torch.exp(-(line / width).square() / 2)
    return torch.outer(weights, weights).flatten()


def principal_axes(patches: Tensor, count: int, share: float = 1.0) -> Tensor:
    """Orthonormal directions (d, count) that hold the most energy of patches (n, d).

    There are at most `count`, and fewer if fewer hold `share` of the energy. They are computed from a sample: up to
    8192 patches if a patch has at most 800 numbers, else 1024.
    """
    total, dimension = patches.shape
    most = 8192 if dimension <= 800 else 1024
    sample = patches[:: max(1, -(-total // most))].cpu()
    if len(sample) >= dimension:
        energies, directions = torch.linalg.eigh(sample.T @ sample)
        axes: Tensor = directions.flip(1)[:, :count]
    else:
        energies, combinations = torch.linalg.eigh(sample @ sample.T)
        # QR removes the rounding error, and completes the basis where no energy is left, as in a flat picture.
        axes = torch.linalg.qr(sample.T @ combinations.flip(1)[:, :count]).Q
    beyond = energies.clamp(min=0).cumsum(0).flip(0)[1:]  # energy outside of the first 1, 2, ... axes
    enough = int((beyond > (1 - share) * energies.sum()).sum()) + 1
    return axes[:, :enough].to(patches)


@dataclass(frozen=True, eq=False)
class PatchBank:
    """Patches of one scale, on its own grid and, if asked for, on grids shifted by one pixel of its picture.

    patch      p
    mean       (1, c, 1, 1), subtracted from the bands
    axes       (c p p, d), principal axes
    patches    (n, (c + 1) p p), centered, with the mask as the last channel; or of pixels, cell by cell as `Overlap`
               takes them, (n, p p (c' + 1) 2 2)
    keys       (n, d), the patches along the axes
    position   (n, 2), row and column of the center's upper left pixel in the scale's picture
    usable     (n,), False where the patch touches a transparent pixel; None if all are usable
    rows       h of the bands
    filter     of the transform
    """

    patch: int
    mean: Tensor
    axes: Tensor
    patches: Tensor
    keys: Tensor
    position: Tensor
    usable: Tensor | None
    rows: int
    filter: str

    @classmethod
    def of(
        cls,
        scale: Scale,
        patch: int,
        dimensions: int,
        share: float = 1.0,
        *,
        opaque: Tensor | None = None,
        shifted: bool = False,
        pixels: bool = False,
    ) -> PatchBank:
        """Collect the patches of a scale; with `opaque` (h, w) those that touch a transparent pixel are not usable.

        The keys have at most `dimensions` numbers, and no more than hold `share` of the energy (`principal_axes`).
        The transform is not shift-invariant: `shifted` adds the patches of the picture shifted by one pixel along one
        or both axes, so that pieces also join at odd places. With `pixels` the patches are cut from the picture, two
        pixels per position, so that pieces join pixel by pixel.
        """
        mean = _mean(scale.bands, opaque)
        # A side of one or two pixels has no pair left once it is shifted.
        shifts = product(*((0, 1) if shifted and side > 2 else (0,) for side in scale.picture.shape[2:]))
        parts = [_shifted_part(scale, mean, patch, opaque, down, right) for down, right in shifts]
        patches, position, usable = (torch.cat(part) for part in zip(*parts, strict=True))
        values = patches[:, : -patch * patch]
        axes = principal_axes(values[usable] if usable.any() else values, dimensions, share)
        keys, rows = values @ axes, scale.bands.shape[2]
        if pixels:
            del parts, values  # large, and no longer needed
            patches = _pixels(scale.picture, patch)
        return cls(patch, mean, axes, patches, keys, position, None if usable.all() else usable, rows, scale.filter)

    @property
    def masks(self) -> Tensor:
        return self.patches[:, -self.patch * self.patch :]

    @cached_property
    def energies(self) -> Tensor:
        """Sums |p_k|^2 over the channels at each position of a patch of bands: (n, p p)."""
        values = self.patches[:, : -self.patch * self.patch]
        return values.reshape(len(values), -1, self.patch**2).square().sum(1)

    def only_usable(self) -> PatchBank:
        """Return the bank without the patches that touch a transparent pixel."""
        if self.usable is None:
            return self
        patches, keys, position = (rows[self.usable] for rows in (self.patches, self.keys, self.position))
        return replace(self, patches=patches, keys=keys, position=position, usable=None)

    def queries(self, bands: Tensor) -> Tensor:
        """Project the patches of centered bands (1, c, h, w) on the axes by one convolution: (h w, d)."""
        channels = bands.shape[1]
        kernel = self.axes.T.reshape(-1, channels, self.patch, self.patch)
        return functional.conv2d(bands, kernel, padding=self.patch // 2)[0].flatten(1).T

    def nearest(self, bands: Tensor) -> Tensor:
        """Find the nearest usable patch for every patch of (1, c, h, w): its position on this scale's grid, (h, w, 2).

        In a large picture only every second, third, ... position is searched; the positions around it take its match,
        shifted by their distance, since most pieces of a picture continue.
        """
        height, width = bands.shape[2:]
        stride = math.ceil(math.sqrt(height * width * len(self.keys) / _MOST_PAIRS))
        queries = self.queries(bands - self.mean).reshape(height, width, -1)[::stride, ::stride]
        cost = self.keys.square().sum(1) / 2
        if self.usable is not None:
            cost = cost.masked_fill(~self.usable, torch.inf)
        parts = torch.split(queries.flatten(0, 1), max(1, _MOST // len(cost)))
        nearest = [(cost - part @ self.keys.T).argmin(1) for part in parts]
        matches = (self.position[torch.cat(nearest)] // 2).reshape(*queries.shape[:2], 2)
        rows, columns = (torch.arange(side, device=bands.device) for side in (height, width))
        moved = torch.stack(torch.meshgrid(rows % stride, columns % stride, indexing="ij"), 2)
        return matches[rows // stride][:, columns // stride] + moved


def _shifted_part(
    scale: Scale, mean: Tensor, patch: int, opaque: Tensor | None, down: int, right: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return patches, positions and usability for the picture without its first rows and columns."""
    bands = scale.shifted(down, right) if down or right else scale.bands
    height, width = bands.shape[2:]
    rows, columns = (torch.arange(side, device=bands.device) for side in (height, width))
    position = torch.cartesian_prod(2 * rows + down, 2 * columns + right)
    usable = torch.ones(height * width, dtype=torch.bool, device=bands.device)
    if opaque is not None:
        hidden = _hidden(opaque[down:, right:], bands)
        usable = functional.max_pool2d(hidden, patch, 1, patch // 2).flatten() == 0
    masked = torch.cat([bands - mean, torch.ones_like(bands[:, :1])], 1)
    return unfold(masked, patch).contiguous(), position, usable


def _pixels(picture: Tensor, patch: int) -> Tensor:
    """Return the pixels of the patches around every position of the bands, with masks: (h w, p p (c + 1) 2 2)."""
    even = functional.pad(picture, (0, picture.shape[3] % 2, 0, picture.shape[2] % 2), mode="replicate")
    cells = functional.pixel_unshuffle(torch.cat([even, torch.ones_like(even[:, :1])], 1), 2)
    patches = unfold(cells, patch)
    return patches.reshape(len(patches), -1, patch**2).movedim(1, 2).flatten(1)


def _hidden(opaque: Tensor, bands: Tensor) -> Tensor:
    """Mark the positions of the bands with a transparent pixel by 1, the others by 0: (1, 1, h, w)."""
    transparent = functional.pad((~opaque).to(bands)[None, None], (0, 1, 0, 1))
    return functional.max_pool2d(transparent, 2, 2)[..., : bands.shape[2], : bands.shape[3]]


def useful_patch(patch: int, opaque: Tensor | None, bands: Tensor) -> int:
    """Find the largest patch, from `patch` down to 5, that is usable around at least 70 % of the opaque positions.

    Large patches near a hole touch it and are lost, although they would fit best into the hole.
    """
    if opaque is None:
        return patch
    hidden = _hidden(opaque, bands)
    opaque_count = (hidden == 0).sum()
    while patch > _LEAST and (functional.max_pool2d(hidden, patch, 1, patch // 2) == 0).sum() < _MOST_OF * opaque_count:
        patch -= 2
    return patch


def _mean(bands: Tensor, opaque: Tensor | None) -> Tensor:
    """Mean of the bands over the opaque positions, or over all if there are none: (1, c, 1, 1)."""
    weights = torch.ones_like(bands[:, :1]) if opaque is None else 1 - _hidden(opaque, bands)
    if not weights.any():
        weights = torch.ones_like(weights)
    return (bands * weights).sum((2, 3), keepdim=True) / weights.sum()


class Overlap:
    """Weighted average of overlapping patches on a grid of `size`, whose positions are cells of `cell` x `cell`.

    At each place the patches that cover it are averaged, weighted by the window; the parts outside of their source
    picture do not count. Patches are added in strips of rows, so that they need not all be in memory. Their shape is
    (n, p p (channels + 1) cell cell), where the last channel is 1 inside of the source picture and 0 outside.
    """

    def __init__(self, size: Size, channels: int, patch: int, width: float, like: Tensor, *, cell: int = 1) -> None:
        """Begin with nothing; `width` is the width of the Gaussian window."""
        self._size, self._patch, self._cell = size, patch, cell
        places = window(cell * patch, width, like).reshape(patch, cell, patch, cell)
        # Repeated for every channel, since longer rows of numbers are added faster.
        self._window = places.movedim(1, 2).flatten(2).repeat(1, 1, channels + 1)
        height, across = (side + patch - 1 for side in size)
        self._sum = like.new_zeros(height, across, (channels + 1) * cell**2)

    def add(self, first: int, patches: Tensor) -> None:
        """Add the patches of the rows from `first` on; they are zero outside of their source picture."""
        self._lay(first, patches, self._sum)

    def add_along(self, first: int, axes: Tensor, patches: Tensor, masks: Tensor) -> None:
        """Add patches that are given by (n, d) along axes (channels p p, d) and masks (n, p p), for cells of 1.

        This is the adjoint of `PatchBank.queries`, and as fast.
        """
        count, patch = axes.shape[1], self._patch
        kernel = axes.T.reshape(count, -1, patch, patch) * self._window[:, :, 0]
        strip = functional.conv_transpose2d(patches.T.reshape(1, count, -1, self._size[1]), kernel)
        self._sum[first : first + strip.shape[2], :, :-1] += strip[0].permute(1, 2, 0)
        self._lay(first, masks, self._sum[:, :, -1:])

    def _lay(self, first: int, patches: Tensor, total: Tensor) -> None:
        width, patch, numbers = self._size[1], self._patch, total.shape[2]
        rows = len(patches) // width
        cells = patches.reshape(rows, width, patch, patch, numbers)
        for down, right in product(range(patch), repeat=2):
            below = total[first + down : first + down + rows, right : right + width]
            below.addcmul_(cells[:, :, down, right], self._window[down, right, :numbers])

    def average(self) -> Tensor:
        """Return the average (1, channels, h, w); each place has at least its own patch, whose center is inside."""
        (height, width), edge, cell = self._size, self._patch // 2, self._cell
        total = self._sum[edge : edge + height, edge : edge + width].reshape(height, width, -1, cell, cell)
        mean = total[:, :, :-1] / total[:, :, -1:]
        return mean.permute(2, 0, 3, 1, 4).reshape(1, -1, cell * height, cell * width)


def strips(size: Size, most: int) -> Sequence[tuple[int, int]]:
    """Divide the rows of a grid into strips of at most `most` positions, but at least one row: (start, stop)."""
    height, width = size
    step = max(1, most // width)
    return [(first, min(first + step, height)) for first in range(0, height, step)]
