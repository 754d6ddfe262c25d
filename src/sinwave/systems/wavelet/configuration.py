"""What a trained wavelet model is: its pyramid, its network, what the network answers, and how each scale is walked.

| preset      | the network answers | process           | walk of a scale                                      |
|-------------|---------------------|-------------------|------------------------------------------------------|
| `fast`      | x_0, scaled by band | `Flow`, anchored  | few steps of the second order, by equal factors      |
| `reference` | the noise           | cosine, anchored  | each of the T = 100 steps below the start of a scale |

The coarsest scale has no anchor. A finer scale begins where its noise is as strong as the faults of the coarser one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sinwave.diffusion.process import Anchored, Flow, Process, VariancePreserving
from sinwave.diffusion.samplers import Ddim, Multistep
from sinwave.errors import InputError
from sinwave.nn.local import LocalShape
from sinwave.systems.wavelet.bands import Bands, Levels, Progression
from sinwave.systems.wavelet.schedules import RatioSchedule, Schedule, StepSchedule

__all__ = ["FAST", "REFERENCE", "STEPS", "Configuration"]

STEPS = 100
"""The T of the reference."""

_STARTS = (55, 43, 33, 24)
"""Where the reference's finer scales begin, of T; further ones as the last."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything that a model file must know beside weights and statistics; all of it is plain JSON.

    levels            of the pyramid, where `progression` is `levels`
    width ... second  of the network, see `LocalShape`
    guided            whether the network sees the coarser scale's result, as it is, beside what is noisy
    fault             the most noise on that in training, which stands for the faults of a result that was drawn
    answers           `clean` (EDM's scalings, band by band) or `noise` (DDPM)
    high, low         noise-to-signal ratios between which the coarsest scale is walked
    middle            the ratio from which half of a picture comes back
    start             the ratio at which a finer scale begins
    coarse_steps, fine_steps, finest_steps      of the walks of the coarsest, the finer and the finest scale
    stochasticity     of the sampler: the share of the noise that each step draws afresh
    gamma             the anchor's largest weight
    precision         of the convolutions, in training and in drawing: so a file draws the same wherever it is
    """

    progression: Literal["levels", "bands"] = "levels"
    levels: int = 3
    answers: Literal["clean", "noise"] = "clean"
    width: int = 72
    blocks: int = 8
    spread: int = 1
    second: int = 1
    guided: bool = True
    fault: float = 0.1
    high: float = 20.0
    low: float = 0.02
    middle: float = 2.0
    start: float = 1.0
    coarse_steps: int = 20
    fine_steps: int = 8
    finest_steps: int = 6
    stochasticity: float = 1.0
    gamma: float = 0.55
    precision: Literal["float32", "bfloat16"] = "float32"

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Configuration:
        """The configuration in a model file."""
        try:
            found = cls(**values)
            found.pyramid.sizes((64, 64))
            return found
        except (TypeError, ValueError) as error:
            raise InputError(f"the model's options make no sense: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """The other way round."""
        return dataclasses.asdict(self)

    @property
    def shape(self) -> LocalShape:
        """That of the network."""
        return LocalShape(12, self.guides, self.width, self.blocks, self.spread, self.second)

    @property
    def guides(self) -> int:
        """How many channels of the coarser scale the network sees."""
        return (9 if self.progression == "bands" else 3) if self.guided else 0

    @property
    def pyramid(self) -> Progression:
        """How a picture becomes scales."""
        return Bands() if self.progression == "bands" else Levels(self.levels)

    @property
    def scales(self) -> int:
        """How many scales there are."""
        return 4 if self.progression == "bands" else self.levels

    def known(self, index: int) -> int:
        """How many bands the coarser scale gives."""
        return 3 * index if self.progression == "bands" else 3 * (index > 0)

    def channels(self, index: int) -> int:
        """How many bands a scale has."""
        return 3 * (index + 1) if self.progression == "bands" else 12

    def process(self, index: int) -> Process:
        """That of a scale, counted from the coarsest."""
        base: Process = Flow() if self.answers == "clean" else VariancePreserving.cosine(STEPS)
        return base if index == 0 else Anchored(base, self.schedule(index).times[0], self.gamma)

    def schedule(self, index: int) -> Schedule:
        """The walk of a scale."""
        if self.answers == "noise":
            # Published: ancestral steps at the coarsest scale, deterministic ones at the others.
            first = STEPS if index == 0 else _STARTS[min(index, len(_STARTS)) - 1]
            return StepSchedule(first, STEPS, sampler=Ddim(1.0 if index == 0 else 0.0))
        sampler = Multistep(self.stochasticity)
        if index == 0:
            return RatioSchedule(self.coarse_steps, self.high, self.low, self.middle, sampler=sampler)
        steps = self.finest_steps if index == self.scales - 1 else self.fine_steps
        return RatioSchedule(steps, self.start, self.low, sampler=sampler)


FAST = Configuration()
REFERENCE = Configuration(answers="noise", guided=False, width=80, blocks=8, spread=5, second=3)
