"""The gallery: its inputs are there, its commands are commands, and it runs."""

import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from sinwave.cli import COMMANDS

SCRIPT = Path(__file__).parents[1] / "examples" / "gallery.py"


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("gallery", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_shows_all_commands_that_draw_and_makes_what_they_take(gallery: ModuleType, tmp_path: Path) -> None:
    gallery.make_inputs(tmp_path)
    verbs = {line.split()[0] for line in gallery.COMMANDS.values()}
    edits = set(COMMANDS) - {"generate", "train", "adapt", "evaluate", "report", "demo", "export", "info"}
    assert verbs == edits
    named = {word for line in gallery.COMMANDS.values() for word in shlex.split(line) if word.endswith(".png")}
    assert named == {file.name for file in tmp_path.iterdir()}
    for file in tmp_path.iterdir():
        with Image.open(file) as picture:
            picture.load()
            assert max(picture.size) <= 250


@pytest.mark.slow
def test_it_runs(tmp_path: Path) -> None:
    line = [sys.executable, str(SCRIPT), str(tmp_path / "out"), "--only", "tile", "upscale"]
    done = subprocess.run(line, capture_output=True, text=True, check=True, env=dict(os.environ))
    assert "sinwave tile gravel.png" in done.stdout
    assert (tmp_path / "out/tile/gravel-tile-sheet.png").exists()
    assert (tmp_path / "out/upscale/chelsea-upscale.png").exists()
