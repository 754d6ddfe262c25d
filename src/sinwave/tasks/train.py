"""Train a model on one picture, or on a few."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from sinwave.errors import InputError, OutputError
from sinwave.options import check, option
from sinwave.tasks.folders import make_folder
from sinwave.tasks.hardware import Machine, physical_memory
from sinwave.tasks.sizes import MIN_SIDE

if TYPE_CHECKING:
    from sinwave.images import Picture
    from sinwave.systems.trainable import Choice, Fitting

__all__ = ["OnProgress", "Train", "TrainedFile"]

OnProgress: TypeAlias = Callable[[str, float, float], None]


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
    system: Literal["wavelet", "singan"] = option(
        "wavelet", "wavelet: diffusion in wavelet bands; singan: the adversarial pyramid that it is compared with"
    )
    preset: Literal["fast", "reference", "official"] = option(
        "fast",
        "fast: minutes on a laptop; as published, hours on a GPU: reference, the thesis of wavelet, and official, the "
        "paper of singan",
    )
    minutes: float | None = option(
        None,
        "train for about so long (default: 700 steps; of reference, until the loss stops falling; of singan 800 at "
        "the finest scale and more at the others, of official 2,000 at each)",
        low=0.05,
    )
    steps: int | None = option(
        None, "train for exactly so many steps, of singan at its finest scale", low=1, high=10_000_000, metavar="N"
    )
    receptive_field: int | None = option(
        None,
        "how far an output sees, in positions of its scale: small for variety, large for layout (fast: 17)",
        low=5,
        high=257,
        metavar="POSITIONS",
    )
    width: int | None = option(None, "channels of the network (fast: 72)", low=8, high=512, metavar="CHANNELS")
    progression: Literal["levels", "bands"] = option(
        "levels", "levels: each scale twice as large; bands: four scales of one size, a band each"
    )
    concurrent_stages: int | None = option(
        None, "of singan: train so many scales together, of six at the most (default: 1 of all)", low=1, high=6
    )
    max_size: int | None = option(
        None, "of singan: reduce a larger picture to this longer side (default: none; of official 250)", low=32
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
    """Train a model on PICTURE, so that `sinwave generate NAME.safetensors` draws from it.

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
        self._check_system()

    def _check_system(self) -> None:
        presets = {"wavelet": ("fast", "reference"), "singan": ("fast", "official")}[self.system]
        if self.preset not in presets:
            raise InputError(f"the presets of {self.system} are {' and '.join(presets)}, not {self.preset}")
        theirs = {"wavelet": ("concurrent_stages", "max_size"), "singan": ("receptive_field", "width", "progression")}
        defaults = {field.name: field.default for field in fields(_Wanted)}
        for name in theirs[self.system]:
            if getattr(self, name) != defaults[name]:
                raise InputError(f"{name.replace('_', ' ')} is no option of the system {self.system}")
        if self.system == "singan" and len(self.pictures) > 1:
            raise InputError("the system singan learns from one picture, not from several")
        if self.system == "singan" and self.precision == "bfloat16":
            raise InputError("the critics of the system singan need float32: precision bfloat16 is no option of it")

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
        from sinwave.tasks.training_run import TrainingRun

        on_progress("reading", 0, 1)
        pictures = [read(path, max_pixels=self.max_pixels, min_side=MIN_SIDE) for path in self.pictures]
        chosen = self._chosen(pictures)
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
        fitting = chosen.begin(pictures, self.seed, device)
        _check_memory(fitting, reducible=self.system == "singan")
        run = TrainingRun(self, fingerprint, fitting, on_progress, on_event)
        return run.finish()._replace(notes=tuple(note for picture in pictures for note in picture.notes))

    def _chosen(self, pictures: list[Picture]) -> Choice:
        """The system with its options."""
        if self.system == "singan":
            from sinwave.systems.singan import fitting as singan

            return singan.chosen(self.preset, together=self.concurrent_stages, most=self.max_size)
        from sinwave.systems.wavelet import fitting as wavelet
        from sinwave.systems.wavelet.presets import preset

        return wavelet.Chosen(
            preset(
                self.preset,
                levels=wavelet.common_levels([picture.size for picture in pictures]),
                progression=self.progression,
                width=self.width,
                field=self.receptive_field,
            )
        )

    def _fingerprint(self, pictures: list[Picture], chosen: Choice) -> dict[str, Any]:
        """What must be the same for a training to go on."""
        return {
            "pictures": " ".join(picture.sha256[:16] for picture in pictures),
            "preset": self.preset,
            "seed": self.seed,
            "minutes": self.minutes,
            "steps": self.steps,
            "precision": self.precision,
            **chosen.facts(),
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


def _check_memory(fitting: Fitting, *, reducible: bool) -> None:
    """Refuse what this machine cannot hold, before it is brought to its knees."""
    needed, there = fitting.memory, physical_memory()
    if fitting.device.type == "cpu" and there is not None and needed > there:
        sizes = " and ".join(f"{picture.size[1]} x {picture.size[0]}" for picture in fitting.pictures)
        way = "; --max-size trains on a smaller picture" if reducible else ""
        raise InputError(
            f"training on {sizes} pixels needs about {needed / 1e9:.0f} GB of memory, and this machine has "
            f"{there / 1e9:.0f}{way}"
        )
