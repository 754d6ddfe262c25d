"""The commands of all tasks that draw, `sinwave generate SOURCE ...` and the others: alike but for their options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sinwave.cli.parse import parse_together
from sinwave.cli.show import ProgressBar, Showing, remark, show_json, show_table
from sinwave.option_kinds import Source
from sinwave.options import facts
from sinwave.tasks import task_of
from sinwave.tasks.base.machine import Hardware, peak_memory
from sinwave.tasks.base.run import Output, Run, Written

__all__ = ["demo", "run"]


def run(verb: str, arguments: Sequence[str]) -> int:
    """Draw the results of all sources and say where they are; 2 if a source could not be used."""
    declared, more = [task_of(verb), Output, Hardware, Showing], list[str]()
    alone = sum(option.facts.positional for option in facts(declared[0])) == 1
    chosen, output, hardware, showing = parse_together(
        declared, arguments, f"sinwave {verb}", more=more if alone else None
    )
    whole = Run(chosen, output, hardware, tuple(map(Source.accept, more)))
    with ProgressBar(quiet=showing.quiet) as progress:
        if not more and not (chosen.source.path and chosen.source.path.is_dir()):
            results, bad = [whole.run(progress.step)], []
        else:
            bad = list[str]()
            results = list(whole.run_all(progress.step, bad.append))
    for sentence in bad:
        remark(sentence, quiet=False)
    _show(showing, output.seed, results, bad)
    return 2 if bad else 0


def demo(arguments: Sequence[str]) -> int:
    """Draw from a photograph that everybody may use."""
    from sinwave.tasks.demo import Demo

    options, showing = parse_together([Demo, Showing], arguments, "sinwave demo")
    with ProgressBar(quiet=showing.quiet) as progress:
        result = options.run(progress.step)
    _show(showing, options.seed, [result], [])
    return 0


def _show(showing: Showing, seed: int, results: Sequence[Written], bad: Sequence[str]) -> None:
    for result in results:
        for note in result.notes:
            remark(note, quiet=showing.quiet)
    if not showing.json:
        for result in results:
            show_table(_rows(showing, seed, result))
        return
    objects = [_as_json(seed, result) for result in results]
    show_json(objects[0] if len(objects) == 1 and not bad else {"results": objects, "failed": list(bad)})


def _as_json(seed: int, result: Written) -> dict[str, Any]:
    memory = peak_memory()
    return {
        "files": [str(file) for file in result.files],
        "sheet": None if result.sheet is None else str(result.sheet),
        "seed": seed,
        "seconds": round(result.seconds, 3),
        "peak_memory_mb": None if memory is None else round(memory / 1e6, 1),
    }


def _rows(showing: Showing, seed: int, result: Written) -> list[tuple[str, object]]:
    height, width = result.size
    first, last = result.files[0], result.files[-1]
    kept = f", of which {result.kept} were there already" if result.kept else ""
    rows: list[tuple[str, object]] = [
        ("pictures", f"{len(result.files)} of {width} x {height} pixels{kept}"),
        ("files", str(first) if first == last else f"{first} ... {last.name}"),
        *([] if result.sheet is None else [("look at", result.sheet)]),
        ("seed", seed),
        ("time", f"{result.seconds:.1f} s"),
    ]
    memory = peak_memory() if showing.verbose else None
    return rows if memory is None else [*rows, ("memory", f"{memory / 1e6:.0f} MB at the most")]
