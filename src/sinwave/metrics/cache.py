"""What was computed once is kept: arrays under the hash of all that they depend on.

The key of an array holds the contents of its pictures, the parameters, and the code of the metrics: so a picture that
was copied or renamed is found again, and nothing is found that changed code would compute otherwise.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

import sinwave

__all__ = ["Cache", "cache_folder", "content_hash"]


def cache_folder(platform: str = sys.platform, environment: Mapping[str, str] = os.environ) -> Path:
    """Where programs of this user keep what can be made or fetched again."""
    try:
        home = Path.home()
    except RuntimeError:  # a user without a home, as in a container
        home = Path(tempfile.gettempdir())
    if platform == "darwin":
        return home / "Library" / "Caches"
    if platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local")
    return Path(environment.get("XDG_CACHE_HOME") or home / ".cache")


def content_hash(picture: Tensor) -> str:
    """Of the pixels of a uint8 picture, whatever its file is called."""
    content = hashlib.sha256(str(tuple(picture.shape)).encode())
    content.update(picture.contiguous().cpu().numpy().data)
    return content.hexdigest()


@final
class Cache:
    """Arrays in a folder; with no folder they are kept until the program ends."""

    def __init__(self, folder: Path | None) -> None:
        """`folder` is made when something is to be kept."""
        self._folder, self._writable, self._seen = folder, True, dict[str, Tensor]()

    def array(self, key: tuple[str, ...], compute: Callable[[], Tensor], shape: tuple[int, ...]) -> Tensor:
        """What `compute` gives, an array of `shape`, if it was not computed before.

        A folder that cannot be written to, or a file in it that cannot be read, costs time and nothing else.
        """
        name = hashlib.sha256("\0".join((_code(), *key)).encode()).hexdigest()
        if name not in self._seen:
            self._seen[name] = self._from_folder(name, compute, shape)
        return self._seen[name]

    def _from_folder(self, name: str, compute: Callable[[], Tensor], shape: tuple[int, ...]) -> Tensor:
        if self._folder is None:
            return compute().cpu()
        file = self._folder / name[:2] / f"{name[2:]}.npy"
        kept = _kept(file, shape)
        if kept is not None:
            return kept
        found = compute().cpu()
        if self._writable:
            try:
                _keep(file, found)
            except OSError:
                self._writable = False
        return found


def _kept(file: Path, shape: tuple[int, ...]) -> Tensor | None:
    """The array in a file, if it is there and sound."""
    try:
        with file.open("rb") as stream:
            found = torch.from_numpy(np.load(stream, allow_pickle=False))
    except MemoryError:
        raise
    except Exception:  # a damaged file can raise anything
        return None
    return found if tuple(found.shape) == shape and found.is_floating_point() else None


def _keep(file: Path, array: Tensor) -> None:
    """Whole or not at all, though several processes may do it at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as part:
        temporary = Path(part.name)
    try:
        with temporary.open("wb") as stream:
            np.save(stream, array.numpy(), allow_pickle=False)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


@functools.cache
def _code() -> str:
    """Of everything that a figure is computed with."""
    root = Path(sinwave.__file__).parent
    folders = [root / "images", root / "metrics", root / "nn"]
    files = [root / "resize.py", root / "rng.py", *(file for each in folders for file in sorted(each.glob("*.py")))]
    content = hashlib.sha256(f"{torch.__version__} {np.__version__}".encode())
    for file in files:
        content.update(file.read_bytes())
    return content.hexdigest()
