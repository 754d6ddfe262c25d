"""Frames (n, 3, h, w) in [-1, 1] -> an animation that is shown for ever, in a file that says how it was made.

    .gif     256 colors for all frames; between two of them a pattern that stands still, or skies would boil
    .webp    all colors, with small losses
    .mp4     H.264, which needs PyAV: pip install 'sinwave[video]'; its door is in video.py

Of a loop the last frame is the first again: in a GIF or WebP both are shown for half of the time, or, where that would
be too short for viewers (they show a hundredth of a second as ten), the last is left out.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from sinwave.atomic import write_bytes
from sinwave.errors import OutputError
from sinwave.images.exif import exif_of
from sinwave.images.pixels import to_uint8
from sinwave.images.video import need_video
from sinwave.images.writing import encoded, saved

__all__ = ["encode_frames", "ordered", "write_frames"]

_COLORS, _SEEN = 256, 1 << 20
_BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) / 16 - 15 / 32
_NO_DITHER = Image.Dither.NONE
_SPREAD = 10.0
"""Gray levels between neighboring colors of a palette of a photograph, about."""


def write_frames(path: Path, frames: Tensor, fps: float, *, overwrite: bool, text: Mapping[str, str]) -> None:
    """Write frames (n, 3, h, w) in [-1, 1] as GIF, WebP or MP4, whole or not at all."""
    write_bytes(path, encode_frames(path, frames, fps, text), overwrite=overwrite)


def encode_frames(path: Path, frames: Tensor, fps: float, text: Mapping[str, str]) -> bytes:
    """Encode frames (n, 3, h, w) in [-1, 1] as GIF, WebP or MP4, by the ending of the path."""
    encoders = {".gif": _gif, ".webp": _webp, ".mp4": _h264}
    pictures = to_uint8(frames.detach().cpu()).permute(0, 2, 3, 1).contiguous().numpy()
    return encoded(path, "an animation", encoders, pictures, fps, text)


def _gif(pictures: npt.NDArray[np.uint8], fps: float, text: Mapping[str, str]) -> bytes:
    every = max(1, pictures[..., 0].size // _SEEN)
    sample = Image.fromarray(pictures.reshape(-1, 1, 3)[::every])
    palette = sample.quantize(_COLORS, method=Image.Quantize.MEDIANCUT)
    frames = [ordered(frame, palette) for frame in pictures]
    return _looped(frames, "GIF", fps, comment=json.dumps(dict(text)).encode("ascii"), optimize=False, disposal=1)


def ordered(picture: npt.NDArray[np.uint8], palette: Image.Image) -> Image.Image:
    """Reduce a picture (h, w, 3) to the colors of a palette, with a pattern that is the same for every picture."""
    height, width = picture.shape[:2]
    pattern = _SPREAD * np.tile(_BAYER, (height // 4 + 1, width // 4 + 1))[:height, :width, None]
    values = (picture + pattern).clip(0, 255).astype(np.uint8)
    return Image.fromarray(values).quantize(palette=palette, dither=_NO_DITHER)


def _webp(pictures: npt.NDArray[np.uint8], fps: float, text: Mapping[str, str]) -> bytes:
    frames = [Image.fromarray(frame) for frame in pictures]
    return _looped(frames, "WEBP", fps, quality=90, method=4, allow_mixed=True, exif=exif_of(text))


def _looped(frames: Sequence[Image.Image], kind: str, fps: float, **options: object) -> bytes:
    """Each frame is shown for whole hundredths of a second, as a GIF has them; too short ones are one fewer."""
    duration = max(20, 10 * round(100 / fps))
    durations = [duration] * (len(frames) - 1)
    if duration >= 40:
        durations = [duration // 20 * 10, *durations[1:], (duration + 10) // 20 * 10]
    first, *others = frames[: len(durations)]
    return saved(first, kind, save_all=True, append_images=others, duration=durations, loop=0, **options)


def _h264(pictures: npt.NDArray[np.uint8], fps: float, text: Mapping[str, str]) -> bytes:
    """An MP4 of frames (n, h, w, 3), the last of which is the first again and is left out: a player goes on with that.

    An odd side loses its last line, as H.264 has one color for two by two pixels.
    """
    av, buffer = need_video(), io.BytesIO()
    try:
        with av.open(buffer, "w", format="mp4") as container:
            container.metadata["comment"] = json.dumps(dict(text))
            height, width = (side // 2 * 2 for side in pictures.shape[1:3])
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options={"crf": "16"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for frame in pictures[:-1, :height, :width]:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
            container.mux(stream.encode())
    except av.error.FFmpegError as error:
        raise OutputError(f"the frames cannot be encoded as mp4 ({error})") from error
    return buffer.getvalue()
