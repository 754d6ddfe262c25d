"""The few pictures of an adaptation, and noisy ones of them with what the source estimates, computed once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, final

import torch
from torch import Tensor

from sinwave.data.folder import Folder
from sinwave.errors import InputError
from sinwave.rng import fold
from sinwave.systems.pairwise.recipe import drawn
from sinwave.systems.pairwise.source import Source
from sinwave.systems.pairwise.squares import squared
from sinwave.threads import threads

__all__ = ["Indices", "Pool", "Shots", "shots_of"]

_ALIKE = 2 / 127.5
"""Mean difference of two pictures that are one picture twice."""

_CHUNK = 32

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
        names.append(file.name)
    if len(pictures) > MOST_SHOTS:
        raise InputError(
            f"{folder}: an adaptation learns from {MOST_SHOTS} pictures at the most, and these are {len(pictures)}; "
            "sinwave train --system ddpm learns from many"
        )
    if not pictures:
        raise InputError(f"{folder}: there is no picture to learn from")
    return Shots(torch.stack(pictures), tuple(names))


@final
class Pool:
    """`count` noisy pictures x_t with their times, what the source estimates of them, and the clean ones."""

    def __init__(self, source: Source, shots: Tensor, count: int, seed: int, *, flips: bool = False) -> None:
        """Every shot comes equally often; the times are stratified, and as many are of high noise as of low.

        At high noise the source decides what a picture is, and the adapter must change that too.
        """
        device, parts = next(source.unet.parameters()).device, []
        for first in range(0, count, _CHUNK):
            places = torch.arange(first, min(first + _CHUNK, count)) % len(shots)
            generator = torch.Generator().manual_seed(fold(seed, "pool", first))
            pictures = shots[places]
            if flips:
                mirrored = torch.rand(len(places), generator=generator) < 0.5
                pictures = torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)
            clean = source.seen(pictures)
            draw = drawn(source, clean, generator, even=True)
            x_t = source.process.diffuse(clean, draw.times, draw.noise).to(device)
            with torch.no_grad(), threads(1 if device.type == "cpu" else None):
                estimate = source.estimate(x_t, draw.times.to(device))
            parts.append((x_t, draw.times.to(device), estimate, clean.to(device), places))
        self.x_t, self.times, self.estimate, self.clean, self.shots = map(torch.cat, zip(*parts, strict=True))

    def __len__(self) -> int:
        return len(self.x_t)


@final
class Indices:
    """Batches of places in a pool: every pass has an order of its own and leaves out none."""

    def __init__(self, total: int, count: int, seed: int) -> None:
        self._total, self._count, self._seed = total, count, seed

    def at(self, step: int) -> Tensor:
        """The places (count,)."""
        places = torch.arange(step * self._count, (step + 1) * self._count)
        turns = {turn: self._order(turn) for turn in set((places // self._total).tolist())}
        return torch.stack([turns[int(place) // self._total][int(place) % self._total] for place in places])

    def _order(self, turn: int) -> Tensor:
        return torch.randperm(self._total, generator=torch.Generator().manual_seed(fold(self._seed, "order", turn)))
