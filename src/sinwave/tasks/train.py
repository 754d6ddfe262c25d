"""Train a model on one picture, on a few, or on a folder, with any system of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sinwave.atomic import locked, make_folder
from sinwave.errors import InputError, OutputError
from sinwave.option_kinds import MIN_SIDE, Source
from sinwave.options import check, facts, from_json, option, to_json
from sinwave.systems import table
from sinwave.systems.files import read_manifest
from sinwave.systems.table import System
from sinwave.tasks.base.machine import Machine, OnProgress, check_memory, silent

if TYPE_CHECKING:
    import torch

    from sinwave.images import Picture
    from sinwave.tasks.base.training_run import OnEvent, TrainedFile

__all__ = ["RunOptions", "Train", "TrainOptions", "train_files"]


@dataclass(frozen=True, kw_only=True)
class RunOptions(Machine):
    """The options of every training: where to, how long, from which seed."""

    output: Path | None = option(
        None, "the model file (default: the name of PICTURE or FOLDER)", short="-o", metavar="NAME.safetensors"
    )
    minutes: float | None = option(None, "train for about this many minutes, instead of the usual steps", low=0.05)
    steps: int | None = option(
        None, "exact number of steps (SinGAN: those at its finest scale)", low=1, high=10**7, metavar="N"
    )
    seed: int = option(0, "the seed of the initial weights and of all noise", low=0, high=2**63 - 1)
    samples_every: int | None = option(
        None, "steps between two sheets of samples (default: 500; adapt: 50)", low=10, metavar="N"
    )
    overwrite: bool = option(False, "begin anew, and replace the model that is there")

    def __post_init__(self) -> None:
        check(self)
        if self.minutes is not None and self.steps is not None:
            raise InputError("minutes and steps exclude each other: give one of them")
        if self.output is not None and self.output.suffix != ".safetensors":
            raise InputError(f"a model file ends in .safetensors, not {self.output.name!r}")


@dataclass(frozen=True, kw_only=True)
class TrainOptions(RunOptions):
    """Train a model on PICTURE, so that `sinwave generate NAME.safetensors` draws from it.

    Writes NAME.safetensors, and beside it the folder NAME.run with the log (log.jsonl, TensorBoard events) and sheets
    of samples. Interrupt it as you like: the same command goes on where it was.
    """

    pictures: tuple[Path, ...] = option(
        help="the picture to learn from, or several for one model; or a folder, for systems that learn from folders",
        positional=True,
        metavar="PICTURE",
    )
    system: str = option(
        "wavelet", "the kind of model, such as singan; --system NAME --help shows its options", metavar="NAME"
    )
    max_pixels: int = option(16_000_000, "the largest picture to accept", low=256)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.pictures:
            raise InputError("PICTURE is missing")
        if table.find(self.system).setup is None:
            raise InputError(f"the system {self.system} has nothing to train")


@dataclass(frozen=True, kw_only=True)
class Train(TrainOptions):
    """A training: the options that all have, and `options`, those of its system, None for their defaults."""

    options: Any = None

    def __post_init__(self) -> None:
        TrainOptions(**{name: value for name, value in vars(self).items() if name != "options"})
        kind = self._system.door("options")
        if self.options is not None and not isinstance(self.options, kind):
            raise InputError(f"options of the system {self.system} are {kind.__module__}.Options, not {self.options!r}")
        for name, file in self._files.items():
            if file.resolve() == self.target.resolve():
                raise InputError(
                    f"{file}: this is the {name}, and the training would replace it; -o chooses another name"
                )

    @property
    def target(self) -> Path:
        """The model file."""
        return Path(self.pictures[0].absolute().stem + ".safetensors") if self.output is None else self.output

    @property
    def run_folder(self) -> Path:
        """Where the log and the samples are."""
        return self.target.with_suffix(".run")

    def run(self, on_progress: OnProgress = silent, on_event: OnEvent = lambda sentence: None) -> TrainedFile:
        """Read, train, write."""
        import torch

        on_progress("reading", 0, 1)
        pictures = self._pictures()
        fingerprint = self._fingerprint(pictures)
        with ExitStack() as stack:
            device = stack.enter_context(self.on(torch.float32))
            before = self._finished_before(fingerprint)
            if before is not None:
                return before
            # What the system refuses leaves no folder behind.
            enter = cache(partial(self._enter, stack))
            result = self._train(pictures, fingerprint, device, enter, on_progress, on_event)
        notes = [note for picture in pictures if not isinstance(picture, Path) for note in picture.notes]
        return result._replace(notes=(*notes, *result.notes))

    @property
    def _files(self) -> dict[str, Path]:
        """The options that name files, such as a model to begin with."""
        return {name: value for name, value in vars(self._options).items() if isinstance(value, Path)}

    @property
    def _system(self) -> System:
        return table.find(self.system)

    @property
    def _options(self) -> Any:
        return self._system.door("options")() if self.options is None else self.options

    def _pictures(self) -> list[Picture | Path]:
        """The pictures, or the paths for a system that reads them itself."""
        from sinwave.images import read

        single = self._system.learns_from == "picture"
        for path in self.pictures:
            if single and path.is_dir():
                raise InputError(f"{path}: this is a folder, and the system {self.system} learns from single pictures")
            if not single and not path.is_dir():
                raise InputError(f"{path}: there is no such folder, and the system {self.system} learns from folders")
        if not single:
            return list(self.pictures)
        return [read(path, max_pixels=self.max_pixels, min_side=MIN_SIDE) for path in self.pictures]

    def _fingerprint(self, pictures: list[Picture | Path]) -> dict[str, Any]:
        """Everything that must be the same for a training to go on."""
        from sinwave.data.folder import Folder

        digests = [Folder(source).fingerprint if isinstance(source, Path) else source.sha256 for source in pictures]
        return {
            "pictures": " ".join(digest[:16] for digest in digests),
            "system": self.system,
            "seed": self.seed,
            "minutes": self.minutes,
            "steps": self.steps,
            **{name.replace("_", " "): value for name, value in to_json(self._options).items()},
            **{f"content of {name}": Source(file).sha256 for name, file in self._files.items() if file.is_file()},
        }

    def _finished_before(self, fingerprint: Mapping[str, Any]) -> TrainedFile | None:
        """The result if this command has finished before; a file that something else has made is an error."""
        from sinwave.tasks.base.training_run import trained_file

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
        provenance = manifest.provenance
        return trained_file(self.target, provenance, manifest.parameters) if provenance.get("finished") else None

    def _enter(self, stack: ExitStack) -> None:
        """Make the folder of the run, and keep other trainings out of it."""
        make_folder(self.target.parent)
        make_folder(self.run_folder)
        if not stack.enter_context(locked(self.run_folder / "lock")):
            raise OutputError(f"{self.run_folder}: another training is at work in this folder; -o chooses another")
        # What an earlier run has left, and nothing else.
        for pattern in ("resume.pt", "plan.json", "log.jsonl", "samples-*.png", "events.out.tfevents.*"):
            for file in self.run_folder.glob(pattern) if self.overwrite else ():
                file.unlink()

    def _train(
        self,
        pictures: list[Picture | Path],
        fingerprint: Mapping[str, Any],
        device: torch.device,
        enter: Callable[[], None],
        on_progress: OnProgress,
        on_event: OnEvent,
    ) -> TrainedFile:
        from sinwave.systems.contracts import TrainingRequest
        from sinwave.tasks.base.training_run import PlanFile, TrainingRun

        sizes = [f"{picture.size[1]} x {picture.size[0]}" for picture in pictures if not isinstance(picture, Path)]
        subject = f"training on {' and '.join(sizes)} pixels" if sizes else "training"

        def reserve(needed: float, hint: str) -> None:
            check_memory(subject, needed, device, hint)

        on_progress("preparing", 0, 1)
        plan = PlanFile(self.run_folder, fingerprint, enter, on_progress, on_event)
        request = TrainingRequest(self.seed, device, self.steps, self.minutes, reserve, plan.decide, on_event)
        setup = self._system.door("setup")(pictures, self._options, request)
        enter()
        provenance = {
            "seed": self.seed,
            "training": {name: value for name, value in to_json(self._options).items() if value is not None},
            "pictures": [picture.sha256 for picture in pictures if not isinstance(picture, Path)],
            "fingerprint": dict(fingerprint),
        }
        return TrainingRun(setup, request, self.target, provenance, self.samples_every, on_progress, on_event).finish()


def train_files(pictures: tuple[Path, ...], output: Path | None, system: str, options: Mapping[str, Any]) -> Train:
    """Make a training of options in one row: those that all have, and those of the system."""
    names = [declared.name for declared in facts(TrainOptions)]
    common = {name: value for name, value in options.items() if name in names}
    rest = {name: value for name, value in options.items() if name not in names}
    own = from_json(table.find(system).door("options"), rest)
    return Train(pictures=pictures, output=output, system=system, options=own, **common)
