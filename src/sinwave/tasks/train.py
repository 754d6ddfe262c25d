"""Train a model on one picture, or on a few."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from sinwave import __version__
from sinwave.errors import InputError, OutputError
from sinwave.options import check, option
from sinwave.tasks.folders import make_folder
from sinwave.tasks.hardware import Machine
from sinwave.tasks.sizes import MIN_SIDE

if TYPE_CHECKING:
    from sinwave.images import Picture
    from sinwave.systems.wavelet.fitting import Fitting
    from sinwave.systems.wavelet.presets import Preset
    from sinwave.systems.wavelet.recipe import Numerics
    from sinwave.training.hooks import Pace
    from sinwave.training.loop import Hook, Report, Training

__all__ = ["OnProgress", "Train", "TrainedFile"]

OnProgress: TypeAlias = Callable[[str, float, float], None]

MEASURED = 60
"""Steps after which a training of some minutes knows how many it will have."""


class TrainedFile(NamedTuple):
    """The model, the folder of the run, and how it went; `kept` if the same command had finished before."""

    model: Path
    run: Path
    samples: Path | None
    steps: int
    loss: float
    seconds: float
    parameters: int
    field: int
    numerics: str
    kept: bool
    events: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    pictures: tuple[Path, ...] = option(
        help="the picture to learn from, or several, such as views of one thing, for one model",
        positional=True,
        metavar="PICTURE",
    )
    output: Path | None = option(
        None, "the model file (default: the name of the first PICTURE)", short="-o", metavar="NAME.safetensors"
    )
    preset: Literal["fast", "reference"] = option(
        "fast", "fast: minutes on a laptop; reference: the thesis as published, hours on a GPU"
    )
    minutes: float | None = option(None, "train for about so long (default: until the loss stops falling)", low=0.05)
    steps: int | None = option(None, "train for exactly so many steps", low=1, high=10_000_000, metavar="N")
    receptive_field: int | None = option(
        None,
        "how far an output sees, in positions of its scale: small for variety, large for layout (fast: 21)",
        low=5,
        high=257,
        metavar="POSITIONS",
    )
    width: int | None = option(None, "channels of the network (fast: 64)", low=8, high=512, metavar="CHANNELS")
    progression: Literal["levels", "bands"] = option(
        "levels", "levels: each scale twice as large; bands: four scales of one size, a band each"
    )
    seed: int = option(0, "another seed begins and draws otherwise", low=0, high=2**63 - 1)
    precision: Literal["auto", "float32", "bfloat16"] = option(
        "auto", "of the convolutions; auto measures which is faster here"
    )
    samples_every: int = option(500, "steps between two sheets of samples in the run's folder", low=10, metavar="N")
    overwrite: bool = option(False, "begin anew, and replace the model that is there")
    max_pixels: int = option(16_000_000, "the largest picture to accept", low=256)


@dataclass(frozen=True, kw_only=True)
class Train(Machine, _Wanted):
    """Train a wavelet diffusion model on PICTURE, so that `sinwave generate NAME.safetensors` draws from it.

    Writes NAME.safetensors, and beside it the folder NAME.run with the log (log.jsonl, TensorBoard events) and sheets
    of samples. Interrupt it as you like: the same command goes on where it was.
    """

    def __post_init__(self) -> None:
        """Check what can be checked without the pictures."""
        check(self)
        if not self.pictures:
            raise InputError("PICTURE is missing")
        if self.minutes is not None and self.steps is not None:
            raise InputError("minutes and steps exclude each other: give one of them")
        if self.target.suffix != ".safetensors":
            raise InputError(f"a model file ends in .safetensors, not {self.target.name!r}")

    @property
    def target(self) -> Path:
        """The model file."""
        return Path(self.pictures[0].stem + ".safetensors") if self.output is None else self.output

    @property
    def run_folder(self) -> Path:
        """Where the log and the samples are."""
        return self.target.with_suffix(".run")

    def run(
        self,
        on_progress: OnProgress = lambda label, done, total: None,
        on_event: Callable[[str], None] = lambda sentence: None,
    ) -> TrainedFile:
        """Read, train, write."""
        import torch

        from sinwave.images import read
        from sinwave.systems.wavelet.fitting import Fitting, common_levels
        from sinwave.systems.wavelet.presets import preset

        on_progress("reading", 0, 1)
        pictures = [read(path, max_pixels=self.max_pixels, min_side=MIN_SIDE) for path in self.pictures]
        chosen = preset(
            self.preset,
            levels=common_levels([picture.size for picture in pictures]),
            progression=self.progression,
            width=self.width,
            field=self.receptive_field,
        )
        fingerprint = self._fingerprint(pictures, chosen)
        device = self.place(torch.float32)
        kept = self._kept(fingerprint)
        if kept is not None:
            return kept
        make_folder(self.target.parent)
        make_folder(self.run_folder)
        if self.overwrite:
            self._clear()
        on_progress("taking the pictures apart", 0, 1)
        run = _Run(self, fingerprint, Fitting.begin(pictures, chosen, self.seed, device), on_progress, on_event)
        return run.finish()._replace(notes=tuple(note for picture in pictures for note in picture.notes))

    def _fingerprint(self, pictures: list[Picture], chosen: Preset) -> dict[str, Any]:
        """What must be the same for a training to go on."""
        settings = {
            "pictures": " ".join(picture.sha256[:16] for picture in pictures),
            "preset": self.preset,
            "seed": self.seed,
            "minutes": self.minutes,
            "steps": self.steps,
            "precision": self.precision,
        }
        details = json.dumps([chosen.configuration.to_json(), vars(chosen.practice), chosen.most], sort_keys=True)
        return settings | {
            "receptive field": chosen.configuration.shape.field,
            "width": chosen.configuration.width,
            "progression": self.progression,
            "recipe": hashlib.sha256(details.encode()).hexdigest()[:16],
        }

    def _kept(self, fingerprint: Mapping[str, Any]) -> TrainedFile | None:
        """The result if this command has finished before; a file that something else has made is an error."""
        from sinwave.systems.files import read_manifest

        if self.overwrite or not self.target.exists():
            return None
        try:
            manifest = read_manifest(self.target)
        except InputError:
            manifest = None
        if manifest is None or manifest.provenance.get("fingerprint") != dict(fingerprint):
            raise OutputError(
                f"{self.target}: another file of that name exists; --overwrite begins anew, -o chooses another name"
            )
        if not manifest.provenance.get("finished"):
            return None
        known = manifest.provenance
        return TrainedFile(
            model=self.target,
            run=self.run_folder,
            samples=next(iter(sorted(self.run_folder.glob("samples-*.png"), reverse=True)), None),
            steps=int(known["steps"]),
            loss=float(known["loss"]),
            seconds=0.0,
            parameters=manifest.parameters,
            field=int(fingerprint["receptive field"]),
            numerics=str(known["numerics"]),
            kept=True,
            events=(),
            notes=(),
        )

    def _clear(self) -> None:
        """Remove what an earlier run has left, and nothing else."""
        for pattern in ("resume.pt", "plan.json", "log.jsonl", "samples-*.png", "events.out.tfevents.*"):
            for file in self.run_folder.glob(pattern):
                file.unlink()


class _Run:
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
        from sinwave.training.checkpoint import Saver, load
        from sinwave.training.hooks import Events, JsonLines, Pace
        from sinwave.training.loop import Budget, Training

        self._task, self._fingerprint, self._fitting = task, fingerprint, fitting
        self._on_progress, self._on_event = on_progress, on_event
        self._start, self._events = time.perf_counter(), list[str]()
        self._loss = float("nan")
        self._samples: Path | None = None
        folder, resume = task.run_folder, task.run_folder / "resume.pt"
        state = load(resume, fingerprint) if resume.exists() else None
        self.numerics = self._plan(folder / "plan.json")
        practice, most = fitting.preset.practice, fitting.preset.most
        budget = Budget(task.steps, most if task.minutes is None else 10**9)
        recipe = fitting.recipe(self.numerics)
        self.training: Training = Training(recipe, budget, task.seed, longest_average=practice.average)
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
        from sinwave.training.loop import train

        train(self.training, self._hooks)
        self._write(finished=True)
        self._tensorboard.close()
        task, network = self._task, self._fitting.network
        return TrainedFile(
            model=task.target,
            run=task.run_folder,
            samples=self._samples,
            steps=self.training.step,
            loss=self._loss,
            seconds=time.perf_counter() - self._start,
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            field=network.shape.field,
            numerics=str(self.numerics),
            kept=False,
            events=tuple(self._events),
            notes=(),
        )

    def _plan(self, file: Path) -> Numerics:
        """How to compute: as was asked, as was found before, or as is faster now."""
        from sinwave.atomic import write_bytes
        from sinwave.systems.wavelet.recipe import Numerics

        precision = self._task.precision
        if precision != "auto":
            return Numerics(precision, channels_last=True)
        try:
            return Numerics(**json.loads(file.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            pass
        found = self._fitting.fastest(lambda words: self._on_progress(f"measuring {words}", 0, 1))
        write_bytes(file, json.dumps(vars(found)).encode(), overwrite=True)
        return found

    def _watch(self, training: Training, report: Report) -> None:
        """Tell how far it is, and what had to be done."""
        if report.held_out is not None:
            self._loss = report.held_out["loss"]
        if report.event is not None:
            self._say(report.event)
        total = training.expected_stop if self._task.minutes is None or training.stop else MEASURED * 100
        losses = " ".join(f"{v:.3f}" for name, v in report.losses.items() if name.startswith("scale"))
        pace = self._pace.steps_a_second(report.step)
        self._on_progress(f"step {report.step} of {total}, losses {losses}, {pace:.1f} a second", report.step, total)

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
            self._draw(report.step)

    def _draw(self, step: int) -> None:
        import torch

        from sinwave.atomic import write_bytes
        from sinwave.images import encode, sheet
        from sinwave.rng import NoiseSource

        trained = self._fitting.trained(self.training.averages.values, self.numerics)
        picture = trained.pictures[0]
        device = self._fitting.material.statistics.mean.device
        model = trained.model("network", device, torch.float32)
        with torch.inference_mode():
            samples = [model.generate(picture.size, NoiseSource(0).child("picture", n))[0].cpu() for n in range(3)]
        shown = sheet(picture.pixels, samples)
        self._samples = file = self._task.run_folder / f"samples-{step:06d}.png"
        data = encode(shown, file)
        write_bytes(file, data, overwrite=True)
        self._tensorboard.image("samples", data, (shown.shape[1], shown.shape[2]), step)

    def _write(self, *, finished: bool) -> None:
        import torch

        from sinwave.systems.files import write_model

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
            "numerics": str(self.numerics),
            "fingerprint": dict(self._fingerprint),
            "pictures": [picture.sha256 for picture in self._fitting.pictures],
            "size": list(self._fitting.pictures[0].size),
        }
        model = self._fitting.trained(training.averages.values, self.numerics).to_file(provenance)
        write_model(self._task.target, model, overwrite=True)

    def _say(self, sentence: str) -> None:
        self._events.append(sentence)
        self._on_event(sentence)
