"""An adapted model as a report needs it: beside its source, and beside the pictures that it was adapted to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sinwave.data.folder import Folder
from sinwave.data.shots import shots_of
from sinwave.errors import InputError, MissingError
from sinwave.rng import Noise, NoiseSource, Orbit
from sinwave.systems import table
from sinwave.systems.contracts import Computing, Loaded, Steerable
from sinwave.systems.files import read_manifest
from sinwave.tasks.base.machine import OnProgress, in_parallel, workers_for
from sinwave.tasks.reporting.adapted_page import Adaptation

__all__ = ["OF_MODEL", "adaptation"]

OF_MODEL, _BETWEEN = 64, 8
"""Samples of a report."""


def adaptation(
    model: Path, folder: Path, device: torch.device, on_progress: OnProgress
) -> tuple[Adaptation, tuple[str, ...]]:
    """Load a model and its shots, which must be those that it was adapted to, and draw; with remarks."""
    manifest, remarks = read_manifest(model), list[str]()
    if manifest.base is None:
        raise InputError(f"{model}: this is no adapted model, and a report on samples takes a picture")
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    if manifest.provenance.get("fingerprint", {}).get("pictures") != Folder(folder).fingerprint:
        raise InputError(f"{folder}: the model was adapted to other pictures, or some of these are new or missing")
    loaded = table.load(model)
    assert loaded.size is not None
    side = loaded.size[0]
    shots = shots_of(folder, side, remarks.append)
    source = _source(loaded, remarks)
    noise = NoiseSource(0)
    same = [noise.child("picture", number) for number in range(OF_MODEL)]
    walk = [Orbit(noise.child("between"), number / _BETWEEN) for number in range(_BETWEEN)]
    jobs = [(loaded, one) for one in [*same, *walk]] + [(source, one) for one in same if source is not None]
    pictures = _drawn(jobs, device, on_progress)
    samples, between, before = pictures[:OF_MODEL], pictures[OF_MODEL:][:_BETWEEN], pictures[OF_MODEL + _BETWEEN :]
    steps = manifest.provenance.get("kept_step", manifest.provenance.get("steps"))
    method = manifest.provenance.get("training", {}).get("method", "direct")
    subtitle = (
        f"{manifest.base.id} was adapted by the method {method} in {steps} steps; pictures have {side} x {side} pixels."
    )
    named = dict(zip(shots.names, shots.pictures, strict=True))
    log = model.with_suffix(".run") / "log.jsonl"
    return Adaptation(named, samples, before if len(before) else None, between, log, subtitle), tuple(remarks)


def _source(loaded: Loaded, remarks: list[str]) -> Loaded | None:
    """The model that was adapted, if it is there."""
    assert isinstance(loaded, Steerable)
    try:
        return loaded.steered(None, 0.0, None)
    except (InputError, MissingError) as error:
        remarks.append(f"{error}; the report does not show what it draws")
        return None


def _drawn(jobs: Sequence[tuple[Loaded, Noise]], device: torch.device, on_progress: OnProgress) -> Tensor:
    """Draw pictures (n, 3, h, w), several at once."""
    drawers: dict[int, Any] = {
        id(loaded): loaded.build(loaded.engines[0], Computing(device, torch.float32)) for loaded, _ in jobs
    }

    def draw(job: tuple[Loaded, Noise]) -> Tensor:
        loaded, noise = job
        with torch.inference_mode():
            picture: Tensor = drawers[id(loaded)].generate(loaded.size, noise)
        return picture.float().cpu()

    parts, size = list[Tensor](), jobs[0][0].size
    assert size is not None
    for part in in_parallel(draw, jobs, workers_for(device, len(jobs), size[0] * size[1]), lambda: None):
        parts.append(part)
        on_progress(f"picture {len(parts)} of {len(jobs)}", len(parts), len(jobs))
    return torch.cat(parts)
