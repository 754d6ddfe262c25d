"""Films are enlarged frame by frame: their times, their sound and their way up are kept."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from sinwave.cli import main
from sinwave.errors import InputError
from sinwave.images import read
from sinwave.images.header import is_film
from sinwave.images.video import encode_film, film, film_text, raw_frames

TIMES = (0, 512, 1024, 3072)
"""The third frame is shown three times as long as the others: in units of 1 / 12800 s."""


def frames(height: int = 32, width: int = 48) -> list[np.ndarray]:
    ramp = np.linspace(20, 230, width, dtype=np.float64)[None, :, None].repeat(height, 0).repeat(3, 2)
    ramp[: height // 2, :, 0] = 200
    return [np.clip(ramp - 10 * number, 0, 255).astype(np.uint8) for number in range(len(TIMES))]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 12800)
        sound = container.add_stream("aac", rate=44100)
        for time, pixels in zip(TIMES, frames(), strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 12800)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        tone = (0.3 * np.sin(np.arange(44100 // 4) / 10)).astype(np.float32)[None]
        samples = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        samples.sample_rate, samples.pts = 44100, 0
        container.mux(sound.encode(samples))
        container.mux(sound.encode())
    return path


def packets(path: Path, kind: str) -> list[tuple[int, bytes]]:
    with av.open(str(path)) as container:
        stream = next(iter(getattr(container.streams, kind)))
        return [(packet.pts, bytes(packet)) for packet in container.demux(stream) if packet.pts is not None]


def test_a_film_is_enlarged_with_its_times_and_its_sound(clip: Path, tmp_path: Path, capsys) -> None:
    command = ["upscale", str(clip), "--factor", "2", "-o", str(tmp_path / "out")]
    assert main(command) == 0
    result = tmp_path / "out" / "clip-upscale.mp4"
    assert film(result).durations == film(clip).durations == (40, 40, 160, 40)
    large = list(raw_frames(result))
    assert len(large) == len(TIMES)
    for pixels, small in zip(large, frames(), strict=True):
        expected = np.asarray(Image.fromarray(small).resize((96, 64), Image.Resampling.BICUBIC)).astype(float)
        assert pixels.shape == (64, 96, 3)
        assert np.abs(pixels - expected).mean() < 4
    assert [data for _, data in packets(result, "audio")] == [data for _, data in packets(clip, "audio")]
    assert film_text(result)["sinwave:command"].startswith("sinwave upscale clip.mp4 --factor 2.0")
    before = result.read_bytes()
    capsys.readouterr()
    assert main(command) == 0  # it is read again, and kept
    assert result.read_bytes() == before
    assert main([*command, "--model", "patches"]) == 2
    assert "another file of that name exists" in capsys.readouterr().err


def test_other_tasks_use_the_first_picture_of_a_film_and_say_so(clip: Path, tmp_path: Path, capsys) -> None:
    picture = read(clip)
    assert picture.size == (32, 48)
    assert np.abs(127.5 * (picture.pixels.permute(1, 2, 0).numpy() + 1) - frames()[0]).mean() < 3
    assert main(["tile", str(clip), "-o", str(tmp_path)]) == 0
    assert "a film, using its first picture" in "".join(capsys.readouterr())


def test_a_film_that_was_turned_is_read_upright(clip: Path, tmp_path: Path) -> None:
    """As telephones write them: the pixels lie on their side, and a matrix says so."""
    data = bytearray(clip.read_bytes())
    track = data.index(b"tkhd") + 4 + 40  # the matrix of the track, after version, times, number, length, layer, volume
    right = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    data[track : track + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in right)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(bytes(data))
    upright = next(iter(raw_frames(turned)))
    assert upright.shape == (48, 32, 3)
    assert np.abs(upright.astype(int) - np.rot90(frames()[0], -1)).mean() < 3
    assert film(turned).size == (48, 32)


def test_what_is_no_film_or_a_damaged_one_is_named(clip: Path, tmp_path: Path, capsys) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[:200])
    assert is_film(cut)
    with pytest.raises(InputError, match=r"cut\.mp4: damaged, truncated or unsupported film"):
        read(cut)
    (tmp_path / "still.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    assert not is_film(tmp_path / "still.heic")
    assert not is_film(tmp_path)
    assert main(["upscale", str(cut)]) == 2
    assert "damaged, truncated or unsupported film" in capsys.readouterr().err
    assert main(["upscale", str(clip), "--report", "-o", str(tmp_path / "r")]) == 2
    assert "map and report are about single pictures" in capsys.readouterr().err


def test_films_in_a_folder_are_named_as_left_out(clip: Path, tmp_path: Path, capsys) -> None:
    Image.fromarray(frames()[0]).save(tmp_path / "a.png")
    assert main(["upscale", str(tmp_path), "--factor", "2", "-o", str(tmp_path / "out")]) == 0
    assert "1 film is left out; to use one, name its file" in "".join(capsys.readouterr())


def test_odd_sides_lose_their_last_line(clip: Path, tmp_path: Path, capsys) -> None:
    data = encode_film(clip, film(clip), iter([pixels[:31, :47] for pixels in frames()]), {"a": "b"})
    result = clip.with_name("odd.mp4")
    result.write_bytes(data)
    assert film(result).size == (30, 46)
    assert film_text(result) == {"a": "b"}
    assert main(["upscale", str(clip), "--size", "97x65", "-o", str(tmp_path / "odd")]) == 0
    assert "an MP4 has even sides: a last line is left out" in "".join(capsys.readouterr())


def other(clip: Path, name: str, codec: str, *, first: int = 0, aspect: str = "1:1") -> Path:
    """The same film with other sound, begun later, or with pixels that are no squares."""
    path = clip.with_name(name)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(*map(int, aspect.split(":")))
        sound = container.add_stream(codec, rate=44100)
        for number, pixels in enumerate(frames()):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number + first
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        tone = (9000 * np.sin(np.arange(44100 // 2) / 10)).astype(np.int16)[None]
        samples = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        samples.sample_rate, samples.pts = 44100, 0
        for packet in (*sound.encode(samples), *sound.encode()):
            container.mux(packet)
    return path


def test_sound_that_an_mp4_cannot_hold_is_left_out_and_named(clip: Path, tmp_path: Path, capsys) -> None:
    path = other(clip, "law.mov", "pcm_mulaw")
    assert main(["upscale", str(path), "--factor", "2", "-o", str(tmp_path / "out")]) == 0
    assert "its sound (pcm_mulaw) does not fit into an MP4 and is left out" in "".join(capsys.readouterr())
    with av.open(str(tmp_path / "out" / "law-upscale.mp4")) as container:
        assert not container.streams.audio


def test_a_picture_that_begins_late_stays_with_its_sound_and_its_shape(clip: Path, tmp_path: Path) -> None:
    path = other(clip, "late.mkv", "flac", first=12, aspect="4:3")
    assert film(path).durations == (40, 40, 40, 40)
    loud = clip.with_name("late.mp4")
    loud.write_bytes(encode_film(path, film(path), iter(frames()), {}))
    with av.open(str(loud)) as container:
        stream = container.streams.video[0]
        assert stream.sample_aspect_ratio == Fraction(4, 3)
        assert next(iter(container.decode(stream))).time == pytest.approx(12 / 25, abs=0.002)
    with av.open(str(loud)) as container:
        assert next(iter(container.decode(container.streams.audio[0]))).time == pytest.approx(0, abs=0.002)


def test_a_film_of_which_nothing_was_recorded_does_not_stop_the_others(clip: Path, tmp_path: Path, capsys) -> None:
    header = tmp_path / "header.mp4"
    with av.open(str(header), "w", options={"movflags": "frag_keyframe+empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        frame = av.VideoFrame.from_ndarray(frames()[0], format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = header.read_bytes()
    header.write_bytes(data[: data.index(b"moof") - 4])
    assert main(["upscale", str(header), str(clip), "--factor", "2", "-o", str(tmp_path / "both")]) == 2
    assert "header.mp4" in capsys.readouterr().err
    assert (tmp_path / "both" / "clip-upscale.mp4").exists()


def test_frames_that_an_edit_list_hides_are_not_counted(clip: Path) -> None:
    """A film cut without encoding it anew: its first packets are decoded and not shown."""
    long = clip.with_name("long.mp4")
    with av.open(str(long), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "30", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(frames()[number % 4], format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    cut = clip.with_name("cut.mp4")
    with av.open(str(long)) as container, av.open(str(cut), "w") as result:
        source = container.streams.video[0]
        kept = result.add_stream_from_template(source)
        for packet in container.demux(source):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - 4 * 512, packet.dts - 4 * 512
                packet.stream = kept
                result.mux(packet)
    content = film(cut)
    assert len(content.times) == len(list(raw_frames(cut)))
    data = encode_film(cut, content, raw_frames(cut), {})
    again = clip.with_name("again.mp4")
    again.write_bytes(data)
    assert len(film(again).times) == len(content.times)
