"""Draw new pictures that look like one picture."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from sinwave import __version__
from sinwave.errors import InputError, OutputError
from sinwave.options import check, option
from sinwave.tasks.folders import make_folder
from sinwave.tasks.hardware import Hardware
from sinwave.tasks.parallel import Tally, in_parallel
from sinwave.tasks.sizes import check_size, parse_scale, parse_size

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave.rng import NoiseSource
    from sinwave.systems.protocols import SingleImageModel
    from sinwave.tasks.source import Source

__all__ = ["Generate", "Generated", "OnProgress"]

OnProgress: TypeAlias = Callable[[str, float, float], None]
"""`on_progress(label, done, total)`: how much of the whole job is done, in units of equal time."""

ON_SHEET = 47
"""More samples than this make a sheet that nobody looks at."""

SMALL = 1 << 19
"""Pixels up to which pictures are drawn several at once."""


class Generated(NamedTuple):
    """The files that were written or, made by the same command before, kept."""

    files: tuple[Path, ...]
    sheet: Path
    size: tuple[int, int]
    kept: int
    seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What to draw; apart from `Generate` so that these options stand before those of the hardware."""

    source: Path = option(
        help="the picture to learn from (PNG, JPEG, WebP, TIFF, BMP, GIF, PPM), or a model file of sinwave train",
        positional=True,
    )
    count: int = option(8, "how many pictures to draw", low=1, high=10_000, short="-n", metavar="N")
    size: str | None = option(
        None, "size of the new pictures in pixels (default: that of SOURCE)", metavar="WIDTHxHEIGHT"
    )
    scale: str | None = option(
        None, "size as a multiple of SOURCE's: 2, or 1.5x1 for width and height", metavar="FACTOR"
    )
    variation: float = option(
        0.7, "0 = SOURCE itself, 0.5 = other details, 0.7 = other objects, 1 = a new composition", low=0, high=1
    )
    engine: Literal["auto", "closed-form", "network", "hybrid"] = option(
        "auto",
        "closed-form: the picture's own patches, nothing to train; from a model file also network, what was trained, "
        "or hybrid, the network's layout with patches for the detail; auto: hybrid if there is a network",
    )
    seed: int = option(0, "another seed draws other pictures", low=0, high=2**63 - 1)
    output: Path = option(Path(), "the folder to write to; it is made if it is not there", short="-o", metavar="DIR")
    overwrite: bool = option(False, "replace files that are there already")
    max_pixels: int = option(100_000_000, "the largest picture to read or draw, a guard against accidents", low=256)


@dataclass(frozen=True, kw_only=True)
class Generate(Hardware, _Wanted):
    """Draw new pictures that look like SOURCE, of any size: a picture, with nothing to train, or a trained model.

    Writes NAME-0000.png, NAME-0001.png, ... and the contact sheet NAME-sheet.png. The same seed draws the same
    pictures: picture 5 of 8 is picture 5 of 100. Run the same command again to go on after an interruption.
    """

    def __post_init__(self) -> None:
        """Check what can be checked without the picture."""
        check(self)
        if self.size is not None and self.scale is not None:
            raise InputError("size and scale exclude each other: give one of them")
        if self.size is not None:
            check_size(parse_size(self.size), self.max_pixels)
        if self.scale is not None:
            parse_scale(self.scale, (1, 1))

    def run(self, on_progress: OnProgress = lambda label, done, total: None) -> Generated:
        """Read, draw, write."""
        from sinwave.images import read, sheet, write
        from sinwave.images.contact import MAX_SIDE
        from sinwave.tasks.source import open_source, size_of

        start = time.perf_counter()
        on_progress("reading", 0, 1)
        known = size_of(self.source)
        size = self.size_for(known)
        if size != known:
            check_size(size, self.max_pixels)
        source = open_source(self.source, self.engine, self.max_pixels)
        picture = source.picture
        source.check_memory(size)
        device, dtype = self.prepare()
        files = [self.output / f"{source.name}-{index:04d}.png" for index in range(self.count)]
        contact = self.output / f"{source.name}-sheet.png"
        texts = [self._text(source, size, str(index)) for index in range(self.count)]
        finished = [not self.overwrite and _is_finished(file, text) for file, text in zip(files, texts, strict=True)]
        replace_sheet = self.overwrite or _is_finished(contact, self._text(source, size, "sheet"))
        if contact.exists() and not replace_sheet:
            raise OutputError(f"{contact}: the file exists already; --overwrite replaces it, -o chooses another folder")

        missing = [index for index, done in enumerate(finished) if not done]
        model = source.model(device, dtype, None if self.dtype == "auto" else dtype) if missing else None
        make_folder(self.output)
        # Very large pictures are shrunk one by one, so that a sheet needs no more memory than one of them.
        shrink = min(1.0, MAX_SIDE / max(*size, *picture.size))
        shown = {i: _shrunk(read(files[i]).pixels, shrink) for i, done in enumerate(finished) if done and i < ON_SHEET}
        if model is not None:
            workers = _workers(picture.size, size, len(missing)) if device.type == "cpu" else 1
            shown |= self._draw(model, source, size, missing, files, texts, shrink, workers, on_progress)
        overview = sheet(_shrunk(picture.pixels, shrink), [shown[index] for index in sorted(shown)])
        write(contact, overview, overwrite=replace_sheet, text=self._text(source, size, "sheet"), icc=picture.icc)
        seconds = time.perf_counter() - start
        return Generated(tuple(files), contact, size, sum(finished), seconds, picture.notes)

    def _draw(
        self,
        model: SingleImageModel,
        source: Source,
        size: tuple[int, int],
        missing: Sequence[int],
        files: Sequence[Path],
        texts: Sequence[Mapping[str, str]],
        shrink: float,
        workers: int,
        on_progress: OnProgress,
    ) -> dict[int, Tensor]:
        """Draw and write the missing pictures, several at once where that is faster; they come back for the sheet."""
        from sinwave.images import write
        from sinwave.rng import NoiseSource

        batches = [missing[first : first + model.together] for first in range(0, len(missing), model.together)]
        tally = Tally(on_progress, self.count - len(missing), self.count)
        noise, picture = NoiseSource(self.seed).child("picture"), source.picture

        def work(indices: Sequence[int]) -> dict[int, Tensor]:
            report = _reporter(model, size, indices, self.count, tally)
            images = _drawn(model, size, noise, indices, self.variation, report)
            for index, image in zip(indices, images, strict=True):
                text = texts[index]
                write(files[index], image, overwrite=self.overwrite, text=text, icc=picture.icc, grey=picture.grey)
            some = zip(indices, images, strict=True)
            return {index: _shrunk(image, shrink) for index, image in some if index < ON_SHEET}

        shown: dict[int, Tensor] = {}
        for made in in_parallel(work, batches, workers, tally.stop):
            shown |= made
        return shown

    def size_for(self, source: tuple[int, int]) -> tuple[int, int]:
        """The (height, width) of the new pictures for a source of that size."""
        if self.size is not None:
            return parse_size(self.size)
        return source if self.scale is None else parse_scale(self.scale, source)

    def _text(self, source: Source, size: tuple[int, int], part: str) -> Mapping[str, str]:
        """What a file says of how it was made. The number of pictures is no part of it: it changes none of them."""
        words = ["sinwave", "generate", self.source.name, "--size", f"{size[1]}x{size[0]}"]
        words += ["--variation", f"{self.variation:g}", "--seed", str(self.seed)]
        words += ["--engine", self.engine] if self.engine != "auto" else []
        words += ["--dtype", self.dtype] if self.dtype != "auto" else []
        return {
            "Software": f"sinwave {__version__}",
            "sinwave:command": shlex.join(words),
            "sinwave:seed": str(self.seed),
            "sinwave:picture": part,
            "sinwave:source-sha256": source.sha256,
        }


def _drawn(
    model: SingleImageModel,
    size: tuple[int, int],
    noise: NoiseSource,
    indices: Sequence[int],
    variation: float,
    report: Callable[[int, int, int], None],
) -> Tensor:
    """The pictures of these numbers, (b, 3, h, w)."""
    import torch

    streams = noise.child(indices[0]) if len(indices) == 1 else noise.batch(indices)
    with torch.inference_mode():
        images: Tensor = model.generate(size, streams, variation=variation, on_step=report)
    return images.float().cpu()


def _workers(source: tuple[int, int], size: tuple[int, int], count: int) -> int:
    """One a core for small pictures; a large one has work for all cores, and needs the memory."""
    import torch

    small = max(source[0] * source[1], size[0] * size[1]) <= SMALL
    return max(1, min(torch.get_num_threads(), count)) if small else 1


def _shrunk(image: Tensor, factor: float) -> Tensor:
    from sinwave.resize import resize

    if factor == 1:
        return image
    height, width = (max(1, round(factor * side)) for side in image.shape[1:])
    return resize(image[None], (height, width))[0]


def _is_finished(file: Path, text: Mapping[str, str]) -> bool:
    """Whether `file` is there and was made by the same command; another file in its place is an error."""
    from sinwave.images import read_text

    if not file.exists():
        return False
    try:
        found = read_text(file)
    except InputError:
        found = {}
    if all(found.get(key) == value for key, value in text.items()):
        return True
    raise OutputError(f"{file}: another file of that name exists; --overwrite replaces it, -o chooses another folder")


def _reporter(
    model: SingleImageModel, size: tuple[int, int], indices: Sequence[int], count: int, tally: Tally
) -> Callable[[int, int, int], None]:
    """Turns the steps of some pictures into progress of the whole job."""
    effort = model.effort(size)
    whole = sum(effort)
    first, last = indices[0] + 1, indices[-1] + 1
    name = f"picture {first}" if first == last else f"pictures {first} to {last}"

    def report(scale: int, step: int, steps: int) -> None:
        done = (sum(effort[:scale]) + effort[scale] * step / steps) / whole
        label = f"{name} of {count}, scale {scale + 1} of {len(effort)}, step {step} of {steps}"
        tally.tell(first, label, len(indices) * done)

    return report
