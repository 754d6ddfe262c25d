"""The pictures of a folder and all its subfolders, read when they are needed, and batches of crops of them.

A file that is no picture, or none that can be learned from, is remarked upon once, by its name, and left out. Crops are
pure functions of (seed, step, index), so a training that goes on sees the same.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from sinwave.errors import InputError
from sinwave.images import from_uint8, read, to_uint8
from sinwave.rng import fold

__all__ = ["Crops", "Folder", "FolderBatches"]


@final
class Folder:
    """Files by number, in the order of their names; files and folders whose names begin with a dot are hidden."""

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        min_side: int = 16,
        memory: float = 1e9,
        on_remark: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        """`on_remark` gets a sentence for each bad file, once; pictures have at least `min_side` pixels a side.

        Pictures that were read stay in `memory`, as far as so many bytes hold them.
        """
        self.path, self._min_side, self._on_remark = Path(path), min_side, on_remark
        self._kept, self._free = dict[int, Tensor](), memory
        if not self.path.is_dir():
            raise InputError(f"{path}: there is no such folder")
        self.files = tuple(
            file for file in sorted(self.path.rglob("*")) if file.is_file() and not self._is_hidden(file)
        )
        if not self.files:
            raise InputError(f"{path}: the folder holds no files")
        self._bad, self._lock = set[int](), threading.Lock()

    def __len__(self) -> int:
        return len(self.files)

    @property
    def fingerprint(self) -> str:
        """A hash of the names and sizes of all files: a training that goes on needs the same."""
        facts = [f"{file.relative_to(self.path).as_posix()}\0{file.stat().st_size}" for file in self.files]
        return hashlib.sha256("\n".join(facts).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def picture(self, number: int) -> Tensor | None:
        """The picture (3, h, w) in [-1, 1] of a file, None if there is none."""
        if number in self._bad:
            return None
        if (kept := self._kept.get(number)) is not None:
            return from_uint8(kept)
        try:
            picture = read(self.files[number], min_side=self._min_side)
            if picture.opaque is not None:
                raise InputError(f"{self.files[number]}: the picture is partly transparent")
        except InputError as error:
            self._remark(number, str(error))
            return None
        self._keep(number, picture.pixels)
        return picture.pixels

    def _keep(self, number: int, pixels: Tensor) -> None:
        """Remember a picture as bytes, if that loses nothing."""
        values = to_uint8(pixels)
        if values.numel() <= self._free and torch.equal(from_uint8(values), pixels):
            self._kept[number] = values
            self._free -= values.numel()

    def _remark(self, number: int, sentence: str) -> None:
        with self._lock:
            if number in self._bad:
                return
            self._bad.add(number)
            if len(self._bad) < len(self.files):
                self._on_remark(f"{sentence}; it is left out")
                return
        raise InputError(
            f"{self.path}: none of its {len(self.files)} files can be learned from, the last for: {sentence}"
        )

    def _is_hidden(self, file: Path) -> bool:
        return any(part.startswith(".") for part in file.relative_to(self.path).parts)


@dataclass(frozen=True)
class Crops:
    """Squares of `side` pixels, half of them mirrored if there are `flips`."""

    side: int
    flips: bool = True

    def __post_init__(self) -> None:
        if self.side < 1:
            raise InputError(f"side is {self.side}: it must be 1 or more")

    def __call__(self, picture: Tensor, seed: int, step: int, index: int) -> Tensor:
        """The crop (c, side, side) of a picture (c, h, w), in place `index` of the batch of `step`."""
        height, width = picture.shape[1:]
        if min(height, width) < self.side:
            raise InputError(f"the picture has {width} x {height} pixels: a crop needs {self.side} a side")
        generator = torch.Generator().manual_seed(fold(seed, "crop", step, index))
        top, left, mirrored = (
            int(torch.randint(count, (), generator=generator))
            for count in (height - self.side + 1, width - self.side + 1, 2)
        )
        crop = picture[:, top : top + self.side, left : left + self.side]
        return crop.flip(2) if self.flips and mirrored else crop


@final
class FolderBatches:
    """Crops of the pictures of a folder: each pass over the files has an order of its own and leaves out none.

    In place of a file that is bad there is the next good one.
    """

    def __init__(self, folder: Folder, crops: Callable[[Tensor, int, int, int], Tensor], count: int, seed: int) -> None:
        """`count` crops a step, each `crops(picture, seed, step, index)`."""
        if count < 1:
            raise InputError(f"count is {count}: a batch has 1 or more crops")
        self._folder, self._crops, self._count, self._seed = folder, crops, count, seed
        self._order = lru_cache(maxsize=4)(self._shuffled)

    def at(self, step: int) -> Tensor:
        """The crops (count, 3, side, side) in [-1, 1]."""
        first = step * self._count
        crops = [self._crops(self._picture(first + index), self._seed, step, index) for index in range(self._count)]
        return torch.stack(crops)

    def _picture(self, place: int) -> Tensor:
        """The picture whose turn it is after `place` others."""
        for number in self._turns(place):
            picture = self._folder.picture(number)
            if picture is not None:
                return picture
        raise InputError(f"{self._folder.path}: no file can be learned from")

    def _turns(self, place: int) -> Iterator[int]:
        """The file of a place, and all others after it."""
        turn, start = divmod(place, len(self._folder))
        order = self._order(turn)
        return (order[(start + index) % len(order)] for index in range(len(order)))

    def _shuffled(self, turn: int) -> list[int]:
        generator = torch.Generator().manual_seed(fold(self._seed, "order", turn))
        order: list[int] = torch.randperm(len(self._folder), generator=generator).tolist()
        return order
