"""`sinwave train PICTURE`: a model file from one picture, or from a few."""

from __future__ import annotations

from dataclasses import dataclass

from sinwave.cli.show import ProgressBar, Showing, remark, show_json, show_table
from sinwave.tasks.hardware import peak_memory
from sinwave.tasks.train import Train, TrainedFile

__all__ = ["Options", "run"]


@dataclass(frozen=True, kw_only=True)
class Options(Showing, Train):
    __doc__ = Train.__doc__


def run(options: Options) -> int:
    """Train and say where the model is."""
    with ProgressBar(quiet=options.quiet) as progress:
        result = options.run(progress.step, lambda sentence: remark(sentence, quiet=options.quiet))
    for note in result.notes:
        remark(note, quiet=options.quiet)
    memory = peak_memory()
    if options.json:
        show_json(
            {
                "model": str(result.model),
                "run": str(result.run),
                "samples": None if result.samples is None else str(result.samples),
                "steps": result.steps,
                "loss": result.loss,
                "parameters": result.parameters,
                "receptive_field": result.field,
                "numerics": result.numerics,
                "kept": result.kept,
                "events": list(result.events),
                "seed": options.seed,
                "seconds": round(result.seconds, 3),
                "peak_memory_mb": None if memory is None else round(memory / 1e6, 1),
            }
        )
        return 0
    show_table(_rows(options, result, memory))
    return 0


def _rows(options: Options, result: TrainedFile, memory: int | None) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [
        ("model", f"{result.model} ({result.model.stat().st_size / 1e6:.1f} MB)"),
        ("network", f"{result.parameters:,} parameters, receptive field of {result.field} positions"),
        ("steps", f"{result.steps}, held-out loss {result.loss:.4f}" + (", done before" if result.kept else "")),
        ("log", result.run / "log.jsonl"),
    ]
    if result.samples is not None:
        rows.append(("look at", result.samples))
    if not result.kept:
        rows.append(("time", f"{result.seconds:.1f} s, {result.numerics}"))
    if options.verbose and memory is not None:
        rows.append(("memory", f"{memory / 1e6:.0f} MB at the most"))
    return [*rows, ("next", f"sinwave generate {result.model}")]
