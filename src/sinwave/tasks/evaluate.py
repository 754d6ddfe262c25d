"""Measure how good, how different and how copied pictures are."""

from __future__ import annotations

import time
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from sinwave.errors import InputError
from sinwave.metrics.cards import CARDS, Card, Protocol, cards_for
from sinwave.options import check, option
from sinwave.tasks.measuring import Measuring
from sinwave.tasks.numbered import OnProgress

if TYPE_CHECKING:
    from sinwave.metrics.evaluate import Results
    from sinwave.tasks.material import Material

__all__ = ["Evaluate", "Evaluation"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was found; `remarks` are sentences for the user."""

    protocol: Protocol
    measured: Results
    remarks: tuple[str, ...]
    seconds: float


BY_NAME = ", ".join(card.name for card in CARDS.values() if not card.default)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What to measure; apart from `Evaluate` so that these options stand before those of measuring."""

    source: Path | None = option(None, "the picture that the samples were made from")
    samples: tuple[Path, ...] = option((), "samples: folders or picture files", metavar="PATH")
    pairs: tuple[Path, ...] = option(
        (),
        "restoration: folders of low-resolution, of true and of restored pictures, with equal names; "
        "more folders are more methods",
        metavar="DIR",
    )
    real: Path | None = option(None, "a folder of real pictures")
    fake: Path | None = option(None, "a folder of made pictures")
    metrics: tuple[str, ...] = option(
        (), f"the metrics to compute (default: all but {BY_NAME}): {', '.join(CARDS)}", metavar="NAME"
    )


@dataclass(frozen=True, kw_only=True)
class Evaluate(Measuring, _Asked):
    """Measure pictures: samples of one picture, restored pictures, or a set of made pictures against real ones.

    Give --source and --samples, or --pairs, or --real and --fake. Every figure stands with the number of pictures that
    it is made of and, where one can be told, its 95 % interval. Pictures are measured at their size; what cannot be
    used is named and left out. Learned metrics need their published weights: without them they are said to be
    unavailable, and the others go on. docs/metrics.md defines all metrics.
    """

    def __post_init__(self) -> None:
        """Check what can be checked without the pictures."""
        check(self)
        protocol = self.protocol
        for name in self.metrics:
            _check_name(name, protocol)

    @property
    def protocol(self) -> Protocol:
        """Which of the three ways of measuring the options ask for."""
        given: dict[Protocol, bool] = {
            "single": self.source is not None or bool(self.samples),
            "pairs": bool(self.pairs),
            "sets": self.real is not None or self.fake is not None,
        }
        chosen = [protocol for protocol, wanted in given.items() if wanted]
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

    def run(self, on_progress: OnProgress = lambda label, done, total: None) -> Evaluation:
        """Read and measure."""
        import torch

        from sinwave.metrics.evaluate import evaluate

        start = time.perf_counter()
        on_progress("reading", 0, 1)
        resources, remarks = self.resources()
        material = self._material()
        names = [card.name for card in self.cards]
        with torch.inference_mode():
            measured = evaluate(self.protocol, names, material.judged, material.others, resources, on_progress)
        remarks = (*material.remarks, *remarks, *measured.remarks)
        return Evaluation(self.protocol, measured, remarks, time.perf_counter() - start)

    def _material(self) -> Material:
        from sinwave.tasks import material

        if self.source is not None:
            return material.samples_of(self.source, self.samples, self.max_pixels)
        if self.fake is not None and self.real is not None:
            return material.sets(self.fake, self.real, self.max_pixels)
        return material.restored(self.pairs, self.max_pixels)


def _check_name(name: str, protocol: Protocol) -> None:
    known = [card.name for card in cards_for(protocol)]
    if name in known:
        return
    if name in CARDS:
        raise InputError(f"the metric {name} is not one of {protocol}; those are {', '.join(known)}")
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
    raise InputError(f"there is no metric {name!r}; {hint}")
