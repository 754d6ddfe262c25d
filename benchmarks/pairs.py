"""Pairs of pictures to enlarge: a true one, and a small one that was made from it or was taken beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sinwave.errors import InputError
from sinwave.images import from_uint8, read, to_uint8

__all__ = ["Pair", "by_name", "named", "pairs", "pixels", "reduced"]


@dataclass(frozen=True, eq=False)
class Pair:
    """The true picture (3, h, w) and the small one (3, h', w'), both uint8."""

    name: str
    truth: Tensor
    low: Tensor

    @property
    def size(self) -> tuple[int, int]:
        return self.truth.shape[1], self.truth.shape[2]

    @property
    def small(self) -> Tensor:
        """(1, 3, h', w') in [-1, 1]."""
        return from_uint8(self.low)[None]


def by_name(folders: Sequence[Path]) -> dict[str, Path]:
    """List the files of folders by their names without suffix."""
    files = [file for folder in folders for file in sorted(folder.iterdir()) if file.is_file()]
    table = {file.stem: file for file in files}
    if not files or len(table) < len(files):
        fault = "two pictures have the same name" if files else "there is no picture"
        raise InputError(f"{', '.join(map(str, folders))}: {fault}")
    return table


def named(name: str, table: Mapping[str, Path]) -> Path:
    if name not in table:
        raise InputError(f"{next(iter(table.values())).parent}: there is no picture {name}")
    return table[name]


def pixels(file: Path) -> Tensor:
    """Read a picture as uint8 (3, h, w)."""
    return to_uint8(read(file).pixels)


def pairs(high: Sequence[Path], low: Sequence[Path], factor: int, count: int | None) -> Iterator[Pair]:
    """Read `count` pairs at equal distances, or all; without folders of small pictures, these are made."""
    truths, smalls = by_name(high), by_name(low) if low else {}
    names = list(truths)
    count = min(count or len(names), len(names))
    for name in (names[index * len(names) // count] for index in range(count)):
        truth = pixels(truths[name])
        yield Pair(name, truth, pixels(named(name, smalls))) if smalls else reduced(name, truth, factor)


def reduced(name: str, truth: Tensor, factor: int) -> Pair:
    """Cut a picture to what the factor divides, and reduce it by Pillow's bicubic resampling."""
    height, width = (side // factor for side in truth.shape[1:])
    truth = truth[:, : factor * height, : factor * width].contiguous()
    image = Image.fromarray(truth.permute(1, 2, 0).contiguous().numpy())
    low = np.array(image.resize((width, height), Image.Resampling.BICUBIC))
    return Pair(name, truth, torch.from_numpy(low).permute(2, 0, 1).contiguous())
