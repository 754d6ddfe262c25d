"""The commands of the edits as a user runs them: what they write, say and refuse."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sinwave.cli import main
from sinwave.images import read, read_text, to_uint8


def scene(width: int = 28, height: int = 24) -> np.ndarray:
    """A sky, a ground and some things on it."""
    y, x = np.mgrid[:height, :width]
    ground = y > height * 0.6 + 3 * np.sin(x / 5)
    tree = (abs(x % 13 - 6) < 2) & (y > height * 0.4)
    red = np.where(ground, 90 + 5 * (x % 3), np.where(tree, 40, 120 + y))
    green = np.where(ground, 140 - y % 7, np.where(tree, 90, 160 + y))
    blue = np.where(ground, 50, np.where(tree, 30, 230))
    return np.stack([red, green, blue], 2).astype(np.uint8)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all inputs, and the commands run in it."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(scene()).save("land.png")
    Image.fromarray(scene()[::-1]).save("other.png")
    composite, mask, cut = scene(), np.zeros((24, 28), np.uint8), np.zeros((8, 6, 4), np.uint8)
    composite[5:11, 10:17], mask[5:11, 10:17] = (250, 40, 40), 255
    cut[2:6, 1:5] = (250, 40, 40, 255)
    Image.fromarray(composite).save("composite.png")
    Image.fromarray(mask).save("mask.png")
    Image.fromarray(mask[::2, ::2]).save("small-mask.png")
    Image.fromarray(cut).save("cut.png")
    Image.new("L", (28, 24), 0).save("black.png")
    Image.new("L", (28, 24), 255).save("white.png")
    Image.new("RGB", (450, 400), "red").save("huge.png")
    return tmp_path


COMMANDS = {
    "harmonize": (["land.png", "--composite", "composite.png", "--mask", "mask.png"], (24, 28)),
    "edit": (["land.png", "composite.png", "--mask", "small-mask.png"], (24, 28)),
    "paint": (["land.png", "other.png", "--colors", "4"], (24, 28)),
    "inpaint": (["land.png", "mask.png"], (24, 28)),
    "extend": (["land.png", "--left", "8", "--bottom", "5"], (29, 36)),
    "retarget": (["land.png", "--size", "36x20"], (20, 36)),
    "tile": (["land.png", "--axes", "x"], (24, 28)),
    "place": (["land.png", "--region", "8x6+2+15", "--at", "1+1", "--size", "30x20"], (20, 30)),
    "restyle": (["land.png", "other.png"], (24, 28)),
    "upscale": (["land.png", "--factor", "1.5", "--model", "patches"], (36, 42)),
    "blend": (["land.png", "other.png", "composite.png", "--weights", "1,2,0"], (24, 28)),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_writes_its_result_and_a_sheet_and_keeps_them(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, size = COMMANDS[name]
    line = [name, *arguments, "-o", "out", "-n", "2", "--seed", "4", "--json"]
    assert main(line) == 0
    result = json.loads(capsys.readouterr().out)
    files = [Path("out") / f"land-{name}-{index:04d}.png" for index in range(2)]
    assert result["files"] == [str(file) for file in files]
    assert Path(result["sheet"]) == Path("out") / f"land-{name}-sheet.png"
    pictures = [to_uint8(read(file).pixels) for file in files]
    assert [tuple(picture.shape[1:]) for picture in pictures] == [size, size]
    text = read_text(files[1])
    assert text["sinwave:command"].startswith(f"sinwave {name} land.png")
    assert text["sinwave:command"].endswith("--seed 4")
    before = [file.stat().st_mtime_ns for file in files]
    assert main(line) == 0
    assert [file.stat().st_mtime_ns for file in files] == before


def test_pixels_outside_of_the_mask_are_those_of_the_input(place: Path) -> None:
    assert main(["inpaint", "land.png", "mask.png", "-o", "out"]) == 0
    drawn, source = (to_uint8(read(file).pixels) for file in (Path("out/land-inpaint-0000.png"), Path("land.png")))
    outside = torch.from_numpy(np.asarray(Image.open("mask.png")) == 0)
    assert torch.equal(drawn[:, outside], source[:, outside])
    assert not torch.equal(drawn, source)
    assert main(["edit", "land.png", "composite.png", "--keep", "mask.png", "-o", "out"]) == 0
    drawn, edited = (to_uint8(read(file).pixels) for file in (Path("out/land-edit-0000.png"), Path("composite.png")))
    assert torch.equal(drawn[:, ~outside], edited[:, ~outside])


def test_an_extended_picture_holds_the_source_to_the_bit(place: Path) -> None:
    assert main(["extend", "land.png", "--top", "7", "--right", "9", "-o", "out"]) == 0
    drawn, source = (to_uint8(read(file).pixels) for file in (Path("out/land-extend-0000.png"), Path("land.png")))
    assert torch.equal(drawn[:, 7:, :28], source)


def test_what_is_avoided_is_not_in_the_result(place: Path) -> None:
    """The red square of the composite, which is the source here."""
    for more, seen in (([], True), (["--avoid", "mask.png"], False)):
        line = ["extend", "composite.png", "--right", "20", "--left", "20", "-o", f"out{seen}", "-n", "3", *more]
        assert main(line) == 0
        drawn = [read(file).pixels for file in sorted(Path(f"out{seen}").glob("*-000?.png"))]
        red = torch.stack([(pixels[0] - pixels[1] > 1.2) for pixels in drawn])
        red[:, :, 20:48] = False
        assert bool(red.any()) == seen


def test_a_cut_out_is_put_where_it_is_wanted(place: Path) -> None:
    line = ["harmonize", "land.png", "--object", "cut.png", "--at", "15+10", "--strength", "0", "-o", "out"]
    assert main(line) == 0
    drawn = read(Path("out/land-harmonize-0000.png")).pixels
    red = (drawn[0] - drawn[1] > 1.2).nonzero()
    assert red.min(0).values.tolist() == [10 - 4 + 2, 15 - 3 + 1]
    assert red.max(0).values.tolist() == [10 - 4 + 5, 15 - 3 + 4]


def test_a_gray_source_may_have_colored_company(place: Path) -> None:
    Image.fromarray(scene()).convert("L").save("gray.png")
    assert main(["extend", "gray.png", "--left", "8", "-o", "out", "-q"]) == 0
    assert main(["blend", "gray.png", "land.png", "-o", "out", "-q"]) == 0
    with Image.open("out/gray-extend-0000.png") as gray, Image.open("out/gray-blend-0000.png") as colored:
        assert (gray.mode, colored.mode) == ("L", "RGB")


def test_several_sources_and_folders_are_drawn_in_one_go(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = place / "folder"
    (folder / "deep").mkdir(parents=True)
    Image.fromarray(scene(32, 32)).save(folder / "a.png")
    Image.fromarray(scene(32, 32)).save(folder / "deep" / "b.png")
    (folder / "broken.png").write_bytes(b"no picture")
    (place / "empty").mkdir()
    line = ["extend", "land.png", "absent.png", "folder", "empty", "--left", "8", "-o", "folder/out", "--json"]
    files = [Path("folder/out") / name for name in ("land-extend-0000.png", "a-extend-0000.png")]
    files.append(Path("folder/out/deep/b-extend-0000.png"))
    stamps = []
    for _ in range(2):  # the second time, nothing that the first one has written is a source
        assert main(line) == 2
        printed = capsys.readouterr()
        results = json.loads(printed.out)
        assert [Path(result["files"][0]) for result in results["results"]] == files
        assert len(results["failed"]) == 3
        sentences = printed.err.splitlines()
        assert sorted(sentences) == sorted(f"sinwave: {sentence}" for sentence in results["failed"])
        assert all(any(name in text for text in sentences) for name in ("absent.png", "broken.png", "empty"))
        stamps.append([file.stat().st_mtime_ns for file in files])
    assert stamps[0] == stamps[1]
    assert read(files[2]).size == (32, 40)


WRONG = {
    "black mask": (["inpaint", "land.png", "black.png"], "the mask is black"),
    "white mask": (["inpaint", "land.png", "white.png"], "the mask is white"),
    "no mask": (["harmonize", "land.png", "--composite", "composite.png"], "needs a composite and its mask"),
    "both": (["harmonize", "land.png", "--object", "cut.png", "--mask", "mask.png"], "excludes composite and mask"),
    "opaque object": (["harmonize", "land.png", "--object", "other.png"], "no transparency"),
    "margin": (["extend", "land.png", "--left", "-3"], "left must be between 0 and 100000, not -3"),
    "no size": (["retarget", "land.png"], "needs the new size or a scale"),
    "zero scale": (["retarget", "land.png", "--scale", "0"], "too small"),
    "avoid all": (["extend", "land.png", "--left", "9", "--avoid", "white.png"], "nothing is left"),
    "region": (["place", "land.png", "--region", "99x9+0+0", "--at", "0+0"], "reaches beyond the picture"),
    "place": (["place", "land.png", "--region", "9x9+0+0", "--at", "25+0"], "reaches beyond the new picture"),
    "no such file": (["restyle", "land.png", "nothing.png"], "nothing.png"),
    "keep": (["tile", "land.png", "--keep", "mask.png"], "unknown option --keep"),
    "factor": (["upscale", "land.png", "--factor", "0"], "factor must be between 1 and 16, not 0"),
    "kept": (["upscale", "land.png", "--keep", "mask.png"], "unknown option --keep"),
    "no engine": (["upscale", "land.png", "--engine", "network"], "unknown option --engine"),
    "no model": (["upscale", "land.png", "--model", "smal"], "model must be small, zero-shot, patches or a model file"),
    "two sizes": (["upscale", "land.png", "--factor", "2", "--longest", "99"], "factor, size and longest exclude"),
    "smaller": (["upscale", "land.png", "--size", "20x20"], "upscale does not make a picture smaller"),
    "too large": (["upscale", "land.png", "--longest", "500"], "more than 16 times as large"),
    "one result": (["restore", "land.png", "--fidelity", "0.5"], "the model photo has no use for fidelity"),
    "weights": (["blend", "land.png", "other.png", "--weights", "1"], "1 weights for 2 sources"),
    "no weight": (["blend", "land.png", "other.png", "--weights", "0,0"], "all weights are 0"),
    "unequal": (["blend", "huge.png", "land.png"], "huge.png: the picture is too large to be mixed with land.png"),
    "alone": (["blend", "land.png"], "OTHER is missing"),
    "engine": (["edit", "land.png", "composite.png", "--engine", "network"], "needs a model file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_a_line(case: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, sentence = WRONG[case]
    assert main([*arguments, "-o", "out"]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
