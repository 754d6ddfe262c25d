"""Tasks in Python, one after the other, without files in between.

    sinwave.open("photo.jpg").extend(left=64).upscale(2).save("wide.png")

Each edit learns from the picture as it is by then; with a model file every edit is drawn by that model. Pictures and
masks may be paths, bytes, Pillow pictures, arrays, tensors in [-1, 1], masks in [0, 1], or photos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sinwave import __version__
from sinwave.errors import InputError
from sinwave.images import Picture, as_written, encode, to_uint8, write
from sinwave.option_kinds import Place, Region, Source
from sinwave.options import facts
from sinwave.python.frames import Frames
from sinwave.rng import NoiseSource
from sinwave.systems.table import of_picture
from sinwave.tasks import task_of
from sinwave.tasks.base.machine import Hardware, Tally, silent
from sinwave.tasks.base.run import draw, prepared
from sinwave.tasks.base.task import Opened, Task, open_source

if TYPE_CHECKING:
    from PIL import Image
    from typing_extensions import Unpack

    from sinwave.python.keywords import Common, Drawn, Engine, Enlarged, Keeping, PictureLike, SizeLike

__all__ = ["MAX_PIXELS", "Photo", "open_photo"]

MAX_PIXELS = 100_000_000


@final
@dataclass(frozen=True, eq=False, repr=False)
class Photo:
    """A picture, and what can be drawn from it.

    `generate` returns a list, `animate` returns frames, and `train` returns the opened model. An edit returns its
    first result as a new photo; `.results` has all `n`. Any callback may raise `sinwave.Stop`. For `**options`, see
    the end.
    """

    picture: Picture
    opened: Opened
    seed: int = 0
    hardware: Hardware = field(default_factory=Hardware)
    steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    _results: tuple[Photo, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.picture.size

    @property
    def results(self) -> tuple[Photo, ...]:
        """All results of the edit that drew this photo."""
        return self._results or (self,)

    @property
    def pixels(self) -> Tensor:
        """(1, 3, h, w) in [-1, 1]."""
        return self.picture.pixels[None]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The pixels as (h, w, 3) bytes."""
        return np.array(_bytes(self.picture.pixels), dtype=dtype)

    def _repr_png_(self) -> bytes:
        return encode(self.picture.pixels, Path("photo.png"))

    def __repr__(self) -> str:
        height, width = self.size
        return f"<Photo {self.picture.name}: {' '.join([f'{width} x {height}', *self.steps])}>"

    def to_pillow(self) -> Image.Image:
        """Make a Pillow picture of it."""
        from PIL import Image

        return Image.fromarray(_bytes(self.picture.pixels))

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> Photo:
        """Write it as .png, .jpg, .webp or .tif, with alpha where possible, and say in the file how it was made.

        An enlarged picture has the EXIF data and, as .png or .tif, the 16 bits of its source.
        """
        picture, (image, gray) = self.picture, as_written(self.picture.layers, self.picture)
        kept: dict[str, Any] = {"icc": picture.icc, "depth": picture.depth, "exif": picture.exif}
        write(path, image, overwrite=overwrite, text=self._text(), gray=gray, **kept)
        return self

    def _text(self, *more: str) -> Mapping[str, str]:
        steps = " ".join([*self.steps, *more])
        return {"Software": f"sinwave {__version__}", "sinwave:steps": steps, "sinwave:seed": str(self.seed)}

    def train(self, output: str | PathLike[str] | None = None, **options: Any) -> Photo:
        """Train on this picture (an opened file, not an edit) and return the opened model: see `sinwave.train`."""
        from sinwave.tasks.train import train_files

        if self.picture.path is None or self.steps or self.opened.trained:
            raise InputError("a model is trained on a picture file: save the photo, and open the file")
        callbacks = {name: options.pop(name) for name in ("on_progress", "on_event") if name in options}
        place, system = None if output is None else Path(output), options.pop("system", "wavelet")
        trained = train_files((self.picture.path,), place, system, options).run(**callbacks)
        return replace(open_photo(trained.model, seed=self.seed), hardware=self.hardware)

    def generate(
        self,
        n: int = 8,
        *,
        variation: float = 0.7,
        size: SizeLike | None = None,
        scale: float | str | None = None,
        steps: int | None = None,
        guidance: float = 1.0,
        source_above: float | None = None,
        **common: Unpack[Drawn],
    ) -> list[Photo]:
        """Draw new pictures that look like this one: see `sinwave generate --help`."""
        return list(self._edit("generate", locals()).results)

    def harmonize(
        self,
        composite: PictureLike | None = None,
        mask: PictureLike | None = None,
        *,
        object: PictureLike | None = None,
        at: str | Place | None = None,
        object_scale: float = 1.0,
        strength: float = 0.3,
        shape: float = 0.9,
        first: int = 1,
        feather: int = 8,
        **common: Unpack[Keeping],
    ) -> Photo:
        """Make an `object`, or the masked part of a `composite`, look like this picture."""
        return self._edit("harmonize", locals())

    def edit(
        self,
        edited: PictureLike,
        mask: PictureLike | None = None,
        *,
        strength: float = 0.25,
        first: int | None = None,
        feather: int = 16,
        **common: Unpack[Keeping],
    ) -> Photo:
        """Repair a picture in which things were moved, copied or erased."""
        return self._edit("edit", locals())

    def paint(
        self,
        drawing: PictureLike,
        *,
        strength: float = 0.5,
        first: int | None = None,
        colors: int | None = None,
        **common: Unpack[Keeping],
    ) -> Photo:
        """Turn a drawing into a picture in the style of this one."""
        return self._edit("paint", locals())

    def inpaint(self, mask: PictureLike, *, strength: float = 1.0, **common: Unpack[Keeping]) -> Photo:
        """Remove what a mask covers, and fill the hole with what the rest is made of."""
        return self._edit("inpaint", locals())

    def extend(
        self,
        *,
        left: int = 0,
        right: int = 0,
        top: int = 0,
        bottom: int = 0,
        strength: float = 0.9,
        **common: Unpack[Keeping],
    ) -> Photo:
        """Grow the canvas by margins that continue the picture."""
        return self._edit("extend", locals())

    def retarget(
        self,
        size: SizeLike | None = None,
        *,
        scale: float | str | None = None,
        strength: float = 0.5,
        stretch: float = 1.15,
        **common: Unpack[Common],
    ) -> Photo:
        """Bring it into another shape, with its objects in proportion."""
        return self._edit("retarget", locals())

    def tile(
        self,
        size: SizeLike | None = None,
        *,
        variation: float | None = None,
        axes: Literal["both", "x", "y"] = "both",
        band: float = 0.2,
        **common: Unpack[Common],
    ) -> Photo:
        """Redraw the borders of a texture (`variation=1`: all of it), so that it repeats without a seam."""
        return self._edit("tile", locals())

    def place(
        self,
        region: str | Region,
        at: str | Place | Sequence[str | Place],
        size: SizeLike | None = None,
        **common: Unpack[Common],
    ) -> Photo:
        """Draw a new picture in which a region, WxH+X+Y, stands at one or several places, X+Y."""
        at = (at,) if isinstance(at, (str, Place)) else tuple(at)
        return self._edit("place", locals())

    def restyle(
        self,
        content: PictureLike,
        *,
        strength: float = 0.3,
        shape: float = 0.7,
        palette: float = 1.0,
        first: int = 1,
        **common: Unpack[Keeping],
    ) -> Photo:
        """Draw another picture in the texture and the palette of this one."""
        return self._edit("restyle", locals())

    def upscale(
        self,
        factor: float | None = None,
        *,
        model: str | PathLike[str] = "small",
        reduction: Literal["bicubic", "area", "lanczos", "camera"] = "bicubic",
        **common: Unpack[Enlarged],
    ) -> Photo:
        """Enlarge this picture; by default, the downsampled result nearly equals this picture."""
        model = str(model)
        return self._edit("upscale", locals())

    def restore(
        self, factor: float | None = None, *, model: str | PathLike[str] = "photo", **common: Unpack[Enlarged]
    ) -> Photo:
        """Repair this picture: less noise, blur and compression."""
        model = str(model)
        return self._edit("restore", locals())

    def blend(
        self,
        *others: PictureLike,
        weights: Sequence[float] = (),
        size: SizeLike | None = None,
        variation: float = 1.0,
        **common: Unpack[Common],
    ) -> Photo:
        """Draw a new picture from this one and others, each with its share."""
        arguments = {**locals(), "weights": tuple(map(float, weights))}
        arguments["others"] = tuple(other._source() if isinstance(other, Photo) else other for other in others)
        return self._edit("blend", arguments)

    def animate(
        self,
        *,
        frames: int = 16,
        fps: float = 8.0,
        strength: float = 0.5,
        amount: float = 0.25,
        first: int = 0,
        avoid: PictureLike | None = None,
        keep: PictureLike | None = None,
        **common: Unpack[Drawn],
    ) -> Frames:
        """Bring it to life: a loop of redrawings."""
        (result,), _ = self._drawn("animate", _options(locals()), 1)
        return Frames(result, fps, self._text("animate"))

    def _source(self, engine: Engine | None = None) -> Source:
        """The picture as it is now, with what draws it: itself, or the model."""
        opened = self.opened
        if engine not in (None, opened.engine):
            opened = open_source(opened.source, engine or "auto", MAX_PIXELS)
        opened = replace(opened, picture=self.picture)
        return Source(opened if opened.trained else replace(opened, loaded=of_picture(self.picture)))

    def _edit(self, verb: str, arguments: Mapping[str, Any]) -> Photo:
        """Make the photos of a task from the arguments of its method, as `locals` gives them."""
        options = _options(arguments)
        drawn, notes = self._drawn(verb, options, options.pop("n", 1))
        other: dict[str, Any] = {} if task_of(verb).same else {"depth": 8, "exif": b""}
        pictures = [replace(self.picture, **_layers(pixels), **other) for pixels in drawn]
        made_by = {"steps": (*self.steps, verb), "notes": notes, "_results": ()}
        photos = tuple(replace(self, picture=picture, **made_by) for picture in pictures)  # type: ignore[arg-type]
        return replace(photos[0], _results=photos) if len(photos) > 1 else photos[0]

    def _drawn(self, verb: str, options: dict[str, Any], n: int) -> tuple[list[Tensor], tuple[str, ...]]:
        """Draw the results of a task, the first of which is that of the command with the same seed."""
        engine, seed = options.pop("engine", None), options.pop("seed", self.seed)
        on_progress, on_estimate = options.pop("on_progress", silent), options.pop("on_estimate", None)
        task = self._task(verb, engine, options)
        if n < 1:
            raise InputError(f"n must be 1 or more, not {n}")

        def noise(number: int) -> NoiseSource:
            return NoiseSource(seed).child("picture", number).child(*self.steps)

        listener = None if on_estimate is None else lambda number, picture: on_estimate(_bytes(picture))
        with self.hardware.computing(quick=task.quick) as computing:
            ready = prepared(task, computing, MAX_PIXELS)
            ready.drawing.check_count(n)
            model, notes = ready.model()
            tally = Tally(on_progress, 0, n, listener)
            # A copy is free of inference mode, to be used like any other.
            results = draw(ready, model, noise, range(n), tally, lambda number, image: image.clone())
        return [results[number] for number in range(n)], (*ready.notes, *notes)

    def _task(self, verb: str, engine: Engine | None, options: Mapping[str, Any]) -> Task:
        declared, chosen = task_of(verb), {} if engine is None else {"engine": engine}
        names = [option.name for option in facts(declared) if option.name not in ("source", *declared.aside)]
        for name in [*options, *chosen]:
            if name not in names:
                raise InputError(f"{verb} has no option {name!r}; it has {', '.join(names)}")
        values = {name: value.picture if isinstance(value, Photo) else value for name, value in options.items()}
        task = declared(source=Source(self.picture), **chosen, **values)
        return replace(task, source=self._source(engine))


def _layers(image: Tensor) -> dict[str, Any]:
    """Layers of a picture from a result (3 or 4, h, w)."""
    image = image.clamp(-1, 1)
    alpha = len(image) > 3
    return {"pixels": image[:3], "opaque": image[3] >= 0 if alpha else None, "soft": image if alpha else None}


def _options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a method, from its arguments."""
    named = {name: value for name, value in arguments.items() if name not in ("self", "common")}
    options = {**named, **arguments["common"]}
    base = options.get("base")
    return options if base is None else {**options, "base": Path(base)}


def _bytes(picture: Tensor) -> NDArray[np.uint8]:
    """(3, h, w) in [-1, 1] -> (h, w, 3) bytes."""
    array: NDArray[np.uint8] = to_uint8(picture.float().cpu()).permute(1, 2, 0).contiguous().numpy()
    return array


def open_photo(
    value: PictureLike, *, engine: Engine = "auto", seed: int = 0, device: str = "auto", threads: int | None = None
) -> Photo:
    """Open a picture in any form that people have it in, or a model file."""
    if isinstance(value, Photo):
        return value
    try:
        source = Source.accept(value)
    except TypeError:
        kind = repr(value) if value == "" else type(value).__name__
        raise InputError(f"a picture is a path, bytes, a Pillow picture, an array or a tensor, not {kind}") from None
    opened = open_source(source, engine, MAX_PIXELS)
    return Photo(opened.picture, opened, seed, Hardware(device=device, threads=threads))
