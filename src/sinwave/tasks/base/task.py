"""A task is declared once: its options and inputs as a frozen dataclass, and how its result is drawn.

The command line, Python, the web page and jobs read the declaration; `run.py` carries it out. Its source is a picture
or a model file, whichever a path leads to, opened with the engine that draws.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sinwave.errors import InputError
from sinwave.option_kinds import MIN_SIDE, Mask, Picture, Source, check_size
from sinwave.options import check, option
from sinwave.systems import table
from sinwave.systems.contracts import Computing, Loaded, OnStep, Size
from sinwave.tasks.base.machine import check_memory

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

    from sinwave import images
    from sinwave.rng import Noise
    from sinwave.tasks.base.canvas import Canvas

__all__ = [
    "MODELS_DEFAULT",
    "Drawing",
    "EditTask",
    "EngineTask",
    "Inputs",
    "KeepingTask",
    "Opened",
    "Task",
    "first_scale",
]
__all__ += ["of_one_kind", "open_source"]

MODELS_DEFAULT = "(default: 1; SinGAN: 2; wavelet with --engine network: 0)"

_FRAME = 50
"""Bytes for a pixel of each further frame of an animation: four copies of three floats."""


@dataclass(frozen=True, eq=False)
class Opened:
    """A picture, what draws from it, and how; `chosen` says that the user has named the engine."""

    source: Source
    picture: images.Picture
    loaded: Loaded
    engine: str
    chosen: bool = False
    notes: tuple[str, ...] = ()

    @property
    def trained(self) -> bool:
        """Whether a trained network has a part in what is drawn."""
        return self.engine != "closed-form"

    def build(self, computing: Computing) -> Any:
        """Build the model that draws."""
        return self.loaded.build(self.engine, computing)

    def untrained(self, because: str) -> Opened:
        """Draw with the closed form; a note says why the network has no part, if there is one."""
        notes = (*self.notes, f"{self.source}: {because}, so the closed form draws, without it") if self.trained else ()
        return replace(self, loaded=table.of_picture(self.picture), engine="closed-form", notes=notes)

    def without(self, hidden: Tensor) -> Opened:
        """Leave out what a mask (1, 1, h, w) covers: nothing is learned from there."""
        seen = hidden[0, 0].cpu() <= 0
        opaque = seen if self.picture.opaque is None else self.picture.opaque & seen
        if not opaque.any():
            raise InputError(f"{self.source}: nothing is left of the picture to learn from")
        if self.trained and self.chosen:
            raise InputError(
                f"{self.source}: a trained network has seen all of its picture; to leave a part out use "
                "the engine closed-form, or train on a picture that is transparent there"
            )
        return replace(self, picture=replace(self.picture, opaque=opaque)).untrained(
            "its network has seen what is to be left out"
        )

    def check_memory(self, size: Size, device: torch.device, frames: int = 1) -> None:
        """Refuse what the device cannot hold."""
        needed = self.loaded.memory(self.engine, size) + _FRAME * (frames - 1) * size[0] * size[1]
        height, width = self.picture.size
        check_memory(f"a picture of {size[1]} x {size[0]} from one of {width} x {height} pixels", needed, device)


def open_source(source: Source, engine: str, max_pixels: int, *, alone: bool = False) -> Opened:
    """Read it; `engine` must be one that it has. `alone`: a model that knows no picture may draw as well."""
    if isinstance(source.value, Opened):
        return source.value
    if source.path is None or not table.is_model_file(source.path):
        if engine not in ("auto", "closed-form"):
            raise InputError(f"{source}: the engine {engine} needs a model file; 'sinwave train {source}' makes one")
        picture = source.read(max_pixels)
        return Opened(source, picture, table.of_picture(picture), "closed-form", engine != "auto", picture.notes)
    loaded = table.load(source.path)
    engines = loaded.engines
    if not loaded.pictures:
        if not alone or "generate" not in loaded.abilities or loaded.size is None:
            raise InputError(f"{source}: the model keeps no picture that could be varied or edited")
        picture = _paper(loaded.size)
    else:
        picture = loaded.pictures[0]
    if engine == "closed-form" and loaded.pictures:
        if len(loaded.pictures) > 1:
            raise InputError(
                f"{source}: the engine {engine} draws from one picture, and this model has {len(loaded.pictures)}"
            )
        return Opened(source, picture, table.of_picture(picture), engine, True)
    if engine not in ("auto", *engines):
        raise InputError(f"{source}: this model has no engine {engine}; it has {', '.join(engines)}")
    return Opened(source, picture, loaded, engines[0] if engine == "auto" else engine, engine != "auto", picture.notes)


def _paper(size: Size) -> images.Picture:
    """A gray picture that stands for that of a model which knows none."""
    import torch

    from sinwave.images import Picture

    return Picture(torch.zeros(3, *size))


def of_one_kind(sources: list[Opened]) -> list[Opened]:
    """Make sources fit to be mixed: if one has no network, the closed form draws them all."""
    if all(opened.trained for opened in sources):
        return sources
    for opened in sources:
        if opened.trained and opened.chosen:
            raise InputError(f"{opened.source}: the engine {opened.engine} needs a model file of every source")
    return [opened.untrained("not all sources have a network") if opened.trained else opened for opened in sources]


@dataclass(frozen=True, eq=False)
class Inputs:
    """The source of a task, opened, and its other pictures, read and on the device where the result is drawn."""

    opened: Opened
    max_pixels: int
    device: torch.device
    dtype: torch.dtype

    @property
    def size(self) -> Size:
        """(height, width) of the source."""
        return self.opened.picture.size

    @property
    def pixels(self) -> Tensor:
        """The source (1, 3, h, w)."""
        return self.move(self.opened.picture.pixels[None])

    @property
    def layers(self) -> tuple[Tensor, Tensor | None]:
        """The colors of the source (1, 3, h, w), and its alpha (1, 1, h, w) from 0 to 1, None if that is 1."""
        layers = self.move(self.opened.picture.layers[None])
        return layers[:, :3], (layers[:, 3:] + 1) / 2 if layers.shape[1] > 3 else None

    def move(self, tensor: Tensor) -> Tensor:
        """Move a tensor to the device."""
        return tensor.to(self.device, self.dtype)

    def read(self, picture: Picture) -> Tensor:
        """Read a picture (1, 3, h, w)."""
        return self.move(picture.read(self.max_pixels, MIN_SIDE).pixels[None])

    def check(self, *sizes: Size, frames: int = 1) -> None:
        """Refuse sizes of results that are not allowed, or that the device cannot hold."""
        for size in sizes:
            check_size(size, self.max_pixels)
            self.opened.check_memory(size, self.device, frames)


@dataclass(frozen=True, eq=False)
class Drawing:
    """A task with its inputs: `draw(model, noise, on_step)` gives (1, 3, h, w), or the frames of an animation.

    size      (height, width) of the result
    shown     the inputs that stand on a sheet beside the source, by their labels
    hidden    (1, 1, h, w), where the model must not look at the source
    build     makes what draws of all sources, with notes for the user; None for the model of the source alone
    others    further sources, of which a mixture is made
    frames    how many the result has; `fps` of them are shown in a second
    chance    whether another seed gives another result
    beside    pictures (1, c, h, w) that are written beside the results, by the endings of their names
    page      an HTML page about results in files, `page(model, files, command)`
    alone     whether no source stands on the sheet
    """

    size: Size
    draw: Callable[[Any, Noise, OnStep | None], Tensor]
    shown: Mapping[str, Tensor] = field(default_factory=dict)
    hidden: Tensor | None = None
    build: Callable[[Sequence[Opened], Computing], tuple[Any, tuple[str, ...]]] | None = None
    others: tuple[Opened, ...] = ()
    frames: int = 1
    fps: float | None = None
    chance: bool = True
    beside: Mapping[str, Callable[[Any, Noise], Tensor]] = field(default_factory=dict)
    page: Callable[[Any, Sequence[Path], str], str] | None = None
    alone: bool = False

    def check_count(self, count: int) -> None:
        """Refuse to draw the same result several times."""
        if count > 1 and not self.chance:
            raise InputError(f"{count} results would be equal: one is enough, or lower the fidelity")


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A task that draws pictures from a source; the name of its class is its verb."""

    count: ClassVar[int] = 1
    """How many results it draws unless another number is asked for."""
    quick: ClassVar[bool] = False
    """Whether few steps are enough, since most of the picture stays."""
    same: ClassVar[bool] = False
    """Whether the result is the source itself, and keeps its depth, its EXIF data, and the frames of an animation."""
    overview: ClassVar[bool] = True
    """Whether a sheet shows the source beside a single result too."""
    aside: ClassVar[tuple[str, ...]] = ()
    """Options that change no result."""

    source: Source = option(help="the picture to learn from, or a model file of sinwave train", positional=True)

    def __post_init__(self) -> None:
        check(self)

    @property
    def verb(self) -> str:
        """The name of the command."""
        return type(self).__name__.lower()

    @property
    def suffix(self) -> str:
        """The ending of the result's file."""
        return ".png"

    def digests(self) -> tuple[str, ...]:
        """Digests of files beside the pictures that a result depends on."""
        return ()

    @abstractmethod
    def open(self, max_pixels: int) -> Opened:
        """Read the source, and choose what draws."""

    @abstractmethod
    def prepare(self, inputs: Inputs) -> Drawing:
        """Read the inputs, and say how the result is drawn."""


@dataclass(frozen=True, kw_only=True)
class EngineTask(Task):
    """A task whose source is drawn from, by one of the engines that it has."""

    engine: Literal["auto", "closed-form", "network", "hybrid"] = option(
        "auto",
        "what draws: closed-form (patches), network, or hybrid (layout by the network, detail by patches); "
        "auto: closed-form for pictures, hybrid for wavelet models, network for SinGAN",
    )

    def open(self, max_pixels: int) -> Opened:
        return open_source(self.source, self.engine, max_pixels)


@dataclass(frozen=True, kw_only=True)
class EditTask(EngineTask):
    """A task that may be told what of the source it must not use."""

    avoid: Mask | None = option(None, "a mask: what it covers in SOURCE, such as a watermark, is never used")


@dataclass(frozen=True, kw_only=True)
class KeepingTask(EditTask):
    """An edit that can keep a part of its input."""

    keep: Mask | None = option(None, "a mask: the input stays as it is where the mask is white")

    def canvas(self, inputs: Inputs, pixels: Tensor, change: Tensor | None = None) -> Canvas:
        """Begin with `pixels`, of which so much may `change` as the edit says, and nothing of what is kept."""
        from sinwave.tasks.base.canvas import Canvas

        canvas = Canvas(pixels, change)
        return canvas if self.keep is None else canvas.but(inputs.move(self.keep.values(canvas.size)))


def first_scale(default: int | None, help: str, low: int = 0) -> Any:
    """Declare an option that names a scale, the first that is drawn anew."""
    return option(default, help, low=low, high=16, metavar="SCALE")
