"""The one door to PyAV, an extra: frames -> H.264."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from sinwave.errors import MissingError

__all__ = ["h264"]

_QUALITY = {"crf": "16"}


def h264(pictures: npt.NDArray[np.uint8], fps: float, text: Mapping[str, str]) -> bytes:
    """An MP4 of frames (n, h, w, 3), the last of which is the first again and is left out: a player goes on with that.

    An odd side loses its last line, as H.264 has one color for two by two pixels.
    """
    try:
        import av
    except ImportError as error:
        raise MissingError.extra("av", "video") from error
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        container.metadata["comment"] = json.dumps(dict(text))
        height, width = (side // 2 * 2 for side in pictures.shape[1:3])
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options=_QUALITY)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for each in pictures[:-1, :height, :width]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(each), format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()
