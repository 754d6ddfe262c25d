"""`sinwave demo`: see it work."""

from __future__ import annotations

from dataclasses import dataclass

from sinwave.cli.generate import show
from sinwave.cli.show import ProgressBar, Showing
from sinwave.tasks.demo import Demo

__all__ = ["Options", "run"]


@dataclass(frozen=True, kw_only=True)
class Options(Showing, Demo):
    __doc__ = Demo.__doc__


def run(options: Options) -> int:
    """Draw the pictures and say where they are."""
    with ProgressBar(quiet=options.quiet) as progress:
        result = options.run(progress.step)
    show(options, options.seed, result)
    return 0
