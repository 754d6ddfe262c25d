"""Animations that become animations, frame by frame: GIF stays GIF, WebP and APNG become WebP, films become MP4.

Every frame keeps its time, and the file its loops. The colors of a GIF are the 256 that fit all frames best, enlarged,
and between two colors lies a pattern that stands still. WebP is lossless if the source was. The containers are those
of GIF89a (CompuServe, 1990) and of Google's "WebP Container Specification".
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import GifImagePlugin, Image
from torch import Tensor

from sinwave.errors import InputError
from sinwave.images.animation import ordered
from sinwave.images.exif import exif_of
from sinwave.images.header import FIRST_ONLY, is_film, probe
from sinwave.images.picture import Picture, fitting_profile, read_frames
from sinwave.images.pixels import first_only, to_uint8
from sinwave.images.video import Film, encode_film, film
from sinwave.images.writing import encoded, saved

__all__ = ["Movie", "encode_movie", "movie"]

_KINDS = {"GIF": ".gif", "WEBP": ".webp", "PNG": ".webp"}
_MOST_SIDE = {".gif": 65535, ".webp": 16383, ".mp4": 8192}
_SEEN = 1 << 20
"""Pixels of all frames together from which the colors of a GIF are chosen."""

Bytes: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Movie:
    """An animation in a file; its frames are read one by one.

    suffix       of a result of the same kind
    durations    milliseconds of every frame
    loop         how often it is shown, 0 for ever; None if the file does not say, so once
    transparent  whether any pixel of any frame is
    lossless     whether the frames were compressed without losses
    sample       (1, n, 3), colors of what is visible, for the palette of a GIF
    note         the sentence of `read` that is not true of a result with all frames
    notes        sentences on what a result does not have
    film         times, for a film
    """

    path: Path
    suffix: str
    durations: tuple[int, ...]
    loop: int | None
    transparent: bool
    lossless: bool
    sample: Bytes
    note: str | None
    notes: tuple[str, ...] = ()
    film: Film | None = None

    def frames(self, max_pixels: int, min_side: int) -> Iterator[Picture]:
        """Read the frames again."""
        return (picture for picture, _ in read_frames(self.path, max_pixels=max_pixels, min_side=min_side))

    def losses(self, size: tuple[int, int]) -> tuple[str, ...]:
        """Sentences on what a result of this size does not have."""
        odd = self.film is not None and (size[0] % 2 or size[1] % 2)
        return (*self.notes, "an MP4 has even sides: a last line is left out") if odd else self.notes

    def check(self, size: tuple[int, int]) -> None:
        """Refuse a result that the kind of file cannot hold."""
        most = _MOST_SIDE[self.suffix]
        if max(size) > most:
            kind, (height, width) = self.suffix[1:].upper(), size
            raise InputError(
                f"{self.path}: an animated {kind} has at most {most} pixels a side, not {width} x {height}"
            )


def movie(path: Path, *, max_pixels: int, min_side: int) -> Movie | None:
    """Look through the frames of an animation; None for a file of one picture, and for pages."""
    if is_film(path):
        content, nothing = film(path), np.zeros((1, 0, 3), np.uint8)
        return Movie(path, ".mp4", content.durations, None, False, False, nothing, FIRST_ONLY, content.notes, content)
    header = probe(path)
    if header.frames == 1 or header.format not in _KINDS:
        return None
    durations, sample, transparent = list[int](), list[Bytes](), False
    for picture, duration in read_frames(path, max_pixels=max_pixels, min_side=min_side):
        durations.append(round(duration))
        transparent |= picture.opaque is not None or picture.soft is not None
        if header.format == "GIF":
            sample.append(_sample(picture, _SEEN // header.frames))
    if len(durations) == 1:  # and a PNG's picture for those who know no animations
        return None
    colors = np.concatenate(sample)[None] if sample else np.zeros((1, 0, 3), np.uint8)
    lossless = header.format == "PNG" or b"VP8L" in _names(path)
    suffix, note = _KINDS[header.format], first_only(header)
    return Movie(path, suffix, tuple(durations), header.loop, transparent, lossless, colors, note)


def encode_movie(
    path: Path, source: Movie, frames: Iterable[Tensor], text: Mapping[str, str], icc: bytes | None, exif: bytes | None
) -> bytes:
    """Encode frames (3 or 4, h, w) in [-1, 1], which are asked for one by one."""
    pictures = map(_bytes, frames)  # which holds none while it asks for the next
    encoders = {".gif": lambda: b"".join(_gif(source, pictures, text))}
    if source.film is not None:
        encoders[".mp4"] = partial(encode_film, source.path, source.film, pictures, text)
    encoders[".webp"] = lambda: b"".join(_webp(source, pictures, text, icc, exif or b""))
    return encoded(path, "an animation", encoders)


def _bytes(image: Tensor) -> Bytes:
    values: Bytes = to_uint8(image).permute(1, 2, 0).contiguous().numpy()
    return values


def _sample(picture: Picture, count: int) -> Bytes:
    """Choose colors (n, 3) of what is visible, in twice the size, as the enlarged picture mixes them."""
    height, width = picture.size
    large = np.asarray(
        Image.fromarray(_bytes(picture.pixels)).resize((2 * width, 2 * height), Image.Resampling.BICUBIC)
    )
    if picture.opaque is not None:
        large = large[picture.opaque.numpy().repeat(2, 0).repeat(2, 1)]
    colors = large.reshape(-1, 3)
    return colors[:: max(1, len(colors) // max(1, count))]


def _gif(source: Movie, pictures: Iterator[Bytes], text: Mapping[str, str]) -> Iterator[bytes]:
    """Give the parts of a GIF; without transparency a frame holds only the rectangle that has changed."""
    palette = _palette(source)
    before: Bytes | None = None
    for picture, duration in zip(pictures, source.durations, strict=True):
        height, width = picture.shape[:2]
        if before is None:
            yield b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF7, 0, 0) + bytes(palette.getpalette() or ())
            if source.loop is not None:
                yield b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", min(source.loop, 65535)) + b"\0"
            yield _comment(json.dumps(dict(text)).encode("ascii"))
        index = np.asarray(ordered(picture[..., :3], palette))
        hidden: dict[str, int] = {}
        top, left, bottom, right = 0, 0, height, width
        if source.transparent:
            hidden = {"transparency": 255, "disposal": 2}
            index = np.where(picture[..., 3] >= 128, index, np.uint8(255)) if picture.shape[2] == 4 else index
        elif before is not None:
            top, left, bottom, right = _changed(before != index)
        part, options = Image.fromarray(index[top:bottom, left:right]), {"disposal": 1, **hidden}
        yield b"".join(GifImagePlugin.getdata(part, (left, top), duration=duration, **options))
        before = index
    yield b";"


def _palette(source: Movie) -> Image.Image:
    """Choose 256 colors, the last of which is also the first: its number is that of what is transparent."""
    count = 255 if source.transparent else 256
    chosen = Image.fromarray(source.sample).quantize(count, method=Image.Quantize.MEDIANCUT).getpalette() or [0, 0, 0]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*chosen, *chosen[:3] * 256][:768])
    return palette


def _comment(words: bytes) -> bytes:
    parts = [words[start : start + 255] for start in range(0, len(words), 255)]
    return b"!\xfe" + b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def _changed(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Box of what is true, at least one pixel."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0, 0, 1, 1
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _webp(
    source: Movie, pictures: Iterator[Bytes], text: Mapping[str, str], icc: bytes | None, exif: bytes
) -> Iterator[bytes]:
    """Give the parts of a WebP; every frame is whole, and replaces the one before."""
    body, size, icc = list[bytes](), (0, 0), fitting_profile(icc, False)
    options = {"lossless": True, "exact": True} if source.lossless else {"quality": 90, "method": 4}
    for picture, duration in zip(pictures, source.durations, strict=True):
        size = picture.shape[0], picture.shape[1]
        data = saved(Image.fromarray(picture), "WEBP", **options)
        image = b"".join(_chunk(name, part) for name, part in _chunks(data) if name in (b"ALPH", b"VP8 ", b"VP8L"))
        place = bytes(6) + _three(size[1] - 1) + _three(size[0] - 1) + _three(min(duration, 0xFFFFFF))
        body.append(_chunk(b"ANMF", place + b"\x02" + image))
    facts = exif_of(text, exif, size).removeprefix(b"Exif\0\0")
    flags = 0x02 | (0x20 if icc else 0) | (0x10 if source.transparent else 0) | (0x08 if facts else 0)
    parts = [_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + _three(size[1] - 1) + _three(size[0] - 1))]
    parts += [_chunk(b"ICCP", icc)] if icc else []
    parts.append(_chunk(b"ANIM", bytes(4) + struct.pack("<H", min(source.loop or 0, 65535))))
    parts += body
    parts += [_chunk(b"EXIF", facts)] if facts else []
    yield b"RIFF" + struct.pack("<I", 4 + sum(map(len, parts))) + b"WEBP"
    yield from parts


def _three(number: int) -> bytes:
    return number.to_bytes(3, "little")


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _chunks(data: bytes, start: int = 12) -> Iterator[tuple[bytes, bytes]]:
    while start + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, start + 4)
        yield data[start : start + 4], data[start + 8 : start + 8 + length]
        start += 8 + length + length % 2


def _names(path: Path) -> set[bytes]:
    """Names of the chunks in the frames of a WebP."""
    frames = (part for name, part in _chunks(path.read_bytes()) if name == b"ANMF")
    return {name for frame in frames for name, _ in _chunks(frame, 16)}
