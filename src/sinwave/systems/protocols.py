"""What the tasks may ask of a model, whichever system it comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from torch import Tensor

from sinwave.diffusion.sample import Constraint
from sinwave.rng import Noise
from sinwave.wavelets import Size

__all__ = ["OnStep", "ScaleConstraint", "SingleImageModel"]

ScaleConstraint: TypeAlias = Callable[[int], Constraint | None]
"""The constraint of each scale, counted from the coarsest, on what the model denoises there."""

OnStep: TypeAlias = Callable[[int, int, int], None]
"""`on_step(scale, step, steps)` is called after each of the `steps` steps of a scale, `step` counting from 1."""


class SingleImageModel(Protocol):
    """A generator that knows one picture. Pictures are (1, 3, h, w) in [-1, 1].

    Models that can draw several at once take a `NoiseBatch`, and give (b, 3, h, w).
    """

    @property
    def together(self) -> int:
        """How many pictures may be drawn at once."""

    @property
    def size(self) -> Size:
        """(height, width) of the picture that the model knows."""

    def effort(self, size: Size) -> tuple[float, ...]:
        """How long each scale of a picture of `size` takes, in one unit: what progress is told by."""

    def generate(
        self,
        size: Size,
        noise: Noise,
        *,
        variation: float = 1.0,
        constrain: ScaleConstraint | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """A new picture of `size`; `variation` goes from 0, the known picture itself, to 1, a new composition."""

    def refine(
        self,
        image: Tensor,
        strength: float,
        noise: Noise,
        *,
        constrain: ScaleConstraint | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """`image` as the model would have drawn it: its coarse part is kept the better the lower `strength` is."""
