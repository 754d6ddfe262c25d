"""`sinwave evaluate`: how good, how different and how copied pictures are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sinwave.cli.show import ProgressBar, Showing, remark, show_json, show_table
from sinwave.metrics.cards import CARDS
from sinwave.tasks.evaluate import Evaluate, Evaluation

__all__ = ["Options", "run"]


@dataclass(frozen=True, kw_only=True)
class Options(Showing, Evaluate):
    __doc__ = Evaluate.__doc__


def run(options: Options) -> int:
    """Measure, and print a table for people or one JSON object; 2 if a metric asked for by name is unavailable."""
    with ProgressBar(quiet=options.quiet) as progress:
        result = options.run(progress.step)
    for sentence in result.remarks:
        remark(sentence, quiet=options.quiet)
    asked_in_vain = [name for name in result.measured.unavailable if name in options.metrics]
    if options.json:
        show_json(as_json(result))
    else:
        show_table(_rows(result), ("metric", "better", "method", "mean", "95 % interval", "n"))
        for name, reason in result.measured.unavailable.items():
            remark(f"{CARDS[name].title} is unavailable: {reason}", quiet=options.quiet and name not in asked_in_vain)
    return 2 if asked_in_vain else 0


def as_json(result: Evaluation) -> dict[str, Any]:
    """All that was found, with infinities as null, since JSON knows none."""
    return {
        "protocol": result.protocol,
        "scores": [
            {
                "metric": score.metric,
                "better": CARDS[score.metric].better,
                "method": score.method,
                "value": _finite(score.value),
                "interval": score.interval,
                "n": score.n,
                "each": {name: _finite(value) for name, value in score.each.items()},
            }
            for score in result.measured.scores
        ],
        "unavailable": result.measured.unavailable,
        "remarks": result.remarks,
        "seconds": round(result.seconds, 3),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _rows(result: Evaluation) -> Iterator[tuple[object, ...]]:
    previous = ""
    for score in result.measured.scores:
        card = CARDS[score.metric]
        title, better = ("", "") if score.metric == previous else (card.title, card.better)
        interval = f"{score.interval[0]:.4f} to {score.interval[1]:.4f}" if score.interval else "-"
        yield title, better, score.method, f"{score.value:.4f}", interval, score.n
        previous = score.metric
