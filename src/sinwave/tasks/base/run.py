"""A task carried out: results with numbers, written one by one, kept when the same command comes again, on one sheet.

The same seed draws the same pictures, so picture 5 of 8 is picture 5 of 100. Several sources, or folders of them, are
worked on one after another in one process; one that cannot be used is named in a remark, and the others go on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sinwave.atomic import make_folder
from sinwave.errors import InputError, MissingError, OutputError, Stop
from sinwave.option_kinds import MIN_SIDE, Source
from sinwave.options import option
from sinwave.tasks.base.files import ON_SHEET, Files
from sinwave.tasks.base.machine import Hardware, OnEstimate, OnProgress, Tally, in_parallel, silent, workers_for
from sinwave.tasks.base.task import Drawing, EditTask, Inputs, Task, of_one_kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sinwave import images
    from sinwave.rng import NoiseSource
    from sinwave.systems.contracts import Computing, OnStep
    from sinwave.tasks.base.sources import Place

__all__ = ["Output", "Prepared", "Run", "Written", "draw", "prepared"]


_SUFFIXES = frozenset((".gif", ".jpeg", ".jpg", ".mp4", ".png", ".tif", ".tiff", ".webp"))
_SUFFIXES |= {".apng", ".avif", ".bmp", ".heic", ".mkv", ".mov", ".pdf", ".ppm", ".svg", ".webm"}  # to be refused


@dataclass(frozen=True, kw_only=True)
class Output:
    """The results: how many, from which seed, and where to."""

    count: int | None = option(
        None,
        "how many results to draw, each from new noise (default: 1; generate: 8)",
        low=1,
        high=10_000,
        short="-n",
        metavar="N",
    )
    seed: int = option(0, "the seed of the noise: another one draws other pictures", low=0, high=2**63 - 1)
    output: Path = option(Path(), "the folder to write to, or the name of a single result", short="-o", metavar="PATH")
    overwrite: bool = option(False, "replace files that are there already")
    max_pixels: int = option(100_000_000, "the largest picture to read or draw", low=256)

    @property
    def file(self) -> Path | None:
        """The name of a single result; None if `output` is a folder."""
        named = self.output.suffix.lower() in _SUFFIXES and not self.output.is_dir()
        return self.output if named else None


class Written(NamedTuple):
    """The files that were written or, made by the same command before, kept; and sentences for the user."""

    files: tuple[Path, ...]
    sheet: Path | None
    size: tuple[int, int]
    kept: int
    seconds: float
    notes: tuple[str, ...]


class Prepared(NamedTuple):
    """A task with its inputs on a device, the model that draws, made when it is called for, and notes.

    `again` prepares the same for another picture of the same size.
    """

    picture: images.Picture
    drawing: Drawing
    again: Callable[[images.Picture], Drawing]
    device: torch.device
    model: Callable[[], tuple[Any, tuple[str, ...]]]
    notes: tuple[str, ...]


def prepared(task: Task, computing: Computing, max_pixels: int) -> Prepared:
    """Read the inputs of a task, and refuse what cannot be drawn."""
    opened = task.open(max_pixels)
    inputs = Inputs(opened, max_pixels, computing.device, computing.dtype)
    drawing = task.prepare(inputs)
    inputs.check(drawing.size, frames=drawing.frames)
    avoid = task.avoid if isinstance(task, EditTask) else None
    for hidden in (drawing.hidden, None if avoid is None else avoid.values(inputs.size)):
        opened = opened if hidden is None else opened.without(hidden)
    sources = of_one_kind([opened, *drawing.others])
    untrue = inputs.opened.picture.losses if task.same else ()
    notes = tuple(dict.fromkeys(note for source in sources for note in source.notes if note not in untrue))
    if task.same and inputs.opened.picture.exif is None:
        notes = (*notes, "the EXIF data are damaged and are left out")

    def again(picture: images.Picture) -> Drawing:
        return task.prepare(replace(inputs, opened=replace(inputs.opened, picture=picture)))

    def model() -> tuple[Any, tuple[str, ...]]:
        return drawing.build(sources, computing) if drawing.build else (sources[0].build(computing), ())

    return Prepared(inputs.opened.picture, drawing, again, computing.device, model, notes)


def draw(
    ready: Prepared,
    model: Any,
    noise: Callable[[int], NoiseSource],
    numbers: Sequence[int],
    tally: Tally,
    keep: Callable[[int, Tensor], Any],
) -> dict[int, Any]:
    """Draw results by their numbers, several at once where that is faster; give what `keep` makes of each."""
    import torch

    from sinwave.rng import NoiseBatch

    drawing = ready.drawing
    most = 1 if drawing.frames > 1 else getattr(model, "max_batch", 1)
    batches = [numbers[first : first + most] for first in range(0, len(numbers), most)]

    def work(batch: Sequence[int]) -> dict[int, Any]:
        streams = noise(batch[0]) if len(batch) == 1 else NoiseBatch(tuple(map(noise, batch)))
        with torch.inference_mode():
            images = drawing.draw(model, streams, tally.reporter(batch)).float().cpu()
        results = images if drawing.frames == 1 else images[None]
        return {number: keep(number, result) for number, result in zip(batch, results, strict=True)}

    largest = max(math.prod(drawing.size), math.prod(ready.picture.size))
    workers = 1 if drawing.frames > 1 else workers_for(ready.device, len(numbers), largest)  # frames share the cores
    results: dict[int, Any] = {}
    for drawn in in_parallel(work, batches, workers, tally.stop):
        results |= drawn
    return results


def draw_film(
    ready: Prepared,
    model: Any,
    noise: Callable[[int], NoiseSource],
    numbers: Sequence[int],
    tally: Tally,
    frames: Callable[[], Iterable[images.Picture]],
    count: int,
    keep: Callable[[int, Iterator[Tensor]], Any],
) -> dict[int, Any]:
    """Draw animations of `count` frames by their numbers; give what `keep` makes of each."""
    return {
        number: keep(number, _frames(ready, model, noise(number), frames(), count, tally.reporter([number])))
        for number in numbers
    }


def _frames(
    ready: Prepared, model: Any, noise: NoiseSource, frames: Iterable[images.Picture], count: int, report: OnStep
) -> Iterator[Tensor]:
    """Draw the frames of an animation one by one, all with the same noise, so that nothing flickers."""
    import torch

    from sinwave.tasks.base.canvas import turned_into

    def drawn(number: int, picture: images.Picture) -> Tensor:
        with torch.inference_mode():
            return ready.again(picture).draw(model, noise, turned_into(report, number, count))[0].float().cpu()

    yield from map(drawn, range(count), frames)


@dataclass(frozen=True)
class Run:
    """A task for one source or several, what is written, and on what it is computed."""

    task: Task
    output: Output = field(default_factory=Output)
    hardware: Hardware = field(default_factory=Hardware)
    more: tuple[Source, ...] = ()

    def run(self, on_progress: OnProgress = silent, on_estimate: OnEstimate | None = None) -> Written:
        """Read, draw, write the results of the one source; what is wrong is raised."""
        file = self.output.file
        stem = self.output.output / self.task.source.name if file is None else file.with_suffix("")
        return self._one(self.task, stem, on_progress, on_estimate, "")

    def run_all(
        self, on_progress: OnProgress = silent, on_bad: Callable[[str], None] = lambda sentence: None
    ) -> Iterator[Written]:
        """Give the results of every source, one after another; a bad one is a sentence."""
        from sinwave.tasks.base.sources import named, places

        if self.output.file is not None:
            raise InputError(f"{self.output.file} names a single result: name a folder for those of several pictures")
        listed: list[Place] = []
        notes = list[str]()
        for source in (self.task.source, *self.more):
            try:
                more, note = places(source, self.task.verb, self.output.output)
            except InputError as error:
                on_bad(str(error))
            else:
                listed += more
                notes += [note] if note else []
        for number, (source, folder, name) in enumerate(named(listed), 1):
            task = replace(self.task, source=source)
            prefix = f"{name} ({number} of {len(listed)}): " if len(listed) > 1 else ""
            try:
                written = self._one(task, self.output.output / folder / name, on_progress, None, prefix)
                yield written._replace(notes=(*notes, *written.notes))
                notes = []
            except Stop:
                raise
            except (InputError, MissingError, OutputError) as error:
                on_bad(str(error) if str(source) in str(error) else f"{source}: {error}")

    def _one(
        self,
        task: Task,
        stem: Path,
        on_progress: OnProgress,
        on_estimate: OnEstimate | None,
        prefix: str,
    ) -> Written:
        from sinwave.rng import NoiseSource

        start, noise = time.perf_counter(), NoiseSource(self.output.seed).child("picture")
        on_progress(f"{prefix}reading", 0, 1)
        with self.hardware.computing(quick=task.quick) as computing:
            ready = prepared(task, computing, self.output.max_pixels)
            film = _film(task, self.output.max_pixels)
            files = Files(task, self.output, self.hardware.dtype, stem, ready, film)
            model, notes = ready.model() if files.missing or files.beside or files.page else (None, ())
            if film is not None:
                notes = (*(note for note in ready.notes if note != film.note), *film.losses(ready.drawing.size), *notes)
            else:
                notes = (*ready.notes, *notes)
            make_folder(stem.parent)
            tally = Tally(on_progress, files.count - len(files.missing), files.count, on_estimate, prefix)
            if film is None:
                results = draw(ready, model, noise.child, files.missing, tally, files.write)
            else:
                frames, count = partial(film.frames, self.output.max_pixels, MIN_SIDE), len(film.durations)
                results = draw_film(ready, model, noise.child, files.missing, tally, frames, count, files.write_film)
            files.write_sheet(results)
            files.write_beside(model, noise.child("beside"))
            files.write_page(model)
            if files.count > ON_SHEET:
                notes = (*notes, f"the sheet shows the first {ON_SHEET} of {files.count} results")
        seconds = time.perf_counter() - start
        return Written(files.names, files.sheet, ready.drawing.size, files.count - len(files.missing), seconds, notes)


def _film(task: Task, max_pixels: int) -> images.Movie | None:
    """Look whether the source of a task that keeps frames has several."""
    path = task.source.path
    if not task.same or path is None:
        return None
    from sinwave.images import movie

    return movie(path, max_pixels=max_pixels, min_side=MIN_SIDE)
