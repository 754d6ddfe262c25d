"""The two presets: what is trained, how, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from sinwave.errors import InputError
from sinwave.systems.wavelet.configuration import FAST, REFERENCE, Configuration
from sinwave.systems.wavelet.recipe import Practice

__all__ = ["PRESETS", "Preset", "preset"]


@dataclass(frozen=True)
class Preset:
    """`most` are the steps of a training that never reaches its plateau."""

    configuration: Configuration
    practice: Practice
    most: int


PRESETS = {
    "fast": Preset(FAST, Practice(), most=700),
    # Published: 80,001 steps of 32 crops of 0.9 times the short side, Adam with 2e-3, averages over 200 steps.
    "reference": Preset(
        REFERENCE,
        Practice(rate=2e-3, muon=False, positions=32 * 80 * 80, crop=80, coarse_share=0.25, average=0.995),
        most=80_001,
    ),
}


def preset(
    name: str,
    *,
    levels: int,
    progression: Literal["levels", "bands"],
    width: int | None,
    field: int | None,
) -> Preset:
    """A preset with some of it changed; `field` is the receptive field in positions."""
    found = PRESETS[name]
    changed = replace(found.configuration, levels=levels, progression=progression)
    if width is not None:
        changed = replace(changed, width=width)
    if field is not None:
        changed = replace(changed, blocks=_blocks(field, changed))
    return replace(found, configuration=changed)


def _blocks(field: int, configuration: Configuration) -> int:
    """How many blocks see so far."""
    each = replace(configuration, blocks=1).shape.field - 1
    blocks, rest = divmod(field - 1, each)
    if rest or blocks < 1:
        near = [1 + each * count for count in (max(blocks, 1), blocks + 1)]
        raise InputError(
            f"receptive field must be 1 and a multiple of {each} positions, for instance {near[0]} or {near[-1]}, "
            f"not {field}"
        )
    return blocks
