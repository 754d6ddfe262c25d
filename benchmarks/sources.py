"""The pictures to measure with: files of a folder, unchanged, and photographs that ship with scikit-image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from sinwave.images import from_uint8, read, write
from sinwave.resize import resize

__all__ = ["LONG_SIDE", "PHOTOGRAPHS", "Size", "cropped", "fitted", "keep", "photograph", "pictures", "scaled"]

Size = tuple[int, int]

PHOTOGRAPHS = ("coffee", "chelsea", "rocket", "astronaut")  # in the public domain or CC0
LONG_SIDE = 250  # of a photograph at full size


def pictures(folder: Path | None, photographs: Sequence[str], only: Sequence[str] | None) -> dict[str, Tensor]:
    """Load pictures by name: pixels (3, h, w) in [-1, 1] at full size."""
    files = sorted(file for file in folder.iterdir() if file.is_file()) if folder else []
    loaders: dict[str, Callable[[], Tensor]] = {file.stem: partial(_pixels, file) for file in files}
    loaders |= {name: partial(small_photograph, name) for name in photographs}
    chosen = {name: load() for name, load in loaders.items() if not only or name in only}
    if not chosen:
        raise SystemExit(f"no picture to measure: --only must name one of {', '.join(loaders) or 'none'}")
    return chosen


def _pixels(file: Path) -> Tensor:
    return read(file).pixels


def photograph(name: str) -> Tensor:
    """Load a photograph of scikit-image, (3, h, w) in [-1, 1]."""
    return from_uint8(torch.from_numpy(getattr(import_module("skimage.data"), name)()).permute(2, 0, 1))


def small_photograph(name: str) -> Tensor:
    """Load it with a long side of 250 pixels."""
    whole = photograph(name)
    return resize(whole[None], fitted(whole, LONG_SIDE))[0]


def fitted(picture: Tensor, side: int) -> Size:
    """Size of a picture (3, h, w) after a resize to a long side of `side`."""
    return scaled(picture, side / max(picture.shape[1:]))


def scaled(picture: Tensor, factor: float) -> Size:
    """Size of a picture (3, h, w), times a factor."""
    return round(factor * picture.shape[1]), round(factor * picture.shape[2])


def cropped(picture: Tensor, size: Size) -> Tensor:
    """Crop the middle of a picture in the proportions of `size`."""
    height, width = picture.shape[1:]
    scale = min(height / size[0], width / size[1])
    h, w = round(scale * size[0]), round(scale * size[1])
    top, left = (height - h) // 2, (width - w) // 2
    return picture[:, top : top + h, left : left + w]


def keep(folder: Path, name: str, picture: Tensor, size: Size) -> Path:
    """Write a picture, resized, into the work folder, for the processes of the jobs."""
    place = folder / f"{name}-{size[1]}x{size[0]}"
    place.mkdir(parents=True, exist_ok=True)
    write(place / "source.png", resize(picture[None], size)[0], overwrite=True)
    return place / "source.png"
