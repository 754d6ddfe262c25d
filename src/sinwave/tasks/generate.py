"""Draw new pictures that look like one picture."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from sinwave import __version__
from sinwave.errors import InputError, OutputError
from sinwave.options import check, option
from sinwave.tasks.estimate import check_memory
from sinwave.tasks.hardware import Hardware
from sinwave.tasks.sizes import MIN_SIDE, check_size, parse_scale, parse_size

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave.images import Picture
    from sinwave.systems.wavelet.model import WaveletModel

__all__ = ["Generate", "Generated", "OnProgress"]

OnProgress: TypeAlias = Callable[[str, float, float], None]
"""`on_progress(label, done, total)`: how much of the whole job is done, in units of equal time."""

ON_SHEET = 47
"""More samples than this make a sheet that nobody looks at."""


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

    source: Path = option(help="the picture to learn from: PNG, JPEG, WebP, TIFF, BMP, GIF or PPM", positional=True)
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
    seed: int = option(0, "another seed draws other pictures", low=0, high=2**63 - 1)
    output: Path = option(Path(), "the folder to write to; it is made if it is not there", short="-o", metavar="DIR")
    overwrite: bool = option(False, "replace files that are there already")
    max_pixels: int = option(100_000_000, "the largest picture to read or draw, a guard against accidents", low=256)


@dataclass(frozen=True, kw_only=True)
class Generate(Hardware, _Wanted):
    """Draw new pictures that look like SOURCE, of any size, with nothing to train.

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
        from sinwave.images import probe, read, sheet, write
        from sinwave.rng import NoiseSource
        from sinwave.systems.wavelet.closed_form import closed_form_model

        start = time.perf_counter()
        on_progress("reading", 0, 1)
        header = probe(self.source)
        size = self.size_for(header.size)
        if size != header.size:
            check_size(size, self.max_pixels)
        picture = read(self.source, max_pixels=self.max_pixels, min_side=MIN_SIDE)
        check_memory(picture.size, size)
        device, dtype = self.prepare()
        files = [self.output / f"{picture.name}-{index:04d}.png" for index in range(self.count)]
        contact = self.output / f"{picture.name}-sheet.png"
        texts = [self._text(picture, size, str(index)) for index in range(self.count)]
        finished = [not self.overwrite and _is_finished(file, text) for file, text in zip(files, texts, strict=True)]
        replace_sheet = self.overwrite or _is_finished(contact, self._text(picture, size, "sheet"))
        if contact.exists() and not replace_sheet:
            raise OutputError(f"{contact}: the file exists already; --overwrite replaces it, -o chooses another folder")

        opaque = None if picture.opaque is None else picture.opaque.to(device)
        model = None if all(finished) else closed_form_model(picture.pixels[None].to(device, dtype), opaque=opaque)
        make_folder(self.output)
        shown: list[Tensor] = []
        for index, (file, text, done) in enumerate(zip(files, texts, finished, strict=True)):
            if done or model is None:
                image = read(file).pixels
            else:
                report = _reporter(model, size, index, self.count, on_progress)
                noise = NoiseSource(self.seed).child("picture", index)
                image = model.generate(size, noise, variation=self.variation, on_step=report)[0].float().cpu()
                write(file, image, overwrite=self.overwrite, text=text, icc=picture.icc, grey=picture.grey)
            if index < ON_SHEET:
                shown.append(image)
        overview = sheet(picture.pixels, shown)
        write(contact, overview, overwrite=replace_sheet, text=self._text(picture, size, "sheet"), icc=picture.icc)
        seconds = time.perf_counter() - start
        return Generated(tuple(files), contact, size, sum(finished), seconds, picture.notes)

    def size_for(self, source: tuple[int, int]) -> tuple[int, int]:
        """The (height, width) of the new pictures for a source of that size."""
        if self.size is not None:
            return parse_size(self.size)
        return source if self.scale is None else parse_scale(self.scale, source)

    def _text(self, picture: Picture, size: tuple[int, int], part: str) -> Mapping[str, str]:
        """What a file says of how it was made. The number of pictures is no part of it: it changes none of them."""
        name = picture.path.name if picture.path else picture.name
        words = ["sinwave", "generate", name, "--size", f"{size[1]}x{size[0]}", "--variation", f"{self.variation:g}"]
        words += ["--seed", str(self.seed)] + (["--dtype", self.dtype] if self.dtype != "float32" else [])
        return {
            "Software": f"sinwave {__version__}",
            "sinwave:command": shlex.join(words),
            "sinwave:seed": str(self.seed),
            "sinwave:picture": part,
            "sinwave:source-sha256": picture.sha256,
        }


def make_folder(folder: Path) -> None:
    """Make `folder` and what leads to it; an `OutputError` says why that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = (
            "a file of that name is in the way"
            if isinstance(error, (FileExistsError, NotADirectoryError))
            else getattr(error, "strerror", None) or error
        )
        raise OutputError(f"{folder}: the folder cannot be made ({reason})") from error


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
    model: WaveletModel, size: tuple[int, int], index: int, count: int, on_progress: OnProgress
) -> Callable[[int, int, int], None]:
    """Turns the steps of a picture into progress of the whole job."""
    effort = model.effort(size)
    whole = sum(effort)

    def report(scale: int, step: int, steps: int) -> None:
        done = (sum(effort[:scale]) + effort[scale] * step / steps) / whole
        label = f"picture {index + 1} of {count}, scale {scale + 1} of {len(effort)}, step {step} of {steps}"
        on_progress(label, index + done, count)

    return report
