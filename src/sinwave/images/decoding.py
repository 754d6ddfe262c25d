"""Every kind of picture that users have -> colors (3, h, w) in [-1, 1] and the opaque pixels.

Eight bits a sample go through Pillow's own conversions. Grey pictures with more bits keep them: 16-bit integers are
divided by their largest value, floats by the first of 1, 255, 65535 that none of them exceeds, and what fits no such
range is stretched from its own minimum to its own maximum.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageCms, ImageFile
from torch import Tensor

from sinwave.errors import InputError
from sinwave.images.header import Header, orientation
from sinwave.images.pixels import from_uint8

__all__ = ["Decoded", "decode"]

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
class Decoded:
    """Upright colors (3, h, w) in [-1, 1], the pixels (h, w) with alpha >= 1/2, and what the user should know."""

    colors: Tensor
    opaque: Tensor
    notes: tuple[str, ...]


def decode(image: ImageFile.ImageFile, header: Header) -> Decoded:
    """Load the pixels of an opened picture; of several frames, the first."""
    notes = list(_frame_notes(header))
    image.load()
    # Asked after loading, since Pillow turns a TIFF while it loads it and then forgets the orientation.
    turn = _UPRIGHT.get(orientation(image))
    upright = image.transpose(turn) if turn is not None else image
    if upright.mode == "F" or upright.mode.startswith("I"):
        colors, opaque = _deep_grey(upright, header, notes)
    else:
        colors, opaque = _eight_bit(upright, header, notes)
    return Decoded(colors, opaque, tuple(notes))


def _frame_notes(header: Header) -> tuple[str, ...]:
    if header.frames < 2:
        return ()
    kind = f"{header.frames} pages" if header.format == "TIFF" else f"animated: {header.frames} frames"
    return (f"{kind}, using the first",)


def _deep_grey(image: Image.Image, header: Header, notes: list[str]) -> tuple[Tensor, Tensor]:
    values = np.array(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise InputError(f"{header.path}: the picture holds NaN or infinite values")
    notes.append(f"{header.depth}-bit: outputs are 8-bit")
    ceilings = {"F": (1, 255, 65535), "I": (65535,)}.get(image.mode, (2**header.depth - 1,))
    grey = torch.from_numpy(_to_unit(values, ceilings, notes) * 2 - 1).to(torch.float32)
    opaque = torch.from_numpy(values != image.info.get("transparency", np.nan))
    return grey.expand(3, -1, -1).contiguous(), opaque


def _to_unit(values: npt.NDArray[np.float64], ceilings: tuple[int, ...], notes: list[str]) -> npt.NDArray[np.float64]:
    low, high = values.min(), values.max()
    for ceiling in ceilings:
        if low >= 0 and high <= ceiling:
            return values / ceiling
    notes.append(f"values from {low:g} to {high:g} were stretched from black to white")
    return (values - low) / (high - low) if high > low else np.full_like(values, 0.5)


def _eight_bit(image: Image.Image, header: Header, notes: list[str]) -> tuple[Tensor, Tensor]:
    if header.depth > 8:
        notes.append(f"{header.depth}-bit colors: read with 8 bits")
    if image.mode == "CMYK":
        notes.append("CMYK converted to sRGB")
        image = _cmyk_to_srgb(image)
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())  # divide by alpha first: Pillow converts these to nothing else
    if not header.has_alpha:
        colors = from_uint8(_channels(image.convert("RGB")))
        return colors, torch.ones(colors.shape[1:], dtype=torch.bool)
    channels = _channels(image.convert("RGBA"))
    return from_uint8(channels[:3]), channels[3] >= 128


def _channels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def _cmyk_to_srgb(image: Image.Image) -> Image.Image:
    """Through the picture's own profile; without a usable one by Pillow's plain formula."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image.convert("RGB")
    try:
        converted = ImageCms.profileToProfile(
            image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, ImportError, OSError):
        converted = None
    return image.convert("RGB") if converted is None else converted
