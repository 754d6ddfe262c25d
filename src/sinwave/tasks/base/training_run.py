"""One process's part of a training: it begins or goes on, watches, logs, draws samples and writes the model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, final

import torch
from torch import Tensor

from sinwave import __version__
from sinwave.atomic import write_bytes
from sinwave.errors import InputError, Stop
from sinwave.images import encode, sheet
from sinwave.rng import NoiseSource
from sinwave.systems.contracts import Computing, OnTry, Plan, Setup, TrainingRequest
from sinwave.systems.files import ModelFile, write_model
from sinwave.systems.table import opened
from sinwave.tasks.base.machine import OnProgress
from sinwave.training.checkpoint import Saver, load
from sinwave.training.hooks import Events, JsonLines, Pace
from sinwave.training.loop import Hook, Report, Training

__all__ = ["OnEvent", "PlanFile", "TrainedFile", "TrainingRun", "trained_file", "training_of"]

OnEvent: TypeAlias = Callable[[str], None]

MEASURED = 60
"""Steps after which a training of some minutes knows how many it will have."""

STATE, PLAN = "resume.pt", "plan.json"


class TrainedFile(NamedTuple):
    """The model, the folder of the run, and how it went; `kept` if the same command had finished before."""

    model: Path
    run: Path
    samples: Path | None
    steps: int
    loss: float
    parameters: int
    receptive_field: int | None
    numerics: str
    kept: bool = True
    seconds: float = 0.0
    events: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def trained_file(target: Path, provenance: Mapping[str, Any], parameters: int) -> TrainedFile:
    """Describe a finished model by its provenance, and by what its training has left in its folder."""
    run = target.with_suffix(".run")
    samples = max(run.glob("samples-*.png"), default=None)
    steps, loss = int(provenance["steps"]), float(provenance["loss"])
    sight, numerics = provenance["receptive_field"], str(provenance["numerics"])
    return TrainedFile(target, run, samples, steps, loss, parameters, sight, numerics)


@final
@dataclass(frozen=True)
class PlanFile:
    """The plan of a training in its folder: measured once, and followed whenever the training goes on."""

    folder: Path
    fingerprint: Mapping[str, Any]
    enter: Callable[[], None]
    on_progress: OnProgress
    on_event: OnEvent

    def decide(self, measure: Callable[[OnTry], Plan]) -> Plan:
        """Read the plan, or measure it if there is no training yet that follows one."""
        self.enter()
        plan = self._read()
        if plan is not None:
            return plan
        plan = measure(lambda words: self.on_progress(f"measuring {words}", 0, 1))
        content = {"fingerprint": dict(self.fingerprint), "plan": dict(plan)}
        data = json.dumps({**content, "sha256": _digest(content)}).encode()
        write_bytes(self.folder / PLAN, data, overwrite=True)
        return plan

    def _read(self) -> Plan | None:
        file, begun = self.folder / PLAN, (self.folder / STATE).exists()
        if not file.exists() and not begun:
            return None
        try:
            content = json.loads(file.read_bytes())
            plan, before, digest = dict(content["plan"]), dict(content["fingerprint"]), content["sha256"]
            sound = digest == _digest({"fingerprint": before, "plan": plan})
        except (OSError, KeyError, ValueError, TypeError, RecursionError):
            sound = False
        if not sound and begun:
            raise InputError(f"{file}: the plan of the training here is damaged or missing; --overwrite begins anew")
        if not sound:
            self.on_event(f"{file}: the plan was damaged, so it is measured anew")
            return None
        changed = [name for name in {**before, **self.fingerprint} if before.get(name) != self.fingerprint.get(name)]
        if changed and begun:
            name = changed[0]
            raise InputError(
                f"{file}: the training was begun with {name} {before.get(name)}, not {self.fingerprint.get(name)}; "
                "--overwrite begins anew"
            )
        return None if changed else plan


def training_of(setup: Setup, seed: int) -> Training:
    """Begin the training of a setup."""
    return Training(
        setup.recipe,
        setup.batches,
        setup.budget,
        seed,
        schedule=setup.schedule,
        longest_average=setup.average,
        look_every=setup.look_every,
        ended=setup.ended,
    )


@final
class TrainingRun:
    """One process's part of a training."""

    def __init__(
        self,
        setup: Setup,
        request: TrainingRequest,
        target: Path,
        provenance: Mapping[str, Any],
        samples_every: int | None,
        on_progress: OnProgress,
        on_event: OnEvent,
    ) -> None:
        self._setup, self._request, self._target, self._provenance = setup, request, target, provenance
        self._samples_every = samples_every or setup.samples_every
        self._on_progress, self._on_event = on_progress, on_event
        self._start, self._events, self._notes = time.perf_counter(), list[str](), list[str]()
        self._loss, self._whole = float("nan"), True
        self.training: Training = training_of(setup, request.seed)
        folder = self._folder = target.with_suffix(".run")
        fingerprint = {**provenance["fingerprint"], "settings": _digest(setup.settings)[:16]}
        if (folder / STATE).exists():
            self.training.load(load(folder / STATE, fingerprint))
            self._loss = self.training.last_look
            self._say(f"going on from step {self.training.step}")
        self._pace: Pace = Pace()
        self._log = JsonLines(folder / "log.jsonl", self.training.step, halvings=self.training.halvings)
        self._saver: Saver = Saver(folder / STATE, fingerprint, every=10)
        self._tensorboard = Events(folder)

    def finish(self) -> TrainedFile:
        """Train to the end and write the model; after an interruption only the state."""
        try:
            self._warn_of_few_steps()
            while not self.training.finished:
                self._advance()
            model = self._write(finished=True)
            if self._setup.preview(self.training.step) and not self._sheet(self.training.step).exists():
                self._draw(model, self.training.step)
        except (KeyboardInterrupt, Stop):
            if self._whole:
                self._saver.save(self.training)
            raise
        finally:
            self._tensorboard.close()
        result = trained_file(self._target, model.provenance, self._setup.parameters)
        seconds, events, notes = time.perf_counter() - self._start, tuple(self._events), tuple(self._notes)
        return result._replace(kept=False, seconds=seconds, events=events, notes=notes)

    def _advance(self) -> None:
        """Do a step, whole, and log it; only then listen to Ctrl-C, and to callbacks that stop."""
        self._whole = False
        with _interrupts_wait():
            report = self.training.advance()
            self._whole = True
            self._log(self.training, report)
            self._tensorboard(self.training, report)
        hooks: tuple[Hook, ...] = (self._deadline, self._watch, self._show, self._saver)
        for hook in hooks:
            hook(self.training, report)

    def _watch(self, training: Training, report: Report) -> None:
        if report.held_out is not None:
            self._loss = report.held_out["loss"]
        if report.event is not None:
            self._say(report.event)
        total = training.expected_stop if self._request.minutes is None or training.stop else MEASURED * 100
        losses = " ".join(f"{v:.3f}" for v in report.losses.values())
        pace, work = self._pace.steps_a_second(report.step), self._setup.work
        label = f"step {report.step} of {total}, losses {losses}, {pace:.1f} a second"
        self._on_progress(label, work(report.step), work(total))

    def _deadline(self, training: Training, report: Report) -> None:
        """Turn minutes into steps, once: then the training is as reproducible as one of so many steps."""
        minutes = self._request.minutes
        if minutes is None or training.stop is not None or report.step < MEASURED:
            return
        pace = self._pace.steps_a_second(report.step)
        left = 60 * minutes - (time.perf_counter() - self._start)
        # A part is for looks, samples and checkpoints.
        training.end_at(report.step + max(1, round(0.92 * left * pace)))
        self._say(f"{pace:.1f} steps a second: {training.stop} steps in {minutes:g} minutes")
        self._warn_of_few_steps()

    def _warn_of_few_steps(self) -> None:
        """Say at once, and again at the end, that the minutes are too few."""
        stop, enough = self.training.stop, self._setup.enough
        if self._request.minutes is not None and stop is not None and 2 * stop < enough:
            self._notes = [f"{stop} of {enough} steps: what the network alone draws will be noise"]
            self._say(self._notes[0])

    def _show(self, training: Training, report: Report) -> None:
        if report.step % self._samples_every == 0 or training.finished:
            file = self._write(finished=False)
            if self._setup.preview(report.step):
                self._draw(file, report.step)

    def _sheet(self, step: int) -> Path:
        return self._folder / f"samples-{step:06d}.png"

    def _draw(self, content: ModelFile, step: int) -> None:
        """Write the sheet of a look."""
        image = (self._setup.sheet or self._drawings)(content)
        file = self._sheet(step)
        data = encode(image, file)
        write_bytes(file, data, overwrite=True)
        self._tensorboard.image("samples", data, step)

    def _drawings(self, content: ModelFile) -> Tensor:
        """Draw as `sinwave generate` does."""
        trained = opened(content, self._target)
        picture, size = trained.pictures[0].pixels, trained.pictures[0].size
        model: Any = trained.build(trained.engines[0], Computing(self._request.device, torch.float32))
        streams, variation = [NoiseSource(0).child("picture", n) for n in range(3)], 0.7
        with torch.inference_mode():
            samples = [model.generate(size, noise, variation=variation)[0].cpu() for noise in streams]
        return sheet(picture, samples)

    def _write(self, *, finished: bool) -> ModelFile:
        training, setup = self.training, self._setup
        provenance = {
            **self._provenance,
            "sinwave": __version__,
            "torch": torch.__version__,
            "steps": training.step,
            "stop": training.stop,
            "kept_step": setup.kept_step() or training.step,
            "finished": finished,
            "loss": self._loss,
            "numerics": setup.numerics,
            "receptive_field": setup.receptive_field,
            "size": None if setup.size is None else list(setup.size),
        }
        model = dataclasses.replace(setup.keep(training.averages.values), provenance=provenance)
        write_model(self._target, model, overwrite=True)
        return model

    def _say(self, sentence: str) -> None:
        self._events.append(sentence)
        self._on_event(sentence)


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Let the first Ctrl-C wait until what is inside is done; a second one does not."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    waiting: list[int] = []

    def wait(number: int, frame: Any) -> None:
        if waiting:
            handler(number, frame)
        waiting.append(number)

    signal.signal(signal.SIGINT, wait)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if waiting:
        handler(waiting[0], None)


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
