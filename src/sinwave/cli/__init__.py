"""The shell around every command: which there are, and what the user sees when one fails.

A command is a function `run(arguments) -> int`, or one of the command's own name, in a module that loads when it is
named, so this module imports no torch. It reads its arguments into frozen dataclasses (see `sinwave.options`), and
returns the exit code.

Exit codes: 0 all is well, 1 a fault of ours, 2 something that the user can mend, 130 interrupted.
"""

from __future__ import annotations

import errno
import gc
import importlib
import io
import os
import re
import sys
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from sinwave import __version__
from sinwave.errors import InputError, SinwaveError, one_line
from sinwave.tasks import DRAWING

__all__ = ["COMMANDS", "command", "main"]


class Command(NamedTuple):
    """The module of a command, and what it does in a line."""

    module: str
    summary: str


COMMANDS = {
    "train": Command("sinwave.cli.train", "train a model on one picture or a few, in minutes"),
    "adapt": Command("sinwave.cli.train", "adapt a model of many pictures to about ten others"),
    **{verb: Command("sinwave.cli.draw", summary) for verb, summary in DRAWING.items()},
    "evaluate": Command("sinwave.cli.evaluate", "measure the quality, the diversity and the copying of pictures"),
    "report": Command("sinwave.cli.evaluate", "make a page of samples, the origin of their patches, and scores"),
    "demo": Command("sinwave.cli.draw", "see it work: generate from a photograph that is in the public domain"),
    "export": Command("sinwave.cli.export", "write a model in another program's format"),
    "info": Command(
        "sinwave.cli.info", "say what a picture or a model is, how sinwave made it, and what a new picture would cost"
    ),
}

_USAGE = """\
usage: sinwave COMMAND [OPTIONS]

New pictures from one picture: at once with nothing to train, or from a model trained in minutes.

commands:
{commands}

examples:
  sinwave generate photo.jpg -n 8
  sinwave generate photo.jpg --size 1024x256 --variation 1 -o panoramas
  sinwave train photo.jpg && sinwave generate photo.safetensors

'sinwave COMMAND --help' shows the options of a command, 'sinwave --version' the version."""


def command() -> int:
    """Run the command of this process, set up for it alone, and return its exit code."""
    # Loading torch makes 160,000 objects that last as long as the process, and Python looks for garbage among all of
    # them again and again, and once more at exit: half a second and more.
    gc.set_threshold(10_000)
    if not sys.warnoptions:  # as by python -W: what libraries say to developers, such as of odd tags in a TIFF
        warnings.simplefilter("ignore")
    code = main()
    gc.freeze()
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names (the process's arguments by default) and return its exit code."""
    # Two OpenMP threads that spin while a third program wants their core slow each other down a hundredfold;
    # torch reads this once, when it loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name may hold bytes that are no text.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _dispatch(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except (Exception, KeyboardInterrupt) as error:
        if _wants_traceback(arguments) and not isinstance(error, BrokenPipeError):
            raise
        return _report(error)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        width = max(map(len, COMMANDS))
        print(_USAGE.format(commands="\n".join(f"  {name:{width}}  {c.summary}" for name, c in COMMANDS.items())))
        return 0
    if arguments[0] == "--version":
        print(f"sinwave {__version__}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        raise InputError(_unknown(name))
    module: Any = importlib.import_module(COMMANDS[name].module)
    try:
        return int(module.run(name, rest) if name in DRAWING else getattr(module, name, module.run)(rest))
    except SystemExit:  # of --help
        return 0


def _unknown(name: str) -> str:
    kind = "option" if name.startswith("-") else "command"
    close = get_close_matches(name, [*COMMANDS, "--help", "--version"], n=1)
    hint = f"did you mean {close[0]}?" if close else f"the commands are {', '.join(COMMANDS)}"
    return f"unknown {kind} {name!r}; {hint} (see sinwave --help)"


def _wants_traceback(arguments: Sequence[str]) -> bool:
    return os.environ.get("SINWAVE_DEBUG", "0") not in ("", "0") or any(re.fullmatch("-v{2,}", a) for a in arguments)


def _report(error: BaseException) -> int:
    if isinstance(error, BrokenPipeError):
        _silence_stdout()
        return 141  # what a shell reports of a program that the closed pipe ended
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        # The text that could not be written is still buffered, and Python would try once more at exit.
        _silence_stdout()
    message, code = _sentence(error)
    print(f"sinwave: {one_line(message)}", file=sys.stderr)
    return code


def _sentence(error: BaseException) -> tuple[str, int]:
    if isinstance(error, SinwaveError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", 130
    if _is_out_of_memory(error):
        return "not enough memory; ask for a smaller picture or for fewer at a time", 2
    if isinstance(error, OSError):
        reason = (error.strerror or str(error)).lower()
        return (f"{error.filename}: {reason}" if error.filename else reason), 2
    return f"internal error: {type(error).__name__}: {error} (SINWAVE_DEBUG=1 shows where; please report it)", 1


def _is_out_of_memory(error: BaseException) -> bool:
    # torch has its own error on an accelerator and a plain RuntimeError on the CPU; it must not be imported to ask.
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def _silence_stdout() -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
