"""`sinwave report SOURCE`: everything that can be seen and measured of samples, on one page."""

from __future__ import annotations

from dataclasses import dataclass

from sinwave.cli.evaluate import show_remarks
from sinwave.cli.show import ProgressBar, Showing, show_json, show_table
from sinwave.tasks.report import Report

__all__ = ["Options", "run"]


@dataclass(frozen=True, kw_only=True)
class Options(Showing, Report):
    __doc__ = Report.__doc__


def run(options: Options) -> int:
    """Write the page and say where it is."""
    with ProgressBar(quiet=options.quiet) as progress:
        result = options.run(progress.step)
    show_remarks(result.remarks, result.measured.unavailable, quiet=options.quiet)
    if options.json:
        show_json({"file": str(result.file), "samples": result.samples, "seconds": round(result.seconds, 3)})
    else:
        rows = (("look at", result.file), ("samples", result.samples), ("time", f"{result.seconds:.1f} s"))
        show_table(rows)
    return 0
