"""`sinwave evaluate`: how good, how different and how copied pictures are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sinwave.cli.show import ProgressBar, Showing, remark, show_json, show_table
from sinwave.metrics.cards import CARDS
from sinwave.tasks.evaluate import Evaluate, Evaluation

__all__ = ["Options", "run", "show_remarks"]


@dataclass(frozen=True, kw_only=True)
class Options(Showing, Evaluate):
    __doc__ = Evaluate.__doc__


def run(options: Options) -> int:
    """Measure, and print a table for people or one JSON object; 2 if a metric asked for by name has no figure."""
    with ProgressBar(quiet=options.quiet) as progress:
        result = options.run(progress.step)
    there = {score.metric for score in result.measured.scores}
    in_vain = not there.issuperset(options.metrics)
    if options.json:
        show_json(as_json(result))
    else:
        show_table(_rows(result), ("metric", "better", "method", "value", "95 % interval", "n"))
    unavailable = {} if options.json else result.measured.unavailable
    show_remarks(result.remarks, unavailable, quiet=options.quiet and not in_vain)
    return 2 if in_vain else 0


def show_remarks(remarks: Sequence[str], unavailable: Mapping[str, str], *, quiet: bool) -> None:
    """What must be said of pictures, and which metrics are unavailable."""
    for sentence in remarks:
        remark(sentence, quiet=quiet)
    for name, reason in unavailable.items():
        remark(f"{CARDS[name].title} is unavailable: {reason}", quiet=quiet)


def as_json(result: Evaluation) -> dict[str, Any]:
    """All that was found; figures that JSON has no numbers for are the texts inf, -inf and nan."""
    return {
        "protocol": result.protocol,
        "scores": [
            {
                "metric": score.metric,
                "better": CARDS[score.metric].better,
                "method": score.method,
                "value": _number(score.value),
                "interval": score.interval,
                "n": score.n,
                "each": {name: _number(value) for name, value in score.each.items()},
            }
            for score in result.measured.scores
        ],
        "unavailable": result.measured.unavailable,
        "remarks": result.remarks,
        "seconds": round(result.seconds, 3),
    }


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _rows(result: Evaluation) -> Iterator[tuple[object, ...]]:
    previous = ""
    for score in result.measured.scores:
        card = CARDS[score.metric]
        title, better = ("", "") if score.metric == previous else (card.title, card.better)
        interval = f"{score.interval[0]:.4g} to {score.interval[1]:.4g}" if score.interval else "-"
        yield title, better, score.method, f"{score.value:.4g}", interval, score.n
        previous = score.metric
