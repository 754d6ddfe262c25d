"""Skins of leaves: two colors, light that rises along a slope, and a texture t:

    color(x) = base (1 + slope . (x - center)) + (contrast base + blend (other - base)) t(x)

t is a grating, or a place on a sheet of noise of all octaves, grain, spots, veins, tiles or print. A pixel is the mean
over its samples; most pixels have one leaf or two, so a leaf is shaded once a pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from sinwave.data.draws import Array, Draws, Whole

__all__ = ["Skins", "sheets"]


@final
@dataclass(frozen=True)
class Skins:
    """Colors and textures by number of the leaf; points are (x, y), and `change` is the factor of t."""

    sheets: Array
    base: Array
    change: Array
    center: Array
    slope: Array
    place: Whole
    sheet: Whole
    wave: Array
    sharpness: Array

    def picture(self, leaf: Whole, side: int) -> Array:
        """Color times opacity, and opacity, (4, side, side), of the leaves seen at samples (k side, k side)."""
        grid = len(leaf) // side
        samples = [leaf[row::grid, column::grid].reshape(-1) for row in range(grid) for column in range(grid)]
        points = np.stack(np.divmod(np.arange(side * side), side)[::-1], 1)
        top, bottom = np.maximum.reduce(samples), np.minimum.reduce(samples)
        picture = self._seen(top, points)
        (mixed,) = np.nonzero(top != bottom)
        inside = np.stack([sample[mixed] for sample in samples], 1)
        is_top, is_bottom = inside == top[mixed, None], inside == bottom[mixed, None]
        picture[mixed] *= is_top.mean(1, keepdims=True)
        picture[mixed] += self._seen(bottom[mixed], points[mixed]) * is_bottom.mean(1, keepdims=True)
        pixel, sample = np.nonzero(~(is_top | is_bottom))
        others = self._seen(inside[pixel, sample], points[mixed[pixel]]) / grid**2
        np.add.at(picture, mixed[pixel], others)
        return np.ascontiguousarray(picture.T.reshape(4, side, side), dtype=np.float32)

    def _seen(self, leaf: Whole, point: Whole) -> Array:
        """Color times opacity, and opacity, (n, 4) of leaves (n) at points (n, 2)."""
        away = point.astype(np.float32) - self.center[leaf]
        shade = np.clip(1 + np.einsum("ni,ni->n", away, self.slope[leaf]), 0.3, 1.7)
        color = self.base[leaf]
        opaque = color[:, :3] * shade[:, None] + self.change[leaf] * self._texture(leaf, point, away)[:, None]
        color[:, :3] = np.clip(opaque, 0, 1) * color[:, 3:]
        return color

    def _texture(self, leaf: Whole, point: Whole, away: Array) -> Array:
        side = self.sheets.shape[1]
        column, row = ((point + self.place[leaf]) & (side - 1)).T  # modulo a power of two
        texture: Array = self.sheets.reshape(-1)[(self.sheet[leaf] * side + row) * side + column]
        (striped,) = np.nonzero(self.sharpness[leaf])
        leaf = leaf[striped]
        phase = np.einsum("ni,ni->n", away[striped], self.wave[leaf])
        texture[striped] = np.clip(self.sharpness[leaf] * np.sin(phase), -1, 1)
        return texture


def sheets(draws: Draws, side: int) -> Array:
    """Draw four textures (4, m, m) of mean 0 and deviation 1, m a power of two, as large as the picture."""
    size = 1 << max(5, (side - 1).bit_length())
    kinds = draws.uniform(0, 1, 4)
    return np.stack([_standard(_sheet(draws, float(kind), size)) for kind in kinds]).astype(np.float32)


def _sheet(draws: Draws, kind: float, size: int) -> Array:
    if kind < 0.15:
        return _tiles(draws, size)
    if kind < 0.27:
        return _print(draws, size)
    noise = _noise(draws, size, stretch=1.0 if kind < 0.75 else float(draws.log_uniform(2, 8)))
    if kind < 0.36:
        return np.tanh(4 * noise)  # spots
    return -np.sqrt(np.abs(noise)) if kind < 0.45 else noise  # veins; noise


def _standard(texture: Array) -> Array:
    normal: Array = np.clip((texture - texture.mean()) / (texture.std() + 1e-6), -2.5, 2.5)
    return normal


def _noise(draws: Draws, size: int, stretch: float) -> Array:
    """Noise of all octaves, amplitude ~ f^-slope, drawn out along one direction; it goes on over its borders."""
    down, right = (f.astype(np.float32) for f in (np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)))
    angle, slope = draws.uniform(0, math.pi), draws.uniform(0.5, 1.4)
    along, across = math.cos(angle) * right + math.sin(angle) * down, math.cos(angle) * down - math.sin(angle) * right
    power = (along * stretch) ** 2 + across**2
    power[0, 0] = np.inf
    wave = torch.complex(*(torch.from_numpy(draws.normal(*power.shape)) for _ in range(2)))
    return _standard(torch.fft.irfft2(wave * torch.from_numpy(power ** (-slope / 2)), s=(size, size)).numpy())


def _tiles(draws: Draws, size: int) -> Array:
    """Bricks or squares, some lighter than others, with joints between them."""
    angle = float(draws.uniform(0, math.pi / 2) * draws.happens(0.5))
    height, joint = float(draws.log_uniform(4, 24)), float(draws.uniform(0.5, 2))
    width, shift = height * float(draws.uniform(1, 3)), 0.5 * draws.below(2)
    y, x = np.mgrid[:size, :size]
    v, u = (math.cos(angle) * y - math.sin(angle) * x) / height, (math.sin(angle) * y + math.cos(angle) * x) / width
    row = np.floor(v)
    u = u + shift * row
    column = np.floor(u)
    edge = np.minimum((0.5 - np.abs(v - row - 0.5)) * height, (0.5 - np.abs(u - column - 0.5)) * width)
    tone = draws.normal(997)[(131 * row + 17 * column).astype(np.int64) % 997]
    bricks: Array = np.clip(edge - joint / 2 + 0.5, 0, 1) * (0.4 * tone + 2)
    return bricks


def _print(draws: Draws, size: int) -> Array:
    """Lines of signs on paper, signs of an alphabet of strokes."""
    scale, signs = int(draws.below(3)) + 1, draws.below(2, 24, 5, 4) > 0
    signs[:4] = False  # spaces between words
    boxes = np.pad(signs, ((0, 0), (0, 3), (0, 1)))
    rows, columns = (-(-size // (scale * box)) for box in boxes.shape[1:])
    text = boxes[draws.below(24, rows, columns)].transpose(0, 2, 1, 3).reshape(8 * rows, 5 * columns)
    ink = -np.kron(text, np.ones((scale, scale)))[:size, :size]
    return ink + 0.5 * np.roll(ink, 1, 1)
