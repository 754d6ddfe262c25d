"""A task carried out: results with numbers, written one by one, kept when the same command comes again, on one sheet.

The same seed draws the same pictures, so picture 5 of 8 is picture 5 of 100. Several sources, or folders of them, are
worked on one after another in one process; one that cannot be used is named in a remark, and the others go on.
"""

from __future__ import annotations

import hashlib
import math
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sinwave import __version__
from sinwave.atomic import make_folder
from sinwave.errors import InputError, OutputError, Stop
from sinwave.kinds import Picture, Source
from sinwave.options import facts, option
from sinwave.tasks.machine import Hardware, OnEstimate, OnProgress, Tally, in_parallel, silent, workers_for
from sinwave.tasks.task import Drawing, EditTask, Inputs, Task, of_one_kind

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sinwave import images
    from sinwave.rng import NoiseSource
    from sinwave.systems.contracts import Computing

__all__ = ["Output", "Prepared", "Run", "Written", "draw", "prepared"]

ON_SHEET = 47
"""More samples than this make a sheet that nobody looks at."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """The results: how many, from which seed, and where to."""

    count: int | None = option(
        None,
        "how many results to draw, each from other noise (default: 1; generate: 8)",
        low=1,
        high=10_000,
        short="-n",
        metavar="N",
    )
    seed: int = option(0, "the seed of the noise: another one draws other pictures", low=0, high=2**63 - 1)
    output: Path = option(Path(), "the folder to write to; it is made if it is not there", short="-o", metavar="DIR")
    overwrite: bool = option(False, "replace files that are there already")
    max_pixels: int = option(100_000_000, "the largest picture to read or draw, a guard against accidents", low=256)


class Written(NamedTuple):
    """The files that were written or, made by the same command before, kept; and sentences for the user."""

    files: tuple[Path, ...]
    sheet: Path | None
    size: tuple[int, int]
    kept: int
    seconds: float
    notes: tuple[str, ...]


class Prepared(NamedTuple):
    """A task with its inputs on a device, the model that draws, made when it is called for, and notes."""

    picture: images.Picture
    drawing: Drawing
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
    notes = tuple(dict.fromkeys(note for source in sources for note in source.notes))

    def model() -> tuple[Any, tuple[str, ...]]:
        return drawing.build(sources, computing) if drawing.build else (sources[0].build(computing), ())

    return Prepared(inputs.opened.picture, drawing, computing.device, model, notes)


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


@dataclass(frozen=True)
class Run:
    """A task for one source or several, what is written, and on what it is computed."""

    task: Task
    output: Output = field(default_factory=Output)
    hardware: Hardware = field(default_factory=Hardware)
    more: tuple[Source, ...] = ()

    def run(self, on_progress: OnProgress = silent, on_estimate: OnEstimate | None = None) -> Written:
        """Read, draw, write the results of the one source; what is wrong is raised."""
        return self._one(self.task, self.output.output, on_progress, on_estimate, "")

    def run_all(
        self, on_progress: OnProgress = silent, on_bad: Callable[[str], None] = lambda sentence: None
    ) -> Iterator[Written]:
        """Give the results of every source, one after another; a bad one is a sentence."""
        places = list[tuple[Source, Path]]()
        for source in (self.task.source, *self.more):
            try:
                places += _places(source, self.output.output)
            except InputError as error:
                on_bad(str(error))
        for number, (source, folder) in enumerate(places, 1):
            task = replace(self.task, source=source)
            prefix = f"{source.name} ({number} of {len(places)}): " if len(places) > 1 else ""
            try:
                yield self._one(task, self.output.output / folder, on_progress, None, prefix)
            except Stop:
                raise
            except (InputError, OutputError) as error:
                on_bad(str(error) if str(source) in str(error) else f"{source}: {error}")

    def _one(
        self, task: Task, folder: Path, on_progress: OnProgress, on_estimate: OnEstimate | None, prefix: str
    ) -> Written:
        from sinwave.rng import NoiseSource

        start, noise = time.perf_counter(), NoiseSource(self.output.seed).child("picture")
        on_progress(f"{prefix}reading", 0, 1)
        with self.hardware.computing(quick=task.quick) as computing:
            ready = prepared(task, computing, self.output.max_pixels)
            files = _Files(task, self, folder, ready)
            model, notes = ready.model() if files.missing or files.beside else (None, ())
            notes = (*ready.notes, *notes)
            make_folder(folder)
            tally = Tally(on_progress, files.count - len(files.missing), files.count, on_estimate, prefix)
            files.write_sheet(draw(ready, model, noise.child, files.missing, tally, files.write))
            files.write_beside(model, noise.child("beside"))
            if files.count > ON_SHEET:
                notes = (*notes, f"the sheet shows the first {ON_SHEET} of {files.count} results")
        seconds = time.perf_counter() - start
        return Written(files.names, files.sheet, ready.drawing.size, files.count - len(files.missing), seconds, notes)


class _Files:
    """The files of one source's results."""

    def __init__(self, task: Task, run: Run, folder: Path, ready: Prepared) -> None:
        from sinwave.images.writing import MAX_SIDE

        self._picture, self._drawing, self._overwrite = ready.picture, ready.drawing, run.output.overwrite
        self.count = run.output.count or task.count
        ready.drawing.check_count(self.count)
        name = task.source.name if task.verb == "generate" else f"{task.source.name}-{task.verb}"
        if task.overview or self.count > 1:
            self.names = tuple(folder / f"{name}-{number:04d}{task.suffix}" for number in range(self.count))
            self.sheet: Path | None = folder / f"{name}-sheet.png"
        else:
            self.names, self.sheet = (folder / f"{name}{task.suffix}",), None
        self._text = {
            "Software": f"sinwave {__version__}",
            "sinwave:command": shlex.join(_words(task, run.output.seed, run.hardware.dtype)),
            "sinwave:seed": str(run.output.seed),
            "sinwave:source-sha256": _digest(task),
        }
        # Very large pictures are shrunk one by one, so that a sheet needs no more memory than one of them.
        self._shrink = min(1.0, MAX_SIDE / max(*self._drawing.size, *self._picture.size))
        # What the same command has finished before is kept; another file in its place is an error.
        self.missing = [n for n in range(self.count) if not self._is_finished(self.names[n], str(n))]
        beside = {label: folder / f"{name}-{label}.png" for label in self._drawing.beside}
        self.beside = {label: file for label, file in beside.items() if not self._is_finished(file, label)}
        self._replace_sheet = self._overwrite or (self.sheet is not None and self._is_finished(self.sheet, "sheet"))

    def write(self, number: int, image: Tensor) -> Tensor | None:
        """Write a result; it comes back for the sheet, shrunk, if it has a place there."""
        from sinwave.images import looks_gray, write

        file, text = self.names[number], self._about(str(number))
        if self._drawing.fps is not None:
            from sinwave.images import write_frames

            write_frames(file, image, self._drawing.fps, overwrite=self._overwrite, text=text)
        else:
            # What was pasted into a gray picture, or blended with it, may have colors.
            gray = self._picture.gray and looks_gray(image[:3])
            write(file, image, overwrite=self._overwrite, text=text, icc=self._picture.icc, gray=gray)
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
        overview = sheet(self._small(self._picture.pixels), samples, inputs=inputs)
        text, icc = self._about("sheet"), self._picture.icc
        write(self.sheet, overview, overwrite=self._replace_sheet, text=text, icc=icc)

    def _about(self, part: str) -> Mapping[str, str]:
        """Say how a file was made. The number of pictures is no part of it: it changes none of them."""
        return {**self._text, "sinwave:picture": part}

    def _is_finished(self, file: Path, part: str) -> bool:
        from sinwave.images import read_text

        if self._overwrite or not file.exists():
            return False
        if file.suffix == ".mp4":  # it is not read again
            raise OutputError(f"{file}: the file exists already; --overwrite replaces it, -o chooses another folder")
        try:
            there = read_text(file)
        except InputError:
            there = {}
        if all(there.get(key) == value for key, value in self._about(part).items()):
            return True
        raise OutputError(
            f"{file}: another file of that name exists; --overwrite replaces it, -o chooses another folder"
        )

    def _small(self, image: Tensor) -> Tensor:
        """Shrink a picture, or the first of some frames, for the sheet."""
        from sinwave.resize import resize

        image = image[:3] if image.dim() == 3 else image[0]
        if self._shrink == 1:
            return image
        height, width = (max(1, round(self._shrink * side)) for side in image.shape[1:])
        return resize(image[None], (height, width))[0]


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


def _places(source: Source, output: Path) -> list[tuple[Source, Path]]:
    """The source, or those of a folder one by one, and the folder inside of the output where its results go."""
    from sinwave.tasks.collect import pictures_below

    folder = source.path
    if folder is None or not folder.is_dir():
        return [(source, Path())]
    files, results = pictures_below(folder), output.resolve()
    if folder.resolve() in results.parents:  # what is written there is no source of the next run
        files = [file for file in files if results not in file.resolve().parents]
    return [(Source.accept(file), file.parent.relative_to(folder)) for file in files]
