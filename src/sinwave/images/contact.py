"""The contact sheet: the source, framed, and then its samples, in a grid of equal cells.

One scale holds for all pictures, so that a sample twice as wide as the source looks twice as wide. In its cell a
picture stands on the bottom, so that the labels of a row are on one line and each close to what it names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sinwave.errors import InputError
from sinwave.images.pixels import from_uint8, to_uint8
from sinwave.resize import resize

__all__ = ["MAX_SIDE", "sheet"]

MAX_SIDE = 4096

_SHAPE = 1.4  # width / height that is pleasant on a screen
_PANORAMA = 3.0  # from this width / height on, one picture a row
_MOST_COLUMNS = 60  # more would leave no room for the labels
_PAPER = (246, 246, 243)
_INK = (104, 104, 110)
_ACCENT = (0, 104, 190)


def sheet(
    source: Tensor,
    samples: Sequence[Tensor] | Tensor,
    *,
    inputs: Mapping[str, Tensor] | None = None,
    columns: int | None = None,
) -> Tensor:
    """`source` (3, h, w) and numbered `samples`, each (3, h', w'), all in [-1, 1], as one picture in [-1, 1].

    Further `inputs`, by their names, stand between them and are framed like the source.
    """
    inputs = inputs or {}
    pictures, names = [source, *inputs.values(), *samples], ["source", *inputs]
    for picture in pictures:
        if picture.ndim != 3 or picture.shape[0] != 3 or 0 in picture.shape:
            raise InputError(f"a picture on a sheet has the shape (3, h, w), not {tuple(picture.shape)}")
    if columns is not None and columns < 1:
        raise InputError(f"a sheet has at least 1 column, not {columns}")
    grid = _lay_out([(picture.shape[1], picture.shape[2]) for picture in pictures], columns)
    canvas = Image.new("RGB", (grid.width, grid.height), _PAPER)
    for index, picture in enumerate(pictures):
        given = index < len(names)
        label = names[index] if given else str(index + 1 - len(names))
        _place(canvas, grid.foot(index), grid, _to_pillow(picture, grid.scale), label, framed=given)
    return from_uint8(torch.from_numpy(np.array(canvas)).permute(2, 0, 1).contiguous())


@dataclass(frozen=True)
class _Grid:
    """Cells of `cell` = (height, width), `unit` pixels apart, each with a line of text below it."""

    columns: int
    rows: int
    cell: tuple[int, int]
    scale: float
    unit: int

    @property
    def label(self) -> int:
        return _label_height(self.unit)

    @property
    def width(self) -> int:
        return self.columns * (self.cell[1] + self.unit) + self.unit

    @property
    def height(self) -> int:
        return self.rows * (self.cell[0] + self.label + self.unit) + self.unit

    def foot(self, index: int) -> tuple[int, int]:
        """(x, y) of the middle of the bottom of a cell."""
        row, column = divmod(index, self.columns)
        x = self.unit + column * (self.cell[1] + self.unit) + self.cell[1] // 2
        y = self.unit + row * (self.cell[0] + self.label + self.unit) + self.cell[0]
        return x, y


def _lay_out(sizes: Sequence[tuple[int, int]], columns: int | None) -> _Grid:
    tallest, widest = (max(side) for side in zip(*sizes, strict=True))
    columns = min(columns or _good_columns(len(sizes), widest / tallest), len(sizes))
    rows = math.ceil(len(sizes) / columns)
    width, height = columns * widest, rows * tallest
    shrink = min(1.0, MAX_SIDE / max(width, height))
    # Text in proportion to the sheet, which is looked at as a whole, but never larger than a fifth of a picture.
    unit = round(min(max(shrink * min(max(width, height) / 64, tallest / 5, widest / 5), 12), 40))
    room = ((MAX_SIDE - unit) // rows - unit - _label_height(unit), (MAX_SIDE - unit) // columns - unit)
    narrowest = 4 * unit  # the word "source", and those of the inputs
    if room[0] < unit or room[1] < narrowest:
        raise InputError(f"{len(sizes)} pictures in {columns} columns are too many for one sheet of {MAX_SIDE} pixels")
    scale = min(1.0, room[0] / tallest, room[1] / widest)
    cell = (max(1, int(tallest * scale)), max(narrowest, int(widest * scale)))
    return _Grid(columns, rows, cell, scale, unit)


def _label_height(unit: int) -> int:
    return round(1.6 * unit)


def _good_columns(count: int, aspect: float) -> int:
    """As many columns as bring the sheet near its pleasant shape, with few cells left empty."""
    if aspect >= _PANORAMA:
        return 1

    def badness(columns: int) -> float:
        rows = math.ceil(count / columns)
        return abs(math.log(columns * aspect / rows / _SHAPE)) + (columns * rows - count) / count

    return min(range(1, min(count, _MOST_COLUMNS) + 1), key=badness)


def _to_pillow(picture: Tensor, scale: float) -> Image.Image:
    picture = picture.detach().to("cpu", torch.float32)
    if scale < 1:
        height, width = (max(1, int(side * scale)) for side in picture.shape[1:])
        picture = resize(picture[None], (height, width))[0]
    return Image.fromarray(to_uint8(picture).permute(1, 2, 0).contiguous().numpy())


def _place(
    canvas: Image.Image, foot: tuple[int, int], grid: _Grid, image: Image.Image, label: str, *, framed: bool
) -> None:
    x, y = foot
    left, top = x - image.width // 2, y - image.height
    canvas.paste(image, (left, top))
    draw = ImageDraw.Draw(canvas)
    line = max(2, grid.unit // 6)
    if framed:
        around = (left - line, top - line, left + image.width + line - 1, y + line - 1)
        draw.rectangle(around, outline=_ACCENT, width=line)
    font, ink = ImageFont.load_default(grid.unit), _ACCENT if framed else _INK
    draw.text((x, y + line + grid.label / 2), label, fill=ink, font=font, anchor="mm")
