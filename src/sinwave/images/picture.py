"""A picture as everything above this floor sees it, and the one way to get it from a file."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import torch
from PIL import ImageFile
from PIL.PngImagePlugin import PngImageFile
from torch import Tensor

from sinwave.errors import InputError
from sinwave.images.decoding import decode
from sinwave.images.header import Header, describe, opened, recognized

__all__ = ["Picture", "fitting_profile", "read", "read_bytes"]

MAX_ASPECT = 50


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and what has to be remembered about it.

    pixels   (3, h, w) in [-1, 1]; where not opaque they hold the mean color, which is harmless and means nothing
    opaque   (h, w), True where alpha >= 1/2; None when that is everywhere
    grey     the three channels are equal, so outputs are written as greyscale
    icc      the color profile, when outputs can carry it
    notes    sentences for the user: what was not taken as it is in the file
    sha256   of the file
    """

    pixels: Tensor
    opaque: Tensor | None = None
    grey: bool = False
    icc: bytes | None = None
    notes: tuple[str, ...] = ()
    sha256: str = ""
    path: Path | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[1], self.pixels.shape[2]

    @property
    def name(self) -> str:
        """The file's name without folder and suffix."""
        return self.path.stem if self.path else "picture"


def read(path: str | PathLike[str], *, max_pixels: int = 100_000_000, min_side: int = 16) -> Picture:
    """The picture at `path`; `InputError` says in one sentence why a file cannot be used."""
    path = Path(path)
    with opened(path) as (file, image):
        return _picture(path, file, image, max_pixels, min_side)


def read_bytes(data: bytes, path: Path, *, max_pixels: int = 100_000_000, min_side: int = 16) -> Picture:
    """The picture that is kept inside of the file `path`, as `read` would give it."""
    with io.BytesIO(data) as file, recognized(path, file) as image:
        return _picture(path, file, image, max_pixels, min_side)


def _picture(path: Path, file: BinaryIO, image: ImageFile.ImageFile, max_pixels: int, min_side: int) -> Picture:
    header = describe(path, image)
    _check_size(header, max_pixels, min_side)
    if header.format == "PNG":
        _check_sums(file)
    digest = _sha256(file)
    icc = image.info.get("icc_profile")
    decoded = decode(image, header)
    if not decoded.opaque.any():
        raise InputError(f"{path}: the picture is fully transparent")
    visible = decoded.colors[:, decoded.opaque]
    grey = bool((visible == visible[:1]).all())
    pixels, opaque, notes = decoded.colors, None, decoded.notes
    if not decoded.opaque.all():
        opaque = decoded.opaque
        pixels = torch.where(opaque, pixels, visible.double().mean(1).to(pixels)[:, None, None])
        notes = (*notes, f"{1 - opaque.double().mean().item():.0%} of the picture is transparent and is left out")
    return Picture(pixels, opaque, grey, fitting_profile(icc, grey), notes, digest, path)


def fitting_profile(icc: object, grey: bool) -> bytes | None:
    """The ICC profile if it describes the colors of such an output: bytes 16 to 20 name its color space."""
    fits = isinstance(icc, bytes) and icc[16:20] == (b"GRAY" if grey else b"RGB ")
    return icc if isinstance(icc, bytes) and fits else None


def _check_size(header: Header, max_pixels: int, min_side: int) -> None:
    height, width = header.size
    shown = f"{header.path}: the picture has {width} x {height} pixels"
    if height * width > max_pixels:
        raise InputError(f"{shown}, more than the {max_pixels:,} allowed")
    if min(height, width) < min_side:
        raise InputError(f"{shown}, and each side must have at least {min_side}")
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise InputError(f"{shown}, and the longer side may be at most {MAX_ASPECT} times the shorter")


def _check_sums(file: BinaryIO) -> None:
    """Read a PNG to its end: the decoder stops when it has all rows and would miss a cut or altered tail."""
    place = file.tell()
    file.seek(0)
    PngImageFile(file).verify()
    file.seek(place)


def _sha256(file: BinaryIO) -> str:
    place = file.tell()
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    file.seek(place)
    return digest.hexdigest()
