"""Options of an adaptation, and facts of an adapter; loads without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sinwave.errors import InputError
from sinwave.options import check, from_file, option, to_json

if TYPE_CHECKING:
    from sinwave.nn.local import LocalShape

__all__ = ["AdapterConfiguration", "Choices", "LowRankConfiguration", "Method", "Options", "Settings"]

Method = Literal["local", "direct", "lora", "pairwise"]

_OF_METHOD: Mapping[str, Method] = {
    "field": "local",
    "rank": "lora",
    "weighting": "pairwise",
    "direction": "pairwise",
    "bands": "pairwise",
    "pairs": "pairwise",
    "details": "pairwise",
    "detail_errors": "pairwise",
    "group": "pairwise",
}
"""Options without use for the other methods."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The options of an adaptation, but for its source."""

    method: Method = option(
        "direct",
        "direct: all weights; local: an adapter that sees little at a time; lora: low-rank changes; "
        "pairwise: DDPM-PA, which keeps distances between pictures",
    )
    field: int = option(18, "width of the square that an adapter sees", low=3, high=256, metavar="PIXELS")
    rank: int = option(4, "rank of lora's changes", low=1, high=64)
    weighting: Literal["snr", "paper"] = option(
        "snr", "pairwise: snr: loss terms count less at high noise; paper: everywhere alike"
    )
    direction: Literal["adapted", "source"] = option("adapted", "pairwise: which distances stand first in KL")
    bands: Literal["all", "sum"] = option("all", "pairwise: compare the three bands of details, or their sum")
    pairs: float = option(1.0, "pairwise: weight of distances between pictures", low=0)
    details: float = option(1.0, "pairwise: weight of distances between details", low=0)
    detail_errors: float = option(0.05, "pairwise: weight of the difference to FOLDER's details", low=0)
    group: int | None = option(
        None, "pairwise: compare a step's pictures in groups of so many (default: all together)", low=3
    )
    adm: str | None = option(
        None,
        "for an unpublished ADM checkpoint: channels of a head, qkv order (by-head, by-kind), schedule (linear, "
        "cosine), side; such as 64,by-head,linear,256",
    )
    flips: bool = option(False, "mirror half of the pictures")
    batch: int = option(16, "pictures in a step", low=1, high=4096)
    rate: float | None = option(
        None,
        "the largest learning rate (local, lora: 0.002; direct: 0.0015, noise 0.0004; pairwise: 0.0001)",
        low=1e-7,
        high=1,
    )

    def __post_init__(self) -> None:
        check(self)
        for declared in fields(self):
            method = _OF_METHOD.get(declared.name, self.method)
            if method != self.method and getattr(self, declared.name) != declared.default:
                name = declared.name.replace("_", "-")
                raise InputError(f"{name} is an option of --method {method}, not of {self.method}")


@dataclass(frozen=True, kw_only=True)
class Options(Choices):
    """Few-shot adaptation: a model of many pictures takes on the look of about ten others."""

    source: Path | None = option(
        None, "the model to adapt: a file of train --system ddpm, or an ADM checkpoint (.pt)", metavar="FILE"
    )


@dataclass(frozen=True, kw_only=True)
class AdapterConfiguration:
    """Everything that a file of an adapter must know beside its weights and its base."""

    size: int = option(32, "side of the pictures", low=8, high=4096)
    channels: int = option(12, "of what the source sees", low=3, high=12)
    width: int = option(32, "channels of the adapter", low=4, high=1024)
    blocks: int = option(4, "blocks of the adapter", low=1, high=256)
    layout: str = option("", "what the shapes of the source do not tell, if it is a checkpoint of no table")
    means: tuple[float, ...] = option((), "of the channels")
    deviations: tuple[float, ...] = option((), "of the channels", low=1e-6)

    def __post_init__(self) -> None:
        check(self)
        if not len(self.means) == len(self.deviations) == self.channels:
            raise InputError(f"the adapter has {len(self.means)} means for {self.channels} channels")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> AdapterConfiguration:
        return from_file(cls, values)

    def to_json(self) -> dict[str, Any]:
        return to_json(self, AdapterConfiguration)

    @property
    def shape(self) -> LocalShape:
        from sinwave.nn.local import LocalShape

        return LocalShape(channels=self.channels, guides=self.channels, width=self.width, blocks=self.blocks)


@dataclass(frozen=True, kw_only=True)
class LowRankConfiguration:
    """Everything that a file of changes of low rank must know beside its weights and its base."""

    size: int = option(32, "side of the pictures", low=8, high=4096)
    rank: int = option(4, "of the changes", low=1, high=1024)
    layout: str = option("", "what the shapes of the source do not tell, if it is a checkpoint of no table")

    def __post_init__(self) -> None:
        check(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LowRankConfiguration:
        return from_file(cls, values)

    def to_json(self) -> dict[str, Any]:
        return to_json(self, LowRankConfiguration)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a training goes, which a model file does not need."""

    method: Method = option("local", "what is trained")
    batch: int = option(16, "pictures a step", low=1)
    steps: int = option(400, "steps unless another number is asked for", low=1)
    rate: float = option(2e-3, "the largest learning rate", low=0)
    average: float = option(0.99, "decay of the averaged weights", low=0, high=1)
    flips: bool = option(False, "mirror half of the pictures")
    weighting: Literal["snr", "paper"] = option("snr", "of terms where there is nearly no signal")
    direction: Literal["adapted", "source"] = option("adapted", "of the divergence")
    bands: Literal["all", "sum"] = option("all", "of details")
    pairs: float = option(1.0, "weight of distances between pictures", low=0)
    details: float = option(1.0, "weight of distances between details", low=0)
    detail_errors: float = option(0.05, "weight of the error of details", low=0)
    group: int | None = option(None, "pictures that are compared with each other", low=3)
