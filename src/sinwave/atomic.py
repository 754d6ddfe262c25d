"""Files that appear whole or not at all, and folders that one process has for itself."""

from __future__ import annotations

import errno
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sinwave.errors import OutputError

__all__ = ["check_place", "locked", "make_folder", "write_bytes"]


def write_bytes(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write `data` to `path` through a temporary file in the same folder, or raise `OutputError`.

    At any time `path` holds the old file, or none, or the new one. A failure leaves nothing behind.
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
    """Raise an `OutputError` if no file can be written there; call it before long work."""
    if not path.parent.exists():
        raise OutputError(f"{path}: the folder {path.parent} does not exist")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: {path.parent} is a file, not a folder")
    if path.is_dir():
        raise OutputError(f"{path}: this is a folder, not a file")
    # Replacing a device such as /dev/null would make an ordinary file of it.
    if overwrite and path.exists() and not path.is_file():
        raise OutputError(f"{path}: this is a device or a pipe, not a file")


def _publish(temporary: Path, path: Path, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(path)
        return
    try:
        os.link(temporary, path)  # fails if the file exists, even if it appeared a moment ago
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, such as that of most memory sticks
        if path.exists():
            raise FileExistsError(path) from None
        temporary.replace(path)


def make_folder(folder: Path) -> None:
    """Make `folder` and what leads to it; an `OutputError` says why that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except RecursionError as error:  # pathlib goes up one folder a call
        raise OutputError(f"{folder}: the folder cannot be made (the path has {len(folder.parts)} parts)") from error
    except (OSError, ValueError) as error:
        in_the_way = isinstance(error, (FileExistsError, NotADirectoryError))
        reason = "a file of that name is in the way" if in_the_way else getattr(error, "strerror", None) or error
        raise OutputError(f"{folder}: the folder cannot be made ({reason})") from error


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock of the file `path`; give False if another process holds it.

    The operating system takes the lock back when a process ends, however it ends; the file stays.
    """
    try:
        file = path.open("ab")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    with file:
        yield _lock(file.fileno())


def _lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Some network folders have no locks: there two trainings are not kept apart.
        return error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
    return True
