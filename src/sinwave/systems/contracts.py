"""The questions that tasks may ask of a system, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sinwave.data.batches import Batches
    from sinwave.images import Picture
    from sinwave.rng import Noise
    from sinwave.systems.files import ModelFile
    from sinwave.training.loop import Budget
    from sinwave.training.recipe import Recipe
    from sinwave.training.schedule import Trapezoid

Size: TypeAlias = tuple[int, int]  # (height, width)

MOST_HEADER = 16 << 20
"""Bytes of the longest header of a model file."""

Ability: TypeAlias = Literal["generate", "refine", "upscale", "sample", "map", "restore", "certain"]
"""What a model can do; `certain`: its result depends on chance only if it is asked to `sample`; `restore`: it has
learned from damaged pictures."""

PictureConstraint: TypeAlias = "Callable[[Tensor], Tensor]"
"""`constrain(picture) -> picture`: of the estimate that a model has of a picture, the nearest that is allowed."""

ScaleConstraint: TypeAlias = "Callable[[int], PictureConstraint | None]"
"""The constraint of each scale, counted from the coarsest, on the pictures that `SingleImageModel.scales` has there."""


class Progress(NamedTuple):
    """A finished step: number `step` of `steps`, from 1, in part `part` of `parts`, from 0, such as a scale.

    `estimate` computes the newest estimate (b, 3, h, w) in [-1, 1], after all constraints, in the size of its scale.
    """

    part: int
    parts: int
    step: int
    steps: int
    estimate: Callable[[], Tensor]

    def after(self, turns: int, total: int) -> Progress:
        """The same step, if `turns` of `total` equal turns were before it."""
        return self._replace(part=turns * self.parts + self.part, parts=total * self.parts)


OnStep: TypeAlias = Callable[[Progress], None]
"""Called after each step; what it raises ends the work."""


@dataclass(frozen=True)
class VerticalSpan:
    """The part of the model's picture that an image covers vertically, from 0, its top, to 1, its bottom.

    An image that was extended above begins below 0, one that was extended below ends beyond 1.
    """

    top: float = 0.0
    bottom: float = 1.0


class Generator(Protocol):
    """A model that draws pictures (b, 3, h, w) in [-1, 1]."""

    @property
    def max_batch(self) -> int:
        """The most pictures to draw at once, with a `NoiseBatch`."""

    def generate(
        self,
        size: Size,
        noise: Noise,
        *,
        variation: float = 1.0,
        constrain: ScaleConstraint | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Draw a picture of `size`; `variation` goes from 0, the model's picture itself, to 1, a new composition."""


class SingleImageModel(Generator, Protocol):
    """A generator that knows one picture. Pictures are (1, 3, h, w) in [-1, 1]."""

    @property
    def size(self) -> Size:
        """(height, width) of the picture that the model knows."""

    @property
    def default_first_scale(self) -> int:
        """The scale from which a picture that is new to the model is redrawn: shapes stay and the rest is new."""

    def scales(self, image: Tensor) -> tuple[Tensor, ...]:
        """Split a picture or a mask (1, c, h, w) into what each scale has of it, coarsest first; the last is all."""

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
        """Redraw `image` from its own scale `first` on; the coarser ones stay as they are.

        The lower `strength` is, the nearer the result is to the image at that scale. Without a `span` the image has a
        layout of its own.
        """


@runtime_checkable
class SuperResolver(Protocol):
    """A model that enlarges a picture, whatever its size."""

    def upscale(self, low: Tensor, size: Size, noise: Noise, *, on_step: OnStep | None = None) -> Tensor:
        """Enlarge a picture (1, 3, h, w) to `size`; chance, if there is any, is from `noise`."""


@runtime_checkable
class Redrawer(SuperResolver, Protocol):
    """A model that can also draw one of the many large pictures that a small one may come from."""

    def redraw(
        self, low: Tensor, size: Size, noise: Noise, *, fidelity: float, on_step: OnStep | None = None
    ) -> Tensor:
        """Enlarge a picture; fidelity 1 is `upscale`, and at 0 its detail is drawn anew."""

    def uncertainty(self, low: Tensor, size: Size) -> Tensor:
        """Estimate the error of `upscale` in gray levels, (1, 1, h, w)."""


class Estimate(NamedTuple):
    """Seconds before the first picture, seconds for a picture, bytes of memory at the most, and scales."""

    start: float
    picture: float
    memory: float
    scales: int


class Computing(NamedTuple):
    """The device and the precision to compute with.

    convolutions   the type of a network's convolutions; None for that of its training
    quick          whether few steps are enough, since most of a picture stays as it is
    """

    device: torch.device
    dtype: torch.dtype
    convolutions: torch.dtype | None = None
    quick: bool = False


class Loaded(Protocol):
    """The content of a model file, or a picture with nothing to train; `build` never changes it."""

    @property
    def abilities(self) -> frozenset[Ability]:
        """The kinds of models that it can build."""

    @property
    def engines(self) -> tuple[str, ...]:
        """The ways to draw, the best one first."""

    @property
    def size(self) -> Size | None:
        """(height, width) of the pictures that it draws unless another size is asked for."""

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The pictures that it was made from, as far as it keeps them."""

    def build(self, engine: str, computing: Computing) -> SingleImageModel | SuperResolver:
        """Build the model that draws with one of the `engines`, of a kind that the abilities name."""

    def mix(
        self, others: Sequence[Loaded], shares: Sequence[float], engine: str, computing: Computing
    ) -> SingleImageModel:
        """Build a model in which every place is drawn by this one or by one of the `others`, each with its share."""

    def memory(self, engine: str, size: Size) -> float:
        """Estimate the bytes that a picture of `size` takes."""


@runtime_checkable
class Steerable(Loaded, Protocol):
    """A model of many pictures, whose walk from noise to a picture can be changed."""

    def steered(self, steps: int | None, guidance: float, above: float | None) -> Loaded:
        """Give the same model with so many steps.

        `guidance` is the share of what an adaptation changes; `above` such a noise level, the model draws that was
        adapted.
        """


@runtime_checkable
class LoadedByTiles(Loaded, Protocol):
    """A model that enlarges tile by tile."""

    def tiled(self, side: int) -> Loaded:
        """Give the same model with tiles of `side` pixels of the small picture at the most."""

    def working_size(self, small: Size, size: Size) -> Size:
        """Compute the largest size that a picture has on its way from `small` to `size`."""


Colors: TypeAlias = Literal["wavelet", "adain", "none"]
"""Ways to give a result the colors of its source."""


@runtime_checkable
class LoadedOnBase(Loaded, Protocol):
    """Changes of another program's model, which is loaded once it is needed."""

    def on_base(self, base: Path | None, prompt: str | None, colors: Colors | None) -> Loaded:
        """Give the model with the base in a folder, or where bases are sought; None for the model's own defaults."""


Plan: TypeAlias = "Mapping[str, Any]"
"""Decisions that were measured on this machine, as plain JSON; a training that goes on follows the same."""

OnTry: TypeAlias = Callable[[str], None]
"""Called with a few words before each measurement."""


class TrainingRequest(NamedTuple):
    """The part of a training that is asked of every system, and what the task does for the system.

    steps, minutes   exactly so many, or about so long; at most one of them is given
    reserve          refuses a number of bytes that the device does not have, with a hint at what needs fewer, or ""
    decide           gives the plan of this training: that of its beginning, or else the one that is measured now
    remark           passes a sentence on to the user, such as one about a bad file of a folder
    """

    seed: int
    device: torch.device
    steps: int | None
    minutes: float | None
    reserve: Callable[[float, str], None]
    decide: Callable[[Callable[[OnTry], Plan]], Plan]
    remark: Callable[[str], None]


class Setup(NamedTuple):
    """A training that is ready to begin: `setup(pictures, options, request) -> Setup` of a system makes it.

    settings         all numbers that the steps depend on, as plain JSON: a training goes on only with the same
    average          the longest decay of the averaged weights
    numerics         how it is computed, in words
    parameters       how many numbers are kept
    keep             the model file, without provenance, with these averaged weights
    enough           steps with which a model is good
    receptive_field  positions along a side of a scale that an output depends on
    size             (height, width) of the picture that the model knows
    preview          whether the model can be drawn from after so many steps
    sheet            the sheet of a look, from the model file as it is; if None, of pictures that the model draws
    work             the work of the first so many steps, in any unit
    look_every       steps between two held-out losses
    samples_every    steps between two sheets, unless the user says
    ended            after a look, the reason why the training ends there, or None
    kept_step        the step whose weights `keep` gives, the nearest for a mean of two; None for those it is given
    """

    recipe: Recipe[Any]
    batches: Batches[Any]
    budget: Budget
    schedule: Trapezoid
    average: float
    settings: Mapping[str, Any]
    numerics: str
    parameters: int
    keep: Callable[[Mapping[str, Tensor]], ModelFile]
    enough: int
    receptive_field: int | None = None
    size: Size | None = None
    preview: Callable[[int], bool] = lambda step: True
    sheet: Callable[[ModelFile], Tensor] | None = None
    work: Callable[[int], float] = float
    look_every: int = 100
    samples_every: int = 500
    ended: Callable[[], str | None] = lambda: None
    kept_step: Callable[[], int | None] = lambda: None
