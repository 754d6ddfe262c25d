"""The package as a whole: what importing it costs, what it exports, and what its files say about each other."""

import importlib
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import grimp
import pytest

import sinwave
from sinwave.cli import COMMANDS, main

ROOT = Path(__file__).parents[1]
HEAVY = {"diffusers", "gradio", "numpy", "PIL", "pywt", "rich", "skimage", "torch", "transformers", "tyro"}
MODULES = sorted((ROOT / "src" / "sinwave").rglob("*.py"))


def loaded_after(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after `statement`."""
    program = f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); {statement}; print('loaded:', *sys.modules)"
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    names = printed.rpartition("loaded:")[2].split()
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize(
    "statement",
    [
        "import sinwave",
        "from sinwave.cli import main; main(['--help'])",
        "from sinwave.cli import main; main(['--version'])",
        "from sinwave.cli import main; main(['nonsense'])",
        "import sinwave.options, sinwave.errors",
    ],
)
def test_the_door_opens_without_heavy_libraries(statement: str) -> None:
    assert loaded_after(statement) & HEAVY == set()


def test_reading_a_command_line_and_a_header_needs_no_torch() -> None:
    statement = "from sinwave.cli import main; main(['info', '--help']); main(['info', 'absent.png'])"
    assert "torch" not in loaded_after(statement)


def test_importing_leaves_the_environment_alone_and_the_command_sets_openmp() -> None:
    policy = "import os; os.environ.pop('OMP_WAIT_POLICY', None); {}; assert os.environ.get('OMP_WAIT_POLICY') == {!r}"
    loaded_after(policy.format("import sinwave", None))
    loaded_after(policy.format("from sinwave.cli import main; main(['--version'])", "PASSIVE"))


def test_exports() -> None:
    assert sinwave.__all__ == sorted(sinwave.__all__)
    assert {"open", "train", "evaluate", "Photo", "Frames", "Stop", "SinwaveError"} <= set(sinwave.__all__)
    assert all(hasattr(sinwave, name) for name in sinwave.__all__)
    assert isinstance(sinwave.Photo, type)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = sinwave.nonsense


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_every_module_says_what_it_is_and_exports_what_it_has(path: Path) -> None:
    if path.name == "__main__.py":
        return
    name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
    module = importlib.import_module(name)
    assert module.__doc__
    for export in getattr(module, "__all__", ()):
        assert hasattr(module, export)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_offers_options_with_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    usage = capsys.readouterr().out
    assert usage.startswith(f"usage: sinwave {name} [-h] [OPTIONS]")
    assert len(usage.split("\n\n")[1]) > 20  # says what it does
    names = re.findall(r"^  (-[^\n]*?)(?:  |$)", usage, re.MULTILINE)
    flags = [flag.split()[0] for line in names for flag in line.split(", ")]
    assert len(flags) == len(set(flags)) > 5


def test_the_version_is_the_same_everywhere() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", sinwave.__version__)
    assert f"version: {sinwave.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    command = [sys.executable, "-m", "sinwave", "--version"]
    assert subprocess.check_output(command, cwd=ROOT / "src", text=True) == f"sinwave {sinwave.__version__}\n"
    assert {installed.version for installed in distributions(name="sinwave")} <= {sinwave.__version__}


def declared_dependencies() -> set[str]:
    """Every distribution that pyproject.toml asks for, extras included."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = text[text.index("\ndependencies") : text.index("[project.scripts]")]
    return {name.lower() for name in re.findall(r'"([A-Za-z0-9-]+)[><=]', project)}


@pytest.mark.parametrize("document", ["docs/dependencies.md", "THIRD_PARTY.md"])
def test_every_dependency_is_explained(document: str) -> None:
    cells = re.findall(r"^\| ([A-Za-z0-9, -]+) \|", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE)
    assert {name.lower() for cell in cells for name in cell.split(", ")} >= declared_dependencies()


def test_every_dependency_has_a_tested_version() -> None:
    pinned = re.findall(r"^([A-Za-z0-9_-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert {name.lower().replace("_", "-") for name in pinned} >= declared_dependencies()


def test_no_module_needs_one_that_needs_it() -> None:
    """Imports inside of functions count, those for types alone do not."""
    graph = grimp.build_graph("sinwave", exclude_type_checking_imports=True)
    below = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    while leaves := [module for module, needed in below.items() if not needed]:
        for module in leaves:
            del below[module]
        below = {module: needed - set(leaves) for module, needed in below.items()}
    assert not below
