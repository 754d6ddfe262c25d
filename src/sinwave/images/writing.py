"""Float [-1, 1] -> an 8-bit picture file that carries the text of how it was made."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from types import MappingProxyType

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from sinwave.atomic import write_bytes
from sinwave.errors import InputError, OutputError
from sinwave.images.picture import fitting_profile
from sinwave.images.pixels import to_uint8

__all__ = ["encode", "exif_of", "write"]

_NO_TEXT: Mapping[str, str] = MappingProxyType({})


def write(
    path: str | PathLike[str],
    image: Tensor,
    *,
    overwrite: bool = False,
    text: Mapping[str, str] = _NO_TEXT,
    icc: bytes | None = None,
    grey: bool = False,
) -> None:
    """Write `image` (3 or 4, h, w) in [-1, 1] as PNG, WebP, TIFF (lossless) or JPEG, told by the suffix of `path`.

    `text` becomes PNG text chunks, elsewhere JSON in the EXIF ImageDescription; `icc` is kept where it fits the colors.
    """
    path = Path(path)
    write_bytes(path, encode(image, path, text=text, icc=icc, grey=grey), overwrite=overwrite)


def encode(
    image: Tensor, path: Path, *, text: Mapping[str, str] = _NO_TEXT, icc: bytes | None = None, grey: bool = False
) -> bytes:
    """The bytes that `write` puts into the file."""
    into = _ENCODERS.get(path.suffix.lower())
    if into is None:
        raise InputError(f"{path}: the name of a picture ends in one of {', '.join(_ENCODERS)}")
    picture = _to_pillow(image, grey)
    buffer = io.BytesIO()
    try:
        into(buffer, picture, text, fitting_profile(icc, grey))
    except (OSError, ValueError, MemoryError) as error:  # each encoder has limits of its own on size and text
        if isinstance(error, InputError):
            raise
        raise OutputError(f"{path}: the picture cannot be encoded as {path.suffix} ({error})") from error
    return buffer.getvalue()


def _to_pillow(image: Tensor, grey: bool) -> Image.Image:
    if image.ndim != 3 or image.shape[0] not in (3, 4) or 0 in image.shape:
        raise InputError(f"a picture to write has the shape (3 or 4, h, w), not {tuple(image.shape)}")
    values = to_uint8(image.detach().cpu()).permute(1, 2, 0).contiguous().numpy()
    picture = Image.fromarray(values)
    return picture.convert("LA" if picture.mode == "RGBA" else "L") if grey else picture


def _png(buffer: io.BytesIO, picture: Image.Image, text: Mapping[str, str], icc: bytes | None) -> None:
    chunks = PngInfo()
    for key, value in text.items():
        if not 1 <= len(key) <= 79 or not key.isascii() or not key.isprintable():
            raise InputError(f"the name of a text is 1 to 79 printable ASCII characters, not {key!r}")
        chunks.add_text(key, value)
    picture.save(buffer, "PNG", pnginfo=chunks, icc_profile=icc)


def _jpeg(buffer: io.BytesIO, picture: Image.Image, text: Mapping[str, str], icc: bytes | None) -> None:
    if picture.mode in ("RGBA", "LA"):
        raise InputError("a JPEG file cannot hold transparency; write a PNG, WebP or TIFF")
    picture.save(buffer, "JPEG", quality=95, subsampling=0, exif=exif_of(text), icc_profile=icc)


def _webp(buffer: io.BytesIO, picture: Image.Image, text: Mapping[str, str], icc: bytes | None) -> None:
    if picture.mode in ("L", "LA"):  # WebP knows no grey
        picture = picture.convert("RGBA" if picture.mode == "LA" else "RGB")
        icc = None
    picture.save(buffer, "WEBP", lossless=True, exact=True, exif=exif_of(text), icc_profile=icc)


def _tiff(buffer: io.BytesIO, picture: Image.Image, text: Mapping[str, str], icc: bytes | None) -> None:
    picture.save(buffer, "TIFF", compression="tiff_adobe_deflate", exif=exif_of(text), icc_profile=icc)


def exif_of(text: Mapping[str, str]) -> bytes:
    """ASCII JSON, because the EXIF standard allows nothing else in an ImageDescription."""
    if not text:
        return b""
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = json.dumps(dict(text))
    return exif.tobytes()


_ENCODERS: Mapping[str, Callable[[io.BytesIO, Image.Image, Mapping[str, str], bytes | None], None]] = {
    ".png": _png,
    ".jpg": _jpeg,
    ".jpeg": _jpeg,
    ".webp": _webp,
    ".tif": _tiff,
    ".tiff": _tiff,
}
