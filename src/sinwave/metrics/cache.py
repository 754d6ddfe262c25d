"""Cache of arrays, under the hash of all that they depend on.

The key of an array holds the contents of its pictures, the parameters, and the code of the metrics: so a picture that
was copied or renamed is not measured again, and changed code measures anew.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

import sinwave
from sinwave.atomic import write_bytes

__all__ = ["Cache", "content_hash"]


def content_hash(picture: Tensor) -> str:
    """Hash the pixels of a uint8 picture, whatever its file is called."""
    content = hashlib.sha256(str(tuple(picture.shape)).encode())
    content.update(picture.contiguous().cpu().numpy().data)
    return content.hexdigest()


@final
class Cache:
    """Arrays in a folder; with no folder they are kept until the program ends."""

    def __init__(self, folder: Path | None) -> None:
        """`folder` is made when something is to be kept."""
        self._folder, self._memory = folder, dict[str, Tensor]()

    def array(self, key: tuple[str, ...], compute: Callable[[], Tensor], shape: tuple[int, ...]) -> Tensor:
        """Return the array of `shape` that was kept under `key`, or what `compute` gives.

        A folder that cannot be written to, or a file in it that cannot be read, costs time and nothing else.
        """
        name = hashlib.sha256("\0".join((_code(), *key)).encode()).hexdigest()
        if name not in self._memory:
            self._memory[name] = self._from_folder(name, compute, shape)
        return self._memory[name]

    def _from_folder(self, name: str, compute: Callable[[], Tensor], shape: tuple[int, ...]) -> Tensor:
        if self._folder is None:
            return compute().cpu()
        file = self._folder / name[:2] / f"{name[2:]}.npy"
        array = _kept(file, shape)
        if array is None:
            array, content = compute().cpu(), io.BytesIO()
            np.save(content, array.numpy(), allow_pickle=False)
            with suppress(OSError):
                file.parent.mkdir(parents=True, exist_ok=True)
                write_bytes(file, content.getvalue(), overwrite=True)
        return array


def _kept(file: Path, shape: tuple[int, ...]) -> Tensor | None:
    try:
        with file.open("rb") as stream:
            array = torch.from_numpy(np.load(stream, allow_pickle=False))
    except MemoryError:
        raise
    except Exception:  # a damaged file can raise anything
        return None
    return array if tuple(array.shape) == shape and array.is_floating_point() else None


@functools.cache
def _code() -> str:
    """Hash everything that a figure is computed with."""
    root = Path(sinwave.__file__).parent
    folders = [root / "images", root / "metrics", root / "pretrained"]
    files = [root / "resize.py", root / "rng.py", *(file for folder in folders for file in sorted(folder.glob("*.py")))]
    content = hashlib.sha256(f"{torch.__version__} {np.__version__}".encode())
    for file in files:
        content.update(file.read_bytes())
    return content.hexdigest()
