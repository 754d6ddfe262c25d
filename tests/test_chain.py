"""Chains of edits, without files in between."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sinwave
from sinwave.cli.main import main
from sinwave.errors import InputError
from sinwave.images import read, read_text, to_uint8


def scene(width: int = 56, height: int = 48) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    ground = y > height * 0.6 + 3 * np.sin(x / 5)
    red = np.where(ground, 90 + 5 * (x % 3), 120 + y)
    green = np.where(ground, 140 - y % 7, 160 + y)
    return np.stack([red, green, np.where(ground, 50, 230)], 2).astype(np.uint8)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(scene()).save("land.png")
    return tmp_path


def test_a_chain_is_what_it_says(place: Path):
    photo = sinwave.open("land.png").extend(left=8, right=2).upscale(1.5).save("wide.png")
    assert photo.size == (72, 99)
    assert photo.steps == ("extend", "upscale")
    assert torch.equal(to_uint8(read("wide.png").pixels), to_uint8(photo.picture.pixels))
    assert read_text("wide.png")["sinwave:steps"] == "extend upscale"
    assert photo.to_pillow().size == (99, 72)


def test_the_first_edit_is_that_of_the_command(place: Path):
    assert main(["extend", "land.png", "--left", "8", "--seed", "5", "-o", "out", "-q"]) == 0
    mine = sinwave.open("land.png", seed=5).extend(left=8)
    assert torch.equal(to_uint8(mine.picture.pixels), to_uint8(read("out/land-extend-0000.png").pixels))


def test_every_edit_is_there(place: Path):
    photo, other = sinwave.open("land.png"), scene()[::-1].copy()
    mask = np.zeros((48, 56), np.uint8)
    mask[10:20, 20:32] = 255
    results = [
        photo.harmonize(other, mask),
        photo.edit(Image.fromarray(other), torch.from_numpy(mask / 255.0), keep=mask),
        photo.paint("land.png", colors=4),
        photo.inpaint(mask),
        photo.retarget("60x40"),
        photo.tile(axes="x"),
        photo.place("16x12+4+30", ["2+3", "30+20"], (40, 60)),
        photo.restyle(other, avoid=mask),
        photo.blend(photo.extend(top=8), weights=(1.0, 2.0)),
        photo.upscale(2, engine="network"),
        photo.extend(left=8, keep=np.ones((48, 64), np.uint8)),
    ]
    sizes = [(48, 56)] * 4 + [(40, 60), (48, 56), (40, 60), (48, 56), (48, 56), (96, 112), (48, 64)]
    assert [result.size for result in results] == sizes
    assert all(result.picture.pixels.isfinite().all() for result in results)
    inside = torch.from_numpy(mask > 0)
    assert torch.equal(results[3].picture.pixels[:, ~inside], photo.picture.pixels[:, ~inside])
    frames = photo.animate(frames=2, fps=4, avoid=mask).save("loop.gif")
    assert read_text("loop.gif")["sinwave:steps"] == "animate"
    assert frames.frames.shape == (3, 3, 48, 56)
    assert frames.fps == 4


def test_what_is_wrong_is_said(place: Path):
    photo = sinwave.open("land.png")
    with pytest.raises(InputError, match=r"extend has no option 'lef'; it has left, right"):
        photo.extend(lef=3)
    with pytest.raises(InputError, match="left must be between 0 and 100000, not -3"):
        photo.extend(left=-3)
    with pytest.raises(InputError, match="factor must be between 1 and 8, not 0"):
        photo.upscale(0)
    with pytest.raises(InputError, match="retarget has no option 'keep'"):
        photo.retarget((40, 40), keep=np.ones((4, 4)))
    with pytest.raises(InputError, match="shape"):
        photo.paint(np.zeros((4, 4)))
    with pytest.raises(InputError, match="learns from all of the picture"):
        photo.upscale(2, engine="network", avoid=np.ones((4, 4), np.uint8))
    with pytest.raises(InputError, match="nothing is left"):
        photo.upscale(2, avoid=np.full((4, 4), 255, np.uint8))
    with pytest.raises(InputError, match="the engine of upscale is auto, which is that of the photo, or network"):
        photo.upscale(2, engine="netwrok")
    with pytest.raises(InputError, match="the mask is black"):
        photo.inpaint(np.zeros((48, 56), np.uint8))
    with pytest.raises(InputError, match="larger than the 100,000,000 pixels allowed"):
        photo.extend(left=100_000, right=100_000, top=100_000)
    with pytest.raises(InputError, match="too small"):
        photo.paint(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError, match="no such file"):
        sinwave.open("nothing.png")


def test_opening_is_all_that_loads_torch():
    code = "import sys, sinwave; sinwave.open; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
