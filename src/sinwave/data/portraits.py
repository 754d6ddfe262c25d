"""Portraits drawn from random factors, as many as are wanted, with nobody's rights on them.

A portrait is a head on shoulders. Its factors are independent of each other and even between their bounds, so one can
say exactly what of the variety of faces a set has. Five kinds change the look or the object, as the usual targets of
few-shot adaptation do; the factors below are the same.

    plain        flat colors
    sunglasses   the same with dark glasses                  an object in one place
    baby         a round head with large eyes and a tuft     other proportions
    long         a head twice as narrow as it is high        other proportions
    sketch       gray lines on paper                         another style
    palette      colors that no skin has                     another style
"""

from __future__ import annotations

import colorsys
import random
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias, final

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from sinwave.errors import InputError
from sinwave.images import from_uint8
from sinwave.rng import fold

__all__ = ["KINDS", "Factors", "Kind", "Portraits"]

Kind: TypeAlias = Literal["plain", "sunglasses", "baby", "long", "sketch", "palette"]
KINDS: tuple[Kind, ...] = ("plain", "sunglasses", "baby", "long", "sketch", "palette")

_Color: TypeAlias = tuple[int, int, int]
_FINE = 4
"""Lines and columns of a drawing for one of the picture."""

_HUES = 0.83
"""From red to magenta: the rest of the circle would lead back to red."""

_INKS = (((250, 214, 65), (242, 100, 60)), ((23, 42, 58), (30, 110, 170)), ((90, 200, 180), (235, 235, 215)))
"""Between two colors each: skin, hair and the rest of a palette."""


@dataclass(frozen=True)
class Factors:
    """What a portrait is made of; all from 0 to 1."""

    skin: float
    hair: float
    hair_length: float
    eyes: float
    eye_size: float
    eye_distance: float
    brows: float
    mouth: float
    mouth_width: float
    nose: float
    width: float
    place: float
    height: float
    background: float
    shirt: float

    @classmethod
    def drawn(cls, number: int, seed: int) -> Factors:
        """The factors of portrait `number`, the same in every kind."""
        draws = random.Random(fold(seed, "portrait", number))
        return cls(*(draws.random() for _ in fields(cls)))


@final
@dataclass(frozen=True)
class Portraits:
    """Portraits of one kind."""

    kind: Kind = "plain"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"portraits are {', '.join(KINDS)}, not {self.kind!r}")

    def __call__(self, side: int, number: int, seed: int) -> Tensor:
        """Draw portrait `number`, (3, side, side) in [-1, 1]."""
        fine = self.drawing(Factors.drawn(number, seed), _FINE * side)
        small = fine.resize((side, side), Image.Resampling.BOX)
        return from_uint8(torch.from_numpy(np.array(small)).permute(2, 0, 1).contiguous())

    def drawing(self, factors: Factors, side: int) -> Image.Image:
        """Draw without smoothing."""
        image = _painted(factors, self.kind, side)
        return _sketched(image, side) if self.kind == "sketch" else image


def _painted(factors: Factors, kind: Kind, side: int) -> Image.Image:
    """Paint from the back to the front, in units of the side."""
    f, baby = factors, kind == "baby"
    skin, hair, background, shirt = _inks(f) if kind == "palette" else _colors(f)
    image = Image.new("RGB", (side, side), background)
    pen = _Pen(ImageDraw.Draw(image), side)
    x, y = 0.5 + 0.16 * (f.place - 0.5), 0.46 + 0.08 * (f.height - 0.5)
    wide, high = 0.19 + 0.05 * f.width, 0.27
    if baby:
        wide, high, y = wide + 0.07, 0.26, y + 0.05
    elif kind == "long":
        wide, high = 0.72 * wide, 0.36
    pen.ellipse(x, 1.08, 0.36, 0.3, shirt)
    if not baby:
        pen.box(x - wide * 1.18, y - high * 0.3, x + wide * 1.18, y + high * (0.1 + 1.1 * f.hair_length), hair)
        pen.ellipse(x, y - high * 0.22, wide * 1.18, high * 0.95, hair)
    pen.box(x - 0.07, y + high * 0.5, x + 0.07, y + high + 0.1, _darker(skin, 0.85))
    pen.ellipse(x, y, wide, high, skin)
    if baby:
        pen.ellipse(x, y - high * 0.97, 0.05 + 0.04 * f.hair_length, 0.05, hair)
    else:
        pen.fringe(x, y - high * 0.62, wide * 1.02, high * 0.42, hair)
    _face(pen, f, kind, (x, y, wide, high), skin, hair)
    return image


def _colors(f: Factors) -> tuple[_Color, _Color, _Color, _Color]:
    """Colors of skin, hair, background and shirt."""
    skin = _shade(0.07, 0.55 - 0.15 * f.skin, 0.98 - 0.62 * f.skin)
    hair = _shade(0.04 + 0.09 * f.hair, 0.75 - 0.3 * f.hair, 0.12 + 0.75 * f.hair)
    return skin, hair, _shade(_HUES * f.background, 0.35, 0.9), _shade(_HUES * f.shirt, 0.7, 0.75)


def _inks(f: Factors) -> tuple[_Color, _Color, _Color, _Color]:
    """The same in the colors of a palette."""
    skin, hair, rest = _INKS
    return _between(*skin, f.skin), _between(*hair, f.hair), _between(*rest, f.background), _between(*hair, 1 - f.shirt)


def _face(
    pen: _Pen, f: Factors, kind: Kind, head: tuple[float, float, float, float], skin: _Color, hair: _Color
) -> None:
    (x, y, wide, high), dark = head, (40, 30, 30)
    apart = wide * (0.36 + 0.16 * f.eye_distance)
    size = (0.028 + 0.022 * f.eye_size) * (1.6 if kind == "baby" else 1.0)
    level = y + high * (0.12 if kind == "baby" else -0.05)
    for turn in (-1, 1):
        eye = x + turn * apart
        pen.ellipse(eye, level, size * 1.35, size, (250, 250, 250))
        pen.ellipse(eye, level, size * 0.8, size * 0.8, _shade(0.05 + 0.6 * f.eyes, 0.7, 0.55))
        pen.ellipse(eye, level, size * 0.4, size * 0.4, dark)
        rise, brow = 0.05 * (f.brows - 0.5) * turn, level - size - 0.03
        pen.line([(eye - 0.05, brow + rise), (eye + 0.05, brow - rise)], 0.022, _darker(hair, 0.8))
    if kind == "sunglasses":
        for turn in (-1, 1):
            pen.ellipse(x + turn * max(apart, 0.085), level, 0.08, 0.062, (20, 20, 26))
        pen.line([(x - wide, level - 0.02), (x + wide, level - 0.02)], 0.02, (20, 20, 26))
    nose = level + 0.05 + 0.08 * f.nose
    pen.line([(x, level + 0.02), (x + 0.025, nose), (x - 0.01, nose)], 0.014, _darker(skin, 0.7))
    smile, half, lips = 0.07 * (f.mouth - 0.4), 0.05 + 0.05 * f.mouth_width, min(nose + 0.06, y + high * 0.78)
    arc = [(x + half * t, lips + smile * (1 - t * t)) for t in np.linspace(-1, 1, 9)]
    pen.line(arc, 0.022, (176, 60, 66))


def _sketched(image: Image.Image, side: int) -> Image.Image:
    """Draw edges in gray."""
    soft = image.convert("L").filter(ImageFilter.GaussianBlur(side / 160))
    values = np.asarray(soft, np.float32)
    slope = np.hypot(*np.gradient(values)) * side / 128
    tone = 238 - np.clip(12 * slope, 0, 190) - 0.12 * (255 - values)
    return Image.fromarray(tone.clip(0, 255).astype(np.uint8)).convert("RGB")


@final
class _Pen:
    """Shapes in units of the side of a drawing."""

    def __init__(self, draw: ImageDraw.ImageDraw, side: int) -> None:
        self._draw, self._side = draw, side

    def ellipse(self, x: float, y: float, half_width: float, half_height: float, color: _Color) -> None:
        self.box(x - half_width, y - half_height, x + half_width, y + half_height, color, round_=True)

    def box(self, left: float, top: float, right: float, bottom: float, color: _Color, *, round_: bool = False) -> None:
        corners = [self._side * value for value in (left, top, max(left, right), max(top, bottom))]
        (self._draw.ellipse if round_ else self._draw.rectangle)(corners, fill=color)

    def fringe(self, x: float, y: float, half_width: float, half_height: float, color: _Color) -> None:
        """The upper half of an ellipse."""
        corners = (x - half_width, y - half_height, x + half_width, y + half_height)
        self._draw.pieslice([self._side * value for value in corners], 180, 360, fill=color)

    def line(self, points: list[tuple[float, float]], width: float, color: _Color) -> None:
        places = [(self._side * x, self._side * y) for x, y in points]
        self._draw.line(places, fill=color, width=max(1, round(self._side * width)), joint="curve")


def _shade(hue: float, saturation: float, value: float) -> _Color:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1, saturation, value))
    return red, green, blue


def _between(first: _Color, second: _Color, share: float) -> _Color:
    red, green, blue = (round((1 - share) * a + share * b) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _darker(color: _Color, share: float) -> _Color:
    red, green, blue = (round(share * part) for part in color)
    return red, green, blue
