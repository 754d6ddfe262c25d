"""A system is one folder and one row: `toy` stands beside the tests and is trained, drawn from, listed and refused."""

import json
import sys
from collections import ChainMap
from pathlib import Path

import pytest
import torch
import toy
from toy.options import Options

from sinwave.cli import main
from sinwave.errors import InputError
from sinwave.images import read, write
from sinwave.systems import table
from sinwave.systems.files import read_manifest, read_model
from sinwave.tasks.train import Train


@pytest.fixture
def row(monkeypatch):
    """Two rows of the table."""
    rows = {system.name: system for system in (toy.SYSTEM, toy.FOLDERS)}
    monkeypatch.setattr(table, "SYSTEMS", ChainMap(rows, table.SYSTEMS))


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package with entry points: the toy, one that does not load, one that is no system, and a built-in name."""
    folder = tmp_path / "site" / "toy-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    points = ["toy = toy:SYSTEM", "broken = toy.absent:SYSTEM", "other = toy:FOLDERS", "wavelet = toy.absent:SYSTEM"]
    (folder / "entry_points.txt").write_text("\n".join(["[sinwave.systems]", *points]))
    monkeypatch.syspath_prepend(str(folder.parent))


@pytest.fixture
def picture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("photo.png"), torch.tensor([0.5, -0.25, 0.0])[:, None, None].expand(3, 30, 40))
    return Path("photo.png")


def trained_and_drawn(*options):
    """The color of the model that the commands make, and the mean of what is drawn from it."""
    command = ["train", "photo.png", "--system", "toy", "--steps", "60", "-q", *options]
    assert main(command) == 0
    assert main(["generate", "photo.safetensors", "-n", "2", "-o", "out", "-q"]) == 0
    drawn = read("out/photo-0001.png").pixels
    assert drawn.shape == (3, 30, 40)
    return read_model(Path("photo.safetensors")).weights["color"], drawn


@pytest.mark.parametrize("way", ["row", "installed"])
def test_it_is_trained_and_drawn_from(way, picture, request, capsys):
    request.getfixturevalue(way)
    color, drawn = trained_and_drawn("--grain", "0.02")
    torch.testing.assert_close(color, torch.tensor([0.5, -0.25, 0.0]), rtol=0, atol=0.05)
    torch.testing.assert_close(drawn.mean((1, 2)), color, rtol=0, atol=0.01)
    assert drawn.std() == pytest.approx(read("photo.png").pixels.std().item(), abs=0.02)
    manifest = read_manifest(Path("photo.safetensors"))
    assert (manifest.system, manifest.options, manifest.parameters) == ("toy", {"grain": 0.02}, 3)
    assert manifest.provenance["training"] == {"grain": 0.02, "rate": 0.1}
    capsys.readouterr()
    assert main(["info", "photo.safetensors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["system"] == "toy"


@pytest.mark.usefixtures("row")
def test_it_is_trained_in_python(picture):
    result = Train(pictures=(picture,), system="toy", options=Options(grain=0.5), steps=3).run()
    assert (result.steps, result.receptive_field) == (3, None)
    assert read_manifest(result.model).options == {"grain": 0.5}
    with pytest.raises(InputError, match=r"options of the system wavelet are sinwave.systems.wavelet.options.Options"):
        Train(pictures=(picture,), options=Options())


@pytest.mark.usefixtures("row")
def test_a_folder_is_learned_from_and_refused_where_it_makes_no_sense(picture, capsys):
    Path("photos").mkdir()
    for name, value in (("a", 0.6), ("b", -0.2)):
        write(Path(f"photos/{name}.png"), torch.full((3, 20, 20), value))
    Path("photos/bad.png").write_text("no picture")
    Path("photos/.hidden.png").write_text("nor this")
    command = ["train", "photos", "--steps", "60"]
    assert main([*command, "--system", "toys"]) == 0
    complaints = capsys.readouterr().err
    assert "bad.png: this is not a picture" in complaints
    assert complaints.count("it is left out") == 1
    color = read_model(Path("photos.safetensors")).weights["color"]
    torch.testing.assert_close(color, torch.full((3,), 0.2), rtol=0, atol=0.05)
    assert main([*command, "--system", "toys", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"]
    write(Path("photos/c.png"), torch.zeros(3, 20, 20))
    for system, sentence in (
        ("toys", "another file of that name exists"),  # of the folder as it was
        ("toy", "photos: this is a folder, and the system toy learns from single pictures"),
        ("wavelet", "photos: this is a folder, and the system wavelet learns from single pictures"),
    ):
        assert main([*command, "--system", system]) == 2
        assert sentence in capsys.readouterr().err
    for path in ("absent", "photos/a.png"):
        assert main(["train", path, "--system", "toys", "-o", "new.safetensors"]) == 2
        sentence = f"{path}: there is no such folder, and the system toys learns from folders"
        assert sentence in capsys.readouterr().err
    Path("nothing").mkdir()
    assert main(["train", "nothing", "--system", "toys"]) == 2
    assert "nothing: the folder holds no files" in capsys.readouterr().err


@pytest.mark.usefixtures("row")
def test_its_help_shows_its_options_and_no_others(capsys):
    for system, shown, hidden in (
        ("toy", ("--grain", "--rate", "--steps", "--seed"), ("--width", "--max-size", "--preset")),
        ("wavelet", ("--width", "--preset", "--receptive-field"), ("--grain", "--max-size")),
        ("singan", ("--max-size", "--concurrent-stages"), ("--grain", "--width", "--precision")),
    ):
        assert main(["train", "--system", system, "--help"]) == 0
        words = capsys.readouterr().out
        assert all(option in words for option in shown)
        assert not any(option in words for option in hidden)
        assert "toy: the mean color, with grain" in words


@pytest.mark.usefixtures("row")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--system", "toy", "--grain", "2"], "grain must be between 0 and 1, not 2"),
        (["--system", "toy", "--width", "16"], "--width is an option of the system wavelet, not of toy"),
        (["--grain", "0.1"], "--grain is an option of the system toy, not of wavelet"),
        (["--system", "toy", "--grian", "1"], "unknown option --grian; did you mean --grain?"),
        (["--system", "tow"], "system must be one of "),
    ],
)
def test_options_are_refused_in_a_sentence(arguments, sentence, picture, capsys):
    assert main(["train", "photo.png", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line
    assert line.endswith("(see sinwave train --help)")


@pytest.mark.usefixtures("installed")
def test_a_broken_package_is_one_sentence_and_no_reason_not_to_train(picture, capsys):
    assert list(table.SYSTEMS)[-3:] == ["broken", "other", "toy"]
    assert table.SYSTEMS["wavelet"].setup == "sinwave.systems.wavelet.train:setup"
    assert main(["train", "photo.png", "--system", "broken"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the system broken of the package toy cannot be loaded (ModuleNotFoundError: No module named" in line
    assert main(["train", "photo.png", "--system", "other"]) == 2
    assert "toy:FOLDERS is no System of that name" in capsys.readouterr().err
    assert main(["train", "photo.png", "--max-size", "99"]) == 2
    assert "--max-size is an option of the system singan" in capsys.readouterr().err
    assert main(["train", "--help"]) == 0
    words = capsys.readouterr().out
    assert "toy: the mean color, with grain" in words
    assert "the system broken of the package toy cannot be loaded" in words


def test_a_model_of_a_system_that_is_not_here_is_refused(picture, capsys, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(table, "SYSTEMS", ChainMap({"toy": toy.SYSTEM}, table.SYSTEMS))
        assert main(["train", "photo.png", "--system", "toy", "--steps", "1", "-q"]) == 0
    assert main(["generate", "photo.safetensors", "-q"]) == 2
    assert "the model is of the system toy, and this version has wavelet, singan" in capsys.readouterr().err


def test_options_load_without_torch():
    import subprocess

    doors = ["sinwave.systems.wavelet.options", "sinwave.systems.singan.options", "sinwave.systems.table"]
    code = f"import sys, {', '.join(doors)}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
