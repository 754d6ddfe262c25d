"""The page about an adapted model: samples, what of them is copied, what was before, and how it learned."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sinwave.data.likeness import Copies, drawings
from sinwave.images import to_uint8
from sinwave.tasks.reporting.page import Line, Section, chart, pictures, table

__all__ = ["Adaptation", "sections"]

_ON_PAGE, _NEAR, _PAIRS = 24, 8, 8
_SHOWN = 96
"""Pixels that a small picture has on the page, at least."""

_TICKS = 5
_MEANING = {
    True: "nearer to a picture that the model learned from than 95 % of new pictures of this kind would be, as far as "
    "the distances between those pictures tell, and to none of the others as near",
    False: "so near to a picture that the model learned from that it is certain; those pictures are too few to tell "
    "how near new ones come",
}


class Adaptation(NamedTuple):
    """What is known of an adapted model; pictures are (3, h, w) and (n, 3, h, w) in [-1, 1].

    shots      what it was adapted to, by name
    samples    drawn by it
    before     drawn by its source from the same noise, None if that is not there
    between    drawn from noise that walks in a circle
    log        of its training, if that is there
    """

    shots: Mapping[str, Tensor]
    samples: Tensor
    before: Tensor | None
    between: Tensor
    log: Path
    subtitle: str


def sections(model: Adaptation) -> Iterator[Section]:
    """Yield the sections, from what everybody looks at first to what few look up."""
    yield _samples(model.samples)
    yield _copies(model.samples, model.before, model.shots)
    yield _nearest(model.samples, model.shots)
    if model.before is not None:
        yield _before_and_after(model.before, model.samples)
    yield _between(model.between)
    yield _figures(model.samples, model.before, torch.stack(list(model.shots.values())))
    yield from _learning(model.log)


def _samples(samples: Tensor) -> Section:
    captioned = [(str(number), _shown(sample)) for number, sample in enumerate(samples[:_ON_PAGE])]
    explanation = f"The first {len(captioned)} of {len(samples)}, as sinwave generate draws them."
    return Section("Samples", explanation, pictures(captioned))


def _copies(samples: Tensor, unadapted: Tensor | None, shots: Mapping[str, Tensor]) -> Section:
    originals = torch.stack(list(shots.values()))
    copies = Copies(originals)
    counts = copies.of_each(samples)
    captioned = [
        (f"{name}: {number} cop{'y' if number == 1 else 'ies'}", _shown(shot))
        for (name, shot), number in zip(shots.items(), counts.tolist(), strict=True)
    ]
    before = "" if unadapted is None else f" Of the samples before the adaptation {copies.share(unadapted):.0%} are."
    explanation = (
        f"{copies.share(samples):.0%} of {len(samples)} samples are copies: {_MEANING[copies.calibrated]}. Only light "
        "and dark count, so a copy in other colors is a copy."
        f"{before} Below, how many copies each of those pictures has."
    )
    return Section("What is copied", explanation, pictures(captioned))


def _nearest(samples: Tensor, shots: Mapping[str, Tensor]) -> Section:
    originals, names = torch.stack(list(shots.values())), list(shots)
    copies = Copies(originals)
    near = copies.nearest(samples)
    captioned = list[tuple[str, Tensor]]()
    for number in near.distance.argsort()[:_NEAR].tolist():
        original, distance = int(near.original[number]), near.distance[number].item()
        verdict = "a copy" if near.copied[number] else "no copy"
        captioned.append((f"sample {number}: {verdict}", _shown(samples[number])))
        captioned.append((f"{names[original]}, correlation {1 - distance**2 / 2:.2f}", _shown(originals[original])))
    limit = 1 - copies.limit**2 / 2
    explanation = (
        f"The samples that are nearest to a picture that the model learned from, each beside it. From a correlation of "
        f"{limit:.2f} on it is a copy."
    )
    return Section("The most similar", explanation, pictures(captioned))


def _before_and_after(before: Tensor, after: Tensor) -> Section:
    body = pictures([(f"before, {number}", _shown(picture)) for number, picture in enumerate(before[:_PAIRS])])
    body += pictures([(f"after, {number}", _shown(picture)) for number, picture in enumerate(after[:_PAIRS])])
    explanation = "Drawn from the same noise by the model that was adapted, and by the adapted one."
    return Section("Before and after", explanation, body)


def _between(between: Tensor) -> Section:
    captioned = [(f"{number + 1} of {len(between)}", _shown(picture)) for number, picture in enumerate(between)]
    explanation = (
        "Noise that walks in a circle. A model that has learned a look changes little by little; one that has learned "
        "pictures by heart jumps from one to another."
    )
    return Section("Between samples", explanation, pictures(captioned))


def _figures(samples: Tensor, unadapted: Tensor | None, shots: Tensor) -> Section:
    copies = Copies(shots)
    rows = [("samples", samples), ("before the adaptation", unadapted), ("the pictures themselves", shots)]
    cells = [
        (escape(name), str(len(part)), f"{copies.share(part):.2f}", f"{_spread(part):.3f}")
        for name, part in rows
        if part is not None and len(part) > 1
    ]
    explanation = (
        "Spread is the mean distance of two pictures, from 0 to 2. By itself it says nothing, since a model that has "
        "learned nothing yet has the highest: read it beside the samples. The pictures themselves are copies of "
        "themselves."
    )
    return Section("Figures", explanation, table(("pictures", "n", "copies", "spread"), cells))


def _spread(samples: Tensor) -> float:
    return torch.pdist(drawings(samples)).mean().item()


def _learning(log: Path) -> Iterator[Section]:
    """Curves over the marks of the run, if its log is there."""
    marks = list(_marks(log))
    if len(marks) < 2:
        return
    steps = [step for step, _ in marks]
    every = max(1, math.ceil(len(steps) / _TICKS))
    ticks = [str(step) if number % every == 0 else "" for number, step in enumerate(steps)]

    def line(name: str, label: str, color: int) -> Line | None:
        values = [values.get(name, math.nan) for _, values in marks]
        return Line(label, values, color) if any(map(math.isfinite, values)) else None

    shares = [
        line("copies", "copies, share", 0),
        line("near", "copies or nearly", 2),
        line("spread", "spread over the source's", 1),
    ]
    losses = [line("loss", "loss", 0), line("left out", "pictures left out", 1), line("shots", "pictures learned", 2)]
    body = ""
    for title, lines in (("Copies and spread", shares), ("Held-out losses", losses)):
        there = [line for line in lines if line is not None]
        body += chart(title, there, ticks, "step", dots=True) if there else ""
    explanation = "At every mark the model drew samples of the same noise. Copies come late, and then fast."
    yield Section("How it learned", explanation, body)


def _marks(log: Path) -> Iterator[tuple[int, dict[str, float]]]:
    try:
        lines: Sequence[str] = log.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for text in lines:
        try:
            line = json.loads(text)
            if isinstance(held_out := line.get("held_out"), dict):
                yield int(line["step"]), {name: float(value) for name, value in held_out.items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # a damaged line


def _shown(picture: Tensor) -> Tensor:
    """A picture as bytes, small ones enlarged so that one sees them."""
    times = max(1, round(_SHOWN / min(picture.shape[1:])))
    return to_uint8(picture).repeat_interleave(times, 1).repeat_interleave(times, 2)
