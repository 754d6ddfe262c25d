"""`sinwave export MODEL`: a model in the form of another program."""

from __future__ import annotations

from collections.abc import Sequence

from sinwave.cli.parse import parse_together
from sinwave.cli.show import Showing, show_json, show_table
from sinwave.tasks.export import Export

__all__ = ["run"]


def run(arguments: Sequence[str]) -> int:
    """Write the file, and say where it is."""
    options, showing = parse_together([Export, Showing], arguments, "sinwave export")
    written = options.run()
    if showing.json:
        show_json({"file": str(written.file), "bytes": written.bytes})
    else:
        show_table([("file", written.file), ("size", f"{written.bytes / 1e6:.1f} MB")])
    return 0
