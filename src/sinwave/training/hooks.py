"""Hooks that write while a training runs: lines of JSON, and events for TensorBoard."""

from __future__ import annotations

import io
import json
import math
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
from PIL import Image

from sinwave.atomic import write_bytes
from sinwave.training.loop import Report, Training

__all__ = ["Events", "JsonLines", "Means", "Pace"]


@final
class Means:
    """The means of the losses since they were last taken."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, losses: Mapping[str, float]) -> None:
        """Add a step's losses; NaN and infinity count for nothing."""
        for name, value in losses.items():
            if math.isfinite(value):
                self._values.setdefault(name, []).append(value)

    def take(self) -> dict[str, float]:
        """The means, in the order of their names; the next ones begin at none."""
        means = {name: sum(values) / len(values) for name, values in sorted(self._values.items())}
        self._values = {}
        return means


@final
class Pace:
    """Steps a second, lately: the pauses for looks, samples and checkpoints count."""

    def __init__(self, window: float = 20.0) -> None:
        self._window, self._marks = window, [(time.monotonic(), 0)]

    def steps_a_second(self, step: int) -> float:
        """The pace after `step`; to be called in every one."""
        now = time.monotonic()
        if step < self._marks[-1][1] or (step > 1 and len(self._marks) == 1):  # it fell back, or goes on
            self._marks = [(now, step)]
        self._marks.append((now, step))
        while len(self._marks) > 2 and now - self._marks[1][0] > self._window:
            self._marks.pop(0)
        (began, first), (ended, last) = self._marks[0], self._marks[-1]
        return (last - first) / (ended - began) if ended > began else 0.0


@final
class JsonLines:
    """A log of one JSON object a line, every `every` steps and at events; no line twice, after any resume.

    A training that fell back does some steps again: its lines count `halvings`, and (halvings, step) only grows.
    """

    def __init__(self, path: Path, step: int, every: int = 10, *, halvings: int) -> None:
        """Lines after `step`, where the training goes on after so many halvings, are dropped."""
        self._path, self._every, self._means = path, every, Means()
        kept = [line for line in _lines(path) if (line.get("halvings", 0), line["step"]) <= (halvings, step)]
        write_bytes(path, "".join(json.dumps(line) + "\n" for line in kept).encode(), overwrite=True)

    def __call__(self, training: Training, report: Report) -> None:
        self._means.add(report.losses)
        if report.step % self._every and not (report.held_out or report.event or training.finished):
            return
        line: dict[str, Any] = {"step": report.step, "stop": report.stop, "rate": report.rate}
        if training.halvings:
            line["halvings"] = training.halvings
        line |= {"seconds": round(report.seconds, 4), "losses": _rounded(self._means.take())}
        if report.held_out is not None:
            line["held_out"] = _rounded(report.held_out)
        if report.event is not None:
            line["event"] = report.event
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


@final
class Events:
    """The same numbers, and pictures, for TensorBoard, if that is installed."""

    def __init__(self, folder: Path, every: int = 10) -> None:
        self._writer, self._every, self._means = _writer(folder), every, Means()

    def __call__(self, training: Training, report: Report) -> None:
        """Write the means every so many steps, and each look."""
        if self._writer is None:
            return
        self._means.add(report.losses)
        numbers = {f"held out/{name}": value for name, value in (report.held_out or {}).items()}
        if report.step % self._every == 0:
            numbers |= {f"loss/{name}": value for name, value in self._means.take().items()} | {"rate": report.rate}
        for tag, value in numbers.items():
            self._writer.add_scalar(tag, value, report.step)

    def image(self, tag: str, png: bytes, step: int) -> None:
        if self._writer is not None:
            pixels = np.asarray(Image.open(io.BytesIO(png), formats=["PNG"]).convert("RGB"))
            self._writer.add_image(tag, pixels, step, dataformats="HWC")

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _writer(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what TensorBoard itself imports
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None
    return SummaryWriter(str(folder), flush_secs=10)


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log, without one that a kill has cut or that is none of ours."""
    lines: list[dict[str, Any]] = []
    for text in path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int) and isinstance(line.get("halvings", 0), int):
            lines.append(line)
    return lines


def _rounded(values: Mapping[str, float]) -> dict[str, float | None]:
    """The values to six digits; None stands for NaN and infinity, which JSON does not have."""
    return {name: float(f"{value:.6g}") if math.isfinite(value) else None for name, value in values.items()}
