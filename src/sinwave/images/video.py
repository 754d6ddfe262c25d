"""Films in MP4, MOV, WebM and Matroska: frames are read one by one, and a film is written with the source's times.

A result is an MP4 with H.264 in the colors of BT.709, with the sound of its source. PyAV does the work: pip install
'sinwave[video]'; `need_video` is the one door to it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sinwave.errors import InputError, MissingError, OutputError

__all__ = ["Film", "encode_film", "film", "film_text", "need_video", "raw_frames"]

_SOUND = frozenset(("aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"))
"""Codecs that an MP4 holds."""

_BT709, _BT601, _HIGH_DEFINITION = 1, 5, 720
_MATRICES = {1: _BT709, 4: 4, 5: _BT601, 6: _BT601, 7: 7}
"""Numbers of the scaler by those of streams."""

_HDR = (16, 18)
"""Numbers of transfer curves: PQ and HLG."""


class Film(NamedTuple):
    """Size (height, width) as seen, the times of all frames in units of `unit` seconds, and what a result lacks."""

    size: tuple[int, int]
    times: tuple[int, ...]
    unit: Fraction
    rate: Fraction
    notes: tuple[str, ...]

    @property
    def durations(self) -> tuple[int, ...]:
        """Milliseconds of all frames; of the last one what the rate says."""
        lengths = [round(1000 * float(self.unit * (after - before))) for before, after in pairwise(self.times)]
        return (*lengths, round(1000 / float(self.rate)))


def film(path: Path) -> Film:
    """Decode a film once, to know its times, and that all of it can be read."""
    with _opened(path) as (container, stream):
        rate = Fraction(stream.average_rate or 25)
        step = max(1, round(1 / (rate * stream.time_base)))
        times, size, curve = list[int](), (0, 0), stream.codec_context.color_trc
        for frame in container.decode(stream):
            time = frame.pts if frame.pts is not None else times[-1] + step if times else 0
            times.append(max(time, times[-1] + 1) if times else time)
            size = _seen(frame)
        if not times:
            raise InputError(f"{path}: the film has no pictures")
        return Film(size, tuple(times), stream.time_base, rate, tuple(_lacking(container, size, curve)))


def raw_frames(path: Path) -> Iterator[npt.NDArray[np.uint8]]:
    """Decode the frames (h, w, 3), upright."""
    with _opened(path) as (container, stream):
        for frame in container.decode(stream):
            usual = _BT709 if frame.height >= _HIGH_DEFINITION else _BT601
            pixels = frame.to_ndarray(format="rgb24", src_colorspace=_MATRICES.get(int(frame.colorspace), usual))
            yield np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))


def film_text(path: Path) -> Mapping[str, str]:
    """Read what a result says of how it was made; nothing where that is not to be had."""
    with _opened(path) as (container, _):
        try:
            text = json.loads(container.metadata.get("comment", "{}"))
        except ValueError:
            return {}
    return {str(key): str(value) for key, value in text.items()} if isinstance(text, dict) else {}


def encode_film(path: Path, source: Film, pictures: Iterator[npt.NDArray[np.uint8]], text: Mapping[str, str]) -> bytes:
    """Encode frames (h, w, 3) as an MP4 with the times of the film and the sound of the file `path`.

    An odd side loses its last line, as H.264 has one color for two by two pixels.
    """
    av, buffer = need_video(), io.BytesIO()
    with _opened(path) as (container, stream):
        aspect, turned = stream.sample_aspect_ratio or Fraction(1), source.size != (stream.height, stream.width)
        sounds = [sound for sound in container.streams.audio if sound.codec_context.name in _SOUND]
        packets = [packet for packet in container.demux(sounds) if packet.dts is not None] if sounds else []
        try:
            with av.open(buffer, "w", format="mp4") as result:
                result.metadata["comment"] = json.dumps(dict(text))
                written = result.add_stream("libx264", rate=source.rate, options={"crf": "16"})
                written.codec_context.time_base = source.unit
                kept = {sound.index: result.add_stream_from_template(sound) for sound in sounds}
                packets.sort(key=lambda packet: packet.dts * packet.time_base, reverse=True)
                for number, (picture, time) in enumerate(zip(pictures, source.times, strict=True)):
                    height, width = (side // 2 * 2 for side in picture.shape[:2])
                    if number == 0:
                        _describe(written, height, width, 1 / aspect if turned else aspect)
                    while packets and packets[-1].dts * packets[-1].time_base <= time * source.unit:
                        _pass(packets.pop(), kept, result)
                    cut = np.ascontiguousarray(picture[:height, :width])
                    frame = av.VideoFrame.from_ndarray(cut, format="rgb24").reformat(
                        format="yuv420p", dst_colorspace=_BT709
                    )
                    frame.pts, frame.time_base = time, source.unit
                    result.mux(written.encode(frame))
                result.mux(written.encode())
                while packets:
                    _pass(packets.pop(), kept, result)
        except av.error.FFmpegError as error:
            raise OutputError(f"{path}: the enlarged film cannot be encoded as mp4 ({error})") from error
    return buffer.getvalue()


def _pass(packet: Any, kept: Mapping[int, Any], result: Any) -> None:
    """Write a packet of sound as it is."""
    packet.stream = kept[packet.stream.index]
    result.mux(packet)


def _describe(stream: Any, height: int, width: int, aspect: Fraction) -> None:
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    context = stream.codec_context
    context.sample_aspect_ratio = aspect
    context.colorspace = context.color_primaries = context.color_trc = _BT709


def _seen(frame: Any) -> tuple[int, int]:
    """Size (height, width) of a frame as it is seen."""
    sides = (frame.height, frame.width)
    return sides[::-1] if round(frame.rotation / 90) % 2 else sides


def _lacking(container: Any, size: Sequence[int], curve: int) -> Iterator[str]:
    """Sentences on what of a film its result does not have."""
    for sound in container.streams.audio:
        if sound.codec_context.name not in _SOUND:
            yield f"its sound ({sound.codec_context.name}) does not fit into an MP4 and is left out"
    if container.streams.subtitles:
        yield "its subtitles are left out"
    if curve in _HDR:
        yield "its HDR colors are taken for those of a usual film"


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
        if isinstance(error, OutputError):
            raise
        raise InputError(f"{path}: damaged, truncated or unsupported film ({error})") from error


def need_video() -> Any:
    """Import PyAV; to be called before long work."""
    try:
        import av
    except ImportError as error:
        raise MissingError.extra("av", "video") from error
    return av
