"""What the documents show works: snippets run, links lead somewhere, options exist."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sinwave.cli import edits, evaluate, generate, report, train
from sinwave.images import probe
from sinwave.options import facts

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks/README.md",
]


def test_the_snippet_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    rows = np.linspace(0, 255, 96, dtype=np.uint8)[:, None, None]
    Image.fromarray(np.broadcast_to(rows, (96, 128, 3)).copy()).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "README.md", "exec"), {})
    assert probe(tmp_path / "wide.png").size == (192, 512)


@pytest.mark.slow
def test_the_snippet_on_chains_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/edits.md").read_text(encoding="utf-8"), re.DOTALL)
    columns, rows = np.meshgrid(np.arange(64), np.arange(48))
    for name, step in (("photo.jpg", 3), ("other.jpg", 5)):
        pixels = np.stack([columns * step, rows * step, columns + rows], 2) % 200
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name)
    Image.fromarray(((rows > 20) & (rows < 30) & (columns > 20) & (columns < 34)).astype(np.uint8) * 255).save(
        tmp_path / "mask.png"
    )
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "edits.md", "exec"), {})
    assert probe(tmp_path / "wide.png").size == (96, 256)
    assert probe(tmp_path / "loop.gif").frames == 17


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


def test_the_options_that_the_readme_names_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(--?[a-z][a-z-]*)", text)) - {"--index-url", "--help"}
    declared = [
        each for command in (evaluate, generate, report, train, edits.inpaint) for each in facts(command.Options)
    ]
    known = {f"--{each.name.replace('_', '-')}" for each in declared}
    known |= {each.facts.short for each in declared if each.facts.short}
    assert named
    assert named <= known
