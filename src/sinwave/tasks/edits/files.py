"""From the files of a command to the pictures of an edit, and from its results to files."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, cast

from sinwave.errors import InputError
from sinwave.options import check, facts, option
from sinwave.tasks.numbered import Drawing, Generated, Numbered, OnProgress, Request
from sinwave.tasks.sizes import MIN_SIDE, check_size

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sinwave.images import Picture
    from sinwave.rng import Noise
    from sinwave.systems.contracts import OnStep, SingleImageModel, SuperResolver
    from sinwave.tasks.source import Source

__all__ = ["Editing", "Plan", "need_some", "quick", "read_mask", "read_pixels"]


Maker: TypeAlias = "Callable[[Source, torch.device, torch.dtype, torch.dtype | None], Any]"
"""What an edit's `run` is given first, from the source, as far as it may be known, and how to compute."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What is drawn: results of `size`, by the edit's `run` with these pictures and masks, (1, c, h, w), by name.

    turns     the sizes that the model draws one after the other, if it is not just that one
    further   what else `run` is told
    maker     of what draws, if that is not the model of the source alone
    effort    of the parts of the work, told by what draws, if it is not its own for each turn
    shown     what stands on the sheet beside the pictures
    suffix    of the result; fps, frames a second, and frames, how many, if it is an animation
    """

    size: tuple[int, int]
    pictures: Mapping[str, Tensor]
    turns: tuple[tuple[int, int], ...] = ()
    further: Mapping[str, Any] = field(default_factory=dict)
    maker: Maker | None = None
    effort: Callable[[Any], tuple[float, ...]] | None = None
    shown: Mapping[str, Tensor] = field(default_factory=dict)
    suffix: str = ".png"
    fps: float | None = None
    frames: int = 1


@dataclass(frozen=True, kw_only=True)
class _Common:
    source: Path = option(
        help="the picture to learn from, or a model file of sinwave train",
        positional=True,
    )
    keep: Path | None = option(None, "a mask: what is white in it stays as it is in the input", metavar="MASK")
    avoid: Path | None = option(
        None, "a mask: what is white in it is never used of SOURCE, such as a watermark", metavar="MASK"
    )
    engine: Literal["auto", "closed-form", "network", "hybrid"] = option(
        "auto", "closed-form: SOURCE's own patches; network or hybrid of a model file; auto: the best there is"
    )


@dataclass(frozen=True, kw_only=True)
class Editing(Numbered, _Common, ABC):
    """The options that all edits of files share."""

    learns: ClassVar[bool] = False
    """Whether its network learns from the picture on the spot, and so needs no model file."""

    count: int = option(
        1, "how many results to draw, each from other noise", low=1, high=10_000, short="-n", metavar="N"
    )

    def __post_init__(self) -> None:
        """Check what can be checked without the pictures."""
        check(self)

    @abstractmethod
    def plan(self, source: Source) -> Plan:
        """Read the inputs, and say what will be done with them."""

    def perform(self, on_progress: OnProgress = lambda label, done, total: None) -> Generated:
        """Read, draw, write."""
        from sinwave.tasks.source import open_source

        on_progress("reading", 0, 1)
        engine = "auto" if self.learns and self.engine == "network" else self.engine
        source = open_source(self.source, engine, self.max_pixels)
        plan = self.plan(source)
        if self.keep is not None and "keep" not in plan.pictures:
            raise InputError(f"{self._verb} has no input that could stay as it is, so it takes no --keep")
        for hidden in self.unseen(source):
            source = source.without(hidden[0, 0] > 0)
        for size in {plan.size, *plan.turns}:
            check_size(size, self.max_pixels)
            source.check_memory(size, plan.frames)
        return self.make(self._request(source, plan), on_progress)

    def kept(self, size: tuple[int, int]) -> dict[str, Tensor]:
        """The mask of what stays, for an input of `size`, if there is one."""
        return {} if self.keep is None else {"keep": read_mask(self.keep, size)}

    def unseen(self, source: Source) -> list[Tensor]:
        """Masks (1, 1, h, w) of what the model is not to know of the source."""
        return [] if self.avoid is None else [read_mask(self.avoid, source.picture.size)]

    def _request(self, source: Source, plan: Plan) -> Request:
        def prepare(device: torch.device, dtype: torch.dtype, convolutions: torch.dtype | None) -> Drawing:
            model = (plan.maker or _alone)(source, device, dtype, convolutions)
            pictures = {name: each.to(device, dtype) for name, each in plan.pictures.items()}
            edit = cast(Any, self)

            def draw(noise: Noise, on_step: OnStep) -> Tensor:
                drawn: Tensor = edit.run(model, **pictures, **plan.further, noise=noise, on_step=on_step)
                return drawn

            if plan.effort is not None:
                return Drawing(draw, plan.effort(model))
            return Drawing(draw, sum((model.effort(size) for size in plan.turns or (plan.size,)), ()))

        shown = {name: each for name, each in plan.pictures.items() if name not in ("picture", "source")}
        shown = {name: _shown(each) for name, each in {**shown, **plan.shown}.items()}
        name = f"{source.name}-{self._verb}"
        about = source.picture, self._digest(source), plan.size
        return Request(name, self._words(), *about, prepare, shown, plan.suffix, plan.fps)

    @property
    def _verb(self) -> str:
        named = next(each for each in type(self).__mro__ if each.__name__.endswith("Files"))
        return named.__name__.removesuffix("Files").lower()

    def _words(self) -> list[str]:
        """The command that makes the same, with every option that matters and is not as ever."""
        words, places = [], []
        for each in facts(type(self)):
            value = getattr(self, each.name)
            if each.name in _ELSEWHERE or value == each.default or value is None:
                continue
            parts = [
                Path(part).name if each.kind is Path else str(part) for part in (value if each.several else [value])
            ]
            if each.facts.positional:
                places += parts
            else:
                words += [f"--{each.name.replace('_', '-')}", *parts]
        return [self._verb, *places, *words]

    def _digest(self, source: Source) -> str:
        """Of all files that the result is made of."""
        found = hashlib.sha256(source.sha256.encode())
        for each in facts(type(self)):
            value = getattr(self, each.name)
            if each.kind is Path and each.name not in (*_ELSEWHERE, "source") and value is not None:
                for file in value if each.several else [value]:
                    found.update(Path(file).read_bytes())
        return found.hexdigest()


def _alone(
    source: Source, device: torch.device, dtype: torch.dtype, convolutions: torch.dtype | None
) -> SingleImageModel | SuperResolver:
    return source.model(device, dtype, convolutions)


def quick(
    source: Source, device: torch.device, dtype: torch.dtype, convolutions: torch.dtype | None
) -> SingleImageModel:
    """The model of the source, with few steps where its closed form needs no more."""
    return source.model(device, dtype, convolutions, quick=True)


def _shown(picture: Tensor) -> Tensor:
    """A picture, or a mask as black and white, (3, h, w)."""
    return picture[0] if picture.shape[1] == 3 else 2 * picture[0].expand(3, -1, -1) - 1


_ELSEWHERE = {
    "count",
    "seed",
    "output",
    "overwrite",
    "max_pixels",
    "device",
    "dtype",
    "threads",
    "json",
    "quiet",
    "verbose",
}
"""Options that change no pixel, or that the file names in other places."""


def read_pixels(path: Path, max_pixels: int, min_side: int = MIN_SIDE) -> Picture:
    """A picture that is an input."""
    from sinwave.images import read

    return read(path, max_pixels=max_pixels, min_side=min_side)


def read_mask(path: Path, size: tuple[int, int]) -> Tensor:
    """A mask (1, 1, h, w) from 0, black, to 1, white, stretched to `size`."""
    from sinwave.images import read
    from sinwave.tasks.edits.masks import fitted

    pixels = read(path, min_side=1).pixels
    return fitted((pixels.mean(0)[None, None] + 1) / 2, size)


def need_some(mask: Tensor, path: Path) -> Tensor:
    """The mask, if anything is white in it, and anything black."""
    if not (mask > 0).any():
        raise InputError(f"{path}: the mask is black, so nothing would change: white is what may change")
    if (mask == 1).all():
        raise InputError(f"{path}: the mask is white, so nothing would stay: black is what stays")
    return mask
