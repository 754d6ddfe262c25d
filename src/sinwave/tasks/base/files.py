"""Files of one source's results: their names and texts, what the same command has finished before, and the sheet."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from sinwave import __version__
from sinwave.errors import InputError, OutputError
from sinwave.option_kinds import Picture
from sinwave.options import facts

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave import images
    from sinwave.rng import NoiseSource
    from sinwave.tasks.base.run import Output, Prepared
    from sinwave.tasks.base.task import Task

__all__ = ["ON_SHEET", "Files"]

_MOST_PAGE = 64 << 20
"""Bytes of a page that are looked through."""

ON_SHEET = 47
"""More samples than this make a sheet that nobody looks at."""


@final
class Files:
    """The files of one source's results, whose names begin with `stem`."""

    def __init__(
        self, task: Task, output: Output, dtype: str, stem: Path, ready: Prepared, film: images.Movie | None
    ) -> None:
        from sinwave.images.writing import MAX_SIDE, PICTURES

        self._picture, self._drawing, self._overwrite = ready.picture, ready.drawing, output.overwrite
        self.count = output.count or task.count
        ready.drawing.check_count(self.count)
        self._same, self._film = task.same, film
        if film is not None:
            film.check(self._drawing.size)
        suffix, folder = task.suffix if film is None else film.suffix, stem.parent
        several, single = task.overview or self.count > 1, output.file
        if single is not None:
            _check_name(task, single, self.count, PICTURES if suffix == ".png" else (suffix,))
        name = stem.name if task.verb == "generate" or single is not None else f"{stem.name}-{task.verb}"
        numbers = [f"-{number:04d}" for number in range(self.count)] if several else [""]
        names = [folder / f"{name}{number}{suffix}" for number in numbers]
        self.names = tuple(names if single is None else [single])
        self.sheet = folder / f"{name}-sheet.png" if several else None
        self._text = {
            "Software": f"sinwave {__version__}",
            "sinwave:command": shlex.join(_words(task, output.seed, dtype)),
            "sinwave:seed": str(output.seed),
            "sinwave:source-sha256": _digest(task),
        }
        # Very large pictures are shrunk one by one, so that a sheet needs no more memory than one of them.
        self._shrink = min(1.0, MAX_SIDE / max(*self._drawing.size, *self._picture.size))
        # What the same command has finished before is kept; another file in its place is an error.
        self.missing = [n for n in range(self.count) if not self._is_finished(self.names[n], str(n))]
        beside = {label: folder / f"{name}-{label}.png" for label in self._drawing.beside}
        self.beside = {label: file for label, file in beside.items() if not self._is_finished(file, label)}
        if film is not None and (self._drawing.beside or self._drawing.page):
            raise InputError("map and report are about single pictures: leave them out for a film")
        page = folder / f"{name}-report.html" if self._drawing.page else None
        self.page = page if page is None or self._may_write(page) else None
        self._replace_sheet = self._overwrite or (self.sheet is not None and self._is_finished(self.sheet, "sheet"))

    def write(self, number: int, image: Tensor) -> Tensor | None:
        """Write a result; it comes back for the sheet, shrunk, if it has a place there."""
        from sinwave.images import as_written, write

        file, text, picture = self.names[number], self._about(str(number)), self._picture
        if self._drawing.fps is not None:
            from sinwave.images import write_frames

            write_frames(file, image, self._drawing.fps, overwrite=self._overwrite, text=text)
        else:
            kept: dict[str, Any] = {"depth": picture.depth, "exif": picture.exif} if self._same else {}
            colors, gray = as_written(image, picture)
            write(file, colors, overwrite=self._overwrite, text=text, icc=picture.icc, gray=gray, **kept)
        return self._on_sheet(number, image)

    def write_film(self, number: int, frames: Iterator[Tensor]) -> Tensor | None:
        """Write an animation whose frames are drawn as they are asked for; the first comes back for the sheet."""
        from sinwave.atomic import write_bytes
        from sinwave.images import encode_movie

        assert self._film is not None
        first = next(frames)
        file, text, picture = self.names[number], self._about(str(number)), self._picture
        data = encode_movie(file, self._film, chain([first], frames), text, picture.icc, picture.exif)
        write_bytes(file, data, overwrite=self._overwrite)
        return self._on_sheet(number, first)

    def _on_sheet(self, number: int, image: Tensor) -> Tensor | None:
        return self._small(image) if self.sheet is not None and number < ON_SHEET else None

    def write_beside(self, model: Any, noise: NoiseSource) -> None:
        """Write the pictures that stand beside the results."""
        import torch

        from sinwave.images import write

        for label, file in self.beside.items():
            with torch.inference_mode():
                picture = self._drawing.beside[label](model, noise)[0].float().cpu()
            gray, picture = len(picture) == 1, picture.expand(3, -1, -1)
            write(file, picture, overwrite=self._overwrite, text=self._about(label), gray=gray)

    def write_page(self, model: Any) -> None:
        """Write the page about the results, if there is one."""
        import torch

        from sinwave.atomic import write_bytes

        if self.page is None or self._drawing.page is None:
            return
        with torch.inference_mode():
            text = self._drawing.page(model, self.names, self._text["sinwave:command"])
        write_bytes(self.page, text.encode(errors="backslashreplace"), overwrite=True)

    def write_sheet(self, results: Mapping[int, Tensor | None]) -> None:
        """Write the sheet, if there is one: the source, other inputs, and results, those given and those in files."""
        from sinwave.images import read, sheet, write

        if self.sheet is None:
            return

        def small(number: int) -> Tensor:
            if (image := results.get(number)) is not None:
                return image
            return self._small(read(self.names[number], max_pixels=1 << 62, min_side=1, max_aspect=None).pixels)

        inputs = {label: self._small(_visible(tensor.float().cpu())) for label, tensor in self._drawing.shown.items()}
        samples = [small(number) for number in range(min(self.count, ON_SHEET))]
        source = None if self._drawing.alone else self._small(self._picture.pixels)
        overview = sheet(source, samples, inputs=inputs)
        text, icc = self._about("sheet"), self._picture.icc
        write(self.sheet, overview, overwrite=self._replace_sheet, text=text, icc=icc)

    def _about(self, part: str) -> Mapping[str, str]:
        """Say how a file was made. The number of pictures is no part of it: it changes none of them."""
        return {**self._text, "sinwave:picture": part}

    def _is_finished(self, file: Path, part: str) -> bool:
        from sinwave.images import read_text

        if self._overwrite or not file.exists():
            return False
        try:
            there = _film_text(file) if file.suffix.lower() == ".mp4" else read_text(file)
        except InputError:
            there = {}
        if all(there.get(key) == value for key, value in self._about(part).items()):
            return True
        raise OutputError(
            f"{file}: another file of that name exists; --overwrite replaces it, -o chooses another place"
        )

    def _may_write(self, page: Path) -> bool:
        """Whether a page may be written: it may replace only one of the same command."""
        if self._overwrite or not page.exists():
            return True
        with page.open("rb") as file:
            there = file.read(_MOST_PAGE).decode(errors="replace")
        if escape(self._text["sinwave:command"]) in there:
            return True
        raise OutputError(
            f"{page}: another file of that name exists; --overwrite replaces it, -o chooses another place"
        )

    def _small(self, image: Tensor) -> Tensor:
        """Shrink a picture, or the first of some frames, for the sheet."""
        image = image[:3] if image.dim() == 3 else image[0]
        if self._shrink == 1:
            return image
        from sinwave.resize import resize

        height, width = (max(1, round(self._shrink * side)) for side in image.shape[1:])
        return resize(image[None], (height, width))[0]


def _film_text(file: Path) -> Mapping[str, str]:
    from sinwave.images.video import film_text

    return film_text(file)


def _check_name(task: Task, file: Path, count: int, suffixes: Sequence[str]) -> None:
    """Refuse a name for one result where there are several, or of another kind, or of an input."""
    for value in (getattr(task, declared.name) for declared in facts(type(task))):
        for item in value if isinstance(value, tuple) else [value]:
            path = item if isinstance(item, Path) else getattr(item, "path", None)
            if isinstance(path, Path) and path.resolve() == file.resolve():
                raise InputError(f"{file}: this is read here, and the result would replace it")
    if count > 1:
        raise InputError(f"{file} names a single result, and there are {count}: name a folder, or add -n 1")
    if file.suffix.lower() not in suffixes:
        raise InputError(f"{file}: the name of this result ends in {' or '.join(suffixes)}")


def _visible(picture: Tensor) -> Tensor:
    """A picture, or a mask as black and white, (3, h, w)."""
    return picture[0] if picture.shape[1] == 3 else 2 * picture[0].expand(3, -1, -1) - 1


def _words(task: Task, seed: int, dtype: str) -> list[str]:
    """The command that makes the same, with every option of the task that is not as ever."""
    words, places = [], []
    for declared in facts(type(task)):
        value = getattr(task, declared.name)
        if value == declared.default or value is None or declared.name in task.aside:
            continue
        items = value if declared.several else [value]
        parts = [item.path.name if isinstance(item, Picture) and item.path else str(item) for item in items]
        if declared.facts.positional:
            places += parts
        else:
            words += [f"--{declared.name.replace('_', '-')}", *parts]
    precision = ["--dtype", dtype] if dtype != "auto" else []
    return ["sinwave", task.verb, *places, *words, "--seed", str(seed), *precision]


def _digest(task: Task) -> str:
    """The digest of all pictures that the result is made of; that of the source, if there is no other."""
    digests = list(task.digests())
    for declared in facts(type(task)):
        value = getattr(task, declared.name)
        digests += [item.sha256 for item in (value if declared.several else [value]) if isinstance(item, Picture)]
    return digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()
