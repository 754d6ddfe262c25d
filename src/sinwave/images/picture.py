"""Pictures as everything above this floor sees them, and every way to get one.

    float = v / 127.5 - 1        v = round(127.5 (float + 1)), clamped to [0, 255]        all 256 values survive

Eight bits a sample go through Pillow's own conversions. Gray pictures with more bits keep them: 16-bit integers are
divided by their largest value, floats by the first of 1, 255, 65535 that none of them exceeds, and what fits no such
range is stretched from its own minimum to its own maximum.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from contextlib import suppress
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
from sinwave.images.header import Header, decoding, describe, opened, orientation, recognized

__all__ = ["Picture", "fitting_profile", "from_uint8", "looks_gray", "read", "read_any", "read_bytes", "to_uint8"]

MAX_ASPECT = 50
_COLORLESS = 0.1  # a dozen gray levels

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and what has to be remembered about it.

    pixels   (3, h, w) in [-1, 1]; where not opaque they hold the mean color, which is harmless and means nothing
    opaque   (h, w), True where alpha >= 1/2; None when that is everywhere
    gray     the three channels are equal, so outputs are written as grayscale
    icc      the color profile, when outputs can carry it
    notes    sentences for the user: what was not taken as it is in the file
    sha256   of the file, or of pixels and opacity if there is no file
    """

    pixels: Tensor
    opaque: Tensor | None = None
    gray: bool = False
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


def from_uint8(values: Tensor) -> Tensor:
    """uint8 values of any shape as float32 in [-1, 1]."""
    if values.dtype != torch.uint8:
        raise InputError(f"from_uint8 takes a uint8 tensor, not {values.dtype}")
    return values.to(torch.float32) / 127.5 - 1


def to_uint8(image: Tensor) -> Tensor:
    """Float values in [-1, 1], rounded to the nearest of 256 levels; what lies outside is clamped."""
    if not image.is_floating_point():
        raise InputError(f"to_uint8 takes a float tensor in [-1, 1], not {image.dtype}")
    # The extremes are NaN if anything is; asking each number would need as much memory again.
    if not all(extreme.isfinite() for extreme in image.aminmax()):
        raise InputError("the image holds NaN or infinite values, which no picture file can show")
    # Half precision cannot count to 255 in steps of a half.
    return (image.to(torch.float32) + 1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def looks_gray(image: Tensor) -> bool:
    """Whether the channels of (3, h, w) are the same but for what computing leaves: less than a dozen gray levels."""
    return bool((image.amax(0) - image.amin(0)).max() < _COLORLESS)


def read(
    path: str | PathLike[str],
    *,
    max_pixels: int = 100_000_000,
    min_side: int = 16,
    max_aspect: float | None = MAX_ASPECT,
) -> Picture:
    """Read the picture at `path`; `InputError` says in one sentence why a file cannot be used."""
    path = Path(path)
    with opened(path) as (file, image):
        return _from_file(path, file, image, _Limits(max_pixels, min_side, max_aspect))


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
    return replace(_decoded(image, header), sha256=digest.hexdigest(), path=path)


def _from_pillow(image: Image.Image, limits: _Limits) -> Picture:
    path = Path("the Pillow picture")
    with decoding(path):
        header = describe(path, image)
        limits.check(str(path), header.size)
        return _hashed(_decoded(image, header))


def _from_array(array: npt.NDArray[np.generic], limits: _Limits) -> Picture:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise InputError(f"an array of a picture has the shape (h, w) or (h, w, 1, 3 or 4), not {array.shape}")
    limits.check("the array", (array.shape[0], array.shape[1]))
    largest = {"u1": 255, "u2": 65535}.get(array.dtype.str[1:], 1)
    if largest == 1 and array.dtype.kind != "f":
        raise InputError(f"an array of a picture is uint8, uint16, or float in [0, 1], not {array.dtype}")
    values = torch.from_numpy(array.astype(np.uint8 if largest == 255 else np.float64))
    planes = values.reshape(*array.shape[:2], channels).permute(2, 0, 1)
    if largest == 1:
        _check_range("the array", planes, 0)
    colors = planes[: min(channels, 3)]
    floats = from_uint8(colors) if largest == 255 else (2 * colors / largest - 1).float()
    opaque = planes[3] >= {255: 128, 65535: 32768, 1: 0.5}[largest] if channels == 4 else None
    notes = () if largest == 255 else (f"{8 * array.dtype.itemsize}-bit: outputs are 8-bit",)
    return _hashed(_picture("the array", floats, opaque, notes))


def _from_tensor(tensor: Tensor, limits: _Limits) -> Picture:
    values = tensor.detach().cpu()
    values = values[0] if values.ndim == 4 and len(values) == 1 else values
    if values.ndim != 3 or values.shape[0] not in (1, 3):
        shape = tuple(tensor.shape)
        raise InputError(f"a tensor of a picture has the shape (3 or 1, h, w) or (1, 3 or 1, h, w), not {shape}")
    limits.check("the tensor", (values.shape[1], values.shape[2]))
    if values.dtype == torch.uint8:
        return _hashed(_picture("the tensor", from_uint8(values)))
    if not values.is_floating_point():
        raise InputError(f"a tensor of a picture is uint8, or float in [-1, 1], not {tensor.dtype}")
    _check_range("the tensor", values, -1)
    return _hashed(_picture("the tensor", values.to(torch.float32, copy=True)))


def _picture(
    name: str, colors: Tensor, opaque: Tensor | None = None, notes: Sequence[str] = (), icc: object = None
) -> Picture:
    """Fill upright colors (3 or 1, h, w) with their mean where they are transparent, and see whether they are gray."""
    colors = colors.expand(3, -1, -1).contiguous()
    if opaque is None or opaque.all():
        gray = bool((colors == colors[:1]).all())
        return Picture(colors, None, gray, fitting_profile(icc, gray), tuple(notes))
    if not opaque.any():
        raise InputError(f"{name}: the picture is fully transparent")
    visible = colors[:, opaque]
    gray = bool((visible == visible[:1]).all())
    filled = torch.where(opaque, colors, visible.double().mean(1).to(colors)[:, None, None])
    share = 1 - opaque.double().mean().item()
    notes = (*notes, f"{share:.0%} of the picture is transparent and is left out")
    return Picture(filled, opaque, gray, fitting_profile(icc, gray), notes)


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
    for part in (picture.pixels, picture.opaque):
        if part is not None:
            digest.update(part.numpy().data)
    return replace(picture, sha256=digest.hexdigest())


def _decoded(image: Image.Image, header: Header) -> Picture:
    """Load the pixels of an opened picture; of several frames, the first."""
    notes, icc = [], image.info.get("icc_profile")
    if header.frames > 1:
        kind = f"{header.frames} pages" if header.format == "TIFF" else f"animated: {header.frames} frames"
        notes.append(f"{kind}, using the first")
    image.load()
    # Asked after loading, since Pillow turns a TIFF while it loads it and then forgets the orientation.
    turn = _UPRIGHT.get(orientation(image))
    upright = image.transpose(turn) if turn is not None else image
    if upright.mode == "F" or upright.mode.startswith("I"):
        colors, opaque = _deep_gray(upright, header, notes)
    else:
        colors, opaque = _eight_bit(upright, header, notes)
    return _picture(str(header.path), colors, opaque, notes, icc)


def _deep_gray(image: Image.Image, header: Header, notes: list[str]) -> tuple[Tensor, Tensor | None]:
    with np.errstate(invalid="ignore"):  # of NaN, which the next line refuses
        values = np.array(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{header.path}: the picture holds NaN or infinite values")
    notes.append(f"{header.depth}-bit: outputs are 8-bit")
    ceilings = {"F": (1, 255, 65535), "I": (65535,)}.get(image.mode, (2**header.depth - 1,))
    low, high = values.min(), values.max()
    ceiling = next((ceiling for ceiling in ceilings if low >= 0 and high <= ceiling), None)
    if ceiling is not None:
        unit = values / ceiling
    else:
        notes.append(f"values from {low:g} to {high:g} were stretched from black to white")
        unit = (values - low) / (high - low) if high > low else np.full_like(values, 0.5)
    opaque = torch.from_numpy(values != image.info.get("transparency", np.nan))
    return torch.from_numpy(unit * 2 - 1).to(torch.float32)[None], opaque


def _eight_bit(image: Image.Image, header: Header, notes: list[str]) -> tuple[Tensor, Tensor | None]:
    if header.depth > 8:
        notes.append(f"{header.depth}-bit colors: read with 8 bits")
    if image.mode == "CMYK":
        notes.append("CMYK converted to sRGB")
        image = _cmyk_to_srgb(image)
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())  # divide by alpha first: Pillow converts these to nothing else
    values = np.array(image.convert("RGBA" if header.has_alpha else "RGB"))
    channels = torch.from_numpy(values).permute(2, 0, 1).contiguous()
    return from_uint8(channels[:3]), channels[3] >= 128 if header.has_alpha else None


def _cmyk_to_srgb(image: Image.Image) -> Image.Image:
    """Convert through the picture's own profile; without a usable one by Pillow's plain formula."""
    from PIL import ImageCms

    converted = None
    if profile := image.info.get("icc_profile"):
        with suppress(ImageCms.PyCMSError, ImportError, OSError):
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, io.BytesIO(profile), srgb, outputMode="RGB")
    return image.convert("RGB") if converted is None else converted
