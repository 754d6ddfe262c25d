"""The documents agree with the package: links, options, pictures and lengths."""

import contextlib
import io
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from sinwave.cli import COMMANDS, main
from sinwave.systems.table import SYSTEMS

ROOT = Path(__file__).parents[1]
USER = [ROOT / "README.md", *(page for page in sorted((ROOT / "docs").rglob("*.md")) if "notes" not in page.parts)]
PAGES = [*USER, *sorted((ROOT / "docs/notes").glob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "benchmarks/README.md"]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            file = (page.parent / target).resolve()
            assert file.exists(), target


def test_the_site_has_every_page() -> None:
    listed = set(re.findall(r"- (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    there = {str(page.relative_to(ROOT / "docs")) for page in PAGES if ROOT / "docs" in page.parents}
    assert listed == there


@cache
def options_of(command: str) -> frozenset[str]:
    """Return the options that the help of a command lists."""
    systems = [name for name, system in SYSTEMS.items() if system.options] if command == "train" else []
    ways = [["--help"], *(["--system", name, "--help"] for name in systems)]
    with contextlib.redirect_stdout(io.StringIO()) as text:
        assert all(main([command, *way]) == 0 for way in ways)
    lines = re.findall(r"^  (?:(-\w), )?(--[a-z-]+)", text.getvalue(), re.MULTILINE)
    assert len(lines) > 3
    return frozenset(word for line in lines for word in line if word)


def commands(page: Path) -> list[list[str]]:
    """Return the words of every line of a page that begins with `sinwave COMMAND`."""
    lines = re.findall(r"^(?:    |- `)?sinwave ([^#`\n]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(line) for line in lines if line.split()[0] in COMMANDS]


@pytest.mark.parametrize("page", [page for page in USER if commands(page)], ids=name)
def test_commands_name_options_that_exist(page: Path) -> None:
    for command, *words in commands(page):
        named = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert named <= options_of(command), command


def test_every_option_in_the_text_belongs_to_a_command() -> None:
    every = frozenset().union(*(options_of(command) for command in COMMANDS))
    for page in USER:
        if page.name != "dependencies.md":
            named = set(re.findall(r"`(--[a-z][a-z-]*)", page.read_text(encoding="utf-8")))
            assert named <= every, page


def test_the_reference_is_that_of_the_code() -> None:
    stale = subprocess.run([sys.executable, ROOT / "docs/generate.py", "--check"], capture_output=True, text=True)
    assert stale.returncode == 0, stale.stdout


def test_user_documents_are_short() -> None:
    assert sum(len(page.read_text(encoding="utf-8").split()) for page in USER) <= 9_000
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 600


def test_pictures_are_small() -> None:
    sizes = [file.stat().st_size for file in (ROOT / "docs/images").iterdir()]
    assert max(sizes) <= 150_000
    assert sum(sizes) <= 1_000_000


def test_every_picture_is_shown() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for file in (ROOT / "docs/images").iterdir():
        assert f"images/{file.name})" in text, file.name
