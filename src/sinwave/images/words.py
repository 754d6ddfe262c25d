"""Sixteen bits a sample: colors of PNG and TIFF files at full precision, which Pillow reads and writes with eight.

Pillow decodes such colors to the first byte of every number. Told that the bytes stand in the other order, it decodes
to the second one, and both make the word: 256 first + second. PNG of words is written here after the specification
(W3C, 2003; every row with the Paeth filter), and TIFF after TIFF 6.0 (Adobe, 1992; deflated, horizontal differences),
of bytes too, since Pillow leaves the parts of EXIF data out of a compressed one.
"""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile
from PIL.PngImagePlugin import PngInfo, putchunk
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

__all__ = ["Words", "png", "second_bytes", "tiff", "words_of"]

Words = npt.NDArray[np.uint16]
"""(h, w, c): gray, gray and alpha, colors, or colors and alpha."""

_OTHER_ORDER = {f"{mode};16{a}": f"{mode};16{b}" for mode in ("RGB", "RGBA", "RGBX") for a, b in ("BL", "LB")}
_OTHER_ORDER |= {
    f"{mode};16N": f"{mode};16{'B' if sys.byteorder == 'little' else 'L'}" for mode in ("RGB", "RGBA", "RGBX")
}
_GRAY_ALPHA = "LA;16B"
_PLANAR = 2
_STRIP = 256
_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def second_bytes(image: ImageFile.ImageFile, file: BinaryIO) -> Image.Image | None:
    """Decode the second bytes of a file whose colors have 16 bits; None for any other, and for a TIFF in planes."""
    raws = {tile.args if isinstance(tile.args, str) else tile.args[0] for tile in image.tile if tile.args}
    raw = raws.pop() if len(raws) == 1 else None
    if raw != _GRAY_ALPHA and raw not in _OTHER_ORDER:
        return None
    if isinstance(image, TiffImageFile) and image.tag_v2.get(ExifTags.Base.PlanarConfiguration) == _PLANAR:
        return None
    place = file.tell()
    file.seek(0)
    again = type(image)(file)
    other = "RGBA" if raw == _GRAY_ALPHA else _OTHER_ORDER[raw]
    again.tile = [
        tile._replace(args=other if isinstance(tile.args, str) else (other, *(tile.args or ())[1:]))
        for tile in again.tile
    ]
    again.load()
    file.seek(place)
    if raw == _GRAY_ALPHA:  # both bytes of gray, and both of alpha
        _, gray, _, alpha = again.split()
        return Image.merge("RGBA", (gray, gray, gray, alpha))
    return again


def words_of(first: Image.Image, second: Image.Image) -> Words:
    """Put the bytes together."""
    words: Words = np.asarray(first, dtype=np.uint16) * np.uint16(256) + np.asarray(second)
    return words


def png(words: Words, text: PngInfo, icc: bytes | None, exif: bytes) -> bytes:
    """Encode a PNG; the EXIF data may begin with the marker that a JPEG has."""
    height, width, channels = words.shape
    file = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    file.seek(0, io.SEEK_END)
    putchunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, _COLOR_TYPES[channels], 0, 0, 0))
    if icc:
        putchunk(file, b"iCCP", b"ICC Profile\0\0", zlib.compress(icc))
    for name, data, *_ in text.chunks:
        putchunk(file, name, data)
    if exif:
        putchunk(file, b"eXIf", exif.removeprefix(b"Exif\0\0"))
    squeeze = zlib.compressobj(6)
    for rows in _filtered(words):
        if data := squeeze.compress(rows):
            putchunk(file, b"IDAT", data)
    putchunk(file, b"IDAT", squeeze.flush())
    putchunk(file, b"IEND")
    return file.getvalue()


def _filtered(words: Words) -> Iterator[bytes]:
    """Give rows of bytes, some at a time, less what the bytes on the left, above and between foretell."""
    height, width, channels = words.shape
    above = np.zeros((1, width * channels * 2), np.uint8)
    for start in range(0, height, _STRIP):
        rows = words[start : start + _STRIP].astype(">u2").reshape(-1, width * channels).view(np.uint8)
        whole = np.pad(np.concatenate([above, rows]), ((0, 0), (2 * channels, 0))).astype(np.int16)
        left, up, corner = whole[1:, : -2 * channels], whole[:-1, 2 * channels :], whole[:-1, : -2 * channels]
        far_left, far_up, far_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
        best = np.where(far_up <= far_corner, up, corner)
        best = np.where((far_left <= far_up) & (far_left <= far_corner), left, best)
        yield np.pad((rows - best).astype(np.uint8), ((0, 0), (1, 0)), constant_values=4).tobytes()
        above = rows[-1:]


def tiff(samples: Words | npt.NDArray[np.uint8], tags: Mapping[int, object], icc: bytes | None) -> bytes:
    """Encode a TIFF with the EXIF `tags`."""
    height, width, channels = samples.shape
    values = samples.copy()
    values[:, 1:] -= samples[:, :-1]
    values = values.astype(values.dtype.newbyteorder("<"), copy=False)
    strips = [zlib.compress(values[start : start + _STRIP].tobytes()) for start in range(0, height, _STRIP)]
    sizes, tag = [len(strip) for strip in strips], ExifTags.Base
    directory = ImageFileDirectory_v2(b"II*\0\x08\0\0\0")
    has_alpha = channels in (2, 4)
    own: dict[int, object] = {
        tag.ImageWidth: width,
        tag.ImageLength: height,
        tag.BitsPerSample: (8 * samples.dtype.itemsize,) * channels,
        tag.Compression: 8,
        tag.PhotometricInterpretation: 1 if channels < 3 else 2,
        tag.StripOffsets: tuple(sum(sizes[:index]) for index in range(len(sizes))),
        tag.SamplesPerPixel: channels,
        tag.RowsPerStrip: min(_STRIP, height),
        tag.StripByteCounts: tuple(sizes),
        tag.PlanarConfiguration: 1,
        tag.Predictor: 2,
        **({tag.ExtraSamples: (2,)} if has_alpha else {}),
        **({tag.InterColorProfile: icc} if icc else {}),
    }
    for name, value in {**tags, **own}.items():
        directory[name] = value
    file = io.BytesIO()
    directory.save(file)
    return file.getvalue() + b"".join(strips)
