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
    pictures, names = list[Tensor](), list[str]()
    for number, file in enumerate(files.files):
        picture = files.picture(number)
        if picture is None:
            continue
        if min(picture.shape[1:]) < side:
            small = f"{picture.shape[2]} x {picture.shape[1]}"
            on_remark(f"{file}: the picture has {small} pixels, and is enlarged to {side} a side")
        square = squared(picture, side)
        twin = next((n for n, other in enumerate(pictures) if (other - square).abs().mean() < _ALIKE), None)
        if twin is not None:
            on_remark(f"{file}: this is the same picture as {names[twin]}; it is left out")
            continue
        pictures.append(square)
        names.append(file.relative_to(folder).as_posix())
    if len(pictures) > MOST_SHOTS:
        raise InputError(
            f"{folder}: an adaptation learns from {MOST_SHOTS} pictures at the most, and these are {len(pictures)}; "
            "sinwave train --system ddpm learns from many"
        )
    if not pictures:
        raise InputError(f"{folder}: there is no picture to learn from")
    return Shots(torch.stack(pictures), tuple(names))
