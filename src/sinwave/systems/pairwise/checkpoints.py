"""Checkpoints of ADM and its relatives: which network a file holds, and what its shapes do not tell.

Shapes tell the width, the levels, the blocks, where there is attention, and whether the variance is learned. They do
not tell the heads, the order of q, k and v, the schedule, nor the size of the pictures: the table of published files
has them, by the count of parameters, and others need them to be said. Wrong heads fit and answer noise.

None comes with the package and none is downloaded: all are the work of their authors, under their licenses.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, cast

from sinwave.errors import InputError
from sinwave.nn.blocks import Order
from sinwave.nn.unet import UNet, UNetShape
from sinwave.pretrained import checkpoint
from sinwave.pretrained.files import UnfitWeightsError, frozen, skeleton

__all__ = ["PUBLISHED", "Published", "Reading", "Schedule", "load", "recognize", "shape_of"]

Schedule: TypeAlias = Literal["linear", "cosine"]

MOST_BYTES = 4 << 30
"""The largest of them has 2.2 GB."""


class Reading(NamedTuple):
    """A network of a file: its shape, the schedule of its 1,000 steps, and the side of its pictures."""

    shape: UNetShape
    schedule: Schedule = "linear"
    size: int = 0


class Published(NamedTuple):
    """A published layout: files that have it, the count of their parameters, and the facts that shapes do not tell."""

    files: str
    parameters: int
    size: int
    head: int | None = 64
    order: Order = "by-head"
    schedule: Schedule = "linear"


PUBLISHED = (
    Published("ffhq.pt, lsun_bedroom.pt, lsun_cat.pt, lsun_horse.pt, 256x256_diffusion_uncond.pt", 552_814_086, 256),
    Published("ffhq_10m.pt, ffhq_p2.pt and others of P2 weighting", 93_563_910, 256),
)
_CONDITIONAL = "it was trained with classes, and only networks without can be adapted"


def recognize(shapes: checkpoint.Shapes) -> bool:
    """Tell by names whether they are those of a U-Net like ADM's."""
    sides = checkpoint.without_prefix(shapes)
    return {"time_embed.0.weight", "input_blocks.0.0.weight", "middle_block.1.qkv.weight", "out.2.weight"} <= set(sides)


def shape_of(shapes: Mapping[str, Sequence[int]]) -> UNetShape:
    """Read from names and shapes what they tell; heads and order are those of most published files."""
    width = shapes["time_embed.0.weight"][1]
    ups = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("output_blocks."))
    if ups > len(shapes):
        raise ValueError(f"output_blocks.{ups - 1} follows on none")
    # The block in which a level ends is the first that holds a second residual one, or a single convolution.
    ends = [
        number for number in range(ups) if any(
            f"output_blocks.{number}.{place}.{part}.weight" in shapes
            for place in (1, 2) for part in ("in_layers.2", "conv")
        )
    ]  # fmt: skip
    turns = ends[0] + 1 if ends else ups
    starts = range(1, ups + 1, turns)
    firsts = [shapes[f"input_blocks.{number}.0.out_layers.3.weight"][0] for number in starts]
    return UNetShape(
        width=width,
        multipliers=tuple(channels / width for channels in firsts),
        blocks=turns - 1,
        attention=tuple(level for level, n in enumerate(starts) if f"input_blocks.{n}.1.qkv.weight" in shapes),
        inputs=shapes["input_blocks.0.0.weight"][1],
        outputs=shapes["out.2.weight"][0],
        scales=shapes["input_blocks.1.0.emb_layers.1.weight"][0] == 2 * firsts[0],
        resampling=not any(name.endswith((".op.weight", ".conv.weight")) for name in shapes),
    )


def load(file: Path, layout: str = "") -> tuple[UNet, Reading]:
    """Load a network, frozen; `layout` says what the shapes of a file that is in no table do not tell."""
    content = checkpoint.read(file, MOST_BYTES)
    shapes = {name: tuple(getattr(value, "shape", ())) for name, value in content.items()}
    if not recognize(shapes):
        raise UnfitWeightsError(f"{file} holds no U-Net like ADM's: names such as time_embed.0.weight are missing")
    try:
        shape = shape_of(shapes)
        network = skeleton(shape.build)
    except (KeyError, IndexError, ValueError, ZeroDivisionError, RuntimeError, AssertionError) as error:
        raise UnfitWeightsError(f"{file} holds a part of a U-Net like ADM's, or a damaged one: {error}") from error
    _refuse_conditions(file, shapes, shape)
    wanted = f"the U-Net that its shapes tell, of {shape.width} channels and {len(shape.multipliers)} levels"
    values = checkpoint.fitting(file, wanted, content, network.state_dict(), {}, lambda damaged: "")
    facts = _facts(file, sum(math.prod(sides) for sides in shapes.values()), layout)
    shape = replace(shape, head=facts.head, order=facts.order)
    seeing = [shape.widths[-1], *(shape.widths[level] for level in shape.attention)]
    if any(width % (shape.head or width) for width in seeing):
        raise InputError(f"heads of {shape.head} channels do not divide {', '.join(map(str, seeing))}")
    return frozen(skeleton(shape.build), values), Reading(shape, facts.schedule, facts.size)


def _facts(file: Path, count: int, layout: str) -> Published:
    """The entry of the table, or for a file that is in none the layout that was given."""
    entry = next((entry for entry in PUBLISHED if entry.parameters == count), None)
    if entry is not None:
        if layout:
            raise InputError(f"adm is about unpublished checkpoints, and {file} has that of {entry.files}")
        return entry
    match = re.fullmatch(r"(\d{1,4}),(by-head|by-kind),(linear|cosine),(\d{1,4})", layout)
    if match is None:
        raise InputError(
            f"{file} is none of the published files ({count} parameters), and its shapes do not tell the channels of "
            "an attention head, the order of q, k and v (by-head or by-kind), the schedule (linear or cosine) and the "
            "side of its pictures: give them with --adm, such as 64,by-head,linear,256"
        )
    head, order, schedule, size = match.groups()
    return Published(file.name, count, int(size), int(head) or None, cast("Order", order), cast("Schedule", schedule))


def _refuse_conditions(file: Path, shapes: Mapping[str, Sequence[int]], shape: UNetShape) -> None:
    if "label_emb.weight" in shapes:
        raise UnfitWeightsError(f"{file} needs a class for every picture: {_CONDITIONAL}")
    if shape.inputs != 3:
        raise UnfitWeightsError(f"{file} takes {shape.inputs} channels: an upsampler, which draws nothing by itself")
    if shape.outputs not in (3, 6):
        raise UnfitWeightsError(f"{file} answers {shape.outputs} channels: noise has 3, and 6 with the variance")
