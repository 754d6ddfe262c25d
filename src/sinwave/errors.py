"""Everything that can go wrong for a user, as one tree.

The message of each is one sentence: what was wrong, the value, what is allowed. The library raises them;
a front end prints the message on one line, without a traceback, and exits with code `SinwaveError.exit_code`.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = ["InputError", "MissingError", "OutputError", "SinwaveError", "Stop", "TrainingError", "one_line"]


class SinwaveError(Exception):
    """Base class of all errors: catch this one."""

    exit_code: ClassVar[int] = 2


class InputError(SinwaveError, ValueError):
    """A bad value, or a picture or file that cannot be used."""


class OutputError(SinwaveError, OSError):
    """A result that cannot be written: no room, no permission, no such folder, a file already there."""


class MissingError(SinwaveError):
    """An optional extra or a weights file that is absent; the message says what to install or where it was sought."""

    @classmethod
    def extra(cls, package: str, extra: str) -> MissingError:
        """The error for an optional `package` that comes with `pip install 'sinwave[extra]'`."""
        return cls(f"this needs the package {package}, which is not installed: pip install 'sinwave[{extra}]'")


class TrainingError(SinwaveError, RuntimeError):
    """A training that diverges despite every remedy."""


class Stop(SinwaveError):  # noqa: N818 - a request, not a fault
    """Raise it in a callback to end the work within one step; every file is complete or absent."""

    def __init__(self, message: str = "stopped") -> None:
        super().__init__(message)


def one_line(message: str) -> str:
    """`message` without line breaks and without characters that would steer the terminal: file names may hold both."""
    words = " ".join(message.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
