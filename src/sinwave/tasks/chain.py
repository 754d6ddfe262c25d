"""Edits one after the other, without files in between.

    sinwave.open("photo.jpg").extend(left=64).upscale(2).save("wide.png")

Each edit learns from the picture as it is by then; with a model file every edit is drawn by that model. Pictures and
masks may be paths, Pillow pictures, arrays (h, w, 3) of bytes, or tensors (1, c, h, w) in [-1, 1], masks in [0, 1].
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from sinwave.errors import InputError
from sinwave.images import Picture, from_uint8, read, to_uint8, write, write_frames
from sinwave.options import check, facts
from sinwave.rng import NoiseSource
from sinwave.tasks.edits.files import read_mask
from sinwave.tasks.edits.masks import fitted
from sinwave.tasks.edits.regions import parse_place, parse_region
from sinwave.tasks.hardware import usable_device
from sinwave.tasks.sizes import check_size, parse_size
from sinwave.tasks.source import Source, open_source

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

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> Frames:
        """Write it as .gif, .webp or .mp4."""
        write_frames(Path(path), self.frames, self.fps, overwrite=overwrite, text={})
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
        text = {"Software": "sinwave", "sinwave:steps": " ".join(self.steps), "sinwave:seed": str(self.seed)}
        write(path, self.picture.pixels, overwrite=overwrite, text=text, icc=self.picture.icc, grey=self.picture.grey)
        return self

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
        hole = _mask(mask, self.size)
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
        from sinwave.systems.internal.enlarger import Enlarger

        model = Enlarger() if engine == "network" else None
        return self._edited("upscale", self.pixels, model=model, quick=True, factor=float(factor), **options)

    def blend(self, *others: Photo, size: str | tuple[int, int] | None = None, **options: Any) -> Photo:
        """A new picture of this one and others, each with its share: see `Blend`."""
        from sinwave.systems.wavelet.depth import levels_for

        photos = (self, *others)
        plain = any(photo.source.trained is None for photo in photos)
        levels = min(levels_for(photo.size) for photo in photos) if plain else None
        models = [photo._model(None, levels) for photo in photos]
        return self._edited("blend", self.size if size is None else _size(size), model=models, **options)

    def animate(self, **options: Any) -> Frames:
        """A living still: see `Animate`."""
        from sinwave.tasks.edits.animate import Animate

        fps = options.get("fps", Animate().fps)
        return Frames(self._drawn("animate", self._model(None, quick=True), self.pixels, **options), fps)

    def _edited(
        self,
        verb: str,
        *inputs: Any,
        model: Any = None,
        quick: bool = False,
        hidden: Tensor | None = None,
        **options: Any,
    ) -> Photo:
        """The picture after an edit that may not know what is hidden, or `avoid`."""
        avoid = options.pop("avoid", None)
        masks = [each for each in (hidden, None if avoid is None else _mask(avoid, self.size)) if each is not None]
        if masks and model is not None:
            raise InputError(f"{verb} takes no avoid here: what draws has seen all of the picture")
        unseen = torch.stack(masks).amax(0)[0, 0] > 0 if masks else None
        drawn = self._drawn(verb, model or self._model(unseen, quick=quick), *inputs, **options)
        picture = replace(self.picture, pixels=drawn[0].clamp(-1, 1), opaque=None)
        return replace(self, picture=picture, steps=(*self.steps, verb))

    def _drawn(self, verb: str, model: Any, *inputs: Any, **options: Any) -> Tensor:
        edit, keep = _edit(verb, options), options.pop("keep", None)
        further = {} if keep is None else {"keep": _kept(keep, verb, edit, inputs).to(self.device)}
        # The first edit is that of the command with the same seed.
        noise = NoiseSource(self.seed).child("picture", 0)
        with torch.inference_mode():
            given = [each.to(self.device) if isinstance(each, Tensor) else each for each in inputs]
            drawn: Tensor = edit.run(model, *given, noise=noise.child(*self.steps), **further)
        return drawn.float().cpu().clone()  # free of inference mode, to be used like any other

    def _model(self, unseen: Tensor | None, levels: int | None = None, *, quick: bool = False) -> Any:
        source = replace(self.source, picture=self.picture)
        if levels is not None:
            source = replace(source, trained=None)
        source = source if unseen is None else source.without(unseen)
        return source.model(self.device, torch.float32, levels=levels, quick=quick)


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
    values = torch.from_numpy(array.astype(np.float32)) / (255 if array.dtype == np.uint8 else 1)
    return fitted(values[None, None].clamp(0, 1), size)


def _size_of(picture: Tensor) -> tuple[int, int]:
    return picture.shape[2], picture.shape[3]


def _size(given: str | tuple[int, int]) -> tuple[int, int]:
    size = parse_size(given) if isinstance(given, str) else given
    check_size(size, MOST_PIXELS)
    return size
