"""`sinwave info PICTURE`: what a picture is, and how it was made if sinwave made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sinwave.cli.parse import parse_together
from sinwave.cli.show import Showing, show_json, show_table
from sinwave.images import Header, probe
from sinwave.option_kinds import check_size
from sinwave.options import option
from sinwave.systems.files import Manifest, read_manifest
from sinwave.systems.table import about, estimate, is_model_file

__all__ = ["Info", "run"]


@dataclass(frozen=True, kw_only=True)
class Info:
    """Say what PICTURE is, what generating from it would take, and how it was made if sinwave made it.

    A model file is described too: what it is, what it was trained on, and for how long.
    """

    picture: Path = option(help="a picture file, or a model file of sinwave train", positional=True)
    max_pixels: int = option(100_000_000, "the largest picture to accept", low=256)


def run(arguments: Sequence[str]) -> int:
    """Show the header of the picture and the text that its file carries, or the manifest of a model."""
    options, showing = parse_together([Info, Showing], arguments, "sinwave info")
    if is_model_file(options.picture):
        return _show_model(options.picture, showing, read_manifest(options.picture))
    if (weights := about(options.picture)) is not None:
        _show_weights(options.picture, showing, weights)
        return 0
    header = probe(options.picture)
    check_size(header.size, options.max_pixels)
    needed = estimate(header.size, header.size)
    if showing.json:
        expected = {"start_seconds": needed.start, "seconds_each": needed.picture, "memory_mb": needed.memory / 1e6}
        rounded = {name: round(value, 1) for name, value in expected.items()}
        facts = {**_facts(header), "scales": needed.scales, "expected": rounded}
        show_json({"file": str(header.path), **facts, "text": dict(header.text)})
        return 0
    time = f"about {needed.start:.0f} s and {needed.picture:.1f} s for each picture of this size, on two cores"
    costs = (("scales", needed.scales), ("time", time), ("memory", f"about {needed.memory / 1e9:.1f} GB"))
    show_table([("file", header.path), *_lines(header), *costs, *header.text.items()])
    return 0


def _show_model(file: Path, showing: Showing, manifest: Manifest) -> int:
    provenance = dict(manifest.provenance)
    provenance.pop("fingerprint", None)
    facts = {"system": manifest.system, "parameters": manifest.parameters, **provenance}
    if showing.json:
        show_json({"file": str(file), **facts, "options": dict(manifest.options)})
        return 0
    there = {name: value for name, value in facts.items() if value is not None}
    words = {name: f"{value[1]} x {value[0]}" if name == "size" else value for name, value in there.items()}
    rows = [(name.replace("_", " "), value) for name, value in words.items()]
    settings = ", ".join(f"{name} {value}" for name, value in manifest.options.items())
    show_table([("file", file), *rows, ("options", settings)])
    return 0


def _show_weights(file: Path, showing: Showing, facts: Mapping[str, Any]) -> None:
    if showing.json:
        show_json({"file": str(file), **facts})
    else:
        show_table([("file", file), *facts.items()])


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
    form = f"{header.format}, {header.mode}, {header.depth} bits{transparent}"
    frames = [("frames", f"{header.frames}, of which all but upscale use the first")] if header.frames > 1 else []
    return [("size", f"{width} x {height}"), ("format", form), *frames]
