"""Options of a training, and facts of a model; loads without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sinwave.errors import InputError
from sinwave.options import check, from_file, option, to_json

if TYPE_CHECKING:
    from sinwave.diffusion.process import ResidualShift
    from sinwave.systems.residual_sr.detail import Detail, DetailNetwork, DetailShape
    from sinwave.systems.residual_sr.deviation import Deviations
    from sinwave.systems.residual_sr.network import Shape

__all__ = ["Condition", "Configuration", "Options", "Settings", "Stage"]

Condition = Literal["clean", "photo"]
Stage = Literal["enlarger", "teacher", "student"]
Distance = Literal["bands", "lpips-vgg", "lpips-alex", "st-lpips-vgg", "st-lpips-alex"]

_ONLY_FOR: Mapping[str, Stage] = {
    "sampling_steps": "teacher",
    "kappa": "teacher",
    "distribution": "student",
    "error_maps": "student",
    "distance": "student",
}
"""Options without use for the other stages."""


_NUMBERS = 210
"""Of `deviation.Deviations`."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Super-resolution: a small network learns from a folder of sharp pictures to enlarge others."""

    condition: Condition = option("clean", "clean: inputs are only reduced; photo: also blurred, noisy and compressed")
    stage: Stage = option(
        "enlarger",
        "teacher: adds detail to an enlarger's result in several steps; student: in a single one",
    )
    start: Path | None = option(
        None,
        "the model to continue (stage enlarger), the enlarger (teacher; default: small or photo, by --condition), or "
        "the teacher (student; required)",
        metavar="FILE",
    )
    width: int | None = option(None, "channels (enlarger: 64, teacher: 48)", low=4, high=512, metavar="CHANNELS")
    blocks: int | None = option(None, "inner layers (enlarger: 16, teacher: 11)", low=1, high=256)
    crop: int = option(48, "side of a crop, after reduction", low=8, high=256, metavar="PIXELS")
    batch: int = option(8, "crops in a step", low=1, high=1024)
    leaves: float = option(
        0.25, "the share of artificial crops: random overlapping shapes, called dead leaves", low=0, high=1
    )
    soft: float = option(
        0.5,
        "the share of true crops softened a little; only with --condition clean",
        low=0,
        high=1,
    )
    sampling_steps: Literal["4", "15"] = option("4", "steps in which a teacher draws")
    kappa: float = option(2.0, "a teacher's noise, relative to the detail it adds", low=0.1, high=10)
    distribution: float = option(0.0, "weight of a student's sliced Wasserstein loss", low=0)
    error_maps: float = option(0.0, "weight of a student's extra loss on wrong detail", low=0)
    distance: Distance = option(
        "bands", "for --error-maps: its distance to the truth; all but bands need published weights"
    )
    rate: float = option(2e-3, "the largest learning rate", low=1e-6, high=1)
    precision: Literal["auto", "float32", "bfloat16"] = option(
        "auto", "of the convolutions; auto measures which is faster here"
    )

    def __post_init__(self) -> None:
        check(self)
        for declared in fields(self):
            stage = _ONLY_FOR.get(declared.name, self.stage)
            if stage != self.stage and getattr(self, declared.name) != declared.default:
                raise InputError(f"{declared.name} is an option of --stage {stage}, not of {self.stage}")


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything that a model file must know beside its weights.

    Beside the enlarger, a teacher and a student have a network that draws detail.
    """

    condition: Condition = option("clean", "what its small pictures were")
    width: int = option(64, "channels of the enlarger", low=1, high=1024)
    blocks: int = option(16, "sums of the enlarger", low=1, high=1024)
    stage: Stage = option("enlarger", "what the file holds")
    detail_width: int = option(48, "channels of the network that draws detail", low=1, high=1024)
    detail_blocks: int = option(11, "sums of the network that draws detail", low=1, high=1024)
    sampling_steps: int = option(4, "steps of the process", low=2, high=1000)
    kappa: float = option(2.0, "noise of the process", low=1e-3, high=100)
    deviations: tuple[float, ...] = option((), "how the deviation of the missing detail follows from the enlargement")

    def __post_init__(self) -> None:
        check(self)
        if self.deviations and len(self.deviations) != _NUMBERS:
            raise InputError(f"the model has {len(self.deviations)} deviations, not {_NUMBERS}")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Configuration:
        return from_file(cls, values)

    def to_json(self) -> dict[str, Any]:
        return to_json(self, Configuration)

    @property
    def shape(self) -> Shape:
        from sinwave.systems.residual_sr.network import Shape

        return Shape(self.width, self.blocks)

    @property
    def detail_shape(self) -> DetailShape:
        from sinwave.systems.residual_sr.detail import DetailShape

        return DetailShape(self.detail_width, self.detail_blocks, self.sampling_steps)

    @property
    def process(self) -> ResidualShift:
        from sinwave.diffusion.process import ResidualShift

        least = 0.2 if self.sampling_steps <= 4 else 0.04
        return ResidualShift.geometric(self.sampling_steps, self.kappa, min_noise=least)

    def detail(self, network: DetailNetwork) -> Detail:
        """Put together what draws detail."""
        from sinwave.systems.residual_sr.detail import Detail

        return Detail(network, self.process, 1 if self.stage == "student" else self.sampling_steps)

    @property
    def doubt(self) -> Deviations:
        from sinwave.systems.residual_sr.deviation import Deviations

        return Deviations(self.deviations)


@dataclass(frozen=True, kw_only=True)
class Settings(Configuration):
    """A configuration, and how its network is trained, which a model file does not need."""

    crop: int = option(48, "pixels along a side of a small crop", low=1)
    batch: int = option(8, "crops a step", low=1)
    leaves: float = option(0.25, "the share of crops that are dead leaves", low=0, high=1)
    soft: float = option(0.5, "the share of crops that are blurred first", low=0, high=1)
    steps: int = option(20_000, "steps unless another number is asked for", low=1)
    rate: float = option(2e-3, "the largest learning rate", low=0)
    average: float = option(0.999, "decay of the averaged weights", low=0, high=1)
    distribution: float = option(0.0, "weight of a student's distribution term", low=0)
    error_maps: float = option(0.0, "weight of a student's error maps", low=0)
    distance: Distance = option("bands", "distance of the error maps")
    precision: Literal["float32", "bfloat16"] = option("float32", "of the convolutions in training")
