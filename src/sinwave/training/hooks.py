"""What a training writes while it runs."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, final

from sinwave.atomic import write_bytes
from sinwave.training.events import EventFile
from sinwave.training.loop import Report, Training

__all__ = ["Events", "JsonLines", "Means", "Pace"]


@final
class Means:
    """The means of the losses since they were last taken."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, losses: Mapping[str, float]) -> None:
        """One step's; what is no number counts for nothing."""
        for name, value in losses.items():
            if not math.isfinite(value):
                continue
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """The means, in the order of their names; the next ones begin at none."""
        found = {name: self._sums[name] / self._counts[name] for name in sorted(self._sums)}
        self._sums, self._counts = {}, {}
        return found


@final
class Pace:
    """Steps a second, lately: the pauses for looks, samples and checkpoints count."""

    def __init__(self, window: float = 20.0) -> None:
        self._window, self._marks = window, [(time.monotonic(), 0)]

    def steps_a_second(self, step: int) -> float:
        """After `step`, which is told each time."""
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
    """One JSON object a line, every `every` steps and whenever something happens; each once, after any resume.

    A training that fell back does some steps again: its lines count `halvings`, and (halvings, step) only grows.
    """

    def __init__(self, path: Path, step: int, every: int = 10, *, halvings: int | None = None) -> None:
        """Lines after `step`, where the training goes on after so many halvings, are dropped."""
        self._path, self._every, self._means = path, every, Means()
        here = (math.inf if halvings is None else halvings, step)
        kept = [line for line in _lines(path) if _is_kept(line, here)]
        write_bytes(path, "".join(json.dumps(line) + "\n" for line in kept).encode(), overwrite=True)

    def __call__(self, training: Training, report: Report) -> None:
        """Append a line if it is time."""
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
            _put(file, line)


@final
class Events:
    """The same for TensorBoard."""

    def __init__(self, folder: Path, every: int = 10) -> None:
        self._file, self._every, self._means = EventFile(folder), every, Means()

    def __call__(self, training: Training, report: Report) -> None:
        """Write what there is."""
        self._means.add(report.losses)
        if report.step % self._every == 0:
            for name, value in self._means.take().items():
                self._file.scalar(f"loss/{name}", value, report.step)
            self._file.scalar("rate", report.rate, report.step)
        for name, value in (report.held_out or {}).items():
            self._file.scalar(f"held out/{name}", value, report.step)

    def image(self, tag: str, png: bytes, size: tuple[int, int], step: int) -> None:
        """A picture (height, width)."""
        self._file.image(tag, png, size[0], size[1], step)

    def close(self) -> None:
        """Nothing comes any more."""
        self._file.close()


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; one that a kill has cut is none."""
    found: list[dict[str, Any]] = []
    for text in path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            found.append(line)
    return found


def _is_kept(line: Mapping[str, Any], here: tuple[float, int]) -> bool:
    if math.isinf(here[0]):
        return bool(line["step"] <= here[1])
    return (line.get("halvings", 0), line["step"]) <= here


def _put(file: IO[str], line: Mapping[str, Any]) -> None:
    file.write(json.dumps(line) + "\n")
    file.flush()


def _rounded(values: Mapping[str, float]) -> dict[str, float | None]:
    """To six digits; None is for what is no number, which JSON does not know."""
    return {name: float(f"{value:.6g}") if math.isfinite(value) else None for name, value in values.items()}
