"""The commands of all edits, `sinwave harmonize SOURCE ...` and the others: alike but for their options."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sinwave.cli.generate import show
from sinwave.cli.show import ProgressBar, Showing
from sinwave.tasks.edits.files import Editing

__all__ = ["EditCommand"]


@dataclass(frozen=True)
class EditCommand:
    """The command of an edit."""

    Options: type[Any]

    def run(self, options: Any) -> int:
        """Draw the results and say where they are."""
        with ProgressBar(quiet=options.quiet) as progress:
            result = options.perform(progress.step)
        show(options, options.seed, result)
        return 0


def __getattr__(name: str) -> EditCommand:
    """The command of the edit that lives in the module of that name, made when it is asked for."""
    try:
        task: type[Editing] = getattr(import_module(f"sinwave.tasks.edits.{name}"), f"{name.capitalize()}Files")
    except ImportError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    options = type("Options", (Showing, task), {"__doc__": task.__doc__, "__module__": __name__})
    return EditCommand(dataclass(frozen=True, kw_only=True)(options))
