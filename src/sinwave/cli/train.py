"""`sinwave train PICTURE`: a model file from one picture, from a few, or from a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sinwave.cli.parse import parse_together, peek
from sinwave.cli.show import ProgressBar, Showing, remark, show_json, show_table
from sinwave.errors import InputError
from sinwave.options import facts
from sinwave.systems import table
from sinwave.tasks.base.machine import peak_memory
from sinwave.tasks.train import Train, TrainOptions

if TYPE_CHECKING:
    from sinwave.tasks.base.training_run import TrainedFile

__all__ = ["adapt", "run"]


def run(arguments: Sequence[str]) -> int:
    """Train and say where the model is."""
    return finish(*_read(arguments))


def adapt(arguments: Sequence[str]) -> int:
    """Adapt and say where the model is."""
    from sinwave.tasks.adapt import Adapt, choices

    chosen, options, showing = parse_together([Adapt, choices(), Showing], arguments, "sinwave adapt")
    return finish(chosen.training(options), showing)


def finish(train: Train, showing: Showing) -> int:
    """Train, and show what came of it."""
    with ProgressBar(quiet=showing.quiet) as progress:
        result = train.run(progress.step, lambda sentence: remark(sentence, quiet=showing.quiet))
    for note in result.notes:
        remark(note, quiet=showing.quiet)
    memory = peak_memory()
    if showing.json:
        show_json(_facts(train.seed, result, memory))
    else:
        show_table(_rows(train.system, result, memory if showing.verbose else None))
    return 0


def _read(arguments: Sequence[str]) -> tuple[Train, Showing]:
    """Read in two strokes: the options of every training, and those of the system that is named."""
    program, name = "sinwave train", peek(TrainOptions, "system", arguments) or TrainOptions.system
    try:
        system = table.find(name).door("options")
        _refuse_foreign_options(arguments, name)
    except InputError as error:
        raise InputError(f"{error} (see {program} --help)") from None
    common = _listing() if {"-h", "--help"} & set(arguments) else TrainOptions
    chosen, options, showing = parse_together([common, system, Showing], arguments, program)
    common_values = {field.name: getattr(chosen, field.name) for field in fields(TrainOptions)}
    return Train(**common_values, options=options), showing


def _listing() -> type[TrainOptions]:
    lines = [f"{name}: {_summary(name)}" for name in table.SYSTEMS if _summary(name)]
    doc = f"{TrainOptions.__doc__}\n\n    Systems:\n\n    " + "\n    ".join(lines)
    return type("TrainOptions", (TrainOptions,), {"__doc__": doc})


def _summary(name: str) -> str:
    try:
        system = table.find(name)
    except InputError as error:
        return str(error)
    return system.summary if system.setup else ""


def _refuse_foreign_options(arguments: Sequence[str], name: str) -> None:
    """Name the system that an option belongs to if it is not the one that is trained."""
    own = {*_flags(TrainOptions), *_flags(Showing), *_flags(table.find(name).door("options"))}
    words = [word.partition("=")[0].replace("_", "-") for word in arguments if word.startswith("--")]
    foreign = [word for word in words if word not in own]
    for other in table.SYSTEMS if foreign else ():
        if foreign[0] in _flags_of(other):
            raise InputError(f"{foreign[0]} is an option of the system {other}, not of {name}")


def _flags_of(name: str) -> list[str]:
    try:
        system = table.find(name)
        return _flags(system.door("options")) if system.setup else []
    except InputError:
        return []  # a broken package is no reason not to train another system


def _flags(cls: type) -> list[str]:
    return [f"--{option.name.replace('_', '-')}" for option in facts(cls) if not option.facts.positional]


def _facts(seed: int, result: TrainedFile, memory: int | None) -> dict[str, Any]:
    facts = {name: str(value) if isinstance(value, Path) else value for name, value in result._asdict().items()}
    del facts["notes"]
    peak = None if memory is None else round(memory / 1e6, 1)
    return {**facts, "seed": seed, "seconds": round(result.seconds, 3), "peak_memory_mb": peak}


def _rows(system: str, result: TrainedFile, memory: int | None) -> list[tuple[str, object]]:
    sight = "" if result.receptive_field is None else f", receptive field of {result.receptive_field} positions"
    rows: list[tuple[str, object]] = [
        ("model", f"{result.model} ({result.model.stat().st_size / 1e6:.1f} MB)"),
        ("network", f"{result.parameters:,} parameters{sight}"),
        ("steps", f"{result.steps}, held-out loss {result.loss:.4f}" + (", done before" if result.kept else "")),
        ("log", result.run / "log.jsonl"),
    ]
    if result.samples is not None:
        rows.append(("look at", result.samples))
    if not result.kept:
        rows.append(("time", f"{result.seconds:.1f} s, {result.numerics}"))
    if memory is not None:
        rows.append(("memory", f"{memory / 1e6:.0f} MB at the most"))
    enlarges = table.find(system).enlarges
    return [*rows, ("next", f"sinwave {'upscale PICTURE --model' if enlarges else 'generate'} {result.model}")]
