"""Options of a training, and facts of a model; loads without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sinwave.errors import InputError
from sinwave.options import check, from_json, option

if TYPE_CHECKING:
    from sinwave.systems.residual_sr.network import Shape

__all__ = ["Condition", "Configuration", "Options", "Settings"]

Condition = Literal["clean", "photo"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Super-resolution: a small network learns from a folder of sharp pictures to enlarge others."""

    condition: Condition = option("clean", "clean: inputs are only reduced; photo: also blurred, noisy and compressed")
    width: int = option(64, "channels of the network", low=4, high=512, metavar="CHANNELS")
    blocks: int = option(16, "layers of the network between its first and its last", low=1, high=256)
    crop: int = option(48, "side of a crop, after reduction", low=8, high=256, metavar="PIXELS")
    batch: int = option(8, "crops in a step", low=1, high=1024)
    leaves: float = option(
        0.25, "the share of artificial crops: random overlapping shapes, called dead leaves", low=0, high=1
    )
    rate: float = option(2e-3, "the largest learning rate", low=1e-6, high=1)
    start: Path | None = option(None, "a model file to begin with, instead of random weights", metavar="FILE")
    precision: Literal["auto", "float32", "bfloat16"] = option(
        "auto", "of the convolutions; auto measures which is faster here"
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything that a model file must know beside its weights."""

    condition: Condition = option("clean", "what its small pictures were")
    width: int = option(64, "channels of the network", low=1, high=1024)
    blocks: int = option(16, "sums of the network", low=1, high=1024)

    def __post_init__(self) -> None:
        check(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Configuration:
        try:
            return from_json(cls, values)
        except InputError as error:
            raise InputError(f"the model's options make no sense: {error}") from error

    def to_json(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(Configuration)}

    @property
    def shape(self) -> Shape:
        from sinwave.systems.residual_sr.network import Shape

        return Shape(self.width, self.blocks)


@dataclass(frozen=True, kw_only=True)
class Settings(Configuration):
    """A configuration, and how its network is trained, which a model file does not need."""

    crop: int = option(48, "pixels along a side of a small crop", low=1)
    batch: int = option(8, "crops a step", low=1)
    leaves: float = option(0.25, "the share of crops that are dead leaves", low=0, high=1)
    steps: int = option(20_000, "steps unless another number is asked for", low=1)
    rate: float = option(2e-3, "the largest learning rate", low=0)
    average: float = option(0.999, "decay of the averaged weights", low=0, high=1)
    precision: Literal["float32", "bfloat16"] = option("float32", "of the convolutions in training")
