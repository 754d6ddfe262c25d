"""Pictures with numbers, drawn by any task: written one by one, kept when the same command comes again, on one sheet.

A task makes a `Request`: what its pictures are called and made of, and how one is drawn. The same seed draws the same
pictures, so picture 5 of 8 is picture 5 of 100.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from sinwave import __version__
from sinwave.errors import InputError, OutputError
from sinwave.options import option
from sinwave.tasks.folders import make_folder
from sinwave.tasks.hardware import Hardware
from sinwave.tasks.parallel import Tally, in_parallel

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sinwave.images import Picture
    from sinwave.rng import Noise, NoiseSource
    from sinwave.systems.contracts import OnStep

__all__ = ["Drawing", "Generated", "Numbered", "OnProgress", "Request"]

OnProgress: TypeAlias = Callable[[str, float, float], None]
"""`on_progress(label, done, total)`: how much of the whole job is done, in units of equal time."""

ON_SHEET = 47
"""More samples than this make a sheet that nobody looks at."""

FEW_PIXELS = 1 << 19
"""Pixels up to which pictures are drawn several at once."""


class Generated(NamedTuple):
    """The files that were written or, made by the same command before, kept."""

    files: tuple[Path, ...]
    sheet: Path
    size: tuple[int, int]
    kept: int
    seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Drawing:
    """How a picture is drawn: `draw(noise, on_step)`, its scales' efforts, and how many may be drawn at once.

    One of several frames is drawn alone, (n, 3, h, w).
    """

    draw: Callable[[Noise, OnStep], Tensor]
    effort: tuple[float, ...]
    batch: int = 1


@dataclass(frozen=True, eq=False)
class Request:
    """What is to be drawn.

    name      of the files, NAME-0000.png
    words     of the command that draws the same, but for seed and precision
    picture   what the results look like: pictures have its color profile, and it stands first on the sheet
    sha256    of all that the results are made of
    size      of the results
    prepare   what is done once: `prepare(device, dtype, convolutions)`
    inputs    further pictures that stand on the sheet before the results, by what they are called there
    suffix    of the files: .png, or that of an animation
    fps       frames a second, of an animation
    """

    name: str
    words: Sequence[str]
    picture: Picture
    sha256: str
    size: tuple[int, int]
    prepare: Callable[[torch.device, torch.dtype, torch.dtype | None], Drawing]
    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    suffix: str = ".png"
    fps: float | None = None

    def write(self, file: Path, image: Tensor, text: Mapping[str, str], *, overwrite: bool) -> None:
        """Write a result, a picture or its frames."""
        from sinwave.images import looks_grey, write, write_frames

        if self.fps is not None:
            write_frames(file, image, self.fps, overwrite=overwrite, text=text)
        else:
            # What was pasted into a grey picture, or blended with it, may have colors.
            grey = self.picture.grey and looks_grey(image)
            write(file, image, overwrite=overwrite, text=text, icc=self.picture.icc, grey=grey)


@dataclass(frozen=True, kw_only=True)
class _Many:
    count: int = option(8, "how many pictures to draw", low=1, high=10_000, short="-n", metavar="N")
    seed: int = option(0, "another seed draws other pictures", low=0, high=2**63 - 1)
    output: Path = option(Path(), "the folder to write to; it is made if it is not there", short="-o", metavar="DIR")
    overwrite: bool = option(False, "replace files that are there already")
    max_pixels: int = option(100_000_000, "the largest picture to read or draw, a guard against accidents", low=256)


@dataclass(frozen=True, kw_only=True)
class Numbered(Hardware, _Many):
    """How many pictures to draw, where to, and on what."""

    def make(self, request: Request, on_progress: OnProgress) -> Generated:
        """Draw and write the pictures that are not there yet, and the sheet of all."""
        from sinwave.images import read, sheet, write
        from sinwave.images.contact import MAX_SIDE

        start = time.perf_counter()
        device, dtype = self.prepare()
        picture = request.picture
        files = [self.output / f"{request.name}-{index:04d}{request.suffix}" for index in range(self.count)]
        contact = self.output / f"{request.name}-sheet.png"
        texts = [self._text(request, str(index)) for index in range(self.count)]
        finished = [not self.overwrite and _is_finished(file, text) for file, text in zip(files, texts, strict=True)]
        replace_sheet = self.overwrite or _is_finished(contact, self._text(request, "sheet"))
        if contact.exists() and not replace_sheet:
            raise OutputError(f"{contact}: the file exists already; --overwrite replaces it, -o chooses another folder")
        missing = [index for index, done in enumerate(finished) if not done]
        drawing = request.prepare(device, dtype, None if self.dtype == "auto" else dtype) if missing else None
        make_folder(self.output)
        # Very large pictures are shrunk one by one, so that a sheet needs no more memory than one of them.
        shrink = min(1.0, MAX_SIDE / max(*request.size, *picture.size))
        shown = {i: _shrunk(read(files[i]).pixels, shrink) for i, done in enumerate(finished) if done and i < ON_SHEET}
        if drawing is not None:
            workers = _workers(request, len(missing)) if device.type == "cpu" else 1
            shown |= self._draw(drawing, request, missing, files, texts, shrink, workers, on_progress)
        inputs = {label: _shrunk(each, shrink) for label, each in request.inputs.items()}
        overview = sheet(_shrunk(picture.pixels, shrink), [shown[index] for index in sorted(shown)], inputs=inputs)
        write(contact, overview, overwrite=replace_sheet, text=self._text(request, "sheet"), icc=picture.icc)
        seconds = time.perf_counter() - start
        return Generated(tuple(files), contact, request.size, sum(finished), seconds, picture.notes)

    def _draw(
        self,
        drawing: Drawing,
        request: Request,
        missing: Sequence[int],
        files: Sequence[Path],
        texts: Sequence[Mapping[str, str]],
        shrink: float,
        workers: int,
        on_progress: OnProgress,
    ) -> dict[int, Tensor]:
        """Draw and write the missing pictures, several at once where that is faster; they come back for the sheet."""
        from sinwave.rng import NoiseSource

        batches = [missing[first : first + drawing.batch] for first in range(0, len(missing), drawing.batch)]
        tally = Tally(on_progress, self.count - len(missing), self.count)
        noise = NoiseSource(self.seed).child("picture")

        def work(indices: Sequence[int]) -> dict[int, Tensor]:
            images = _drawn(drawing, noise, indices, _reporter(drawing, indices, self.count, tally))
            for index, image in zip(indices, images, strict=True):
                request.write(files[index], image, texts[index], overwrite=self.overwrite)
            some = zip(indices, images, strict=True)
            return {index: _shrunk(image, shrink) for index, image in some if index < ON_SHEET}

        shown: dict[int, Tensor] = {}
        for made in in_parallel(work, batches, workers, tally.stop):
            shown |= made
        return shown

    def _text(self, request: Request, part: str) -> Mapping[str, str]:
        """What a file says of how it was made. The number of pictures is no part of it: it changes none of them."""
        words = [*request.words, "--seed", str(self.seed)]
        words += ["--dtype", self.dtype] if self.dtype != "auto" else []
        return {
            "Software": f"sinwave {__version__}",
            "sinwave:command": shlex.join(["sinwave", *words]),
            "sinwave:seed": str(self.seed),
            "sinwave:picture": part,
            "sinwave:source-sha256": request.sha256,
        }


def _drawn(
    drawing: Drawing, noise: NoiseSource, indices: Sequence[int], report: Callable[[int, int, int], None]
) -> Tensor:
    """The pictures of these numbers, (b, 3, h, w)."""
    import torch

    streams = noise.child(indices[0]) if len(indices) == 1 else noise.batch(indices)
    with torch.inference_mode():
        images = drawing.draw(streams, report).float().cpu()
    return images if len(images) == len(indices) else images[None]


def _workers(request: Request, count: int) -> int:
    """One a core for small pictures; a large one has work for all cores, and needs the memory; frames share them."""
    import torch

    if request.fps is not None:
        return 1
    largest = max(height * width for height, width in (request.picture.size, request.size))
    return max(1, min(torch.get_num_threads(), count)) if largest <= FEW_PIXELS else 1


def _shrunk(image: Tensor, factor: float) -> Tensor:
    """A picture, or the first of some frames, for the sheet."""
    from sinwave.resize import resize

    image = image if image.dim() == 3 else image[0]
    if factor == 1:
        return image
    height, width = (max(1, round(factor * side)) for side in image.shape[1:])
    return resize(image[None], (height, width))[0]


def _is_finished(file: Path, text: Mapping[str, str]) -> bool:
    """Whether `file` is there and was made by the same command; another file in its place is an error."""
    from sinwave.images import read_text

    if not file.exists():
        return False
    if file.suffix == ".mp4":  # it is not read again
        raise OutputError(f"{file}: the file exists already; --overwrite replaces it, -o chooses another folder")
    try:
        found = read_text(file)
    except InputError:
        found = {}
    if all(found.get(key) == value for key, value in text.items()):
        return True
    raise OutputError(f"{file}: another file of that name exists; --overwrite replaces it, -o chooses another folder")


def _reporter(drawing: Drawing, indices: Sequence[int], count: int, tally: Tally) -> Callable[[int, int, int], None]:
    """Turns the steps of some pictures into progress of the whole job."""
    effort = drawing.effort
    whole = sum(effort)
    first, last = indices[0] + 1, indices[-1] + 1
    name = f"picture {first}" if first == last else f"pictures {first} to {last}"

    def report(scale: int, step: int, steps: int) -> None:
        done = (sum(effort[:scale]) + effort[scale] * step / steps) / whole
        part = f", scale {scale + 1} of {len(effort)}" if len(effort) > 1 else ""
        label = f"{name} of {count}{part}, step {step} of {steps}"
        tally.tell(first, label, len(indices) * done)

    return report
