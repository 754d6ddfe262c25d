"""EXIF data of a picture, as far as they are true of an enlarged copy too: its camera, date, place, author and rights.

Left out are the thumbnail, the notes of the maker, whose parts are counted from places in the old file, and whatever
is counted in pixels of it. Upright pixels have orientation 1.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping

from PIL import ExifTags, Image

__all__ = ["exif_of", "kept_exif", "tags_of"]

_TAG = ExifTags.Base
_KEPT = {_TAG.ImageDescription, _TAG.Make, _TAG.Model, _TAG.Software, _TAG.DateTime, _TAG.Artist, _TAG.Copyright}
_KEPT |= {_TAG.HostComputer, _TAG.Rating, _TAG.RatingPercent, _TAG.XResolution, _TAG.YResolution, _TAG.ResolutionUnit}
_KEPT |= {_TAG.XPTitle, _TAG.XPComment, _TAG.XPAuthor, _TAG.XPKeywords, _TAG.XPSubject}
_SUBJECT_AREA = 0x9214  # Pillow has no name for it
_UNTRUE = {_TAG.MakerNote, _SUBJECT_AREA, _TAG.SubjectLocation, _TAG.CompressedBitsPerPixel}
_UNTRUE |= {_TAG.FocalPlaneXResolution, _TAG.FocalPlaneYResolution, _TAG.FocalPlaneResolutionUnit}
_UNTRUE |= {ExifTags.IFD.Interop}


def kept_exif(image: Image.Image) -> bytes | None:
    """Read the EXIF data of a loaded picture that stay true; None if they are damaged, nothing if there are none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            old, new = _all(image), Image.Exif()
            for tag in _KEPT & set(old):
                new[tag] = old[tag]
            if str(new.get(_TAG.ImageDescription, "")).startswith('{"Software": "sinwave'):
                del new[_TAG.ImageDescription]
            for part in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
                if tags := {tag: value for tag, value in old.get_ifd(part).items() if tag not in _UNTRUE}:
                    new[part] = tags
            if not new:
                return b""
            if _TAG.Orientation in old:
                new[_TAG.Orientation] = 1
            return new.tobytes()
    except Exception:  # as hostile as the pixels
        return None


def _all(image: Image.Image) -> Image.Exif:
    """Read all EXIF data, anew: those that were damaged are empty to Pillow when it is asked a second time."""
    raw = image.info.get("exif")
    if not isinstance(raw, bytes):
        return image.getexif()
    exif = Image.Exif()
    exif.load(raw)
    return exif


def exif_of(text: Mapping[str, str], exif: bytes = b"", size: tuple[int, int] | None = None) -> bytes:
    """EXIF data for a file of `size`, with `text` as ASCII JSON, since the standard allows nothing else there."""
    block = _block(text, exif, size)
    return block.tobytes() if block else b""


def tags_of(text: Mapping[str, str], exif: bytes, size: tuple[int, int]) -> dict[int, object]:
    """Give the same as tags of a TIFF."""
    return dict(_block(text, exif, size))


def _block(text: Mapping[str, str], exif: bytes, size: tuple[int, int] | None) -> Image.Exif:
    old, block = Image.Exif(), Image.Exif()
    old.load(exif)
    for tag in old:
        block[tag] = old[tag]
    for part in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if part in old:
            block[part] = dict(old.get_ifd(part))
    if size is not None and _TAG.ExifImageWidth in block.get(ExifTags.IFD.Exif, {}):
        block[ExifTags.IFD.Exif] |= {_TAG.ExifImageHeight: size[0], _TAG.ExifImageWidth: size[1]}
    if text:
        words = block.get(_TAG.ImageDescription)
        block[_TAG.ImageDescription] = json.dumps({**text, **({"ImageDescription": words} if words else {})})
    return block
