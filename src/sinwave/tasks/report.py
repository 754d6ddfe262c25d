"""Put everything that can be seen and measured of samples on one page."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sinwave import __version__
from sinwave.errors import InputError, OutputError
from sinwave.metrics.cards import cards_for
from sinwave.options import check, option
from sinwave.tasks.base.collect import picture_files
from sinwave.tasks.base.machine import Machine, OnProgress, silent
from sinwave.tasks.evaluate import Measuring

if TYPE_CHECKING:
    from sinwave.tasks.base.material import Material

__all__ = ["Report", "Reported"]


class Reported(NamedTuple):
    """The file that was written, the number of samples, metrics without a figure and why, and remarks for the user."""

    file: Path
    samples: int
    unavailable: Mapping[str, str]
    remarks: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Report(Measuring):
    """Write one HTML file on samples of a picture: the samples, where they come from, what is copied, every figure.

    The file needs no network: send it to anybody. Samples of other methods may be measured beside them. Of an adapted
    model, the file shows samples drawn for it, the pictures of --shots that are nearest, and how it learned.
    """

    source: Path = option(help="the picture that the samples were made from, or an adapted model", positional=True)
    samples: tuple[Path, ...] = option((), "samples: folders or picture files", metavar="PATH")
    shots: Path | None = option(None, "the folder of pictures that a model was adapted to", metavar="FOLDER")
    peers: tuple[Path, ...] = option(
        (), "named samples of other methods, measured beside --samples", metavar="NAME=PATH"
    )
    output: Path = option(Path("report.html"), "the file to write", short="-o", metavar="FILE")
    overwrite: bool = option(False, "replace the file if it is there already")

    def __post_init__(self) -> None:
        check(self)
        names = ["samples", *(name for name, _ in self._named())]
        if len(set(names)) < len(names):
            raise InputError(f"two methods have one name: {', '.join(names)}")
        own, foreign = ("shots", "samples") if self._of_model else ("samples", "shots")
        if not getattr(self, own):
            what = "the pictures that the model was adapted to" if self._of_model else "the pictures to report on"
            raise InputError(f"--{own} is missing: {what}")
        if getattr(self, foreign) or (self._of_model and self.peers):
            kind = "an adapted model" if self._of_model else "samples of a picture"
            raise InputError(f"{foreign if getattr(self, foreign) else 'peers'} has no use in a report on {kind}")

    def run(self, on_progress: OnProgress = silent) -> Reported:
        """Read, measure, draw, write."""
        import torch

        from sinwave.atomic import write_bytes
        from sinwave.metrics.evaluate import evaluate
        from sinwave.tasks.reporting.page import page
        from sinwave.tasks.reporting.sections import sections

        start = time.perf_counter()
        self._check_output()
        if self._of_model:
            return self._adapted(on_progress, start)
        resources, remarks = self.resources()
        on_progress("reading", 0, 1)
        material = self._material()
        names = [card.name for card in cards_for("single") if card.default]
        with torch.inference_mode():
            results = evaluate("single", names, material.methods, material.references, resources, on_progress)
            parts = list(sections(self.source.name, material, results))
        samples = len(material.methods[0].pictures)
        title = f"{samples} sample{'s' * (samples > 1)} of {self.source.name}"
        text = page(title, _subtitle(material), parts, self._footer())
        # A file name may hold bytes that are no text.
        write_bytes(self.output, text.encode(errors="backslashreplace"), overwrite=self.overwrite)
        remarks = (*material.remarks, *remarks, *results.remarks)
        return Reported(self.output, samples, results.unavailable, remarks, time.perf_counter() - start)

    @property
    def _of_model(self) -> bool:
        return self.source.suffix == ".safetensors"

    def _adapted(self, on_progress: OnProgress, start: float) -> Reported:
        """Write the page about an adapted model."""
        import torch

        from sinwave.atomic import write_bytes
        from sinwave.tasks.reporting.adaptation import OF_MODEL, adaptation
        from sinwave.tasks.reporting.adapted_page import sections
        from sinwave.tasks.reporting.page import page

        assert self.shots is not None
        on_progress("reading", 0, 1)
        with Machine(device=self.device, threads=self.threads).on(torch.float32) as device, torch.inference_mode():
            model, remarks = adaptation(self.source, self.shots, device, on_progress)
            parts = list(sections(model))
        title = f"{self.source.name}, adapted to {len(model.shots)} picture{'s' * (len(model.shots) > 1)}"
        words = ["sinwave", "report", str(self.source), "--shots", str(self.shots)]
        text = page(title, model.subtitle, parts, f"sinwave {__version__}: {shlex.join(words)}")
        write_bytes(self.output, text.encode(errors="backslashreplace"), overwrite=self.overwrite)
        return Reported(self.output, OF_MODEL, {}, remarks, time.perf_counter() - start)

    def _check_output(self) -> None:
        """Before any work: the page can be written, and it replaces nothing that is read here."""
        from sinwave.atomic import check_place
        from sinwave.data.folder import Folder

        check_place(self.output, self.overwrite)
        if self.output.exists() and not self.overwrite:
            raise OutputError(f"{self.output}: the file exists already; --overwrite replaces it, -o chooses another")
        niqe = [] if self.niqe is None else [self.niqe]
        places = [*self.samples, *(place for _, place in self._named()), *niqe]
        inputs = [self.source, *(picture_files(places) if self.shots is None else Folder(self.shots).files)]
        inputs += [file for folder in [self.weights] if folder and folder.is_dir() for file in folder.iterdir()]
        if self.output.resolve() in {file.resolve() for file in inputs}:
            raise OutputError(f"{self.output}: this is read here, and the page would replace it")

    def _material(self) -> Material:
        from sinwave.tasks.base.material import Material, samples_of

        ours = samples_of(self.source, self.samples, self.max_pixels)
        others = [samples_of(self.source, [place], self.max_pixels, method=name) for name, place in self._named()]
        methods = (*ours.methods, *(method for other in others for method in other.methods))
        remarks = (*ours.remarks, *(remark for other in others for remark in other.remarks))
        return Material(methods, ours.references, tuple(dict.fromkeys(remarks)))

    def _named(self) -> list[tuple[str, Path]]:
        return list(map(_peer, map(str, self.peers)))

    def _footer(self) -> str:
        words = ["sinwave", "report", str(self.source), "--samples", *map(str, self.samples)]
        words += ["--peers", *(f"{name}={place}" for name, place in self._named())] if self.peers else []
        how = f"sinwave {__version__}: {shlex.join(words)}"
        return f"{how}. No picture was resized, and all methods were measured alike."


def _peer(text: str) -> tuple[str, Path]:
    """NAME=PATH, or a path that has a name of its own."""
    name, equals, place = text.partition("=")
    if equals and not (name and place):
        raise InputError(f"a peer is NAME=PATH, not {text!r}")
    return (name, Path(place)) if equals else (Path(text).resolve().name or text, Path(text))


def _subtitle(material: Material) -> str:
    (source,) = material.references.values()
    height, width = source.shape[1:]
    peers = [method.name for method in material.methods[1:]]
    beside = f", beside samples of {', '.join(peers)}" if peers else ""
    return f"The source has {width} x {height} pixels{beside}."
