"""Restore, and what upscale has in common with it: tiles, the report, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

import sinwave
from sinwave.cli import main
from sinwave.data.degrade import REAL_ESRGAN, degrade
from sinwave.errors import InputError
from sinwave.images import from_uint8, to_uint8
from sinwave.systems.residual_sr.model import packaged


@pytest.fixture
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """A photograph that the model has not seen, and as x.png the same with blur, noise and compression."""
    monkeypatch.chdir(tmp_path)
    truth = from_uint8(torch.from_numpy(skimage.data.coins()[:112, :140])).expand(3, -1, -1)
    worse = degrade(truth, (112, 140), torch.Generator().manual_seed(5), REAL_ESRGAN)
    Image.fromarray(to_uint8(worse).permute(1, 2, 0).numpy()).save("x.png")
    return to_uint8(truth).permute(1, 2, 0).numpy()


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.square(one.astype(float) - other).mean() ** 0.5)


def test_a_damaged_photograph_becomes_more_like_the_truth(damaged: np.ndarray) -> None:
    assert main(["restore", "x.png", "-q"]) == 0
    with Image.open("x-restore.png") as image:
        result = np.asarray(image.convert("RGB"))
    with Image.open("x.png") as image:
        before = np.asarray(image)
    assert result.shape == damaged.shape
    assert apart(result, damaged) < 0.9 * apart(before, damaged)
    sinwave.open("x.png").restore().save("y.png")
    with Image.open("y.png") as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), result)
    back = np.asarray(sinwave.open("x.png").restore(consistency=1.0))
    assert np.abs(back.astype(int) - before).max() <= 1  # all of the source, with its damage
    assert np.asarray(sinwave.open("x.png").restore(2)).shape == (224, 280, 3)


def test_a_model_that_only_enlarges_is_refused(damaged: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["restore", "x.png", "--model", "small"]) == 2
    assert "the model small has not learned to repair pictures" in capsys.readouterr().err
    assert main(["restore", "x.png", "--model", "patches"]) == 2
    assert "model must be photo or a model file, and 'patches' is none" in capsys.readouterr().err
    assert main(["restore", "x.png", "--size", "20x20"]) == 2
    assert "restore does not make a picture smaller" in capsys.readouterr().err


def test_tiles_change_nothing_but_the_last_bit(damaged: np.ndarray) -> None:
    photo = sinwave.open("x.png")
    for verb, options in (("upscale", {"factor": 2}), ("restore", {})):
        whole, tiled = (np.asarray(getattr(photo, verb)(tile=tile, **options)).astype(int) for tile in (1000, 50))
        assert np.abs(whole - tiled).max() <= 1
        assert (whole != tiled).mean() < 1e-3
    with pytest.raises(InputError, match="tile must be between 32 and 4096, not 31"):
        photo.upscale(tile=31)


def test_the_report_is_one_file_with_both_pictures_and_figures(
    damaged: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["upscale", "x.png", "--factor", "2", "-q", "-o", "out"]
    assert main([*command, "--report"]) == 0
    page = (tmp_path / "out" / "x-upscale-report.html").read_text()
    assert not re.search(r"(src|href)='?(?!data:)\w+:", page)  # nothing from elsewhere
    assert page.count("<img src='data:image/png;base64,") == 5  # the whole, one part and the map
    assert re.search(r"<td>x-upscale.png</td><td>(exact|\d+\.\d)</td><td>[01]</td>", page)
    assert "Where it is unsure" in page
    result = (tmp_path / "out" / "x-upscale.png").read_bytes()
    assert main([*command, "--report"]) == 0
    assert (tmp_path / "out" / "x-upscale.png").read_bytes() == result
    assert main([*command, "--factor", "3", "--report", "-o", "other"]) == 0
    (tmp_path / "other" / "x-upscale-report.html").write_text("another page")
    capsys.readouterr()
    assert main([*command, "--factor", "3", "--report", "-o", "other"]) == 2
    assert "x-upscale-report.html: another file of that name exists" in capsys.readouterr().err


def agreement(page: str, name: str) -> tuple[str, int]:
    cells = re.search(rf"<td>{re.escape(name)}</td><td>([^<]*)</td><td>(\d+)</td>", page)
    assert cells
    return cells[1], int(cells[2])


def test_the_report_reduces_as_the_picture_was_reduced_and_leaves_out_what_nobody_sees(damaged: np.ndarray) -> None:
    for reduction in ("area", "lanczos"):
        options = ["--factor", "2", "--reduction", reduction, "--report", "-q", "-o", reduction]
        assert main(["upscale", "x.png", *options]) == 0
        page = (Path(reduction) / "x-upscale-report.html").read_text()
        assert agreement(page, "x-upscale.png")[1] <= 1
    with Image.open("x.png") as image:
        layers = image.convert("RGBA")
    alpha = np.full((112, 140), 255, np.uint8)
    alpha[28:63, 35:84] = 0
    layers.putalpha(Image.fromarray(alpha))
    layers.save("hole.png")
    assert main(["upscale", "hole.png", "--factor", "2", "--report", "-q"]) == 0
    assert agreement(Path("hole-upscale-report.html").read_text(), "hole-upscale.png")[1] <= 1


def test_a_name_is_no_part_of_the_page(damaged: np.ndarray) -> None:
    name = "<img onerror=alert(1)>&"
    Path("x.png").rename(f"{name}.png")
    assert main(["upscale", f"{name}.png", "--factor", "2", "--report", "-q"]) == 0
    page = Path(f"{name}-upscale-report.html").read_text()
    assert "<img onerror" not in page
    assert "&lt;img onerror=alert(1)&gt;&amp;-upscale.png" in page


def test_options_without_an_effect_are_refused(damaged: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    for model in ("zero-shot", "patches"):
        assert main(["upscale", "x.png", "--model", model, "--tile", "64"]) == 2
        assert f"the model {model} has no use for tile" in capsys.readouterr().err
    for option in ("map", "report"):
        with pytest.raises(InputError, match=f"upscale has no option '{option}'"):
            sinwave.open("x.png").upscale(**{option: True})


def test_the_memory_of_what_lies_between_is_foreseen() -> None:
    loaded = packaged("photo")
    assert loaded.working_size((300, 400), (300, 400)) == (600, 800)
    assert packaged("small").working_size((300, 400), (1500, 2000)) == (2400, 3200)
    assert loaded.tiled(1000).memory("network", (600, 800)) > loaded.memory("network", (600, 800))
