"""Ways to enlarge a picture: resampling, `sinwave upscale`, networks of other authors, results that are in files."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import peers
import torch
from pairs import Pair, by_name, named, pixels
from torch import Tensor

from sinwave.errors import InputError
from sinwave.images import Picture, from_uint8
from sinwave.option_kinds import Source
from sinwave.reduction import Reduction
from sinwave.resize import resize
from sinwave.rng import NoiseSource
from sinwave.systems import table
from sinwave.systems.contracts import Computing
from sinwave.tasks.upscale import Upscale

__all__ = ["BASE", "NAMES", "TRUTH", "Method", "methods", "projected"]

BASE, TRUTH = "bicubic", "truth"
OURS = ("consistent", "patches", "zero-shot", "small")
NAMES = (BASE, *OURS, *peers.PEERS)

COMPUTING = Computing(torch.device("cpu"), torch.float32, quick=True)
"""Precision and effort of the command `sinwave upscale`."""


class Method(NamedTuple):
    """A way to enlarge, to (1, 3, h, w) in [-1, 1]; reading a file is no work."""

    enlarge: Callable[[Pair], Tensor]
    works: bool = True


def ours(model: str, seed: int, consistency: float | None, fidelity: float | None = None) -> Method:
    """Make `sinwave upscale` with a model: a file, or by its name one that comes with sinwave or is of the picture."""
    noise = NoiseSource(seed).child("picture", 0)
    untrained = {"patches": "wavelet", "zero-shot": "zero-shot"}.get(model)
    loaded = None if untrained else table.shipped(model) or table.load(Path(model))
    if loaded is not None and not {"upscale", "refine"} & loaded.abilities:
        raise InputError(f"{model}: this model cannot enlarge pictures")

    def enlarge(pair: Pair) -> Tensor:
        picture = Picture(pair.small[0])
        source = loaded or table.of_picture(picture, untrained or "")
        built = source.build(source.engines[0], COMPUTING)
        task = Upscale(source=Source(picture), consistency=consistency, fidelity=fidelity)
        return task.drawn(built, pair.small, pair.size, noise, task.share(source))

    return Method(enlarge)


def resampled(pair: Pair) -> Tensor:
    return resize(pair.small, pair.size).clamp(-1, 1)


def consistent(pair: Pair) -> Tensor:
    reduction = Reduction(pair.small)
    return reduction.in_range(reduction.nearest(resize(pair.small, pair.size)))


def projected(large: Tensor, pair: Pair, share: float) -> Tensor:
    """Move a result a share of the way to the nearest that reduces to the small picture."""
    return (large + share * (Reduction(pair.small).nearest(large) - large)).clamp(-1, 1)


def peer(name: str, folder: Path | None, threads: int) -> Method:
    if folder is None:
        raise InputError(f"{name} needs --peers FOLDER, with the wheels that peers.py names")
    network = peers.load(name, folder, threads)
    return Method(lambda pair: network(pair.small))


def stored(folders: Sequence[Path]) -> Method:
    files = by_name(folders)
    return Method(lambda pair: from_uint8(pixels(named(pair.name, files)))[None], works=False)


def methods(options: argparse.Namespace) -> dict[str, Method]:
    """Load all methods that are asked for, by their names in the table."""
    mine = partial(ours, seed=options.seed, consistency=0.0 if options.low else None)
    made = [(BASE, Method(resampled))]
    for name in options.methods or (*OURS, *(peers.PEERS if options.peers else ())):
        if name in peers.PEERS:
            made.append((name, peer(name, options.peers, options.threads)))
        elif name != BASE:
            made.append((name, Method(consistent) if name == "consistent" else mine(name)))
    made += [(name, mine(file)) for name, file in options.model]
    for share in options.fidelity:
        made += [(f"{name} {share:g}", mine(file, fidelity=share)) for name, file in options.model]
    for name in dict.fromkeys(name for name, _ in options.stored):
        made.append((name, stored([Path(place) for other, place in options.stored if other == name])))
    names = [TRUTH, *(name for name, _ in made)]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"two methods have the same name: {', '.join(sorted(twice))}")
    return dict(made)
