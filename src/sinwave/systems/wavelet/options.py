"""Options of a training, facts and presets of a model, and the cost of drawing; loads without torch.

| preset      | the network answers | process           | walk of a scale                                      |
|-------------|---------------------|-------------------|------------------------------------------------------|
| `FAST`      | x_0, scaled by band | `Flow`, anchored  | few steps of the second order, by equal factors      |
| `REFERENCE` | the noise           | cosine, anchored  | each of the T = 100 steps below the start of a scale |

The coarsest scale has no anchor. A finer scale begins where its noise is as strong as the faults of the coarser one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from sinwave.errors import InputError
from sinwave.options import check, from_file, option, to_json
from sinwave.systems.contracts import Estimate, Size

if TYPE_CHECKING:
    from sinwave.diffusion.process import Process
    from sinwave.nn.local import LocalShape
    from sinwave.systems.wavelet.bands import Progression
    from sinwave.systems.wavelet.model import Schedule

__all__ = ["FAST", "REFERENCE", "STEPS", "Configuration", "Options", "Settings", "estimate", "levels_for"]

STEPS = 100
"""The T of the reference."""

_STARTS = (55, 43, 33, 24)
"""Where the reference's finer scales begin, of T; further ones as the last."""

_SHORT_SIDE = 24
_MOST_POSITIONS = 4096


def levels_for(size: Size) -> int:
    """Number of levels that leave about 24 positions along the short side of a picture of `size`.

    On that grid the patches that decide the layout cover half of the picture. A long strip gets more levels, so that
    its coarsest grid has at most 4096 positions, since each is compared with every other.
    """
    area = math.ceil(math.log2(math.prod(size) / _MOST_POSITIONS) / 2)
    return max(1, round(math.log2(min(size) / _SHORT_SIDE)), area)


def estimate(source: Size, size: Size) -> Estimate:
    """Estimate what the closed form takes for pictures of `size` from one of size `source`.

    Fitted to measurements on two cores (docs/notes): linear in the pixels, since at the fine scales a patch has nine
    candidates, however large the picture, and the coarsest scale has about the same size for every source.
    """
    learned, drawn = (height * width / 1e6 for height, width in (source, size))
    # At the coarsest scale every position of the new picture is compared with all of the old one.
    coarsest, memory = 0.6 * drawn / learned, 0.4e9 + 0.85e9 * learned + 0.5e9 * drawn
    return Estimate(2 + 3 * learned, 0.4 + 10 * drawn + coarsest, memory, levels_for(source))


@dataclass(frozen=True, kw_only=True)
class Options:
    """Diffusion in wavelet bands: a small network with a bounded receptive field, trained on all scales at once."""

    preset: Literal["fast", "reference"] = option(
        "fast",
        "fast: 700 steps, minutes on a laptop; reference: until the loss stops falling, hours on a GPU",
    )
    receptive_field: int | None = option(
        None,
        "the width that each output position sees: small for variety, large for layout (preset fast: 17)",
        low=5,
        high=257,
        metavar="POSITIONS",
    )
    width: int | None = option(None, "channels of the network (preset fast: 72)", low=8, high=512, metavar="CHANNELS")
    progression: Literal["levels", "bands"] = option(
        "levels",
        "levels: each scale doubles the size; bands: all scales have full size, and each adds a band of frequencies",
    )
    precision: Literal["auto", "float32", "bfloat16"] = option(
        "auto", "of the convolutions; auto measures which is faster here"
    )

    def __post_init__(self) -> None:
        check(self)
        self.settings(levels=1)

    def settings(self, levels: int) -> Settings:
        """Complete the options by their preset, for a pyramid of so many levels."""
        preset = {"fast": FAST, "reference": REFERENCE}[self.preset]
        blocks = preset.blocks if self.receptive_field is None else _blocks(self.receptive_field, preset)
        width = self.width or preset.width
        return replace(preset, levels=levels, progression=self.progression, width=width, blocks=blocks)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything that a model file must know beside weights and statistics."""

    progression: Literal["levels", "bands"] = option("levels", "the kind of pyramid")
    levels: int = option(3, "scales of a pyramid of levels", low=1, high=24)
    answers: Literal["clean", "noise"] = option("clean", "clean: EDM's scalings, band by band; noise: DDPM")
    width: int = option(72, "channels of the network, see `LocalShape`", low=1, high=4096)
    blocks: int = option(8, "blocks of the network", low=1, high=256)
    spread: int = option(1, "the depthwise kernel of a block, 1 for none", low=1, high=31)
    second: int = option(1, "the last kernel of a block", low=1, high=31)
    guided: bool = option(True, "whether the network sees the coarser scale's result beside what is noisy")
    fault: float = option(0.1, "the most noise on that in training, for the faults of a drawn result", low=0, high=100)
    high: float = option(20.0, "noise-to-signal ratio at which the coarsest scale begins", low=1e-6, high=1e6)
    low: float = option(0.02, "the ratio at which each scale ends", low=1e-6, high=1e6)
    middle: float = option(2.0, "the ratio from which half of a picture comes back", low=1e-6, high=1e6)
    start: float = option(1.0, "the ratio at which a finer scale begins", low=1e-6, high=1e6)
    coarse_steps: int = option(20, "steps of the coarsest scale", low=1, high=10_000)
    fine_steps: int = option(8, "steps of a finer scale", low=1, high=10_000)
    finest_steps: int = option(6, "steps of the finest scale", low=1, high=10_000)
    stochasticity: float = option(1.0, "the share of the noise that each step draws afresh", low=0, high=1)
    gamma: float = option(0.55, "the anchor's largest weight", low=0, high=1)
    precision: Literal["float32", "bfloat16"] = option(
        "float32", "of the convolutions, in training and in drawing: so a file draws the same wherever it is"
    )

    def __post_init__(self) -> None:
        check(self)
        if self.low > min(self.high, self.start):
            raise InputError(f"low must be at most high and start, {self.high:g} and {self.start:g}, not {self.low:g}")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Configuration:
        return from_file(cls, values)

    def to_json(self) -> dict[str, Any]:
        return to_json(self, Configuration)

    @property
    def shape(self) -> LocalShape:
        from sinwave.nn.local import LocalShape

        return LocalShape(12, self.guides, self.width, self.blocks, self.spread, self.second)

    @property
    def receptive_field(self) -> int:
        return 1 + self.blocks * (self.spread + self.second)

    @property
    def guides(self) -> int:
        """Number of channels of the coarser scale that the network sees."""
        return (9 if self.progression == "bands" else 3) if self.guided else 0

    @property
    def pyramid(self) -> Progression:
        from sinwave.systems.wavelet.bands import Bands, Levels

        return Bands() if self.progression == "bands" else Levels(self.levels)

    @property
    def scales(self) -> int:
        return 4 if self.progression == "bands" else self.levels

    def known(self, index: int) -> int:
        """Number of bands that the coarser scale gives."""
        return 3 * index if self.progression == "bands" else 3 * (index > 0)

    def channels(self, index: int) -> int:
        return 3 * (index + 1) if self.progression == "bands" else 12

    def process(self, index: int) -> Process:
        from sinwave.diffusion.process import Anchored, Flow, VariancePreserving

        base: Process = Flow() if self.answers == "clean" else VariancePreserving.cosine(STEPS)
        return base if index == 0 else Anchored(base, self.schedule(index).times[0], self.gamma)

    def schedule(self, index: int) -> Schedule:
        from sinwave.diffusion.sample import Ddim, Multistep
        from sinwave.systems.wavelet.model import RatioSchedule, StepSchedule

        if self.answers == "noise":
            # Published: ancestral steps at the coarsest scale, deterministic ones at the others.
            first = STEPS if index == 0 else _STARTS[min(index, len(_STARTS)) - 1]
            return StepSchedule(first, STEPS, sampler=Ddim(1.0 if index == 0 else 0.0))
        sampler = Multistep(self.stochasticity)
        if index == 0:
            return RatioSchedule(self.coarse_steps, self.high, self.low, self.middle, sampler=sampler)
        steps = self.finest_steps if index == self.scales - 1 else self.fine_steps
        return RatioSchedule(steps, self.start, self.low, sampler=sampler)


@dataclass(frozen=True, kw_only=True)
class Settings(Configuration):
    """A configuration, and how its network is trained, which a model file does not need."""

    steps: int = option(700, "steps of a training that never reaches its plateau", low=1)
    rate: float = option(1e-2, "the largest learning rate", low=0)
    muon: bool = option(True, "whether Muon moves the hidden weights; if not, AdamW does")
    positions: int = option(12288, "positions of all crops of a step together", low=1)
    crop: int = option(48, "positions along a side of a crop", low=1)
    coarse_share: float = option(0.5, "the share of crops of the coarsest scale", low=0, high=1)
    noise_mean: float = option(0.0, "of the normal distribution of the log ratio at the coarsest scale")
    noise_spread: float = option(1.6, "deviation of that distribution", low=0)
    weight_decay: float = option(0.0, "of the weights", low=0)
    average: float = option(0.999, "decay of the averaged weights", low=0, high=1)
    channels_last: bool = option(False, "whether tensors lie in memory with their channels last")

    @property
    def numerics(self) -> str:
        """Describe how convolutions are computed; weights, losses and steps are float32 all the same."""
        return f"{self.precision}, channels {'last' if self.channels_last else 'first'}"


FAST = Settings()
# Published: 80,001 steps of 32 crops of 0.9 times the short side, Adam with 2e-3, averages over 200 steps.
REFERENCE = Settings(
    answers="noise",
    guided=False,
    width=80,
    blocks=8,
    spread=5,
    second=3,
    steps=80_001,
    rate=2e-3,
    muon=False,
    positions=32 * 80 * 80,
    crop=80,
    coarse_share=0.25,
    average=0.995,
)


def _blocks(receptive_field: int, configuration: Configuration) -> int:
    step = configuration.spread + configuration.second
    blocks, rest = divmod(receptive_field - 1, step)
    if rest or blocks < 1:
        near = [1 + step * count for count in (max(blocks, 1), blocks + 1)]
        raise InputError(
            f"receptive field must be 1 and a multiple of {step} positions, for instance {near[0]} or {near[-1]}, "
            f"not {receptive_field}"
        )
    return blocks
