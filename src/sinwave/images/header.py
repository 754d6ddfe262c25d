"""Headers: the facts of a picture file, with no pixel decoded and no torch imported.

Files are recognized by their first bytes, never by their name, and only by the decoders listed here: a user's file
never reaches an interpreter (EPS, PDF) or a rarely used decoder. The decoders are called directly, since
`PIL.Image.open` judges the size by a process-wide limit, and a library has no business changing that.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from sinwave.errors import InputError, SinwaveError

__all__ = ["FIRST_ONLY", "Header", "decoding", "describe", "file_digest", "is_film", "opened", "orientation", "probe"]
__all__ += ["read_text", "recognized"]

FIRST_ONLY = "a film, using its first picture"

_DECODERS: Mapping[re.Pattern[bytes], type[ImageFile.ImageFile]] = {
    re.compile(rb"\x89PNG\r\n\x1a\n"): PngImageFile,
    re.compile(rb"\xff\xd8\xff"): JpegImageFile,
    re.compile(rb"RIFF.{4}WEBP", re.DOTALL): WebPImageFile,
    re.compile(rb"II[*+]\0|MM\0[*+]"): TiffImageFile,
    re.compile(rb"GIF8[79]a"): GifImageFile,
    re.compile(rb"BM"): BmpImageFile,
    re.compile(rb"P[1-6]\s"): PpmImageFile,
}
_STILL = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")
"""Containers that films have too, but with one picture."""

_SIDEWAYS = (5, 6, 7, 8)
_BITS_OF_MODE = {"1": 1, "I": 32, "F": 32}


@dataclass(frozen=True)
class Header:
    """The facts of a picture file; `size` is (height, width) as seen, that is after the EXIF orientation.

    `loop` says how often an animation is shown, 0 for ever, None once.
    """

    path: Path
    format: str
    mode: str
    size: tuple[int, int]
    depth: int
    frames: int
    has_alpha: bool
    text: Mapping[str, str]
    loop: int | None = None


def probe(path: str | PathLike[str]) -> Header:
    """The header of the picture at `path`, whatever its size; `InputError` when it is not a picture."""
    path = Path(path)
    with opened(path) as (_, image):
        return describe(path, image)


def is_film(path: Path) -> bool:
    """Whether a file begins as one of these containers does."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            start = file.read(12)
    except (OSError, ValueError):
        return False
    return start[:4] == b"\x1aE\xdf\xa3" or (start[4:8] == b"ftyp" and start[8:12] not in _STILL)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read in parts."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_text(path: str | PathLike[str]) -> dict[str, str]:
    """The text that was put into a picture file: PNG text chunks, a GIF's comment, elsewhere EXIF ImageDescription."""
    return dict(probe(path).text)


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, ImageFile.ImageFile]]:
    """The file and its undecoded picture; a failure of the decoder, also in the body, becomes one sentence."""
    with _open_regular(path) as file, recognized(path, file) as image:
        yield file, image


@contextmanager
def recognized(path: Path, file: BinaryIO) -> Iterator[ImageFile.ImageFile]:
    """The undecoded picture in an open file, or in bytes that came with the file `path`."""
    with decoding(path):
        start = file.read(16)
        file.seek(0)
        decoder = next((decoder for signature, decoder in _DECODERS.items() if signature.match(start)), None)
        if decoder is None:
            kinds = ", ".join(str(decoder.format) for decoder in _DECODERS.values())
            raise InputError(f"{path}: this is not a picture of a known kind ({kinds})")
        yield decoder(file)


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn a failure of a decoder into one sentence."""
    try:
        yield
    except SinwaveError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: there is not enough memory to decode this picture") from error
    except Exception as error:  # decoders raise nearly anything on hostile bytes, SyntaxError and KeyError included
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: damaged, truncated or unsupported picture file ({reason})") from error


def _open_regular(path: Path) -> BinaryIO:
    """Open a regular, non-empty file; looking before opening, because opening a FIFO waits for ever."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path}: this is a folder, not a picture file")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: this is a device or a pipe, not a picture file")
        if status.st_size == 0:
            raise InputError(f"{path}: the file is empty")
        return path.open("rb")
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except PermissionError as error:
        raise InputError(f"{path}: no permission to read this file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror or error})") from error
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{str(path)!r}: this is not a file name ({error})") from error


def describe(path: Path, image: Image.Image) -> Header:
    """The header of an opened picture; to be asked before its pixels are loaded."""
    size, depth, frames = _size(image), _depth(image), getattr(image, "n_frames", 1)
    has_alpha, loop = image.has_transparency_data, image.info.get("loop")
    return Header(path, str(image.format), image.mode, size, depth, frames, has_alpha, _text(image), loop)


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; a damaged EXIF block is no reason to refuse a picture, so it counts as 1."""
    turn = _exif(image).get(ExifTags.Base.Orientation)
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _exif(image: Image.Image) -> Mapping[int, object]:
    try:
        return dict(Image.Image.getexif(image))  # the method of a PNG file would decode the pixels first
    except Exception:  # as hostile as the pixels
        return {}


def _size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    if isinstance(image, TiffImageFile):
        # Some versions of Pillow turn the size of a TIFF already here, others when it is loaded.
        width, height = (image.tag_v2[tag] for tag in (ExifTags.Base.ImageWidth, ExifTags.Base.ImageLength))
    return (width, height) if orientation(image) in _SIDEWAYS else (height, width)


def _depth(image: Image.Image) -> int:
    """Bits a sample in the file, which the mode does not tell: Pillow opens a 16-bit RGB file as RGB."""
    tile = image.tile if isinstance(image, ImageFile.ImageFile) else []
    codec, arguments = (tile[0].codec_name, tile[0].args) if tile else ("", None)
    raw, *rest = arguments if isinstance(arguments, tuple) and arguments else (arguments,)
    if codec.startswith("ppm"):
        return max(8, int(rest[0]).bit_length())
    bits = re.search(r";(\d+)", raw) if isinstance(raw, str) and not raw.startswith("BGR") else None
    if bits:
        return int(bits[1])
    return 16 if image.mode.startswith("I;16") else _BITS_OF_MODE.get(image.mode, 8)


def _text(image: Image.Image) -> dict[str, str]:
    """The pairs of a text that is JSON; any other text under a name of its own."""
    if isinstance(image, PngImageFile):
        return {key: str(value) for key, value in image.info.items() if isinstance(key, str) and isinstance(value, str)}
    name, text = "ImageDescription", _exif(image).get(ExifTags.Base.ImageDescription)
    comment = image.info.get("comment")
    if isinstance(image, GifImageFile) and isinstance(comment, bytes):
        name, text = "comment", comment.decode("utf-8", "replace")
    if not isinstance(text, str):
        return {}
    with suppress(ValueError, RecursionError):
        chunks = json.loads(text)
        if isinstance(chunks, dict) and all(isinstance(value, str) for value in chunks.values()):
            return chunks
    return {name: text}
