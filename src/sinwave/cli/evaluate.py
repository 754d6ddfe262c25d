"""`sinwave evaluate` and `sinwave report`: how good, how different and how copied pictures are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sinwave.cli.parse import parse_together
from sinwave.cli.show import ProgressBar, Showing, remark, show_json, show_table
from sinwave.metrics.cards import CARDS
from sinwave.tasks.evaluate import Evaluate, Evaluation

__all__ = ["report", "run"]


def run(arguments: Sequence[str]) -> int:
    """Measure, and print a table for people or one JSON object; 2 if a metric asked for by name has no figure."""
    options, showing = parse_together([Evaluate, Showing], arguments, "sinwave evaluate")
    with ProgressBar(quiet=showing.quiet) as progress:
        result = options.run(progress.step)
    there = {score.metric for score in result.results.scores}
    in_vain = not there.issuperset(options.metrics)
    if showing.json:
        show_json(_as_json(result))
    else:
        show_table(_rows(result), ("metric", "better", "method", "value", "95 % interval", "n"))
    unavailable = {} if showing.json else result.results.unavailable
    _show_remarks(result.remarks, unavailable, quiet=showing.quiet and not in_vain)
    return 2 if in_vain else 0


def report(arguments: Sequence[str]) -> int:
    """Write everything that can be seen and measured of samples on one page, and say where it is."""
    from sinwave.tasks.report import Report

    options, showing = parse_together([Report, Showing], arguments, "sinwave report")
    with ProgressBar(quiet=showing.quiet) as progress:
        result = options.run(progress.step)
    _show_remarks(result.remarks, result.unavailable, quiet=showing.quiet)
    if showing.json:
        show_json({"file": str(result.file), "samples": result.samples, "seconds": round(result.seconds, 3)})
    else:
        show_table((("look at", result.file), ("samples", result.samples), ("time", f"{result.seconds:.1f} s")))
    return 0


def _show_remarks(remarks: Sequence[str], unavailable: Mapping[str, str], *, quiet: bool) -> None:
    for sentence in remarks:
        remark(sentence, quiet=quiet)
    for name, reason in unavailable.items():
        remark(f"{CARDS[name].title} is unavailable: {reason}", quiet=quiet)


def _as_json(result: Evaluation) -> dict[str, Any]:
    """Every result; figures that JSON has no numbers for are the texts inf, -inf and nan."""
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
                "each": {name: _number(value) for name, value in score.by_picture.items()},
            }
            for score in result.results.scores
        ],
        "unavailable": result.results.unavailable,
        "remarks": result.remarks,
        "seconds": round(result.seconds, 3),
    }


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _rows(result: Evaluation) -> Iterator[tuple[object, ...]]:
    previous = ""
    for score in result.results.scores:
        card = CARDS[score.metric]
        title, better = ("", "") if score.metric == previous else (card.title, card.better)
        interval = f"{score.interval[0]:.4g} to {score.interval[1]:.4g}" if score.interval else "-"
        yield title, better, score.method, f"{score.value:.4g}", interval, score.n
        previous = score.metric
