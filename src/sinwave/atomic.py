"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from sinwave.errors import OutputError

__all__ = ["check_place", "write_bytes"]


def write_bytes(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Put `data` at `path` by way of a temporary file in the same folder; `OutputError` when that is impossible.

    Whoever looks at `path` sees the old file, or none, or the new one, and after a failure nothing is left behind.
    """
    try:
        check_place(path, overwrite)
        temporary = path.parent / f".{uuid.uuid4().hex}.part"
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _publish(temporary, path, overwrite)
        finally:
            temporary.unlink(missing_ok=True)
    except OutputError:
        raise
    except FileExistsError as error:
        raise OutputError(f"{path}: the file exists already and is not overwritten") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    except ValueError as error:
        raise OutputError(f"{str(path)!r}: this is not a file name ({error})") from error


def check_place(path: Path, overwrite: bool) -> None:
    """Raise an `OutputError` if no file can stand there; to be asked before long work."""
    if not path.parent.exists():
        raise OutputError(f"{path}: the folder {path.parent} does not exist")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: {path.parent} is a file, not a folder")
    if path.is_dir():
        raise OutputError(f"{path}: this is a folder, not a file")
    # Replacing would turn a device such as /dev/null into an ordinary file.
    if overwrite and path.exists() and not path.is_file():
        raise OutputError(f"{path}: this is a device or a pipe, not a file")


def _publish(temporary: Path, path: Path, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(path)
        return
    try:
        os.link(temporary, path)  # fails when there is a file, even one that appeared a moment ago
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, such as that of most memory sticks
        if path.exists():
            raise FileExistsError(path) from None
        temporary.replace(path)
