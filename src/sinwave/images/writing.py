"""Float [-1, 1] -> a picture file of 8 bits a sample, or 16, with the text of how it was made; and contact sheets.

A sheet shows the source, framed, and then its samples, in a grid of equal cells. One scale holds for all pictures, so
that a sample twice as wide as the source looks twice as wide; small ones are shown in whole multiples of their size. In
its cell a picture stands on the bottom, so that the labels of a row are on one line and each close to what it names.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from sinwave.atomic import write_bytes
from sinwave.errors import InputError, OutputError
from sinwave.images.picture import fitting_profile
from sinwave.images.pixels import from_uint8, to_uint8, to_words

if TYPE_CHECKING:
    from sinwave.images.words import Words

__all__ = ["MAX_SIDE", "PICTURES", "encode", "encoded", "saved", "sheet", "write"]

MAX_SIDE = 4096
_SHAPE = 1.4  # width / height that is pleasant on a screen
_PANORAMA = 3.0  # from this width / height on, one picture a row
_MOST_COLUMNS = 60  # more would leave no room for the labels
_MOST_ROWS = 90
_LEAST_UNIT = 12
_SHOWN = 96  # the tallest picture is shown in the largest multiple of its size up to this height
_PAPER = (246, 246, 243)
_INK = (104, 104, 110)
_ACCENT = (0, 104, 190)

_Color: TypeAlias = tuple[int, int, int]
_NO_TEXT: Mapping[str, str] = MappingProxyType({})
_NO_INPUTS: Mapping[str, Tensor] = MappingProxyType({})


def write(
    path: str | PathLike[str],
    image: Tensor,
    *,
    overwrite: bool = False,
    text: Mapping[str, str] = _NO_TEXT,
    icc: bytes | None = None,
    gray: bool = False,
    depth: int = 8,
    exif: bytes | None = b"",
) -> None:
    """Write `image` (3 or 4, h, w) in [-1, 1] as PNG, WebP, TIFF (lossless) or JPEG, told by the suffix of `path`.

    `text` becomes PNG text chunks, elsewhere JSON in the EXIF ImageDescription; `icc` is kept where it fits the colors.
    PNG and TIFF may have a `depth` of 16 bits; `exif` is that of a `Picture`.
    """
    path = Path(path)
    data = encode(image, path, text=text, icc=icc, gray=gray, depth=depth, exif=exif)
    write_bytes(path, data, overwrite=overwrite)


def encode(
    image: Tensor,
    path: Path,
    *,
    text: Mapping[str, str] = _NO_TEXT,
    icc: bytes | None = None,
    gray: bool = False,
    depth: int = 8,
    exif: bytes | None = b"",
) -> bytes:
    """The bytes that `write` puts into the file."""
    if image.ndim != 3 or image.shape[0] not in (3, 4) or 0 in image.shape:
        raise InputError(f"a picture to write has the shape (3 or 4, h, w), not {tuple(image.shape)}")
    image, profile = image.detach().cpu(), fitting_profile(icc, gray)
    if depth == 16 and path.suffix.lower() in _DEEP_ENCODERS:
        return encoded(path, "a picture", _DEEP_ENCODERS, _as_words(image, gray), text, profile, exif or b"")
    picture = _pillow(image)
    if gray:
        picture = picture.convert("LA" if picture.mode == "RGBA" else "L")
    return encoded(path, "a picture", _ENCODERS, picture, text, profile, exif or b"")


def _as_words(image: Tensor, gray: bool) -> Words:
    return to_words(torch.cat([image[:3].mean(0, keepdim=True), image[3:]]) if gray else image)


def encoded(path: Path, kind: str, encoders: Mapping[str, Callable[..., bytes]], *arguments: object) -> bytes:
    """The bytes of a file by the encoder for its suffix; each has limits of its own on size and text."""
    encoder = encoders.get(path.suffix.lower())
    if encoder is None:
        raise InputError(f"{path}: the name of {kind} ends in one of {', '.join(encoders)}")
    try:
        return encoder(*arguments)
    except InputError:
        raise
    except (OSError, ValueError, MemoryError) as error:
        raise OutputError(f"{path}: {kind} cannot be encoded as {path.suffix} ({error})") from error


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file by Pillow."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _chunks(text: Mapping[str, str]) -> PngInfo:
    chunks = PngInfo()
    for key, value in text.items():
        if not 1 <= len(key) <= 79 or not key.isascii() or not key.isprintable():
            raise InputError(f"the name of a text is 1 to 79 printable ASCII characters, not {key!r}")
        chunks.add_text(key, value)
    return chunks


def _png(picture: Image.Image, text: Mapping[str, str], icc: bytes | None, exif: bytes) -> bytes:
    exif = _exif_of({}, exif, picture.size[::-1])
    return saved(picture, "PNG", pnginfo=_chunks(text), icc_profile=icc, **({"exif": exif} if exif else {}))


def _jpeg(picture: Image.Image, text: Mapping[str, str], icc: bytes | None, exif: bytes) -> bytes:
    if picture.mode in ("RGBA", "LA"):
        raise InputError("a JPEG file cannot hold transparency; write a PNG, WebP or TIFF")
    exif = _exif_of(text, exif, picture.size[::-1])
    return saved(picture, "JPEG", quality=95, subsampling=0, exif=exif, icc_profile=icc)


def _webp(picture: Image.Image, text: Mapping[str, str], icc: bytes | None, exif: bytes) -> bytes:
    if picture.mode in ("L", "LA"):  # WebP knows no gray
        picture, icc = picture.convert("RGBA" if picture.mode == "LA" else "RGB"), None
    exif = _exif_of(text, exif, picture.size[::-1])
    return saved(picture, "WEBP", lossless=True, exact=True, exif=exif, icc_profile=icc)


def _tiff(picture: Image.Image, text: Mapping[str, str], icc: bytes | None, exif: bytes) -> bytes:
    samples = np.array(picture).reshape(picture.height, picture.width, -1)
    return _tagged(samples, text, icc, exif)


def _exif_of(text: Mapping[str, str], exif: bytes, size: tuple[int, int]) -> bytes:
    if not (text or exif):
        return b""
    from sinwave.images.exif import exif_of

    return exif_of(text, exif, size)


def _tagged(samples: Words | npt.NDArray[np.uint8], text: Mapping[str, str], icc: bytes | None, exif: bytes) -> bytes:
    from sinwave.images.exif import tags_of
    from sinwave.images.words import tiff

    return tiff(samples, tags_of(text, exif, samples.shape[:2]), icc)


def _deep_png(values: Words, text: Mapping[str, str], icc: bytes | None, exif: bytes) -> bytes:
    from sinwave.images.words import png

    return png(values, _chunks(text), icc, _exif_of({}, exif, values.shape[:2]))


def _deep_tiff(values: Words, text: Mapping[str, str], icc: bytes | None, exif: bytes) -> bytes:
    if values.shape[2] == 2:  # which Pillow does not read
        values, icc = values[..., [0, 0, 0, 1]], None
    return _tagged(values, text, icc, exif)


_ENCODERS = {".png": _png, ".jpg": _jpeg, ".jpeg": _jpeg, ".webp": _webp, ".tif": _tiff, ".tiff": _tiff}
PICTURES = tuple(_ENCODERS)
"""Endings of the names of pictures."""

_DEEP_ENCODERS = {".png": _deep_png, ".tif": _deep_tiff, ".tiff": _deep_tiff}


def sheet(
    source: Tensor | None,
    samples: Sequence[Tensor] | Tensor,
    *,
    inputs: Mapping[str, Tensor] = _NO_INPUTS,
    columns: int | None = None,
) -> Tensor:
    """`source` (3, h, w), or none, and numbered `samples`, each (3, h', w'), all in [-1, 1], as one picture in [-1, 1].

    Further `inputs`, by their names, stand between them and are framed like the source.
    """
    framed = inputs if source is None else {"source": source, **inputs}
    pictures, names = [*framed.values(), *samples], list(framed)
    if not pictures:
        raise InputError("a sheet shows at least one picture")
    for picture in pictures:
        if picture.ndim != 3 or picture.shape[0] != 3 or 0 in picture.shape:
            raise InputError(f"a picture on a sheet has the shape (3, h, w), not {tuple(picture.shape)}")
    if columns is not None and columns < 1:
        raise InputError(f"a sheet has at least 1 column, not {columns}")
    sizes = [(picture.shape[1], picture.shape[2]) for picture in pictures]
    times = _times(sizes, columns)
    if times > 1:
        pictures = [picture.repeat_interleave(times, 1).repeat_interleave(times, 2) for picture in pictures]
    columns, down, right, scale, unit = _lay_out(_multiplied(sizes, times), columns)
    rows = math.ceil(len(pictures) / columns)
    canvas = Image.new("RGB", (columns * right + unit, rows * down + unit), _PAPER)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        foot = unit + column * right + (right - unit) // 2, (row + 1) * down - _label_height(unit)
        label, color = (names[index], _ACCENT) if index < len(names) else (str(index + 1 - len(names)), _INK)
        _place(canvas, foot, unit, _scaled(picture, scale), label, color)
    return from_uint8(torch.from_numpy(np.array(canvas)).permute(2, 0, 1).contiguous())


def _times(sizes: Sequence[tuple[int, int]], columns: int | None) -> int:
    """How often the pixels of small pictures are repeated, so that one sees them and they fit on a sheet."""
    for times in range(_SHOWN // max(height for height, _ in sizes), 1, -1):
        if _lay_out(_multiplied(sizes, times), columns)[3] == 1.0:
            return times
    return 1


def _multiplied(sizes: Sequence[tuple[int, int]], times: int) -> list[tuple[int, int]]:
    return [(times * height, times * width) for height, width in sizes]


def _lay_out(sizes: Sequence[tuple[int, int]], columns: int | None) -> tuple[int, int, int, float, int]:
    """(columns, down, right, scale, unit): cells `down` and `right` apart, with a label and `unit` pixels between."""
    tallest, widest = (max(side) for side in zip(*sizes, strict=True))
    columns = min(columns or _good_columns(len(sizes), widest / tallest), len(sizes))
    rows = math.ceil(len(sizes) / columns)
    width, height = columns * widest, rows * tallest
    shrink = min(1.0, MAX_SIDE / max(width, height))
    # Text in proportion to the sheet, which is looked at as a whole, but never larger than a fifth of a picture.
    unit = round(min(max(shrink * min(max(width, height) / 64, tallest / 5, widest / 5), _LEAST_UNIT), 40))
    while unit > _LEAST_UNIT and _room(rows, columns, unit) is None:
        unit -= 1
    room = _room(rows, columns, unit)
    if room is None:
        raise InputError(f"{len(sizes)} pictures in {columns} columns are too many for one sheet of {MAX_SIDE} pixels")
    scale = min(1.0, room[0] / tallest, room[1] / widest)
    down, right = max(1, int(tallest * scale)) + _label_height(unit), max(4 * unit, int(widest * scale))
    return columns, down + unit, right + unit, scale, unit


def _room(rows: int, columns: int, unit: int) -> tuple[int, int] | None:
    """(height, width) that a picture may have, if that is enough, also for the word "source" below it."""
    height, width = (MAX_SIDE - unit) // rows - unit - _label_height(unit), (MAX_SIDE - unit) // columns - unit
    return (height, width) if height >= unit and width >= 4 * unit else None


def _label_height(unit: int) -> int:
    return round(1.6 * unit)


def _good_columns(count: int, aspect: float) -> int:
    """The number of columns that brings the sheet near its pleasant shape, with few cells left empty."""
    if aspect >= _PANORAMA:
        return math.ceil(count / _MOST_ROWS)

    def badness(columns: int) -> float:
        rows = math.ceil(count / columns)
        return abs(math.log(columns * aspect / rows / _SHAPE)) + (columns * rows - count) / count

    return min(range(1, min(count, _MOST_COLUMNS) + 1), key=badness)


def _scaled(picture: Tensor, scale: float) -> Image.Image:
    picture = picture.detach().to("cpu", torch.float32)
    if scale < 1:
        from sinwave.resize import resize

        height, width = (max(1, int(side * scale)) for side in picture.shape[1:])
        picture = resize(picture[None], (height, width))[0]
    return _pillow(picture)


def _pillow(picture: Tensor) -> Image.Image:
    return Image.fromarray(to_uint8(picture).permute(1, 2, 0).contiguous().numpy())


def _place(
    canvas: Image.Image, foot: tuple[int, int], unit: int, image: Image.Image, label: str, color: _Color
) -> None:
    from PIL import ImageDraw, ImageFont

    x, y = foot
    left, top = x - image.width // 2, y - image.height
    canvas.paste(image, (left, top))
    draw, line = ImageDraw.Draw(canvas), max(2, unit // 6)
    if color == _ACCENT:
        around = (left - line, top - line, left + image.width + line - 1, y + line - 1)
        draw.rectangle(around, outline=color, width=line)
    font, middle = ImageFont.load_default(unit), y + line + _label_height(unit) / 2
    draw.text((x, middle), label, fill=color, font=font, anchor="mm")
