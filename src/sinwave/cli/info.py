"""`sinwave info PICTURE`: what a picture is, and how it was made if sinwave made it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sinwave.cli.show import Showing, show_json, show_table
from sinwave.images import Header, probe
from sinwave.options import option
from sinwave.systems.wavelet.depth import levels_for
from sinwave.tasks.estimate import estimate
from sinwave.tasks.sizes import check_size

__all__ = ["Options", "run"]


@dataclass(frozen=True, kw_only=True)
class Options(Showing):
    """Say what PICTURE is, what generating from it would take, and how it was made if sinwave made it."""

    picture: Path = option(help="a picture file", positional=True)
    max_pixels: int = option(100_000_000, "the largest picture to accept", low=256)


def run(options: Options) -> int:
    """Show the header of the picture and the text that its file carries."""
    header = probe(options.picture)
    check_size(header.size, options.max_pixels)
    needed = estimate(header.size, header.size)
    if options.json:
        expected = {"start_seconds": needed.start, "seconds_each": needed.each, "memory_mb": needed.memory / 1e6}
        facts = {**_facts(header), "scales": levels_for(header.size), "expected": _rounded(expected)}
        show_json({"file": str(header.path), **facts, "text": dict(header.text)})
        return 0
    time = f"about {needed.start:.0f} s and {needed.each:.1f} s for each picture of this size, on two cores"
    rows = [
        *_lines(header),
        ("scales", levels_for(header.size)),
        ("time", time),
        ("memory", f"about {needed.memory / 1e9:.1f} GB"),
    ]
    show_table([("file", header.path), *rows, *header.text.items()])
    return 0


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 1) for name, value in values.items()}


def _facts(header: Header) -> dict[str, Any]:
    height, width = header.size
    return {
        "format": header.format,
        "width": width,
        "height": height,
        "mode": header.mode,
        "bits": header.depth,
        "frames": header.frames,
        "transparent": header.has_alpha,
    }


def _lines(header: Header) -> list[tuple[str, str]]:
    height, width = header.size
    transparent = ", with transparency" if header.has_alpha else ""
    lines = [
        ("size", f"{width} x {height}"),
        ("format", f"{header.format}, {header.mode}, {header.depth} bits{transparent}"),
    ]
    if header.frames > 1:
        lines.append(("frames", f"{header.frames}, of which sinwave uses the first"))
    return lines
