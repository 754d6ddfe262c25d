"""The shell around the commands: what is typed, what is refused, and what is seen when a command fails.

A tiny real command stands in for those of the package, in the same process and in one of its own.
"""

import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sinwave.cli import COMMANDS, Command, main
from sinwave.cli.parse import parse_together
from sinwave.cli.show import ProgressBar, Showing, show_table
from sinwave.errors import InputError
from sinwave.options import option

SRC = Path(__file__).parents[1] / "src"

COMMAND = '''
"""A command that ends in a way of your choice."""
import errno, time
from dataclasses import dataclass
from sinwave.cli.parse import parse_together
from sinwave.cli.show import Showing
from sinwave.errors import InputError
from sinwave.options import option

@dataclass(frozen=True, kw_only=True)
class Options(Showing):
    """End in a way of your choice."""
    how: str = option("well", "the way", positional=True)

class OutOfMemoryError(RuntimeError):
    pass

def run(arguments):
    (options,) = parse_together([Options], arguments, "sinwave end")
    if options.how in ("little", "much"):
        print("x" * (1 if options.how == "little" else 1_000_000))
    if options.how == "slow":
        print("ready", flush=True)
        time.sleep(60)
    failures = {
        "input": InputError("the picture\\x1b[31m is\\nbroken"),
        "full": OSError(errno.ENOSPC, "No space left on device", "out.png"),
        "memory": MemoryError(),
        "accelerator": OutOfMemoryError("of 3 GiB"),
        "cpu": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 1 TB"),
        "bug": KeyError("band"),
        "interrupt": KeyboardInterrupt(),
    }
    if options.how in failures:
        raise failures[options.how]
    return 0
'''


@dataclass(frozen=True, kw_only=True)
class Draw(Showing):
    """Draw something."""

    source: Path = option(help="a picture", positional=True)
    number: int = option(8, "how many", low=1, short="-n")
    variation: float = option(0.7, "how far", low=0, high=1)
    size: str | None = option(None, "how large", metavar="WIDTHxHEIGHT")
    max_pixels: int = option(100, "at most so many")
    medium: Literal["oil", "ink"] = option("oil", "what with")
    patches: tuple[int, ...] = option((9, 7, 5), "how large", low=3)
    inks: tuple[Path, ...] = option((), "from which bottles")
    frame: bool = option(True, "put a frame around it")


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command `end` in this process and, through the environment, in those that `process` starts."""
    (tmp_path / "end_command.py").write_text(COMMAND)
    start = 'from sinwave.cli import COMMANDS, Command\nCOMMANDS["end"] = Command("end_command", "end")\n'
    (tmp_path / "start.py").write_text(start)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(COMMANDS, "end", Command("end_command", "end"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(SRC)]))
    monkeypatch.delenv("SINWAVE_DEBUG", raising=False)
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


def process(*arguments: str) -> list[str]:
    """The command line of a process that knows `end`."""
    return [sys.executable, "-c", "import start, sys; from sinwave.cli import main; sys.exit(main())", *arguments]


def drawn(*arguments: str) -> Draw:
    (options,) = parse_together([Draw], arguments, "sinwave draw")
    return options


def test_what_is_typed_is_what_is_meant() -> None:
    assert drawn("a.png") == Draw(source=Path("a.png"))
    typed = "-n 3 --variation 1 --size 9x8 --max-pixels=7 --medium ink --patches 5,3 --json -q -vv -- -a.png"
    assert drawn(*typed.split()) == Draw(
        source=Path("-a.png"),
        number=3,
        variation=1.0,
        size="9x8",
        max_pixels=7,
        medium="ink",
        patches=(5, 3),
        json=True,
        quiet=True,
        verbose=2,
    )
    assert drawn("a", "--max_pixels", "7").max_pixels == 7
    assert drawn("a", "--patches", "5", "3,4", "--json").patches == (5, 3, 4)
    assert drawn("a", "--inks", "b,c", "d").inks == (Path("b,c"), Path("d"))
    assert drawn("a").frame and not drawn("a", "--no-frame").frame


BAD = [
    ([], "SOURCE is missing"),
    (["--json"], "SOURCE is missing"),
    (["a", "b"], "unexpected argument 'b'"),
    (["a", "--json", "yes"], "unexpected argument 'yes'"),
    (["a", "--variaton", "0.3"], "unknown option --variaton; did you mean --variation?"),
    (["--variaton", "a"], "unknown option --variaton; did you mean --variation?"),
    (["a", "--max_pixel=3"], "unknown option --max-pixel; did you mean --max-pixels?"),
    (["a", "--no-json"], "unknown option --no-json; did you mean --json?"),
    (["a", "--frame"], "unknown option --frame"),
    (["a", "-x"], "unknown option -x"),
    (["a", "--variation", "abc"], "variation must be a number, not 'abc'"),
    (["a", "--variation="], "variation must be a number, not ''"),
    (["a", "--variation", "nan"], "variation must be between 0 and 1, not nan"),
    (["a", "--variation", "1e999"], "variation must be between 0 and 1, not inf"),
    (["a", "--variation", "-0.5"], "variation must be between 0 and 1, not -0.5"),
    (["a", "-n", "2.5"], "number must be a whole number, not '2.5'"),
    (["a", "-n", "0"], "number must be at least 1, not 0"),
    (["a", "-n"], "missing value for argument '-n/--number'"),
    (["a", "--size", "--json"], "missing value for argument '--size'"),
    (["a", "--patches"], "missing value for argument '--patches'"),
    (["a", "--medium", "chalk"], "medium must be one of oil, ink, not 'chalk'"),
    (["a", "--patches", "9,x"], "patches must be a whole number, not 'x'"),
    (["a", "--patches", "9,1"], "patches must be at least 3, not 1"),
    ([""], "source must be a path, not ''"),
    (["--tyro-print-completion", "sh"], "unknown option --tyro-print-completion"),
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_a_bad_command_line_is_one_sentence(
    arguments: Sequence[str], sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError) as raised:
        drawn(*arguments)
    assert sentence in str(raised.value)
    assert str(raised.value).endswith("(see sinwave draw --help)")
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("asked", [["--help"], ["-h"], ["a", "--help"], ["--variation", "x", "-h"]])
def test_help_shows_every_option_with_its_help_and_default(
    asked: Sequence[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as raised:
        drawn(*asked)
    assert raised.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: sinwave draw [-h] [OPTIONS] SOURCE\n\nDraw something.\n")
    for line in [
        "SOURCE  a picture (required)",
        "-n, --number INT  how many (default: 8)",
        "--variation FLOAT  how far (default: 0.7)",
        "--size WIDTHxHEIGHT  how large\n",
        "--medium {oil,ink}  what with (default: oil)",
        "--patches INT...  how large (default: 9 7 5)",
        "--inks PATH...  from which bottles\n",
        "--no-frame  put a frame around it\n",
        "-q, --quiet  show no progress and no notes\n",
    ]:
        assert line in re.sub("(?<=[^ ]) {2,}", "  ", shown)
    helps = [re.match(r"  \S.*?  +(?=\S)", line) for line in shown.splitlines()]
    assert len({match.end() for match in helps if match}) == 1


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_names_every_command(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    shown, complaints = capsys.readouterr()
    assert not complaints
    for name, command in COMMANDS.items():
        assert any(line.split(maxsplit=1) == [name, command.summary] for line in shown.splitlines())


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("generat", "unknown command 'generat'; did you mean generate?"),
        ("zzz", "unknown command 'zzz'; the commands are train, adapt, generate, "),
        ("--versoin", "unknown option '--versoin'; did you mean --version?"),
        ("", "unknown command ''"),
    ],
)
def test_an_unknown_command_is_one_line(typed: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([typed]) == 2
    shown, complaints = capsys.readouterr()
    assert not shown
    assert complaints.startswith(f"sinwave: {complaint}")
    assert complaints.count("\n") == 1


@pytest.mark.parametrize(
    ("how", "code", "complaint"),
    [
        ("well", 0, ""),
        ("input", 2, r"sinwave: the picture\x1b[31m is broken"),
        ("full", 2, "sinwave: out.png: no space left on device"),
        ("memory", 2, "sinwave: not enough memory; ask for a smaller picture or for fewer at a time"),
        ("accelerator", 2, "sinwave: not enough memory; ask for a smaller picture or for fewer at a time"),
        ("cpu", 2, "sinwave: not enough memory; ask for a smaller picture or for fewer at a time"),
        ("bug", 1, "sinwave: internal error: KeyError: 'band' (SINWAVE_DEBUG=1 shows where; please report it)"),
        ("interrupt", 130, "sinwave: interrupted"),
    ],
)
def test_a_failing_command_ends_in_one_line_and_its_exit_code(
    command: None, how: str, code: int, complaint: str
) -> None:
    ended = subprocess.run(process("end", how), capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr.strip()) == (code, "", complaint)


@pytest.mark.parametrize("ask", ["-vv", "SINWAVE_DEBUG"])
def test_a_traceback_is_shown_to_those_who_ask(command: None, ask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if ask == "-vv":
        arguments = ["end", "bug", "-vv"]
    else:
        arguments = ["end", "bug"]
        monkeypatch.setenv(ask, "1")
    with pytest.raises(KeyError, match="band"):
        main(arguments)


@pytest.mark.skipif(sys.platform == "win32", reason="signals and devices of POSIX")
class TestTheWorldOutside:
    """What only the system can do to a process."""

    @pytest.mark.parametrize("how", ["little", "much"])
    def test_a_reader_that_has_left_is_no_error(self, command: None, how: str) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        ended = subprocess.run(process("end", how), stdout=writer, stderr=subprocess.PIPE, text=True)
        os.close(writer)
        assert (ended.returncode, ended.stderr) == (141, "")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
    @pytest.mark.parametrize("how", ["little", "much"])
    def test_a_full_disk_behind_stdout_is_one_line(self, command: None, how: str) -> None:
        with Path("/dev/full").open("w") as full:
            ended = subprocess.run(process("end", how), stdout=full, stderr=subprocess.PIPE, text=True)
        assert (ended.returncode, ended.stderr) == (2, "sinwave: no space left on device\n")

    def test_control_c_is_one_line_and_130(self, command: None) -> None:
        with subprocess.Popen(process("end", "slow"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == b"ready\n"
            time.sleep(0.1)
            running.send_signal(signal.SIGINT)
            _, complaints = running.communicate()
        assert (running.returncode, complaints) == (130, b"sinwave: interrupted\n")


def test_a_table_shows_cells_as_they_are(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show_table([("[red]a[/red].png", 3), (":smile:", "x")], header=("file", "[b]"))
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "file              [b]",
        "[red]a[/red].png  3",
        ":smile:           x",
    ]


@pytest.mark.parametrize("quiet", [False, True])
def test_progress_is_silent_where_nobody_watches(quiet: bool, capfd: pytest.CaptureFixture[str]) -> None:
    with ProgressBar(quiet=quiet) as bar:
        bar.step("picture 1 of 2", 1, 2)
    assert capfd.readouterr() == ("", "")


def test_progress_shows_the_label_the_share_and_the_time_left(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # how rich is told that a pipe is a terminal
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with ProgressBar(quiet=False) as bar:
        bar.step("picture [1] of 2", 1, 4)
    shown, drawn_bar = capfd.readouterr()
    assert not shown
    assert "picture [1] of 2" in drawn_bar
    assert "25%" in drawn_bar
    assert "left" in drawn_bar


def test_info_says_what_a_picture_is_and_how_it_was_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a[b].png"
    text = PngInfo()
    text.add_text("command", "sinwave generate photo.jpg --seed 3")
    Image.new("RGB", (30, 20)).save(path, pnginfo=text)
    assert main(["info", str(path)]) == 0
    shown = capsys.readouterr().out
    for cell in ["a[b].png", "30 x 20", "PNG, RGB, 8 bits", "sinwave generate photo.jpg --seed 3"]:
        assert cell in shown
    assert main(["info", "--json", str(path)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["width"], result["height"], result["format"]) == (30, 20, "PNG")
    assert result["text"] == {"command": "sinwave generate photo.jpg --seed 3"}


def test_warnings_of_libraries_are_for_those_who_ask(tmp_path: Path) -> None:
    path, entries = tmp_path / "odd.tif", [(256, 16), (257, 16), (258, 8), (259, 1), (262, 1), (273, 200), (279, 256)]
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    beyond = struct.pack("<HHII", 34675, 7, 9999, 8)
    table = struct.pack("<H", len(entries) + 1) + tags + beyond + bytes(4)
    path.write_bytes((b"II*\0" + struct.pack("<I", 8) + table).ljust(200, b"\0") + bytes(range(256)))

    def complaints(*words: str) -> str:
        program = [sys.executable, *words, "-m", "sinwave", "info", path]
        return subprocess.run(program, capture_output=True, text=True, check=True).stderr

    assert complaints() == ""
    assert "Tag data larger than file" in complaints("-W", "default")


def test_info_of_no_picture_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tmp_path / "absent.png")]) == 2
    shown, complaints = capsys.readouterr()
    assert not shown
    assert complaints.startswith("sinwave: ")
    assert "absent.png" in complaints
    assert complaints.count("\n") == 1
