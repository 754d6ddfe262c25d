"""`sinwave info PICTURE`: what a picture is, and how it was made if sinwave made it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sinwave.cli.show import Showing, show_json, show_table
from sinwave.images import Header, probe
from sinwave.options import option
from sinwave.systems.files import Manifest, is_model_file, read_manifest
from sinwave.systems.wavelet.depth import levels_for
from sinwave.tasks.estimate import estimate
from sinwave.tasks.sizes import check_size

__all__ = ["Options", "run"]


@dataclass(frozen=True, kw_only=True)
class Options(Showing):
    """Say what PICTURE is, what generating from it would take, and how it was made if sinwave made it.

    A model file is described too: what it is, what it was trained on, and for how long.
    """

    picture: Path = option(help="a picture file, or a model file of sinwave train", positional=True)
    max_pixels: int = option(100_000_000, "the largest picture to accept", low=256)


def run(options: Options) -> int:
    """Show the header of the picture and the text that its file carries, or the manifest of a model."""
    if is_model_file(options.picture):
        return _show_model(options, read_manifest(options.picture))
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


def _show_model(options: Options, manifest: Manifest) -> int:
    known = dict(manifest.provenance)
    fingerprint = known.pop("fingerprint", {})
    known["receptive_field"] = fingerprint.get("receptive field") if isinstance(fingerprint, dict) else None
    facts = {"system": manifest.system, "parameters": manifest.parameters, **known}
    if options.json:
        show_json({"file": str(options.picture), **facts, "options": dict(manifest.options)})
        return 0
    words = {name: f"{value[1]} x {value[0]}" if name == "size" else value for name, value in facts.items()}
    rows = [(name.replace("_", " "), value) for name, value in words.items()]
    settings = ", ".join(f"{name} {value}" for name, value in manifest.options.items())
    show_table([("file", options.picture), *rows, ("options", settings)])
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
