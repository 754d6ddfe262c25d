"""Edits one after the other, without files in between.

    sinwave.open("photo.jpg").extend(left=64).upscale(2).save("wide.png")

Each edit learns from the picture as it is by then; with a model file every edit is drawn by that model. Pictures and
masks may be paths, Pillow pictures, arrays (h, w, 3) of bytes, or tensors (1, c, h, w) in [-1, 1], masks in [0, 1].
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from sinwave import __version__
from sinwave.errors import InputError
from sinwave.images import Picture, from_uint8, looks_grey, read, to_uint8, write, write_frames
from sinwave.options import check, facts
from sinwave.rng import NoiseSource
from sinwave.tasks.edits.files import need_some, read_mask
from sinwave.tasks.edits.masks import fitted
from sinwave.tasks.edits.regions import parse_place, parse_region
from sinwave.tasks.hardware import usable_device
from sinwave.tasks.sizes import check_size, parse_size
from sinwave.tasks.source import Source, alike, open_source

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Frames", "Photo", "open_photo"]

Given: TypeAlias = "str | PathLike[str] | Image.Image | Tensor | Any"
"""A picture or a mask, in any form that people have it in."""

MOST_PIXELS = 100_000_000


def open_photo(path: str | PathLike[str], *, engine: str = "auto", seed: int = 0, device: str = "auto") -> Photo:
    """A picture, or a model file of `sinwave train`, to be edited."""
    source = open_source(Path(path), engine, MOST_PIXELS)
    return Photo(source.picture, source, seed, usable_device(device, torch.float32))


@final
@dataclass(frozen=True, eq=False)
class Frames:
    """An animation (n, 3, h, w) in [-1, 1]."""

    frames: Tensor
    fps: float
    text: Mapping[str, str] = field(default_factory=dict)

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> Frames:
        """Write it as .gif, .webp or .mp4."""
        write_frames(Path(path), self.frames, self.fps, overwrite=overwrite, text=self.text)
        return self


@final
@dataclass(frozen=True, eq=False)
class Photo:
    """A picture, and what it may become: every edit gives a new one."""

    picture: Picture
    source: Source
    seed: int
    device: torch.device
    steps: tuple[str, ...] = field(default=())

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.picture.size

    @property
    def pixels(self) -> Tensor:
        """(1, 3, h, w) in [-1, 1]."""
        return self.picture.pixels[None]

    def to_pillow(self) -> Image.Image:
        """As Pillow has pictures."""
        from PIL import Image

        return Image.fromarray(to_uint8(self.picture.pixels).permute(1, 2, 0).contiguous().numpy())

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> Photo:
        """Write it as .png, .jpg, .webp or .tif, and say in the file what was done."""
        grey = self.picture.grey and looks_grey(self.picture.pixels)
        write(path, self.picture.pixels, overwrite=overwrite, text=self._text(), icc=self.picture.icc, grey=grey)
        return self

    def _text(self, *more: str) -> Mapping[str, str]:
        steps = " ".join([*self.steps, *more])
        return {"Software": f"sinwave {__version__}", "sinwave:steps": steps, "sinwave:seed": str(self.seed)}

    def harmonize(self, composite: Given, mask: Given, **options: Any) -> Photo:
        """Give what was pasted the look of this picture: see `Harmonize`."""
        composite = _pixels(composite)
        return self._edited("harmonize", composite, _mask(mask, _size_of(composite)), **options)

    def edit(self, edited: Given, mask: Given | None = None, **options: Any) -> Photo:
        """Make a picture plausible in which things were moved: see `Edit`."""
        edited = _pixels(edited)
        return self._edited("edit", edited, None if mask is None else _mask(mask, _size_of(edited)), **options)

    def paint(self, drawing: Given, **options: Any) -> Photo:
        """Turn a drawing into a picture of this kind: see `Paint`."""
        return self._edited("paint", _pixels(drawing), self.pixels, **options)

    def inpaint(self, mask: Given, **options: Any) -> Photo:
        """Remove what a mask covers: see `Inpaint`."""
        hole = need_some(_mask(mask, self.size), Path("mask"))
        return self._edited("inpaint", self.pixels, (hole > 0).to(hole), hidden=hole, **options)

    def extend(self, **options: Any) -> Photo:
        """Grow the canvas by left, right, top and bottom: see `Extend`."""
        return self._edited("extend", self.pixels, **options)

    def retarget(self, size: str | tuple[int, int], **options: Any) -> Photo:
        """Another shape, WIDTHxHEIGHT or (height, width): see `Retarget`."""
        return self._edited("retarget", self.pixels, _size(size), **options)

    def tile(self, size: str | tuple[int, int] | None = None, **options: Any) -> Photo:
        """A texture that continues over its own border: see `Tile`."""
        return self._edited("tile", self.pixels, self.size if size is None else _size(size), **options)

    def place(
        self, region: str, at: str | Sequence[str], size: str | tuple[int, int] | None = None, **options: Any
    ) -> Photo:
        """A new picture in which a region stands at one or several places: see `Place`."""
        from sinwave.tasks.edits.paste import pinned

        places = [parse_place(place) for place in ([at] if isinstance(at, str) else at)]
        new = pinned(self.pixels, parse_region(region), places, self.size if size is None else _size(size))
        return self._edited("place", *new, **options)

    def restyle(self, content: Given, **options: Any) -> Photo:
        """Another picture in the texture and the palette of this one: see `Restyle`."""
        return self._edited("restyle", _pixels(content), self.pixels, **options)

    def upscale(self, factor: float = 2.0, *, engine: str = "auto", **options: Any) -> Photo:
        """Larger; with the engine network by a small network that learns from the picture: see `Upscale`."""
        from sinwave.systems.zero_shot.enlarger import Enlarger

        if engine not in ("auto", "network"):
            raise InputError(f"the engine of upscale is auto, which is that of the photo, or network, not {engine!r}")
        if engine == "network" and (self.picture.opaque is not None or "avoid" in options):
            raise InputError("the network learns from all of the picture, what is avoided or transparent too")
        model = Enlarger() if engine == "network" else self._model(options, quick=True)
        return self._edited("upscale", self.pixels, model=model, factor=float(factor), **options)

    def blend(self, *others: Photo, size: str | tuple[int, int] | None = None, **options: Any) -> Photo:
        """A new picture of this one and others, each with its share: see `Blend`."""
        sources, levels = alike([self._source(options), *(other._source({}) for other in others)])
        models = [source.model(self.device, torch.float32, levels=levels) for source in sources]
        return self._edited("blend", self.size if size is None else _size(size), model=models, **options)

    def animate(self, **options: Any) -> Frames:
        """A living still: see `Animate`."""
        from sinwave.tasks.edits.animate import Animate

        fps, model = options.get("fps", Animate().fps), self._model(options, quick=True)
        return Frames(self._drawn("animate", model, self.pixels, **options), fps, self._text("animate"))

    def _edited(
        self, verb: str, *inputs: Any, model: Any = None, hidden: Tensor | None = None, **options: Any
    ) -> Photo:
        """The picture after an edit that may not know what is hidden, or `avoid`."""
        model = self._model(options, hidden) if model is None else model
        drawn = self._drawn(verb, model, *inputs, **options)
        picture = replace(self.picture, pixels=drawn[0].clamp(-1, 1), opaque=None)
        return replace(self, picture=picture, steps=(*self.steps, verb))

    def _drawn(self, verb: str, model: Any, *inputs: Any, **options: Any) -> Tensor:
        edit, keep = _edit(verb, options), options.pop("keep", None)
        self._check_size(verb, edit, inputs)
        further = {} if keep is None else {"keep": _kept(keep, verb, edit, inputs).to(self.device)}
        # The first edit is that of the command with the same seed.
        noise = NoiseSource(self.seed).child("picture", 0)
        with torch.inference_mode():
            given = [each.to(self.device) if isinstance(each, Tensor) else each for each in inputs]
            drawn: Tensor = edit.run(model, *given, noise=noise.child(*self.steps), **further)
        return drawn.float().cpu().clone()  # free of inference mode, to be used like any other

    def _check_size(self, verb: str, edit: Any, inputs: Sequence[Any]) -> None:
        """Refuse what is too large before it is drawn."""
        size = next((each for each in inputs if isinstance(each, tuple)), None) or _size_of(inputs[0])
        if verb in ("extend", "upscale"):
            size = edit.size(self.size) if verb == "extend" else [self.size, *edit.sizes(self.size)][-1]
        check_size(size, MOST_PIXELS)
        self.source.check_memory(size, getattr(edit, "frames", 1))

    def _model(self, options: dict[str, Any], hidden: Tensor | None = None, *, quick: bool = False) -> Any:
        """What draws the next edit; it takes `avoid` out of the options."""
        return self._source(options, hidden).model(self.device, torch.float32, quick=quick)

    def _source(self, options: dict[str, Any], hidden: Tensor | None = None) -> Source:
        """The picture as it is now, as far as it may be known."""
        avoid, source = options.pop("avoid", None), replace(self.source, picture=self.picture)
        for mask in (hidden, None if avoid is None else _mask(avoid, self.size)):
            source = source if mask is None else source.without(mask[0, 0] > 0)
        return source


def _edit(verb: str, options: dict[str, Any]) -> Any:
    """The edit with its options, which are taken out; what is left is not for it."""
    cls = getattr(import_module(f"sinwave.tasks.edits.{verb}"), verb.capitalize())
    names = [each.name for each in facts(cls)]
    edit = cls(**{name: options.pop(name) for name in names if name in options})
    check(edit)
    unknown = [name for name in options if name != "keep" or "keep" not in inspect.signature(cls.run).parameters]
    if unknown:
        raise InputError(f"{verb} has no option {unknown[0]!r}; it has {', '.join(names)}")
    return edit


def _kept(keep: Given, verb: str, edit: Any, inputs: Sequence[Any]) -> Tensor:
    """The mask of what stays, of the size of the result."""
    size = (inputs[0].shape[2], inputs[0].shape[3])
    return _mask(keep, edit.size(size) if verb == "extend" else size)


def _pixels(given: Given) -> Tensor:
    """(1, 3, h, w) in [-1, 1]."""
    if isinstance(given, Photo):
        return given.pixels
    if isinstance(given, Tensor):
        return given if given.dim() == 4 else given[None]
    if isinstance(given, (str, PathLike)):
        return read(given, min_side=1).pixels[None]
    array = np.asarray(given.convert("RGB") if hasattr(given, "convert") else given)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise InputError(f"a picture is a path, or has the shape (h, w, 3) and bytes, not {array.shape} {array.dtype}")
    return from_uint8(torch.from_numpy(array.copy()).movedim(2, 0))[None]


def _mask(given: Given, size: tuple[int, int]) -> Tensor:
    """(1, 1, h, w) in [0, 1], stretched to `size`."""
    if isinstance(given, Tensor):
        return fitted(given.reshape(1, 1, *given.shape[-2:]).float(), size)
    if isinstance(given, (str, PathLike)):
        return read_mask(Path(given), size)
    array = np.asarray(given.convert("L") if hasattr(given, "convert") else given)
    if array.ndim != 2:
        raise InputError(f"a mask is a path, or has the shape (h, w), not {array.shape}")
    values = torch.from_numpy(array.astype(np.float32)) / (255 if array.max() > 1 else 1)
    return fitted(values[None, None].clamp(0, 1), size)


def _size_of(picture: Tensor) -> tuple[int, int]:
    return picture.shape[2], picture.shape[3]


def _size(given: str | tuple[int, int]) -> tuple[int, int]:
    size = parse_size(given) if isinstance(given, str) else given
    check_size(size, MOST_PIXELS)
    return size
