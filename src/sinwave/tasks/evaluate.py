"""Measure how good, how different and how copied pictures are, with the options that all have that measure."""

from __future__ import annotations

import time
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from sinwave.atomic import make_folder
from sinwave.errors import InputError
from sinwave.metrics.cards import CARDS, Card, Protocol, cards_for
from sinwave.options import check, option
from sinwave.tasks.base.collect import collect
from sinwave.tasks.base.machine import OnProgress, silent, usable_device

if TYPE_CHECKING:
    from sinwave.metrics.evaluate import Results
    from sinwave.metrics.niqe import NaturalModel
    from sinwave.metrics.picture_measures import Resources
    from sinwave.tasks.base.material import Material

__all__ = ["NIQE_BLOCK", "Evaluate", "Evaluation", "Measuring"]

NIQE_BLOCK = 48
"""Side of the blocks of a model that is fitted here: a picture of 250 pixels has four of the published 96."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Results of a run; `remarks` are sentences for the user."""

    protocol: Protocol
    results: Results
    remarks: tuple[str, ...]
    seconds: float


BY_NAME = ", ".join(card.name for card in CARDS.values() if not card.default)


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """Folders of weights and of kept figures, and limits."""

    weights: Path | None = option(None, "a folder of published weights, searched before the usual places")
    niqe: Path | None = option(None, "for NIQE: its parameter file, or a folder of good pictures to fit it to")
    cache: Path | None = option(None, "where scores are cached (default: your cache folder)")
    anew: bool = option(False, "compute everything anew, without the cache")
    device: str = option("auto", "for metrics with networks: auto, cpu, cuda, mps, ...; auto takes the fastest")
    threads: int | None = option(None, "threads to use (default: one per core)", low=1, high=1024)
    max_pixels: int = option(100_000_000, "the largest picture to read", low=256)

    def resources(self) -> tuple[Resources, tuple[str, ...]]:
        """Collect and check everything that metrics need; with remarks."""
        import torch

        from sinwave.metrics.cache import Cache
        from sinwave.metrics.picture_measures import Resources
        from sinwave.pretrained.files import cache_folder

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        device = usable_device(self.device, torch.float32)
        if self.weights is not None and not self.weights.is_dir():
            raise InputError(f"{self.weights}: there is no such folder of weights")
        if self.cache is not None:
            if self.anew:
                raise InputError("anew and cache exclude each other: what is computed anew is not kept")
            make_folder(self.cache)
        folder = None if self.anew else (self.cache or cache_folder() / "sinwave" / "metrics")
        natural, remarks = self._natural_model()
        return Resources(self.weights, natural, Cache(folder), device), remarks

    def _natural_model(self) -> tuple[NaturalModel | None, tuple[str, ...]]:
        from sinwave.metrics.niqe import NaturalModel

        if self.niqe is None:
            return None, ()
        if not self.niqe.is_dir():
            return NaturalModel.load(self.niqe), ()
        good = collect([self.niqe], self.max_pixels)
        large = [picture for picture in good.pictures.values() if min(picture.shape[1:]) >= NIQE_BLOCK]
        if len(large) < len(good.pictures):
            left_out = len(good.pictures) - len(large)
            good.remarks.append(f"{self.niqe}: {left_out} pictures are too small for NIQE, {NIQE_BLOCK} pixels a side")
        if not large:
            raise InputError(f"{self.niqe}: no picture here is large enough for NIQE, {NIQE_BLOCK} pixels a side")
        try:
            return NaturalModel.fit(large, NIQE_BLOCK), tuple(good.remarks)
        except InputError as error:
            raise InputError(f"{self.niqe}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Evaluate(Measuring):
    """Measure pictures: samples of one picture, restored pictures, or a set of generated pictures against real ones.

    Give --source and --samples, or --pairs, or --real and --fake. Every figure stands with the number of pictures that
    it is made of and, where one can be told, its 95 % interval. Pictures are measured at their size; what cannot be
    used is named and left out. Learned metrics need their published weights: without them they are reported as
    unavailable, and the others go on. docs/metrics.md defines all metrics.
    """

    source: Path | None = option(None, "the picture that the samples were made from")
    samples: tuple[Path, ...] = option((), "samples: folders or picture files", metavar="PATH")
    pairs: tuple[Path, ...] = option(
        (),
        "three folders of equally named files: low-resolution, true and restored pictures; each further folder is "
        "another method",
        metavar="DIR",
    )
    real: Path | None = option(None, "a folder of real pictures")
    fake: Path | None = option(None, "a folder of generated pictures")
    metrics: tuple[str, ...] = option(
        (), f"the metrics to compute: {', '.join(CARDS)} (default: all but {BY_NAME})", metavar="NAME"
    )

    def __post_init__(self) -> None:
        check(self)
        protocol = self.protocol
        for name in self.metrics:
            _check_name(name, protocol)

    @property
    def protocol(self) -> Protocol:
        """Which of the three ways of measuring the options ask for."""
        options: dict[Protocol, bool] = {
            "single": self.source is not None or bool(self.samples),
            "pairs": bool(self.pairs),
            "sets": self.real is not None or self.fake is not None,
        }
        chosen = [protocol for protocol, present in options.items() if present]
        if len(chosen) != 1:
            raise InputError("give --source and --samples, or --pairs, or --real and --fake: one of the three")
        (protocol,) = chosen
        if protocol == "single" and (self.source is None or not self.samples):
            raise InputError("--source and --samples belong together: one of them is missing")
        if protocol == "pairs" and len(self.pairs) < 3:
            raise InputError(f"--pairs takes three folders or more, low true restored, not {len(self.pairs)}")
        if protocol == "sets" and (self.real is None or self.fake is None):
            raise InputError("--real and --fake belong together: one of them is missing")
        return protocol

    @property
    def cards(self) -> tuple[Card, ...]:
        """The metrics to compute; likeness to one picture never stands without what tells how much is copied."""
        if not self.metrics:
            return tuple(card for card in cards_for(self.protocol) if card.default)
        names = set(self.metrics) | ({"diversity", "copied"} if "sifid" in self.metrics else set())
        return tuple(card for card in cards_for(self.protocol) if card.name in names)

    def run(self, on_progress: OnProgress = silent) -> Evaluation:
        """Read and measure."""
        import torch

        from sinwave.metrics.evaluate import evaluate

        start = time.perf_counter()
        on_progress("reading", 0, 1)
        resources, remarks = self.resources()
        material = self._material()
        names = [card.name for card in self.cards]
        with torch.inference_mode():
            results = evaluate(self.protocol, names, material.methods, material.references, resources, on_progress)
        remarks = (*material.remarks, *remarks, *results.remarks)
        return Evaluation(self.protocol, results, remarks, time.perf_counter() - start)

    def _material(self) -> Material:
        from sinwave.tasks.base import material

        if self.source is not None:
            return material.samples_of(self.source, self.samples, self.max_pixels)
        if self.fake is not None and self.real is not None:
            return material.sets(self.fake, self.real, self.max_pixels)
        return material.restored(self.pairs, self.max_pixels)


def _check_name(name: str, protocol: Protocol) -> None:
    names = [card.name for card in cards_for(protocol)]
    if name in names:
        return
    if name in CARDS:
        raise InputError(f"the metric {name} is not one of {protocol}; those are {', '.join(names)}")
    close = get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
    raise InputError(f"there is no metric {name!r}; {hint}")
