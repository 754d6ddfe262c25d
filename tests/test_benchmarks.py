"""The benchmarks run, and their own figures see what they are there to see."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sinwave.images import from_uint8, write
from sinwave.rng import NoiseSource
from sinwave.systems.wavelet.bands import Levels
from sinwave.systems.wavelet.patches import PatchBank

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

# Whole processes, a minute each on two slow cores, and more where something else runs beside them.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def defects(monkeypatch):
    """The module, which lives beside the package."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return pytest.importorskip("defects")


def test_the_recipe_knows_a_picture_without_noise(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    recipe = pytest.importorskip("recipe")
    scale = Levels(1).split(texture(24, 32)[None].double() / 127.5 - 1)[0]
    bank = PatchBank.of(scale, 5, 300)
    bands = scale.bands - bank.mean
    mean = recipe.posterior_mean(bank, (12, 16), 0.999 * bands, 0.999, 0.001)
    assert (mean - bands).abs().max() < 1e-3 * bands.abs().max()


def texture(height: int = 96, width: int = 128) -> Tensor:
    """Noise with less and less energy up to the highest frequencies, (3, h, w) uint8."""
    noise = NoiseSource(0).normal((1, 3, height, width), "texture")
    smooth = functional.avg_pool2d(noise, 3, 1, 1) + 0.2 * noise
    return (128 + 60 * smooth[0]).clamp(0, 255).byte()


def test_a_lattice_is_seen_in_its_own_direction(defects):
    picture = texture()
    row, column = defects.lattice(picture)
    stripes = torch.tensor([0, 6], dtype=torch.uint8)
    down, across = picture + stripes.repeat(48)[:, None], picture + stripes.repeat(64)
    assert defects.lattice(down)[0] > 2 * row
    assert defects.lattice(down)[1] == pytest.approx(column, rel=0.05)
    assert defects.lattice(across)[1] > 2 * column
    assert defects.lattice(across)[0] == pytest.approx(row, rel=0.05)


def test_a_lattice_is_measured_the_same_wherever_things_stand(defects):
    part, ground = texture(96, 48), torch.full((3, 96, 128), 128, dtype=torch.uint8)
    seen = []
    for left in (32, 40, 48):
        picture = ground.clone()
        picture[..., left : left + 48] = part
        seen.append(defects.lattice(picture))
    assert seen[1] == pytest.approx(seen[0])
    assert seen[2] == pytest.approx(seen[0])


def test_a_blurred_place_is_a_smudge_and_a_new_order_is_none(defects):
    source = texture()
    blurred = source.clone()
    size = (32, 40)
    spot = functional.avg_pool2d(functional.pad(source[None].float(), (7, 7, 7, 7), mode="replicate"), 15, 1)
    blurred[:, 30 : 30 + size[0], 50 : 50 + size[1]] = spot[0, :, 30 : 30 + size[0], 50 : 50 + size[1]].byte()
    assert defects.smudge_area(source, source) == 0
    assert defects.smudge_area(source.roll((13, 29), (1, 2)), source) < defects.SMUDGE
    assert defects.SMUDGE <= defects.smudge_area(blurred, source) <= size[0] * size[1]


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("script", "arguments", "rows"),
    [
        (
            "closed_form.py",
            ["--tables", "quality", "--scale", "1", "--samples", "2", "--reference-samples", "1", "--seed", "3"],
            ["| small | 40 x 32 | pixels | 1 |", "| small | 40 x 32 | ours 1 | 2 |", "| ours 1 / pixels | coherence |"],
        ),
        pytest.param(
            "soundness.py",
            ["--samples", "1", "--variation-samples", "2"],
            ["| small | recipe | 1 |", "| small | ours 1 | 1 |", "| small | 0.000 |"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_benchmark_runs(script, arguments, rows, tmp_path):
    (tmp_path / "pictures").mkdir()
    write(tmp_path / "pictures/small.png", from_uint8(texture(32, 40)))
    sheets = tmp_path / "sheets"
    places = ["--pictures", str(tmp_path / "pictures"), "--work", str(tmp_path / "work"), "--sheets", str(sheets)]
    text = run(script, *places, "--photographs", "--threads", "1", *arguments)
    for row in rows:
        assert row in text
    assert sorted(sheets.iterdir())


@pytest.mark.slow
def test_the_comparison_with_peers_runs(tmp_path):
    for folder, shift in (("real", 0), ("singan", 8), ("gpnn", 16)):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            write(tmp_path / folder / f"{name}.png", from_uint8(texture(240, 288).roll(shift, 2)))
    sheet = tmp_path / "sheet.png"
    places = ["--peers", str(tmp_path), "--work", str(tmp_path / "work"), "--sheet", str(sheet)]
    text = run("single_image.py", *places, "--variation", "1", "--threads", "1")
    assert "| metric | better | SinGAN | GPNN | ours 1 |" in text
    assert "| sliced Wasserstein | lower |" in text
    assert "| diversity of sample and source | higher |" in text
    assert " of 2 |" in text
    assert sheet.exists()


def test_the_search_of_the_design_space_runs(tmp_path):
    (tmp_path / "pictures").mkdir()
    write(tmp_path / "pictures/small.png", from_uint8(texture(40, 48)))
    places = ["--pictures", str(tmp_path / "pictures"), "--work", str(tmp_path / "work")]
    variants = ["--variants", "default", "blocks=1,width=8,coarse_share=0.5", "--steps", "2", "--samples", "2"]
    choices = ["--engines", "network", "--variation", "1", "--precision", "float32", "--threads", "1"]
    text = run("design_space.py", *places, *variants, *choices)
    assert "| small | default | 17 |" in text
    assert "| small | blocks=1,width=8,coarse_share=0.5 | 3 |" in text
    assert "| small | blocks=1,width=8,coarse_share=0.5 | network | 1 |" in text
    with pytest.raises(subprocess.CalledProcessError):
        run("design_space.py", *places, "--variants", "nothing=3")


@pytest.mark.slow
def test_the_speed_of_singan_is_told_beside_the_plain_loop(tmp_path):
    write(tmp_path / "small.png", from_uint8(texture(30, 40)))
    text = run(
        "singan.py", "--picture", str(tmp_path / "small.png"), "--side", "40", "--iterations", "1", "--rounds", "1"
    )
    assert "| 1 | 33 x 25 |" in text
    assert "| 2 | 40 x 30 |" in text


@pytest.mark.slow
def test_the_cost_of_the_commands_is_told(tmp_path):
    (tmp_path / "pictures").mkdir()
    write(tmp_path / "pictures/small.png", from_uint8(texture(48, 64)))
    places = ["--pictures", str(tmp_path / "pictures"), "--work", str(tmp_path / "work")]
    text = run("command.py", *places, "--sides", "48", "--steps", "2", "--samples", "1", "--threads", "1")
    for row in ("train | 2 |", "generate -n 1, hybrid |", "generate -n 1, network |"):
        assert f"| small | 48 x 36 | {row}" in text


@pytest.mark.slow
def test_upscaling_and_inpainting_are_measured(tmp_path):
    (tmp_path / "pictures").mkdir()
    write(tmp_path / "pictures/small.png", from_uint8(texture(64, 80)))
    places = ["--pictures", str(tmp_path / "pictures"), "--threads", "1"]
    text = run("upscaling.py", *places, "--factors", "2", "--sheet", str(tmp_path / "up.png"))
    for method in ("bicubic", "consistent", "closed form", "network"):
        assert f"| 2 | {method} | 1 |" in text
    assert (tmp_path / "up-2.png").exists()
    text = run("inpainting.py", *places, "--holes", "1", "--sheet", str(tmp_path / "holes.png"))
    assert "| small |" in text
    assert "| mean |" in text
