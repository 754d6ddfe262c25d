"""The walk of an adapted model, guided by the model from which it was adapted.

    D(x, t) = D_before + guidance (D_after - D_before)      below the noise level `above`
    D(x, t) = D_before                                      over it

Guidance 0 is the model before its adaptation, 1 the adapted one; more than 1 exaggerates what the adaptation learned.
At high noise levels the composition is decided, so there the model before keeps its variety.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

from sinwave.diffusion.denoise import log_ratio
from sinwave.diffusion.process import Process, Scalar
from sinwave.diffusion.sample import Denoiser

__all__ = ["Guided", "Walk"]


class Walk(NamedTuple):
    """Steps of a walk from noise to a picture, the guidance, and the noise level over which the model before draws."""

    steps: int = 25
    guidance: float = 1.0
    above: float | None = None

    @property
    def guided(self) -> bool:
        return self.guidance != 1 or self.above is not None


@final
@dataclass(frozen=True, eq=False)
class Guided(Denoiser):
    """Two denoisers of one process as one; both get the same x_t, and all its pictures one time."""

    before: Denoiser
    after: Denoiser
    process: Process
    walk: Walk

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        before = self.before(x_t, t)
        if self.walk.above is not None and math.exp(log_ratio(self.process, float(t), like=x_t)) > self.walk.above:
            return before
        return torch.lerp(before, self.after(x_t, t), self.walk.guidance)
