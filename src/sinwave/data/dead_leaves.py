"""Dead leaves: pictures without end and without an owner, to learn edges, corners and textures from.

Leaves fall on the ground, one over another. Their places are a Poisson process, the same everywhere, with radii of the
density

    p(r) ~ r^-3        r_min <= r <= r_max

so that the picture looks the same at every scale, and its power falls about as 1 / f^2, as that of photographs does
(Lee, Mumford and Huang, "Occlusion models for natural images", IJCV 2001; as a school of networks in Achddou, Gousseau
and Ladjal, "Synthetic images as a regularity prior for image restoration neural networks", SSVM 2021). In a part of the
pictures the leaves that fell first are out of focus.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from sinwave.data.draws import Array, Draws
from sinwave.data.outlines import on_top
from sinwave.data.palettes import natural_palette
from sinwave.data.skins import Skins, sheets
from sinwave.errors import InputError
from sinwave.options import check, option
from sinwave.resize import blur
from sinwave.rng import fold

__all__ = ["DeadLeaves", "DeadLeavesBatches"]

_STRIPED = 0.08  # share of leaves with a grating


@final
@dataclass(frozen=True, kw_only=True)
class DeadLeaves:
    """A source of pictures; the same seed, step and index give the same one."""

    least: float = option(1.0, "r_min of the finest pictures, in pixels", low=0.5)
    coarsest: float = option(6.0, "r_min of the coarsest pictures, in pixels", low=0.5)
    largest: float = option(0.7, "r_max as a share of the side", low=0.05, high=4)
    coverage: float = option(4.0, "how many leaves would lie over a point, if all were disks", low=0, high=50)
    straight: float = option(0.5, "share of leaves with straight edges", low=0, high=1)
    plain: float = option(0.25, "share of leaves without texture", low=0, high=1)
    contrast: float = option(0.4, "strongest texture, as a share of the color", low=0, high=1)
    shading: float = option(0.2, "deviation of the slopes of light, as a share of the color a radius", low=0, high=1)
    blurred: float = option(0.25, "share of pictures with a ground out of focus", low=0, high=1)
    defocus: float = option(3.0, "strongest blur of that ground, a sigma in pixels", low=0.5, high=50)
    softness: float = option(0.4, "strongest blur of the whole picture, a sigma in pixels", low=0, high=10)

    def __post_init__(self) -> None:
        check(self)
        if self.least > self.coarsest:
            raise InputError(f"coarsest is {self.coarsest:g}: it must be at least as much as least, {self.least:g}")

    def __call__(self, side: int, seed: int, step: int, index: int, palette: Tensor | None = None) -> Tensor:
        """The picture (3, side, side) in [-1, 1]; the colors (n, 3) of a palette are in [-1, 1] too."""
        if side < 1:
            raise InputError(f"side is {side}: it must be 1 or more")
        draws = Draws(fold(seed, "dead leaves", step, index))
        colors = _colors(natural_palette(fold(seed, "palette", step, index)) if palette is None else palette)
        scene = _Scene(self, side, float(draws.log_uniform(self.least, self.coarsest)), colors, sheets(draws, side))
        layer = scene.layer(draws, self.coverage, ground=True)
        if draws.happens(self.blurred):
            front = scene.layer(draws, 0.3 * self.coverage, ground=False)
            layer = front + (1 - front[:, 3:]) * blur(layer, float(draws.log_uniform(0.5, self.defocus)))
        picture = blur(layer[:, :3], float(draws.uniform(0, self.softness)))
        return (2 * picture[0] - 1).clamp(-1, 1)


@final
class DeadLeavesBatches:
    """Batches of `count` pictures of dead leaves."""

    def __init__(self, count: int, side: int, seed: int) -> None:
        if count < 1:
            raise InputError(f"count is {count}: a batch has 1 or more pictures")
        self._count, self._side, self._seed, self._leaves = count, side, seed, DeadLeaves()

    def at(self, step: int) -> Tensor:
        """The pictures (count, 3, side, side) in [-1, 1]."""
        return torch.stack([self._leaves(self._side, self._seed, step, index) for index in range(self._count)])


@final
@dataclass(frozen=True)
class _Scene:
    """Settings, colors (n, 3) and textures (k, m, m) that all leaves of a picture share."""

    leaves: DeadLeaves
    side: int
    least: float
    colors: Array
    sheets: Array

    def layer(self, draws: Draws, coverage: float, ground: bool) -> Tensor:
        """Leaves (1, 4, side, side): color times opacity, and opacity; with a ground there is no hole."""
        radius = self._radii(draws, coverage)
        center = (self.side + draws.uniform(-1, 1, len(radius), 2) * (self.side + 2 * radius[:, None])) / 2
        leaf = on_top(draws, radius, center, self.leaves.straight, self.side)
        # Number 0 is the ground, a leaf that is seen where no other is.
        center, radius = np.append(np.full((1, 2), self.side / 2), center, 0), np.append(self.side, radius)
        return torch.from_numpy(self._skins(draws, center, radius, ground).picture(leaf, self.side))[None]

    def _radii(self, draws: Draws, coverage: float) -> Array:
        """Radii of the leaves that touch the picture: their centers lie in a square that is 2 r wider."""
        least, most = self.least, max(self.leaves.largest * self.side, 1.01 * self.least)
        r = np.geomspace(least, most, 512)
        density = coverage / (math.pi * math.log(most / least)) * r**-3 * (self.side + 2 * r) ** 2
        smaller = np.append(0, np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(r)))
        count = draws.poisson(smaller[-1])
        return np.interp(draws.uniform(0, smaller[-1], count), smaller, r).astype(np.float32)

    def _skins(self, draws: Draws, center: Array, radius: Array, ground: bool) -> Skins:
        count, leaves = len(radius), self.leaves
        base, other = (self.colors[draws.below(len(self.colors), count)] for _ in range(2))
        strongest = leaves.contrast * (draws.uniform(0, 1, count, 1) >= leaves.plain)
        contrast, blend = (strongest * draws.log_uniform(0.1, 1, count, 1) for _ in range(2))
        angle, length = draws.uniform(0, 2 * math.pi, count), draws.log_uniform(3, 24, count)
        opacity = np.append(float(ground), np.ones(count - 1))[:, None]
        return Skins(
            sheets=self.sheets,
            base=np.append(base, opacity, 1).astype(np.float32),
            change=(contrast * base + blend * (other - base)).astype(np.float32),
            center=center.astype(np.float32),
            slope=(leaves.shading * draws.normal(count, 2) / radius[:, None]).astype(np.float32),
            place=draws.below(self.sheets.shape[1], count, 2),
            sheet=draws.below(len(self.sheets), count),
            wave=2 * math.pi * np.stack([np.cos(angle), np.sin(angle)], 1) / length[:, None],
            sharpness=(draws.uniform(0, 1, count) < _STRIPED) * draws.log_uniform(1, 6, count),
        )


def _colors(palette: Tensor) -> Array:
    """The palette in [0, 1]."""
    if palette.ndim != 2 or palette.shape[1] != 3 or len(palette) < 1 or not bool((palette.abs() <= 1).all()):
        raise InputError(f"the palette is {tuple(palette.shape)}: it must be (n, 3) colors in [-1, 1]")
    return ((palette.detach().cpu().float() + 1) / 2).numpy()
