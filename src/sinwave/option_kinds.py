"""Kinds of options beyond numbers and texts: pictures, masks, models, sizes, regions and places.

A kind takes what a command line has, a word, and what a Python program has: a path, bytes, a Pillow picture, an array.
Nothing is read before it is needed, and torch is not loaded by declaring options.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from sinwave.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave import images

__all__ = ["MIN_SIDE", "Mask", "Picture", "Place", "Region", "Scale", "Size", "Source", "check_size"]

MIN_SIDE = 16
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"

P = TypeVar("P", bound="Picture")


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that is an input: a path, or what `sinwave.images.read_any` takes."""

    value: Any
    noun: ClassVar[str] = "a picture"
    metavar: ClassVar[str] = "PICTURE"

    @classmethod
    def accept(cls: type[P], value: Any) -> P:
        if isinstance(value, cls):
            return value
        if isinstance(value, Picture):
            return cls(value.value)
        if isinstance(value, (str, os.PathLike)) and str(value):
            return cls(Path(value))
        if value is None or isinstance(value, (str, bool, int, float)):
            raise TypeError
        return cls(value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Picture) or type(other) is not type(self):
            return False
        return self.value is other.value or (self.path is not None and self.path == other.path)

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def path(self) -> Path | None:
        """The file, if it is one."""
        return self.value if isinstance(self.value, Path) else None

    @property
    def name(self) -> str:
        """The name of results that are made from it."""
        return self.path.stem if self.path else "picture"

    def __str__(self) -> str:
        return str(self.path) if self.path else f"the {type(self).__name__.lower()}"

    def to_json(self) -> str:
        if self.path is None:
            raise InputError("a picture in memory cannot be written as JSON: save it, and give its path")
        return str(self.path)

    def read(self, max_pixels: int, min_side: int = MIN_SIDE) -> images.Picture:
        """Read it, checked."""
        from sinwave import images

        if isinstance(self.value, images.Picture):
            return self.value
        if self.path is not None:
            return images.read(self.path, max_pixels=max_pixels, min_side=min_side)
        return images.read_any(self.value, max_pixels=max_pixels, min_side=min_side)

    @cached_property
    def sha256(self) -> str:
        """The digest of the file, or of the pixels."""
        from sinwave.images.header import file_digest

        if self.path is None:
            return self.read(1 << 62, 1).sha256
        try:
            return file_digest(self.path)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror or error})") from error


class Source(Picture):
    """A picture to learn from, or a model file."""

    noun: ClassVar[str] = "a picture or a model file"
    metavar: ClassVar[str] = "SOURCE"


class Mask(Picture):
    """A mask: white is where something happens."""

    noun: ClassVar[str] = "a mask"
    metavar: ClassVar[str] = "MASK"

    def values(self, size: tuple[int, int]) -> Tensor:
        """(1, 1, h, w) from 0, black, to 1, white, stretched to `size`; one of hard edges keeps them."""
        from sinwave.resize import resize

        mask = _mask(self)
        if bool(((mask == 0) | (mask == 1)).all()):
            return (resize(mask, size, "area") >= 0.5).to(mask)
        return resize(mask, size, "bilinear").clamp(0, 1)

    def partial(self, size: tuple[int, int]) -> Tensor:
        """The same, if something is white in it, and something black."""
        mask = self.values(size)
        if not (mask > 0).any():
            raise InputError(f"{self}: the mask is black, so nothing would change: white is what may change")
        if (mask == 1).all():
            raise InputError(f"{self}: the mask is white, so nothing would stay: black is what stays")
        return mask


def _mask(mask: Mask) -> Tensor:
    """Read (1, 1, h, w) in [0, 1] from a picture, or from an array or a tensor (h, w) of bytes, booleans or shares."""
    import numpy as np
    import torch

    value = mask.value.convert("L") if hasattr(mask.value, "convert") else mask.value
    if not hasattr(value, "__array__"):
        return (mask.read(1 << 62, 1).pixels.mean(0)[None, None] + 1) / 2
    array = value.detach().cpu() if isinstance(value, torch.Tensor) else np.array(value)
    shape = tuple(array.shape)
    side = shape[:2] if shape[2:] == (1,) else shape[-2:]
    if len(side) < 2 or 0 in shape or math.prod(shape) != math.prod(side):
        raise InputError(f"a mask is a picture, or has the shape (h, w), not {shape}")
    if not isinstance(array, torch.Tensor) and array.dtype.kind not in "buif":
        raise InputError(f"a mask holds bytes, booleans or shares, not {array.dtype}")
    numbers = array if isinstance(array, torch.Tensor) else torch.from_numpy(array.astype(np.float32))
    values = numbers.float().reshape(1, 1, *side)
    if not values.isfinite().all():
        raise InputError("a mask holds numbers from 0 to 1 or to 255, not NaN or infinite ones")
    return (values / (255 if values.max() > 1 else 1)).clamp(0, 1)


class _Written:
    """A kind that is written in JSON as on the command line."""

    __slots__ = ()

    def to_json(self) -> str:
        return str(self)


def _match(pattern: str, value: Any) -> re.Match[str]:
    match = re.fullmatch(pattern, str(value).strip(), re.ASCII)
    if match is None:
        raise TypeError
    return match


class Size(NamedTuple("_Size", [("height", int), ("width", int)]), _Written):
    """A size in pixels: WIDTHxHEIGHT in words, (height, width) in Python."""

    __slots__ = ()
    noun: ClassVar[str] = "WIDTHxHEIGHT in pixels such as 640x480"
    metavar: ClassVar[str] = "WIDTHxHEIGHT"

    @classmethod
    def accept(cls, value: Any) -> Size:
        if isinstance(value, str):
            match = _match(r"(\d{1,9})[xX](\d{1,9})", value)
            return cls(int(match[2]), int(match[1]))
        if not isinstance(value, (tuple, list)) or len(value) != 2 or not all(type(side) is int for side in value):
            raise TypeError
        return cls(*value)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


class Scale(NamedTuple("_Scale", [("down", float), ("across", float)]), _Written):
    """Factors of a size: 2, or 1.5x1 for width and height."""

    __slots__ = ()
    noun: ClassVar[str] = "a factor such as 2, or two such as 1.5x1 for width and height"
    metavar: ClassVar[str] = "FACTOR"

    @classmethod
    def accept(cls, value: Any) -> Scale:
        match = _match(f"{_NUMBER}(?:[xX]{_NUMBER})?", value)
        across = float(match[1])
        down = float(match[2] or match[1])
        if not math.isfinite(across * down):
            raise InputError(f"must be finite, not {value!r}")
        return cls(down, across)

    def of(self, size: tuple[int, int]) -> Size:
        """The scaled size."""
        return Size(round(size[0] * self.down), round(size[1] * self.across))

    def __str__(self) -> str:
        return f"{self.across:g}" if self.across == self.down else f"{self.across:g}x{self.down:g}"


class Place(NamedTuple("_Place", [("top", int), ("left", int)]), _Written):
    """A pixel: X+Y in words, from the left and from the top."""

    __slots__ = ()
    noun: ClassVar[str] = "X+Y in pixels such as 30+40"
    metavar: ClassVar[str] = "X+Y"

    @classmethod
    def accept(cls, value: Any) -> Place:
        match = _match(r"([+-]?\d{1,9})([+-]\d{1,9})", value)
        return cls(int(match[2]), int(match[1]))

    def __str__(self) -> str:
        return f"{self.left}{self.top:+d}"


class Region(NamedTuple("_Region", [("top", int), ("left", int), ("height", int), ("width", int)]), _Written):
    """A rectangle of pixels: WxH+X+Y in words, width, height, and the place of its upper left corner."""

    __slots__ = ()
    noun: ClassVar[str] = "WxH+X+Y in pixels such as 64x48+10+20, at least 1 wide and high"
    metavar: ClassVar[str] = "WxH+X+Y"

    @classmethod
    def accept(cls, value: Any) -> Region:
        width, height, left, top = map(int, _match(r"(\d{1,9})x(\d{1,9})\+(\d{1,9})\+(\d{1,9})", value).groups())
        if not width or not height:
            raise TypeError
        return cls(top, left, height, width)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}+{self.left}+{self.top}"


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Refuse a size that is too small to hold a picture or larger than allowed."""
    height, width = size
    if min(size) < MIN_SIDE:
        raise InputError(
            f"a picture of {width} x {height} pixels is too small: each side must have at least {MIN_SIDE}"
        )
    if height * width > max_pixels:
        raise InputError(f"a picture of {width} x {height} pixels is larger than the {max_pixels:,} pixels allowed")
