"""`sinwave generate SOURCE`: new pictures from one."""

from __future__ import annotations

from dataclasses import dataclass

from sinwave.cli.show import ProgressBar, Showing, remark, show_json, show_table
from sinwave.tasks.generate import Generate
from sinwave.tasks.hardware import peak_memory
from sinwave.tasks.numbered import Generated

__all__ = ["Options", "run", "show"]


@dataclass(frozen=True, kw_only=True)
class Options(Showing, Generate):
    __doc__ = Generate.__doc__


def run(options: Options) -> int:
    """Draw the pictures and say where they are."""
    with ProgressBar(quiet=options.quiet) as progress:
        result = options.run(progress.step)
    show(options, options.seed, result)
    return 0


def show(options: Showing, seed: int, result: Generated) -> None:
    """Print what was made: a table for people, or one JSON object."""
    for note in result.notes:
        remark(note, quiet=options.quiet)
    memory = peak_memory()
    if options.json:
        show_json(
            {
                "files": [str(file) for file in result.files],
                "sheet": str(result.sheet),
                "seed": seed,
                "seconds": round(result.seconds, 3),
                "peak_memory_mb": None if memory is None else round(memory / 1e6, 1),
            }
        )
        return
    height, width = result.size
    first, last = result.files[0], result.files[-1]
    kept = f", of which {result.kept} were there already" if result.kept else ""
    rows = [
        ("pictures", f"{len(result.files)} of {width} x {height} pixels{kept}"),
        ("files", str(first) if first == last else f"{first} ... {last.name}"),
        ("look at", result.sheet),
        ("seed", seed),
        ("time", f"{result.seconds:.1f} s"),
    ]
    if options.verbose and memory is not None:
        rows.append(("memory", f"{memory / 1e6:.0f} MB at the most"))
    show_table(rows)
