"""Pixels of an opened picture file, upright, as colors and alpha.

Whole numbers v of files <-> floats in [-1, 1]; the only place where the range changes:

    float = 2 v / top - 1        v = round(top (float + 1) / 2), clamped to [0, top]        top = 255 or 65535

All values survive the way there and back.

Eight bits a sample go through Pillow's own conversions. Pictures with more bits keep them: 16-bit integers are divided
by their largest value, floats by the first of 1, 255, 65535 that none of them exceeds, and gray that fits no such range
is stretched from its own minimum to its own maximum.
"""

from __future__ import annotations

import io
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from sinwave.errors import InputError
from sinwave.images.header import Header, orientation

__all__ = ["Decoded", "decoded", "first_only", "from_uint8", "from_words", "looks_gray", "to_uint8", "to_words"]

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


class Decoded(NamedTuple):
    """Content of a file: colors (3 or 1, h, w) in [-1, 1], alpha (h, w) in [0, 1], and sentences for the user.

    `losses` are sentences on what a result does not have if it has 8 bits.
    """

    colors: Tensor
    alpha: Tensor | None
    depth: int = 8
    notes: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    icc: bytes | None = None
    exif: bytes | None = b""


def decoded(image: Image.Image, header: Header, second: Image.Image | None = None) -> Decoded:
    """Load the pixels of an opened picture; `second` has the second bytes of colors of 16 bits."""
    if isinstance(image, TiffImageFile) and _in_planes(image):
        raise InputError(f"{header.path}: a TIFF with more than 8 bits in planes is not supported")
    image.load()
    # Asked after loading, since Pillow turns a TIFF while it loads it and then forgets the orientation.
    turn = _UPRIGHT.get(orientation(image))
    upright, low = (part.transpose(turn) if part and turn is not None else part for part in (image, second))
    assert upright is not None
    if upright.mode == "F" or upright.mode.startswith("I"):
        pixels = _deep_gray(upright, header)
    elif low is not None:
        pixels = _deep_colors(upright, low, header)
    else:
        pixels = _eight_bit(upright, header)
    profile, colorful = image.info.get("icc_profile"), len(pixels.colors) == 3 and image.mode not in ("1", "L", "LA")
    space = profile[16:20] if isinstance(profile, bytes) else b""
    fits = space == b"GRAY" or (space == b"RGB " and colorful)
    return pixels._replace(icc=profile if fits else None, exif=_exif(image))


def _exif(image: Image.Image) -> bytes | None:
    """Read the EXIF data, of most pictures none."""
    with suppress(Exception):  # damaged: an answer that `kept_exif` gives
        if not ("exif" in image.info or isinstance(image, TiffImageFile) or image.getexif()):
            return b""
    from sinwave.images.exif import kept_exif

    return kept_exif(image)


def first_only(header: Header) -> str | None:
    """Say that a file holds more than the picture that is used."""
    if header.frames == 1:
        return None
    kind = f"{header.frames} pages" if header.format == "TIFF" else f"animated: {header.frames} frames"
    return f"{kind}, using the first"


def _in_planes(image: TiffImageFile) -> bool:
    """Whether Pillow would take the two bytes of a sample for two samples."""
    deep = max(image.tag_v2.get(ExifTags.Base.BitsPerSample, (8,))) > 8
    return deep and image.tag_v2.get(ExifTags.Base.PlanarConfiguration) == 2 and image.tile[0].codec_name == "raw"


def _deep_gray(image: Image.Image, header: Header) -> Decoded:
    with np.errstate(invalid="ignore"):  # of NaN, which the next line refuses
        values = np.array(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{header.path}: the picture holds NaN or infinite values")
    losses = (f"{header.depth}-bit: outputs are 8-bit",)
    notes: tuple[str, ...] = losses
    ceilings = {"F": (1, 255, 65535), "I": (65535,)}.get(image.mode, (2**header.depth - 1,))
    low, high = values.min(), values.max()
    ceiling = next((ceiling for ceiling in ceilings if low >= 0 and high <= ceiling), None)
    if ceiling is not None:
        unit = values / ceiling
    else:
        notes = (*notes, f"values from {low:g} to {high:g} were stretched from black to white")
        unit = (values - low) / (high - low) if high > low else np.full_like(values, 0.5)
    alpha = torch.from_numpy(values != image.info.get("transparency", np.nan)).float()
    return Decoded(torch.from_numpy(unit * 2 - 1).to(torch.float32)[None], alpha, 16, notes, losses)


def _deep_colors(image: Image.Image, second: Image.Image, header: Header) -> Decoded:
    from sinwave.images.words import words_of

    words, alpha = words_of(image, second), None
    shade = image.info.get("transparency")
    if words.shape[2] == 4:
        alpha = torch.from_numpy(words[..., 3].astype(np.float32) / 65535)
    elif isinstance(shade, tuple):
        alpha = torch.from_numpy((words != shade).any(2)).float()
    losses = (f"{header.depth}-bit: outputs are 8-bit",)
    return Decoded(from_words(words[..., :3]), alpha, 16, losses, losses)


def _eight_bit(image: Image.Image, header: Header) -> Decoded:
    notes = [f"{header.depth}-bit colors: read with 8 bits"] if header.depth > 8 else []
    if image.mode == "CMYK":
        notes.append("CMYK converted to sRGB")
        image = _cmyk_to_srgb(image)
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())  # divide by alpha first: Pillow converts these to nothing else
    has_alpha = image.has_transparency_data
    values = np.array(image.convert("RGBA" if has_alpha else "RGB"))
    channels = torch.from_numpy(values).permute(2, 0, 1).contiguous()
    return Decoded(from_uint8(channels[:3]), channels[3].float() / 255 if has_alpha else None, 8, tuple(notes))


def _cmyk_to_srgb(image: Image.Image) -> Image.Image:
    """Convert through the picture's own profile; without a usable one by Pillow's plain formula."""
    from PIL import ImageCms

    converted = None
    if profile := image.info.get("icc_profile"):
        with suppress(ImageCms.PyCMSError, ImportError, OSError):
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, io.BytesIO(profile), srgb, outputMode="RGB")
    return image.convert("RGB") if converted is None else converted


def from_uint8(values: Tensor) -> Tensor:
    """uint8 values of any shape as float32 in [-1, 1]."""
    if values.dtype != torch.uint8:
        raise InputError(f"from_uint8 takes a uint8 tensor, not {values.dtype}")
    return values.to(torch.float32) / 127.5 - 1


def to_uint8(image: Tensor) -> Tensor:
    """Float values in [-1, 1], rounded to the nearest of 256 levels; what lies outside is clamped."""
    if not image.is_floating_point():
        raise InputError(f"to_uint8 takes a float tensor in [-1, 1], not {image.dtype}")
    _check(image)
    # Half precision cannot count to 255 in steps of a half.
    return (image.to(torch.float32) + 1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def from_words(values: npt.NDArray[np.uint16]) -> Tensor:
    """Turn words (h, w, c) into float32 (c, h, w) in [-1, 1]."""
    return (torch.from_numpy(values.astype(np.float32)) / 32767.5 - 1).permute(2, 0, 1).contiguous()


def to_words(image: Tensor) -> npt.NDArray[np.uint16]:
    """Turn (c, h, w) in [-1, 1] into words (h, w, c), each rounded to the nearest of 65536 levels."""
    _check(image)
    levels = (image.to(torch.float32) + 1).mul_(32767.5).round_().clamp_(0, 65535)
    words: npt.NDArray[np.uint16] = levels.permute(1, 2, 0).contiguous().numpy().astype(np.uint16)
    return words


def looks_gray(image: Tensor) -> bool:
    """Whether the channels of (3, h, w) are the same but for what computing leaves: less than a dozen gray levels."""
    return bool((image.amax(0) - image.amin(0)).max() < _COLORLESS)


def _check(image: Tensor) -> None:
    # The extremes are NaN if anything is; asking each number would need as much memory again.
    if not all(extreme.isfinite() for extreme in image.aminmax()):
        raise InputError("the image holds NaN or infinite values, which no picture file can show")
