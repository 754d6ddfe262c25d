"""The one door to PyAV, an extra: frames -> H.264."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from sinwave.errors import MissingError, OutputError

__all__ = ["h264", "need_video"]

_QUALITY = {"crf": "16"}


def h264(pictures: npt.NDArray[np.uint8], fps: float, text: Mapping[str, str]) -> bytes:
    """An MP4 of frames (n, h, w, 3), the last of which is the first again and is left out: a player goes on with that.

    An odd side loses its last line, as H.264 has one color for two by two pixels.
    """
    av, buffer = need_video(), io.BytesIO()
    try:
        _encode(av, buffer, pictures, fps, text)
    except av.error.FFmpegError as error:
        raise OutputError(f"the frames cannot be encoded as mp4 ({error})") from error
    return buffer.getvalue()


def need_video() -> Any:
    """PyAV, if it is there; to be asked before long work."""
    try:
        import av
    except ImportError as error:
        raise MissingError.extra("av", "video") from error
    return av


def _encode(av: Any, buffer: io.BytesIO, pictures: npt.NDArray[np.uint8], fps: float, text: Mapping[str, str]) -> None:
    with av.open(buffer, "w", format="mp4") as container:
        container.metadata["comment"] = json.dumps(dict(text))
        height, width = (side // 2 * 2 for side in pictures.shape[1:3])
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options=_QUALITY)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for each in pictures[:-1, :height, :width]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(each), format="rgb24")))
        container.mux(stream.encode())
