"""A few pictures of one kind, as squares: what a large model is adapted to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sinwave.data.folder import Folder
from sinwave.data.squares import squared
from sinwave.errors import InputError

__all__ = ["MOST_SHOTS", "Shots", "shots_of"]

_ALIKE = 2 / 127.5
"""Mean difference of two pictures that are one picture twice."""

MOST_SHOTS = 100


class Shots(NamedTuple):
    """Pictures (n, 3, side, side) in [-1, 1], and the names of their files."""

    pictures: Tensor
    names: tuple[str, ...]


def shots_of(folder: Path, side: int, on_remark: Callable[[str], None]) -> Shots:
    """Read all pictures of a folder; what is bad, or there twice, is remarked upon and left out."""
    files = Folder(folder, min_side=min(side, 16), on_remark=on_remark)
    pictures, names, sizes = list[Tensor](), list[str](), list[tuple[int, int]]()
    for number, file in enumerate(files.files):
        picture = files.picture(number)
        if picture is None:
            continue
        square, name, size = squared(picture, side), file.relative_to(folder).as_posix(), (*picture.shape[1:],)
        twin = next((n for n, other in enumerate(pictures) if (other - square).abs().mean() < _ALIKE), None)
        if twin is None:
            pictures.append(square)
            names.append(name)
            sizes.append(size)
        elif min(size) > min(sizes[twin]):
            on_remark(f"{folder / names[twin]}: this is the same picture as {name}, which is larger; it is left out")
            pictures[twin], names[twin], sizes[twin] = square, name, size
        else:
            on_remark(f"{file}: this is the same picture as {names[twin]}; it is left out")
    for name, (height, width) in zip(names, sizes, strict=True):
        if min(height, width) < side:
            on_remark(f"{folder / name}: the picture has {width} x {height} pixels, and is enlarged to {side} a side")
    if len(pictures) > MOST_SHOTS:
        raise InputError(
            f"{folder}: an adaptation learns from {MOST_SHOTS} pictures at the most, and these are {len(pictures)}; "
            "sinwave train --system ddpm learns from many"
        )
    if not pictures:
        raise InputError(f"{folder}: there is no picture to learn from")
    return Shots(torch.stack(pictures), tuple(names))
