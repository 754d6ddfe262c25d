"""Frames (n, 3, h, w) in [-1, 1] -> an animation that is shown for ever, in a file that says how it was made.

    .gif     256 colors for all frames; between two of them a pattern that stands still, or skies would boil
    .webp    all colors, with small losses
    .mp4     H.264, which needs PyAV: pip install 'sinwave[video]'

Of a loop the last frame is the first again: in a GIF or WebP both are shown for half of the time, or, where that would
be too short for viewers (they show a hundredth of a second as ten), the last is left out.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from sinwave.atomic import write_bytes
from sinwave.errors import InputError, OutputError
from sinwave.images.pixels import to_uint8
from sinwave.images.video import h264
from sinwave.images.writing import exif_of

__all__ = ["encode_frames", "write_frames"]

_COLORS, _SEEN = 256, 1 << 20
_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16 - 15 / 32
_NO_DITHER = Image.Dither.NONE
_SPREAD = 10.0
"""Gray levels between neighboring colors of a palette of a photograph, about."""


def write_frames(path: Path, frames: Tensor, fps: float, *, overwrite: bool, text: Mapping[str, str]) -> None:
    """Write an animation, whole or not at all."""
    write_bytes(path, encode_frames(path, frames, fps, text), overwrite=overwrite)


def encode_frames(path: Path, frames: Tensor, fps: float, text: Mapping[str, str]) -> bytes:
    """The bytes of the file."""
    into = {".gif": _gif, ".webp": _webp, ".mp4": h264}.get(path.suffix.lower())
    if into is None:
        raise InputError(f"{path}: the name of an animation ends in one of .gif, .webp, .mp4")
    pictures = to_uint8(frames.detach().cpu()).permute(0, 2, 3, 1).contiguous().numpy()
    try:
        return into(pictures, fps, text)
    except (OSError, ValueError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        raise OutputError(f"{path}: the animation cannot be encoded as {path.suffix} ({error})") from error


def _gif(pictures: npt.NDArray[np.uint8], fps: float, text: Mapping[str, str]) -> bytes:
    height, width = pictures.shape[1:3]
    every = max(1, pictures[..., 0].size // _SEEN)
    sample = Image.fromarray(pictures.reshape(-1, 1, 3)[::every])
    palette = sample.quantize(_COLORS, method=Image.Quantize.MEDIANCUT)
    pattern = _SPREAD * np.tile(_BAYER, (height // 4 + 1, width // 4 + 1))[:height, :width, None]
    frames = [
        Image.fromarray((each + pattern).clip(0, 255).astype(np.uint8)).quantize(palette=palette, dither=_NO_DITHER)
        for each in pictures
    ]
    comment = json.dumps(dict(text)).encode("ascii")
    return _saved(frames, "GIF", _durations(len(frames), fps), comment=comment, optimize=False, disposal=1)


def _webp(pictures: npt.NDArray[np.uint8], fps: float, text: Mapping[str, str]) -> bytes:
    frames = [Image.fromarray(each) for each in pictures]
    durations = _durations(len(frames), fps)
    return _saved(frames, "WEBP", durations, quality=90, method=4, allow_mixed=True, exif=exif_of(text))


def _saved(frames: Sequence[Image.Image], kind: str, durations: list[int], **options: object) -> bytes:
    buffer = io.BytesIO()
    shown = frames[: len(durations)]
    shown[0].save(buffer, kind, save_all=True, append_images=shown[1:], duration=durations, loop=0, **options)
    return buffer.getvalue()


def _durations(count: int, fps: float) -> list[int]:
    """Milliseconds of each frame, whole hundredths of a second as a GIF has them; of too short ones one less."""
    each = max(20, 10 * round(100 / fps))
    if each < 40:
        return [each] * (count - 1)
    return [each // 20 * 10, *[each] * (count - 2), (each + 10) // 20 * 10]
