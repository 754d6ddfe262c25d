"""One process's part of a training: it begins or goes on, watches, logs, shows samples and writes the model."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

import torch

from sinwave import __version__
from sinwave.atomic import write_bytes
from sinwave.images import encode, sheet
from sinwave.rng import NoiseSource
from sinwave.systems.files import write_model
from sinwave.systems.trainable import Course, Fitting, Wanted
from sinwave.tasks.generate import Generate
from sinwave.tasks.train import OnProgress, Train, TrainedFile
from sinwave.training.checkpoint import Saver, load
from sinwave.training.hooks import Events, JsonLines, Pace
from sinwave.training.loop import Hook, Report, Training, train

__all__ = ["TrainingRun"]

MEASURED = 60
"""Steps after which a training of some minutes knows how many it will have."""


@final
class TrainingRun:
    """One process's part of a training."""

    def __init__(
        self,
        task: Train,
        fingerprint: Mapping[str, Any],
        fitting: Fitting,
        on_progress: OnProgress,
        on_event: Callable[[str], None],
    ) -> None:
        """Decide how to compute, or read what was decided, and go on from the last state if there is one."""
        self._task, self._fingerprint, self._fitting = task, fingerprint, fitting
        self._on_progress, self._on_event = on_progress, on_event
        self._start, self._events = time.perf_counter(), list[str]()
        self._loss = float("nan")
        self._samples: Path | None = None
        folder, resume = task.run_folder, task.run_folder / "resume.pt"
        state = load(resume, fingerprint) if resume.exists() else None
        self._course = course = self._decide(folder / "plan.json")
        self.training: Training = Training(
            course.recipe, course.budget, task.seed, schedule=course.schedule, longest_average=course.average
        )
        if state is not None:
            self.training.load(state)
            self._say(f"going on from step {self.training.step}")
        self._pace: Pace = Pace()
        self._tensorboard = Events(folder)
        log = JsonLines(folder / "log.jsonl", self.training.step, halvings=self.training.halvings)
        self._hooks: list[Hook] = [
            self._watch,
            self._deadline,
            log,
            self._tensorboard,
            self._show,
            Saver(resume, fingerprint, every=10),
        ]

    def finish(self) -> TrainedFile:
        """Train to the end and write the model."""
        train(self.training, self._hooks)
        self._write(finished=True)
        self._tensorboard.close()
        task = self._task
        return TrainedFile(
            model=task.target,
            run=task.run_folder,
            samples=self._samples,
            steps=self.training.step,
            loss=self._loss,
            seconds=time.perf_counter() - self._start,
            parameters=self._fitting.parameters,
            field=int(self._fingerprint["receptive field"]),
            numerics=self._course.numerics,
            kept=False,
            events=tuple(self._events),
            notes=(),
        )

    def _decide(self, file: Path) -> Course:
        """The course by the plan that was made before, or by a new one."""
        fitting, wanted = self._fitting, Wanted(self._task.steps, self._task.minutes, self._task.precision)
        fingerprint = dict(self._fingerprint)
        try:
            known = json.loads(file.read_text("utf-8"))
            if known["fingerprint"] == fingerprint:
                return fitting.course(known["plan"], wanted)
        except (OSError, KeyError, ValueError, TypeError):
            pass
        plan = fitting.plan(wanted, lambda words: self._on_progress(f"measuring {words}", 0, 1))
        write_bytes(file, json.dumps({"fingerprint": fingerprint, "plan": dict(plan)}).encode(), overwrite=True)
        return fitting.course(plan, wanted)

    def _watch(self, training: Training, report: Report) -> None:
        """Tell how far it is, and what had to be done."""
        if report.held_out is not None:
            self._loss = report.held_out["loss"]
        if report.event is not None:
            self._say(report.event)
        total = training.expected_stop if self._task.minutes is None or training.stop else MEASURED * 100
        losses = " ".join(f"{v:.3f}" for v in report.losses.values())
        pace, effort = self._pace.steps_a_second(report.step), self._course.effort
        label = f"step {report.step} of {total}, losses {losses}, {pace:.1f} a second"
        self._on_progress(label, effort(report.step), effort(total))

    def _deadline(self, training: Training, report: Report) -> None:
        """Turn minutes into steps, once: then the training is as reproducible as one of so many steps."""
        if self._task.minutes is None or training.stop is not None or report.step < MEASURED:
            return
        pace = self._pace.steps_a_second(report.step)
        left = 60 * self._task.minutes - (time.perf_counter() - self._start)
        # A part is for looks, samples and checkpoints.
        training.end_at(report.step + max(1, round(0.92 * left * pace)))
        self._say(f"{pace:.1f} steps a second: {training.stop} steps in {self._task.minutes:g} minutes")

    def _show(self, training: Training, report: Report) -> None:
        """Every so often a sheet of samples, and the model as it is."""
        if report.step % self._task.samples_every == 0 or training.finished:
            self._write(finished=False)
            if self._course.shows(report.step):
                self._draw(report.step)

    def _draw(self, step: int) -> None:
        trained = self._course.trained(self.training.averages.values)
        picture = trained.pictures[0]
        # As `sinwave generate` draws them; by the network alone it would take longer.
        model = trained.model(trained.best_engine, self._fitting.device, torch.float32)
        streams, variation = [NoiseSource(0).child("picture", n) for n in range(3)], Generate.variation
        with torch.inference_mode():
            samples = [model.generate(picture.size, each, variation=variation)[0].cpu() for each in streams]
        shown = sheet(picture.pixels, samples)
        self._samples = file = self._task.run_folder / f"samples-{step:06d}.png"
        data = encode(shown, file)
        write_bytes(file, data, overwrite=True)
        self._tensorboard.image("samples", data, (shown.shape[1], shown.shape[2]), step)

    def _write(self, *, finished: bool) -> None:
        training = self.training
        provenance = {
            "sinwave": __version__,
            "torch": torch.__version__,
            "seed": self._task.seed,
            "preset": self._task.preset,
            "steps": training.step,
            "stop": training.stop,
            "finished": finished,
            "loss": self._loss,
            "numerics": self._course.numerics,
            "fingerprint": dict(self._fingerprint),
            "pictures": [picture.sha256 for picture in self._fitting.pictures],
            "size": list(self._fitting.pictures[0].size),
        }
        model = self._course.trained(training.averages.values).to_file(provenance)
        write_model(self._task.target, model, overwrite=True)

    def _say(self, sentence: str) -> None:
        self._events.append(sentence)
        self._on_event(sentence)
