"""Pictures as everything above this floor sees them, and every way to get one."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngImageFile
from torch import Tensor

from sinwave.errors import InputError
from sinwave.images.header import FIRST_ONLY, decoding, describe, file_digest, is_film, opened, recognized
from sinwave.images.pixels import Decoded, decoded, first_only, from_uint8, from_words, looks_gray, to_uint8

__all__ = ["Picture", "fitting_profile", "from_uint8", "looks_gray", "read", "read_any", "read_bytes", "to_uint8"]
__all__ += ["as_written", "read_frames"]

MAX_ASPECT = 50


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and what has to be remembered about it.

    pixels   (3, h, w) in [-1, 1]; where not opaque they hold the mean color, which is harmless and means nothing
    opaque   (h, w), True where alpha >= 1/2; None when that is everywhere
    gray     the three channels are equal, so outputs are written as grayscale
    icc      the color profile, when outputs can carry it
    notes    sentences for the user: what was not taken as it is in the file
    sha256   of the file, or of pixels and opacity if there is no file
    soft     (4, h, w), colors and alpha in [-1, 1] as they are in the file, if opaque does not say all of alpha
    depth    bits a sample, 8 or 16, of the file, and of a result that is the same picture
    exif     what of the EXIF data is true of such a result too; None if they are damaged
    losses   those of the notes that such a result makes untrue
    """

    pixels: Tensor
    opaque: Tensor | None = None
    gray: bool = False
    icc: bytes | None = None
    notes: tuple[str, ...] = ()
    sha256: str = ""
    path: Path | None = None
    soft: Tensor | None = None
    depth: int = 8
    exif: bytes | None = b""
    losses: tuple[str, ...] = ()

    @property
    def layers(self) -> Tensor:
        """Colors, with alpha if something is transparent: (3 or 4, h, w)."""
        if self.soft is not None or self.opaque is None:
            return self.pixels if self.soft is None else self.soft
        return torch.cat([self.pixels, 2.0 * self.opaque[None] - 1])

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[1], self.pixels.shape[2]

    @property
    def name(self) -> str:
        """The file's name without folder and suffix."""
        return self.path.stem if self.path else "picture"


class _Limits(NamedTuple):
    max_pixels: int
    min_side: int
    max_aspect: float | None = MAX_ASPECT

    def check(self, name: str, size: tuple[int, int]) -> None:
        height, width = size
        sentence = f"{name}: the picture has {width} x {height} pixels"
        if height * width > self.max_pixels:
            raise InputError(f"{sentence}, more than the {self.max_pixels:,} allowed")
        if min(height, width) < max(self.min_side, 1):
            raise InputError(f"{sentence}, and each side must have at least {self.min_side}")
        if self.max_aspect is not None and max(height, width) > self.max_aspect * min(height, width):
            raise InputError(f"{sentence}, and the longer side may be at most {self.max_aspect:g} times the shorter")


def read(
    path: str | PathLike[str],
    *,
    max_pixels: int = 100_000_000,
    min_side: int = 16,
    max_aspect: float | None = MAX_ASPECT,
) -> Picture:
    """Read the picture at `path`; `InputError` says in one sentence why a file cannot be used."""
    path, limits = Path(path), _Limits(max_pixels, min_side, max_aspect)
    if is_film(path):
        picture = next(_frames_of_film(path, limits), None)
        if picture is None:
            raise InputError(f"{path}: the film has no pictures")
        return replace(picture, path=path, sha256=file_digest(path), notes=(FIRST_ONLY,))
    with opened(path) as (file, image):
        return _from_file(path, file, image, limits)


def read_bytes(data: bytes, path: Path, *, max_pixels: int = 100_000_000, min_side: int = 16) -> Picture:
    """Read the picture that is kept inside of the file `path`, as `read` would."""
    with io.BytesIO(data) as file, recognized(path, file) as image:
        return _from_file(path, file, image, _Limits(max_pixels, min_side))


def read_any(value: object, *, max_pixels: int = 100_000_000, min_side: int = 16) -> Picture:
    """Read a picture from a path, the bytes of a file, a Pillow picture, an array, a tensor, or a `Picture`.

    array     (h, w), (h, w, 1), (h, w, 3) or (h, w, 4): uint8, uint16, or float in [0, 1]
    tensor    (3, h, w), (1, h, w), (1, 3, h, w) or (1, 1, h, w): uint8, or float in [-1, 1]
    """
    limits = _Limits(max_pixels, min_side)
    if isinstance(value, Picture):
        limits.check("the picture", value.size)
        return value
    if isinstance(value, str | PathLike):
        return read(value, max_pixels=max_pixels, min_side=min_side)
    if isinstance(value, bytes | bytearray | memoryview):
        return replace(read_bytes(bytes(value), Path("bytes"), max_pixels=max_pixels, min_side=min_side), path=None)
    if isinstance(value, Image.Image):
        return _from_pillow(value, limits)
    if isinstance(value, Tensor):
        return _from_tensor(value, limits)
    if hasattr(value, "__array__"):
        return _from_array(np.asarray(value), limits)
    kind = type(value).__name__
    raise InputError(f"a picture is a path, bytes, a Pillow picture, an array or a tensor, not {kind}")


def read_frames(path: Path, *, max_pixels: int, min_side: int) -> Iterator[tuple[Picture, float]]:
    """Give the frames of an animation, which may be fully transparent, and how many milliseconds they are shown."""
    limits = _Limits(max_pixels, min_side)
    if is_film(path):
        yield from ((picture, 0.0) for picture in _frames_of_film(path, limits))
        return
    with opened(path) as (_, image):
        header = describe(path, image)
        limits.check(str(path), header.size)
        # A PNG may have a picture for those who know no animations.
        for number in range(bool(image.info.get("default_image")), header.frames):
            image.seek(number)
            content = decoded(image, header)
            yield _pictured(str(path), content, blank=True), float(image.info.get("duration", 0))


def _frames_of_film(path: Path, limits: _Limits) -> Iterator[Picture]:
    from sinwave.images.video import raw_frames

    for pixels in raw_frames(path):
        limits.check(str(path), (pixels.shape[0], pixels.shape[1]))
        yield Picture(from_uint8(torch.from_numpy(pixels).permute(2, 0, 1)), exif=b"")


def as_written(image: Tensor, picture: Picture) -> tuple[Tensor, bool]:
    """Give what to write of an image drawn from a picture, and whether as gray; a profile of colors needs colors."""
    # What was pasted into a gray picture, or blended with it, may have colors.
    gray = picture.gray and looks_gray(image[:3])
    if not gray or picture.icc is None or fitting_profile(picture.icc, True) is not None:
        return image, gray
    return torch.cat([image[:3].mean(0, keepdim=True).expand(3, -1, -1), image[3:]]), False


def _from_file(path: Path, file: BinaryIO, image: ImageFile.ImageFile, limits: _Limits) -> Picture:
    header, place, digest = describe(path, image), file.tell(), hashlib.sha256()
    limits.check(str(path), header.size)
    if header.format == "PNG":
        # To the end: the decoder stops when it has all rows and would miss a cut or altered tail.
        file.seek(0)
        PngImageFile(file).verify()
    file.seek(0)
    while block := file.read(1 << 20):
        digest.update(block)
    file.seek(place)
    content = decoded(image, header, _second_bytes(image, file) if header.depth > 8 else None)
    if note := first_only(header):
        content = content._replace(notes=(note, *content.notes))
    return replace(_pictured(str(path), content), sha256=digest.hexdigest(), path=path)


def _second_bytes(image: ImageFile.ImageFile, file: BinaryIO) -> Image.Image | None:
    from sinwave.images.words import second_bytes

    return second_bytes(image, file)


def _from_pillow(image: Image.Image, limits: _Limits) -> Picture:
    path = Path("the Pillow picture")
    with decoding(path):
        header = describe(path, image)
        limits.check(str(path), header.size)
        return _hashed(_pictured(str(path), decoded(image, header)))


def _from_array(array: npt.NDArray[np.generic], limits: _Limits) -> Picture:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise InputError(f"an array of a picture has the shape (h, w) or (h, w, 1, 3 or 4), not {array.shape}")
    limits.check("the array", (array.shape[0], array.shape[1]))
    largest = {"u1": 255, "u2": 65535}.get(array.dtype.str[1:], 1)
    if largest == 1 and array.dtype.kind != "f":
        raise InputError(f"an array of a picture is uint8, uint16, or float in [0, 1], not {array.dtype}")
    planes = array.reshape(*array.shape[:2], channels)
    if largest == 1:
        _check_range("the array", torch.from_numpy(planes.astype(np.float64)), 0)
    alpha = torch.from_numpy(planes[..., 3] / np.float32(largest)).float() if channels == 4 else None
    colors, notes = _levels(planes[..., : min(channels, 3)], largest)
    losses = notes if largest == 65535 else ()
    return _hashed(
        _pictured("the array", Decoded(colors, alpha, 16 if largest == 65535 else 8, notes, losses, exif=b""))
    )


def _levels(planes: npt.NDArray[np.generic], largest: int) -> tuple[Tensor, tuple[str, ...]]:
    """Colors (c, h, w) in [-1, 1] of an array (h, w, c), and what is to be said of them."""
    if largest == 255:
        return from_uint8(torch.from_numpy(planes.astype(np.uint8)).permute(2, 0, 1).contiguous()), ()
    notes = (f"{8 * planes.dtype.itemsize}-bit: outputs are 8-bit",)
    if largest == 65535:
        return from_words(planes.astype(np.uint16)), notes
    return (2 * torch.from_numpy(planes.astype(np.float64)).permute(2, 0, 1) - 1).float(), notes


def _from_tensor(tensor: Tensor, limits: _Limits) -> Picture:
    values = tensor.detach().cpu()
    values = values[0] if values.ndim == 4 and len(values) == 1 else values
    if values.ndim != 3 or values.shape[0] not in (1, 3):
        shape = tuple(tensor.shape)
        raise InputError(f"a tensor of a picture has the shape (3 or 1, h, w) or (1, 3 or 1, h, w), not {shape}")
    limits.check("the tensor", (values.shape[1], values.shape[2]))
    if values.dtype == torch.uint8:
        return _hashed(_pictured("the tensor", Decoded(from_uint8(values), None)))
    if not values.is_floating_point():
        raise InputError(f"a tensor of a picture is uint8, or float in [-1, 1], not {tensor.dtype}")
    _check_range("the tensor", values, -1)
    return _hashed(_pictured("the tensor", Decoded(values.to(torch.float32, copy=True), None)))


def _pictured(name: str, content: Decoded, *, blank: bool = False) -> Picture:
    """Fill colors with their mean where they are transparent, and see whether they are gray."""
    colors, alpha = content.colors.expand(3, -1, -1).contiguous(), content.alpha
    opaque = torch.ones(colors.shape[1:], dtype=torch.bool) if alpha is None else alpha >= 0.5
    if not (blank or opaque.any()):
        raise InputError(f"{name}: the picture is fully transparent")
    visible = colors[:, opaque]
    gray = bool((visible == visible[:1]).all())
    notes, losses = content.notes, content.losses
    soft = alpha is not None and bool(((alpha > 0) & (alpha < 1)).any())
    layers = torch.cat([colors, 2 * alpha[None] - 1]) if soft and alpha is not None else None
    if not opaque.all():
        fill = visible.double().mean(1) if opaque.any() else torch.zeros(3)
        colors = torch.where(opaque, colors, fill.to(colors)[:, None, None])
        share = 1 - opaque.double().mean().item()
        sentence = f"{share:.0%} of the picture is transparent and is left out"
        notes, losses = (*notes, sentence), (*losses, sentence)
    return Picture(
        colors,
        None if opaque.all() else opaque,
        gray,
        content.icc,
        notes,
        soft=layers,
        depth=content.depth,
        exif=content.exif,
        losses=losses,
    )


def fitting_profile(icc: object, gray: bool) -> bytes | None:
    """The ICC profile if it describes the colors of such an output: bytes 16 to 20 name its color space."""
    fits = isinstance(icc, bytes) and icc[16:20] == (b"GRAY" if gray else b"RGB ")
    return icc if isinstance(icc, bytes) and fits else None


def _check_range(name: str, values: Tensor, least: int) -> None:
    if not values.isfinite().all():
        raise InputError(f"{name}: the picture holds NaN or infinite values")
    low, high = (extreme.item() for extreme in values.aminmax())
    if low < least or high > 1:
        raise InputError(f"{name}: floats are in [{least}, 1], and its values go from {low:g} to {high:g}")


def _hashed(picture: Picture) -> Picture:
    """Add the hash of its content to a picture that has no file."""
    digest = hashlib.sha256(str(picture.size).encode())
    for part in (picture.pixels, picture.opaque, picture.soft):
        if part is not None:
            digest.update(part.numpy().data)
    return replace(picture, sha256=digest.hexdigest())
