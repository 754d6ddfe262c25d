"""Options of a training from many pictures, and facts of a model; loads without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sinwave.errors import InputError
from sinwave.options import check, from_file, option, to_json

if TYPE_CHECKING:
    from sinwave.nn.unet import UNetShape

__all__ = ["Configuration", "Options", "Prediction", "Settings"]

Prediction = Literal["picture", "noise"]
BANDS = 12
"""Channels of one level of the Haar transform of three colors."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Diffusion: a U-Net learns from a folder of pictures to draw others of the same kind."""

    size: int = option(32, "side of its square pictures", low=16, high=1024, metavar="PIXELS")
    width: int = option(32, "channels of the finest level", low=16, high=1024, metavar="CHANNELS")
    blocks: int = option(1, "residual blocks of a level", low=1, high=8)
    prediction: Prediction = option("picture", "what the network predicts; noise: as in DDPM")
    flips: bool = option(False, "mirror half of the pictures")
    batch: int = option(32, "pictures in a step", low=1, high=4096)
    rate: float = option(6e-3, "the largest learning rate", low=1e-6, high=1)

    def __post_init__(self) -> None:
        check(self)
        if self.size % 8:
            raise InputError(f"size is {self.size}: it must be a multiple of 8")
        if self.width % 16:
            raise InputError(f"width is {self.width}: it must be a multiple of 16")


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything that a model file must know beside its weights.

    packed      the U-Net computes on the four bands of the Haar transform, half the size, else on pixels
    deviations  of every channel, with their means, for a network that answers pictures
    """

    size: int = option(32, "side of the pictures", low=8, high=4096)
    prediction: Prediction = option("picture", "what the network answers")
    packed: bool = option(True, "whether it sees the bands of a picture")
    width: int = option(32, "channels of the finest level", low=1, high=4096)
    multipliers: tuple[float, ...] = option((1.0, 2.0, 4.0), "channels of every level", low=0.1, high=64)
    blocks: int = option(1, "residual blocks of a level", low=1, high=64)
    attention: tuple[int, ...] = option((1, 2), "levels with attention", low=0, high=16)
    head: int = option(32, "channels of an attention head; 0: all", low=0, high=4096)
    order: Literal["by-head", "by-kind"] = option("by-head", "of q, k and v")
    groups: int = option(16, "groups of norms", low=1, high=1024)
    scales: bool = option(True, "whether the embedding of time scales as well as shifts")
    resampling: bool = option(True, "whether residual blocks change the size")
    variance: bool = option(False, "whether the variance is learned")
    schedule: Literal["linear", "cosine"] = option("linear", "of a network that answers noise")
    means: tuple[float, ...] = option((), "of the channels")
    deviations: tuple[float, ...] = option((), "of the channels", low=1e-6)

    def __post_init__(self) -> None:
        check(self)
        channels = BANDS if self.packed else 3
        due = channels if self.prediction == "picture" else 0
        if len(self.means) != due or len(self.deviations) != due:
            raise InputError(f"the model has {len(self.means)} means and {len(self.deviations)} deviations, not {due}")
        if not self.multipliers or len(self.multipliers) > 12:
            raise InputError(f"the model has {len(self.multipliers)} levels, where 1 to 12 can be")
        widths = [round(self.width * multiplier) for multiplier in self.multipliers]
        seeing = [widths[-1], *(width for level, width in enumerate(widths) if level in self.attention)]
        if any(width % self.groups for width in widths) or any(width % (self.head or width) for width in seeing):
            raise InputError(f"channels {widths} do not divide into {self.groups} groups and heads of {self.head}")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Configuration:
        return from_file(cls, values)

    def to_json(self) -> dict[str, Any]:
        return to_json(self, Configuration)

    @property
    def shape(self) -> UNetShape:
        from sinwave.nn.unet import UNetShape

        channels = BANDS if self.packed else 3
        return UNetShape(
            width=self.width,
            multipliers=self.multipliers,
            blocks=self.blocks,
            attention=self.attention,
            head=self.head or None,
            inputs=channels,
            outputs=channels * (1 + self.variance),
            order=self.order,
            groups=self.groups,
            scales=self.scales,
            resampling=self.resampling,
        )


@dataclass(frozen=True, kw_only=True)
class Settings(Configuration):
    """A configuration, and how its network is trained, which a model file does not need."""

    flips: bool = option(False, "mirror half of the pictures")
    batch: int = option(32, "pictures a step", low=1)
    steps: int = option(1500, "steps unless another number is asked for", low=1)
    rate: float = option(6e-3, "the largest learning rate", low=0)
    average: float = option(0.999, "decay of the averaged weights", low=0, high=1)
