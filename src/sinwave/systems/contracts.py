"""What the tasks may ask of a model, whichever system it comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from torch import Tensor

from sinwave.rng import Noise
from sinwave.wavelets import Size

__all__ = ["OnStep", "PictureConstraint", "ScaleConstraint", "SingleImageModel", "SuperResolver", "VerticalSpan"]

PictureConstraint: TypeAlias = Callable[[Tensor], Tensor]
"""`constrain(picture) -> picture`: of the estimate that a model has of a picture, the nearest that is allowed."""

ScaleConstraint: TypeAlias = Callable[[int], PictureConstraint | None]
"""The constraint of each scale, counted from the coarsest, on the pictures that `SingleImageModel.scales` has there."""

OnStep: TypeAlias = Callable[[int, int, int], None]
"""`on_step(scale, step, steps)` is called after each of the `steps` steps of a scale, `step` counting from 1."""


@dataclass(frozen=True)
class VerticalSpan:
    """Where an image begins and ends in the height of the picture that a model knows, whose layout it has.

    That is from 0 to 1 for the picture itself, and from less to more for one that was extended above and below.
    """

    top: float = 0.0
    bottom: float = 1.0


class SingleImageModel(Protocol):
    """A generator that knows one picture. Pictures are (1, 3, h, w) in [-1, 1].

    Models that can draw several at once take a `NoiseBatch`, and give (b, 3, h, w).
    """

    @property
    def max_batch(self) -> int:
        """How many pictures may be drawn at once."""

    @property
    def size(self) -> Size:
        """(height, width) of the picture that the model knows."""

    @property
    def default_first_scale(self) -> int:
        """The scale at which a picture that it never knew is best taken up, so that shapes stay and the rest is new."""

    def scales(self, image: Tensor) -> tuple[Tensor, ...]:
        """A picture, or a mask (1, c, h, w), as each scale would have it, coarsest first; the last is all of it."""

    def effort(self, size: Size) -> tuple[float, ...]:
        """How long each scale of a picture of `size` takes, in one unit: what progress is told by."""

    def mixed(self, others: Sequence[SingleImageModel], shares: Sequence[float]) -> SingleImageModel:
        """A model of this picture and of those that others know, each with a share of what is drawn, this one first."""

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
        first: int = 0,
        span: VerticalSpan | None = None,
        constrain: ScaleConstraint | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """`image` as the model would have drawn it, from its own scale `first` on; the coarser ones stay as they are.

        The lower `strength` is, the nearer it comes to the image at that scale. Without `span` the image has a
        layout of its own.
        """


@runtime_checkable
class SuperResolver(Protocol):
    """A way to enlarge a picture in one go."""

    def effort(self, size: Size) -> tuple[float, ...]:
        """How long each part of the work on a result of `size` takes, in one unit."""

    def enlarge(self, picture: Tensor, size: Size, noise: Noise, *, on_step: OnStep | None = None) -> Tensor:
        """The picture (1, 3, h, w) in a larger size; chance, if there is any, is from `noise`."""
