"""Dead leaves: pictures without end and without an owner, to learn edges, corners and textures from.

Leaves fall on the ground, one over another. Their places are a Poisson process, the same everywhere, with radii of the
density

    p(r) ~ r^-3        r_min <= r <= r_max

so that the picture looks the same at every scale, and its power falls about as 1 / f^2, as that of photographs does
(Lee, Mumford and Huang, "Occlusion models for natural images", IJCV 2001; as a school of networks in Achddou, Gousseau
and Ladjal, "Synthetic images as a regularity prior for image restoration neural networks", SSVM 2021). A leaf is a
disk, an ellipse, a rectangle, a thin bar or another polygon, with corners on an ellipse with half-axes r and b <= r:

    color(x) = base (1 + slope . (x - center)) + (contrast base + blend (other - base)) t(x)

with two colors of a palette and a texture t: noise of all octaves, grain, spots, veins, tiles, print or a grating. In a
part of the pictures the leaves that fell first are out of focus. A pixel is the mean over 4 x 4 samples; most pixels
have one leaf or two, so a leaf is shaded once a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from sinwave.errors import InputError
from sinwave.options import check, option
from sinwave.resize import blur, resize
from sinwave.rng import fold

__all__ = ["DeadLeaves", "DeadLeavesBatches", "natural_palette", "palette_of"]

Array: TypeAlias = npt.NDArray[np.floating[Any]]
Whole: TypeAlias = npt.NDArray[np.integer[Any]]
Where: TypeAlias = npt.NDArray[np.bool_]

_GRID = 4  # samples along a side of a pixel
_SHEETS = 4  # textures in a picture
_STRIPED = 0.08  # share of leaves with a grating
_OKLAB_TO_CONES = (
    (1, 0.3963377774, 0.2158037573),
    (1, -0.1055613458, -0.0638541728),
    (1, -0.0894841775, -1.2914855480),
)
_CONES_TO_RGB = (
    (4.0767416621, -3.3077115913, 0.2309699292),
    (-1.2684380046, 2.6097574011, -0.3413193965),
    (-0.0041960863, -0.7034186147, 1.7076147010),
)


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
        draws = _Draws(fold(seed, "dead leaves", step, index))
        colors = _colors(natural_palette(fold(seed, "palette", step, index)) if palette is None else palette)
        scene = _Scene(self, side, float(draws.log_uniform(self.least, self.coarsest)), colors, _sheets(draws, side))
        layer = scene.layer(draws, self.coverage, ground=True)
        if draws.happens(self.blurred):
            front = scene.layer(draws, 0.3 * self.coverage, ground=False)
            layer = front + (1 - front[:, 3:]) * blur(layer, float(draws.log_uniform(0.5, self.defocus)))
        picture = blur(layer[:, :3], float(draws.uniform(0, self.softness)))
        return (2 * picture[0] - 1).clamp(-1, 1)


@final
class DeadLeavesBatches:
    """Batches of pictures of dead leaves; their colors are of the palettes, if there are any."""

    def __init__(
        self, count: int, side: int, seed: int, leaves: DeadLeaves | None = None, palettes: Sequence[Tensor] = ()
    ) -> None:
        """`count` pictures a step."""
        if count < 1:
            raise InputError(f"count is {count}: a batch has 1 or more pictures")
        self._count, self._side, self._seed = count, side, seed
        self._leaves, self._palettes = leaves or DeadLeaves(), tuple(palettes)

    def at(self, step: int) -> Tensor:
        """The pictures (count, 3, side, side) in [-1, 1]."""
        return torch.stack([self._picture(step, index) for index in range(self._count)])

    def _picture(self, step: int, index: int) -> Tensor:
        palette = None
        if self._palettes:
            palette = self._palettes[fold(self._seed, "palette of", step, index) % len(self._palettes)]
        return self._leaves(self._side, self._seed, step, index, palette)


def natural_palette(seed: int, count: int = 32) -> Tensor:
    """Colors (count, 3) in [-1, 1] of one scene: few hues, most of them earth, leaf or sky, and most colors pale.

    They are drawn in Oklab (lightness, green to red, blue to yellow), the gray axis tinted as by the light of a day.
    """
    draws = _Draws(fold(seed, "natural"))
    hues = np.array([20, 55, 85, 130, 250])[draws.below(5, 3)] + 20 * draws.normal(3)
    hue = np.radians(hues[draws.below(3, count)] + 12 * draws.normal(count))
    light = np.clip(draws.uniform(0.35, 0.75) + draws.uniform(0.08, 0.25) * draws.normal(count), 0.12, 0.97)
    chroma = draws.log_uniform(0.01, 0.1) * np.abs(draws.normal(count)) * np.sin(math.pi * light.clip(0.1, 0.9))
    tint = 0.012 * draws.normal(2)
    lab = np.stack([light, chroma * np.cos(hue) + tint[0], chroma * np.sin(hue) + tint[1]], 1)
    linear = np.clip((lab @ np.transpose(_OKLAB_TO_CONES)) ** 3 @ np.transpose(_CONES_TO_RGB), 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return torch.from_numpy(2 * srgb - 1).float()


def palette_of(picture: Tensor, count: int = 32, seed: int = 0) -> Tensor:
    """Colors (count, 3) of places of a picture (3, h, w) drawn at random, means over 4 x 4 pixels."""
    height, width = (max(1, side // 4) for side in picture.shape[1:])
    colors = resize(picture[None], (height, width), "area")[0].flatten(1).T
    return colors[torch.from_numpy(_Draws(fold(seed, "palette")).below(len(colors), count))]


def _colors(palette: Tensor) -> Array:
    """The palette in [0, 1]."""
    if palette.ndim != 2 or palette.shape[1] != 3 or len(palette) < 1 or not bool((palette.abs() <= 1).all()):
        raise InputError(f"the palette is {tuple(palette.shape)}: it must be (n, 3) colors in [-1, 1]")
    colors: Array = ((palette.detach().cpu().float() + 1) / 2).numpy()
    return colors


@final
class _Draws:
    """Random numbers of one picture, in the order in which they are asked for."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Array:
        unit: Array = torch.rand(shape, generator=self._generator).numpy()
        return low + (high - low) * unit

    def log_uniform(self, low: float, high: float, *shape: int) -> Array:
        numbers: Array = np.exp(self.uniform(math.log(low), math.log(high), *shape))
        return numbers

    def normal(self, *shape: int) -> Array:
        numbers: Array = torch.randn(shape, generator=self._generator).numpy()
        return numbers

    def below(self, limit: int, *shape: int) -> Whole:
        numbers: Whole = torch.randint(limit, shape, generator=self._generator).numpy()
        return numbers

    def poisson(self, mean: float) -> int:
        return int(torch.poisson(torch.tensor(mean, dtype=torch.float64), generator=self._generator))

    def happens(self, share: float) -> bool:
        return bool(self.uniform(0, 1) < share)


@final
@dataclass(frozen=True)
class _Scene:
    """Settings, colors (n, 3) and textures (k, m, m) that all leaves of a picture share."""

    leaves: DeadLeaves
    side: int
    least: float
    colors: Array
    sheets: Array

    def layer(self, draws: _Draws, coverage: float, ground: bool) -> Tensor:
        """Leaves (1, 4, side, side): color times opacity, and opacity; with a ground there is no hole."""
        radius = self._radii(draws, coverage)
        center = (self.side + draws.uniform(-1, 1, len(radius), 2) * (self.side + 2 * radius[:, None])) / 2
        leaf = _painted(_outlines(draws, radius, center, self.leaves.straight), self.side)
        # Number 0 is the ground, a leaf that is seen where no other is.
        center, radius = np.append(np.full((1, 2), self.side / 2), center, 0), np.append(self.side, radius)
        return torch.from_numpy(_rendered(leaf, self._skins(draws, center, radius, ground), self.side))[None]

    def _radii(self, draws: _Draws, coverage: float) -> Array:
        """Radii of the leaves that touch the picture: their centers lie in a square that is 2 r wider."""
        least, most = self.least, max(self.leaves.largest * self.side, 1.01 * self.least)
        r = np.geomspace(least, most, 512)
        density = coverage / (math.pi * math.log(most / least)) * r**-3 * (self.side + 2 * r) ** 2
        smaller = np.append(0, np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(r)))
        count = draws.poisson(smaller[-1])
        return np.interp(draws.uniform(0, smaller[-1], count), smaller, r).astype(np.float32)

    def _skins(self, draws: _Draws, center: Array, radius: Array, ground: bool) -> _Skins:
        count, leaves = len(radius), self.leaves
        base, other = (self.colors[draws.below(len(self.colors), count)] for _ in range(2))
        strongest = leaves.contrast * (draws.uniform(0, 1, count, 1) >= leaves.plain)
        contrast, blend = (strongest * draws.log_uniform(0.1, 1, count, 1) for _ in range(2))
        angle, length = draws.uniform(0, 2 * math.pi, count), draws.log_uniform(3, 24, count)
        opacity = np.append(float(ground), np.ones(count - 1))[:, None]
        return _Skins(
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


@final
@dataclass(frozen=True)
class _Skins:
    """Colors and textures by number of the leaf; points are (x, y)."""

    sheets: Array
    base: Array
    change: Array
    center: Array
    slope: Array
    place: Whole
    sheet: Whole
    wave: Array
    sharpness: Array

    def seen(self, leaf: Whole, point: Whole) -> Array:
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


def _outlines(draws: _Draws, radius: Array, center: Array, share: float) -> list[list[float]]:
    """Corners x, y, x, y, ... of leaves, in samples; small leaves have fewer."""
    straight, thin, corners = _forms(draws, len(radius), share)
    turn = _turns(draws, straight)
    outlines: list[list[float]] = [[]] * len(radius)
    for least, most, number in ((0, 4, 12), (4, 24, 24), (24, math.inf, 96)):
        (group,) = np.nonzero((radius >= least) & (radius < most))
        even, is_straight = np.arange(number) * (2 * math.pi / number), straight[group, None]
        angle = np.where(is_straight, corners[group][:, np.arange(number).clip(max=6)], even)
        bent = radius[group, None] * _bend(draws, angle, is_straight)
        place = bent * (np.cos(angle) + 1j * thin[group, None] * np.sin(angle)) * np.exp(1j * turn[group, None])
        points = _GRID * (np.stack([place.real, place.imag], 2) + center[group, None])
        for leaf, outline in zip(group.tolist(), points.reshape(-1, 2 * number).tolist(), strict=True):
            outlines[leaf] = outline[:14] if straight[leaf] else outline
    return outlines


def _forms(draws: _Draws, count: int, share: float) -> tuple[Where, Array, Array]:
    """Whether a leaf is straight, its b / r, and the angles (n, 7) of its corners if it is; the last is repeated."""
    straight, kind = draws.uniform(0, 1, count) < share, draws.uniform(0, 1, count)
    thin = np.where(straight & (kind < 0.25), draws.log_uniform(0.03, 0.15, count), draws.uniform(0.3, 1, count))
    thin[~straight & (kind < 0.5)] = 1
    corners = np.sort(draws.uniform(0, 2 * math.pi, count, 7), 1)
    corners = np.take_along_axis(corners, np.minimum(np.arange(7), draws.below(5, count, 1) + 2), 1)
    corners[kind < 0.7] = (np.arange(7).clip(max=3) + 0.5) * math.pi / 2
    return straight, thin, corners


def _bend(draws: _Draws, angle: Array, straight: Where) -> Array:
    """Factors of the radius: a third of the leaves without straight edges have two to six lobes."""
    count = len(angle)
    depth = draws.uniform(0, 0.3, count, 1) * (draws.uniform(0, 1, count, 1) < 1 / 3) * ~straight
    lobes, phase = draws.below(5, count, 1) + 2, draws.uniform(0, 2 * math.pi, count, 1)
    factors: Array = (1 + depth * np.cos(lobes * angle + phase)) / (1 + depth)
    return factors


def _turns(draws: _Draws, straight: Where) -> Array:
    """Angles; most straight leaves of a picture lie along or across one direction, upright in half of the pictures."""
    count = len(straight)
    main = draws.uniform(0, math.pi / 2) * draws.happens(0.5)
    aligned = main + draws.below(4, count) * math.pi / 2 + 0.02 * draws.normal(count)
    free = draws.uniform(0, 2 * math.pi, count)
    angles: Array = np.where(straight & (draws.uniform(0, 1, count) < 0.7), aligned, free)
    return angles


def _painted(outlines: list[list[float]], side: int) -> Whole:
    """Numbers of the leaves that are seen, from 1, at the samples of a picture; 0 is none."""
    canvas = Image.new("I", (_GRID * side, _GRID * side))
    draw = ImageDraw.Draw(canvas)
    for number, outline in enumerate(outlines, 1):
        draw.polygon(outline, fill=number)
    return np.asarray(canvas)


def _rendered(leaf: Whole, skins: _Skins, side: int) -> Array:
    """Color times opacity, and opacity, (4, side, side): means over the samples of a pixel."""
    samples = [leaf[row::_GRID, column::_GRID].reshape(-1) for row in range(_GRID) for column in range(_GRID)]
    points = np.stack(np.divmod(np.arange(side * side), side)[::-1], 1)
    top, bottom = np.maximum.reduce(samples), np.minimum.reduce(samples)
    picture = skins.seen(top, points)
    (mixed,) = np.nonzero(top != bottom)
    inside = np.stack([sample[mixed] for sample in samples], 1)
    is_top, is_bottom = inside == top[mixed, None], inside == bottom[mixed, None]
    picture[mixed] *= is_top.mean(1, keepdims=True)
    picture[mixed] += skins.seen(bottom[mixed], points[mixed]) * is_bottom.mean(1, keepdims=True)
    pixel, sample = np.nonzero(~(is_top | is_bottom))
    others = skins.seen(inside[pixel, sample], points[mixed[pixel]]) / _GRID**2
    np.add.at(picture, mixed[pixel], others)
    return np.ascontiguousarray(picture.T.reshape(4, side, side), dtype=np.float32)


def _sheets(draws: _Draws, side: int) -> Array:
    """Textures (k, m, m) of mean 0 and deviation 1, m a power of two, as large as the picture."""
    size = 1 << max(5, (side - 1).bit_length())
    kinds = draws.uniform(0, 1, _SHEETS)
    return np.stack([_standard(_sheet(draws, float(kind), size)) for kind in kinds]).astype(np.float32)


def _sheet(draws: _Draws, kind: float, size: int) -> Array:
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


def _noise(draws: _Draws, size: int, stretch: float) -> Array:
    """Noise of all octaves, amplitude ~ f^-slope, drawn out along one direction; it goes on over its borders."""
    down, right = _frequencies(size)
    angle, slope = draws.uniform(0, math.pi), draws.uniform(0.5, 1.4)
    along, across = math.cos(angle) * right + math.sin(angle) * down, math.cos(angle) * down - math.sin(angle) * right
    power = (along * stretch) ** 2 + across**2
    power[0, 0] = np.inf
    wave = torch.complex(*(torch.from_numpy(draws.normal(*power.shape)) for _ in range(2)))
    return _standard(torch.fft.irfft2(wave * torch.from_numpy(power ** (-slope / 2)), s=(size, size)).numpy())


@lru_cache(maxsize=4)
def _frequencies(size: int) -> tuple[Array, Array]:
    down, right = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    return down.astype(np.float32), right.astype(np.float32)


def _tiles(draws: _Draws, size: int) -> Array:
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


def _print(draws: _Draws, size: int) -> Array:
    """Lines of signs on paper, signs of an alphabet of strokes."""
    scale, signs = int(draws.below(3)) + 1, draws.below(2, 24, 5, 4) > 0
    signs[:4] = False  # spaces between words
    boxes = np.pad(signs, ((0, 0), (0, 3), (0, 1)))
    rows, columns = (-(-size // (scale * box)) for box in boxes.shape[1:])
    text = boxes[draws.below(24, rows, columns)].transpose(0, 2, 1, 3).reshape(8 * rows, 5 * columns)
    ink = -np.kron(text, np.ones((scale, scale)))[:size, :size]
    smeared: Array = ink + 0.5 * np.roll(ink, 1, 1)
    return smeared
