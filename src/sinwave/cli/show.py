"""Output of the commands: results on stdout, and on stderr the progress and the remarks about them.

Everything that people see beyond an error passes here, so that `--json` and `--quiet` mean the same in every command.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from sinwave.errors import one_line
from sinwave.options import option

__all__ = ["ProgressBar", "Showing", "remark", "show_json", "show_table"]


@dataclass(frozen=True, kw_only=True)
class Showing:
    """Options of every command: how much it shows."""

    json: bool = option(False, "print the result as one JSON object")
    quiet: bool = option(False, "show no progress and no notes", short="-q")
    verbose: int = option(0, "show more; -vv also shows the traceback of an error", short="-v", counted=True)


def show_json(result: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout."""
    print(json.dumps(result, indent=2))


def show_table(rows: Iterable[Sequence[object]], header: Sequence[str] = ()) -> None:
    """Print rows as aligned columns on stdout; a cell is shown as it is, with no markup read into it."""
    table = Table(*header, box=None, show_header=bool(header), pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*(Text(str(cell), overflow="fold") for cell in row))
    _console(stderr=False).print(table)


def remark(text: str, *, quiet: bool) -> None:
    """Print a line about the result on stderr."""
    if not quiet:
        print(f"sinwave: {one_line(text)}", file=sys.stderr)


class ProgressBar:
    """A bar on stderr with the time left; nothing at all if `quiet`, or where stderr is no terminal.

    A task knows no bar: it calls `step(label, done, total)`, any callable of that shape. `done` of `total` is the whole
    job's work in the task's own unit, whose parts should take about equally long, as the time left is reckoned from it.
    """

    def __init__(self, *, quiet: bool) -> None:
        console = _console(stderr=True)
        self._rich = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._rich.add_task("starting", total=None)

    def step(self, label: str, done: float, total: float) -> None:
        """Show `done` of `total`, and the `label` of what comes next: "picture 3 of 8, scale 2 of 3, step 5 of 12"."""
        self._rich.update(self._task, description=label, completed=done, total=total)

    def __enter__(self) -> ProgressBar:
        self._rich.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rich.stop()


def _console(*, stderr: bool) -> Console:
    return Console(stderr=stderr, markup=False, highlight=False, soft_wrap=False)
