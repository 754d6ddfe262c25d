"""The examples of the documents run, in a folder with a small photo, a mask, a drawing and another picture."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sinwave.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/tasks").glob("*.md"))]
BLOCK = re.compile(r"(<!-- slow -->\n)?```(sh|python)\n(.*?)```", re.DOTALL)


def blocks() -> list[object]:
    """List the blocks of every page, in order, as parameters of a test."""
    return [
        pytest.param(
            language,
            text,
            id=f"{page.stem}-{number}",
            marks=[pytest.mark.slow] if slow or page.stem in ("edit", "generate") else [],
        )
        for page in PAGES
        for number, (slow, language, text) in enumerate(BLOCK.findall(page.read_text("utf-8")), 1)
    ]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the pictures that the examples name; what examples before have written is there, too."""
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[:84, :96]
    ground = y > 50 + 4 * np.sin(x / 7)
    red, green = np.where(ground, 90 + 5 * (x % 7), 120 + y), np.where(ground, 140 - y % 7, 160 + y)
    photo = np.stack([red, green, np.where(ground, 50, 230)], 2).astype(np.uint8)
    mask = np.zeros((84, 96), np.uint8)
    mask[30:50, 40:60] = 255
    for name, pixels in (("photo", photo), ("other", photo[::-1]), ("drawing", photo // 64 * 64), ("mask", mask)):
        Image.fromarray(np.ascontiguousarray(pixels)).save(f"{name}.png")
    Image.fromarray(photo).save("photo-0000.png")
    Path("variations").mkdir()
    for number in range(2):
        Image.fromarray(np.roll(photo, 9 * number + 5, 1)).save(f"variations/sample-{number}.png")
    Path("shots").mkdir()
    for number in range(3):
        Image.fromarray(np.roll(photo, 9 * number, 0)).save(f"shots/{number}.png")
    Path("photos").mkdir()
    Image.fromarray(np.tile(photo, (3, 3, 1))).save("photos/large.png")


@pytest.mark.parametrize(("language", "text"), blocks())
def test_an_example_runs(language: str, text: str, place: None, capsys: pytest.CaptureFixture[str]) -> None:
    if language == "python":
        exec(compile(text, "example", "exec"), {})
        return
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    for program, *arguments in filter(None, lines):
        assert program == "sinwave"
        again = [*arguments, "--overwrite"] if arguments[:2] == ["generate", "photo.png"] else arguments
        assert main(_shortened(again)) == 0, capsys.readouterr().err


def _shortened(arguments: list[str]) -> list[str]:
    """Two steps of a training, or two pictures, are enough to see that a command is right."""
    if arguments[0] == "generate":
        given = arguments.index("-n") if "-n" in arguments else len(arguments)
        count = "1" if "--size" in arguments else "2"
        return [*arguments[:given], *arguments[given + 2 :], "-n", count]
    if arguments[0] not in ("train", "adapt"):
        return arguments
    if "--minutes" in arguments:
        where = arguments.index("--minutes")
        arguments = arguments[:where] + arguments[where + 2 :]
    return [*arguments, "--steps", "2"]


def test_there_are_examples_of_both_kinds() -> None:
    languages = [language for page in PAGES for _, language, _ in BLOCK.findall(page.read_text("utf-8"))]
    assert languages.count("sh") > 15
    assert languages.count("python") > 5
