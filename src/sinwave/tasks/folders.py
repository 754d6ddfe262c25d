"""Folders that results go to."""

from __future__ import annotations

from pathlib import Path

from sinwave.errors import OutputError

__all__ = ["make_folder"]


def make_folder(folder: Path) -> None:
    """Make `folder` and what leads to it; an `OutputError` says why that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = (
            "a file of that name is in the way"
            if isinstance(error, (FileExistsError, NotADirectoryError))
            else getattr(error, "strerror", None) or error
        )
        raise OutputError(f"{folder}: the folder cannot be made ({reason})") from error
