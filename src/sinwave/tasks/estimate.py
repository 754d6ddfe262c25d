"""How long a picture takes and how much memory, told before it is begun.

Fitted to measurements of `benchmarks/closed_form.py` on two cores (see docs/benchmarks.md); another machine is faster
or slower as a whole. Both grow linearly with the pixels: at the fine scales a patch has nine candidates, however large
the picture, and the coarsest scale has about the same size for every source.
"""

from __future__ import annotations

from typing import NamedTuple

from sinwave.errors import InputError
from sinwave.tasks.hardware import physical_memory

__all__ = ["Estimate", "check_memory", "estimate", "network_memory"]


_FRAME = 50
"""Bytes for a pixel of each further frame of an animation: four copies of three floats."""


class Estimate(NamedTuple):
    """Seconds before the first picture, seconds for each, and bytes of memory at the most."""

    start: float
    each: float
    memory: float


def estimate(source: tuple[int, int], size: tuple[int, int]) -> Estimate:
    """The estimate for pictures of `size` from a picture of size `source`, both (height, width)."""
    learned, drawn = (height * width / 1e6 for height, width in (source, size))
    # At the coarsest scale every position of the new picture is compared with all of the old one.
    coarsest = 0.6 * drawn / learned
    return Estimate(2 + 3 * learned, 0.4 + 10 * drawn + coarsest, 0.4e9 + 0.85e9 * learned + 0.5e9 * drawn)


def network_memory(size: tuple[int, int]) -> float:
    """Bytes for a picture of `size` by a network alone: its tiles, and the walk of the finest bands."""
    return 1.1e9 + 43 * size[0] * size[1]


def check_memory(source: tuple[int, int], size: tuple[int, int], *, network: bool = False, frames: int = 1) -> None:
    """Refuse what this machine cannot hold, before it is brought to its knees; a network alone needs little."""
    needed, there = network_memory(size) if network else estimate(source, size).memory, physical_memory()
    needed += _FRAME * (frames - 1) * size[0] * size[1]
    if there is not None and needed > there:
        raise InputError(
            f"a picture of {size[1]} x {size[0]} from one of {source[1]} x {source[0]} pixels needs about "
            f"{needed / 1e9:.0f} GB of memory, and this machine has {there / 1e9:.0f}"
        )
