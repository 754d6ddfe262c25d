"""Animation: the walk in noise, its pace, and the files."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from drawing import drawn
from PIL import Image
from torch.testing import assert_close

from sinwave.cli import main
from sinwave.errors import InputError, MissingError
from sinwave.images import read, read_text, to_uint8, write_frames
from sinwave.images.animation import encode_frames
from sinwave.rng import NoiseSource, Orbit
from sinwave.systems.wavelet.bands import Levels
from sinwave.systems.wavelet.closed_form import closed_form_model
from sinwave.tasks.animate import Animate, evenly


def waves(height: int = 40, width: int = 48) -> torch.Tensor:
    """Something between a texture and a landscape."""
    y, x = np.mgrid[:height, :width]
    water = np.sin(x / 2.5 + y**1.5 / 9) * (y > 14)
    picture = np.stack([0.3 * water, 0.2 + 0.3 * water, 0.6 - y / 60 + 0.2 * water])
    return torch.from_numpy(picture).float()[None]


def test_every_point_of_an_orbit_is_normal_noise_and_it_closes():
    points = [Orbit(NoiseSource(5), turn, 0.6).normal((200_000,), "x") for turn in (0.0, 0.1, 0.5, 1.0)]
    assert torch.equal(points[0], points[3])
    for point in points:
        assert point.mean().abs() < 0.01
        assert point.std() == pytest.approx(1, abs=0.01)
    middle = NoiseSource(5).normal((200_000,), "x")
    for point in points:  # cos a of the middle is in all of them
        assert (point * middle).mean() == pytest.approx(0.8, abs=0.01)
    assert (points[0] * points[2]).mean() == pytest.approx(0.64 - 0.36, abs=0.01)


def test_an_orbit_without_radius_is_its_source():
    source = NoiseSource(2).child("picture")
    assert torch.equal(Orbit(source, 0.3, 0.0).child("scale").normal((9,), 1), source.child("scale").normal((9,), 1))
    batch = Orbit(NoiseSource(2).batch(range(3)), 0.3, 0.5)
    alone = Orbit(NoiseSource(2).child(1), 0.3, 0.5)
    assert batch.count == 3
    assert_close(batch.normal((3, 4), "x")[1], alone.normal((4,), "x"))


def test_an_even_pace_has_no_jumps_and_no_rests():
    """A loop that rests, jumps, and rests: every frame moves by the same part of the whole way."""
    loop = torch.zeros(6, 1, 2, 2)
    loop[2:4] = 6.0
    smooth = evenly(loop)
    assert smooth.shape == (7, 1, 2, 2)
    assert torch.equal(smooth[0], smooth[-1])
    assert smooth[:, 0, 0, 0].tolist() == pytest.approx([0, 2, 4, 6, 4, 2, 0])
    assert torch.equal(evenly(torch.ones(4, 1, 2, 2)), torch.ones(5, 1, 2, 2))


def test_a_walk_at_an_even_pace_stays_as_it_is():
    angles = torch.arange(8.0) * torch.pi / 4
    loop = torch.stack([angles.cos(), angles.sin()], 1)[:, :, None, None]
    assert_close(evenly(loop)[:-1], loop, atol=1e-6, rtol=1e-6)


def test_frames_are_a_loop_without_jumps():
    source = waves()
    model, steps = closed_form_model(source, progression=Levels(2)), []
    options = {"frames": 8, "strength": 0.6, "amount": 0.5}
    frames = drawn(Animate, source, model, NoiseSource(1), on_step=steps.append, **options)
    assert frames.shape == (9, 3, 40, 48)
    assert torch.equal(frames[0], frames[-1])
    moved = (frames[1:] - frames[:-1]).abs().mean((1, 2, 3))
    assert moved.median() > 0
    assert moved.max() < 3 * moved.median()
    assert (steps[-1].part, steps[-1].parts, steps[-1].step) == (0, 1, steps[-1].steps)
    assert torch.equal(frames, drawn(Animate, source, model, NoiseSource(1), **options))


def test_what_is_kept_does_not_move():
    source, keep = waves(), torch.zeros(1, 1, 40, 48)
    keep[..., :20] = 1
    model = closed_form_model(source, progression=Levels(2))
    frames = drawn(Animate, source, model, NoiseSource(1), frames=4, strength=0.6, amount=0.5, keep=keep)
    assert torch.equal(frames[..., :20], source[..., :20].expand(5, -1, -1, -1))
    still = drawn(Animate, source, model, NoiseSource(1), frames=3, strength=0.0)
    assert torch.equal(still, source.expand(4, -1, -1, -1))


def fading(count: int = 6) -> torch.Tensor:
    shares = torch.tensor([*range(count // 2), *range(count // 2, 0, -1), 0])[:, None, None, None] / count
    return waves() * (1 - shares) + shares * waves().flip(3)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_files_hold_the_frames_and_say_how_they_were_made(suffix: str, tmp_path: Path):
    file, frames = tmp_path / f"loop{suffix}", fading()
    write_frames(file, frames, 10.0, overwrite=False, text={"sinwave:seed": "3"})
    assert read_text(file)["sinwave:seed"] == "3"
    with Image.open(file) as image:
        assert image.n_frames == len(frames)
        assert image.info["loop"] == 0
        durations, decoded = [], []
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            durations.append(image.info["duration"])
            decoded.append(np.asarray(image.convert("RGB")).astype(int))
    assert durations == [50, *[100] * (len(frames) - 2), 50]
    truth = to_uint8(frames).permute(0, 2, 3, 1).numpy().astype(int)
    assert np.abs(np.stack(decoded) - truth).mean() < 6
    assert np.abs(decoded[0] - decoded[-1]).mean() < (2 if suffix == ".webp" else 1e-9)
    assert_close(read(file).pixels, torch.from_numpy(decoded[0]).movedim(2, 0) / 127.5 - 1, check_dtype=False)


def test_what_stands_still_in_a_gif_does_not_flicker():
    frames = fading()
    frames[:, :, :, :16] = frames[:1, :, :, :16]
    data = encode_frames(Path("x.gif"), frames, 10.0, {})
    with Image.open(io.BytesIO(data)) as image:
        still = []
        for index in range(image.n_frames):
            image.seek(index)
            still.append(np.asarray(image.convert("RGB"))[:, :16])
    assert all(np.array_equal(frame, still[0]) for frame in still)


def test_an_mp4_is_a_film(tmp_path: Path):
    av = pytest.importorskip("av")
    file, frames = tmp_path / "loop.mp4", fading()
    write_frames(file, frames[..., :39, :47], 10.0, overwrite=False, text={"sinwave:seed": "3"})
    with av.open(str(file)) as film:
        assert json.loads(film.metadata["comment"])["sinwave:seed"] == "3"
        decoded = [frame.to_ndarray(format="rgb24").astype(int) for frame in film.decode(video=0)]
    assert len(decoded) == len(frames) - 1
    truth = to_uint8(frames[:-1, :, :38, :46]).permute(0, 2, 3, 1).numpy().astype(int)
    assert np.abs(np.stack(decoded) - truth).mean() < 8


def test_short_frames_have_no_half():
    """A viewer shows a hundredth of a second as a tenth: then the frame that is there twice is left out."""
    for fps, count, duration in ((12.0, 7, 80), (40.0, 6, 20), (60.0, 6, 20)):
        with Image.open(io.BytesIO(encode_frames(Path("x.gif"), fading(), fps, {}))) as image:
            durations = []
            for index in range(image.n_frames):
                image.seek(index)
                durations.append(image.info["duration"])
        assert len(durations) == count
        assert durations[1] == duration
        assert min(durations) >= 20


def test_what_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InputError, match=r"ends in one of .gif, .webp, .mp4"):
        encode_frames(Path("x.avi"), fading(), 10.0, {})
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingError, match=r"sinwave\[video\]"):
        encode_frames(Path("x.mp4"), fading(), 10.0, {})


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(to_uint8(waves(24, 28)[0]).permute(1, 2, 0).numpy()).save("sea.png")
    line = ["animate", "sea.png", "--frames", "4", "--fps", "5", "--format", "webp", "-n", "2", "-o", "out", "--json"]
    assert main(line) == 0
    files = [Path(file) for file in json.loads(capsys.readouterr().out)["files"]]
    assert files == [Path("out/sea-animate-0000.webp"), Path("out/sea-animate-0001.webp")]
    assert read(files[0]).notes == ("animated: 5 frames, using the first",)
    assert "--frames 4" in read_text(files[0])["sinwave:command"]
    before = files[0].stat().st_mtime_ns
    assert main(line) == 0
    assert files[0].stat().st_mtime_ns == before
    film = ["animate", "sea.png", "--frames", "2", "--strength", "0", "--format", "mp4", "-o", "film"]
    assert main([*film, "-q"]) == 0
    assert main(film) == 0
    assert main([*film, "--fps", "9"]) == 2
    assert "another file of that name exists; --overwrite replaces it" in capsys.readouterr().err
    assert main(["animate", "sea.png", "--frames", "1"]) == 2
    assert "frames must be between 2 and 1000, not 1" in capsys.readouterr().err
