"""Films in MP4, MOV, WebM and Matroska: frames are read one by one, and a film is written with the source's times.

A result is an MP4 with H.264 in the colors of BT.709, and with the sound of its source. PyAV does the work: pip install
'sinwave[video]'; `need_video` is the one door to it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sinwave.errors import InputError, MissingError, OutputError

__all__ = ["Film", "encode_film", "film", "film_text", "is_film", "need_video", "raw_frames"]

_STILL = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")
_BT709 = 1


class Film(NamedTuple):
    """Size (height, width) as seen, and the milliseconds of all frames."""

    size: tuple[int, int]
    durations: tuple[int, ...]


def is_film(path: Path) -> bool:
    """Whether a file begins as one of these containers does."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            start = file.read(12)
    except (OSError, ValueError):
        return False
    return start[:4] == b"\x1aE\xdf\xa3" or (start[4:8] == b"ftyp" and start[8:12] not in _STILL)


def film(path: Path) -> Film:
    """Look through a film."""
    with _opened(path) as (container, stream):
        times = _times(container, stream)
        first = next(iter(raw_frames(path)))
        unit = 1000 * float(stream.time_base)
        last = round(1000 / float(stream.average_rate)) if stream.average_rate else 40
        lengths = [round(unit * (after - before)) for before, after in pairwise(times)]
        return Film((first.shape[0], first.shape[1]), (*lengths, last))


def raw_frames(path: Path) -> Iterator[npt.NDArray[np.uint8]]:
    """Decode the frames (h, w, 3), upright."""
    with _opened(path) as (container, stream):
        for frame in container.decode(stream):
            pixels = frame.to_ndarray(format="rgb24", src_colorspace=frame.colorspace)
            yield np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))


def film_text(path: Path) -> Mapping[str, str]:
    """Read what a result says of how it was made; nothing where that is not to be had."""
    with _opened(path) as (container, _):
        try:
            text = json.loads(container.metadata.get("comment", "{}"))
        except ValueError:
            return {}
    return {str(key): str(value) for key, value in text.items()} if isinstance(text, dict) else {}


def encode_film(source: Path, pictures: Iterator[npt.NDArray[np.uint8]], text: Mapping[str, str]) -> bytes:
    """Encode frames (h, w, 3) as an MP4 with the times and the sound of the source.

    An odd side loses its last line, as H.264 has one color for two by two pixels.
    """
    av, buffer = need_video(), io.BytesIO()
    try:
        with _opened(source) as (container, stream), av.open(buffer, "w", format="mp4") as result:
            result.metadata["comment"] = json.dumps(dict(text))
            times = _times(container, stream)
            written = result.add_stream("libx264", rate=stream.average_rate or 25, options={"crf": "16"})
            written.codec_context.time_base = stream.time_base
            sound = next(iter(container.streams.audio), None)
            kept = None if sound is None else result.add_stream_from_template(sound)
            for number, (picture, time) in enumerate(zip(pictures, times, strict=True)):
                height, width = (side // 2 * 2 for side in picture.shape[:2])
                if number == 0:
                    _describe(written, height, width)
                cut = np.ascontiguousarray(picture[:height, :width])
                frame = av.VideoFrame.from_ndarray(cut, format="rgb24").reformat(
                    format="yuv420p", dst_colorspace=_BT709
                )
                frame.pts, frame.time_base = time - times[0], stream.time_base
                result.mux(written.encode(frame))
            result.mux(written.encode())
            if kept is not None:
                container.seek(0)
                for packet in container.demux(sound):
                    if packet.dts is not None:
                        packet.stream = kept
                        result.mux(packet)
    except av.error.FFmpegError as error:
        raise OutputError(f"{source}: the film cannot be encoded as mp4 ({error})") from error
    return buffer.getvalue()


def _describe(stream: Any, height: int, width: int) -> None:
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = _BT709


def _times(container: Any, stream: Any) -> list[int]:
    """Times of all frames, in units of the stream."""
    times = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
    container.seek(0)
    return times


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a film and its first stream of pictures; a failure of the decoder becomes one sentence."""
    av = need_video()
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: the file holds no pictures")
            yield container, container.streams.video[0]
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"{path}: damaged, truncated or unsupported film ({error})") from error


def need_video() -> Any:
    """Import PyAV; to be called before long work."""
    try:
        import av
    except ImportError as error:
        raise MissingError.extra("av", "video") from error
    return av
