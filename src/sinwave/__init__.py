"""New pictures from one picture, learned in the wavelet domain.

    sinwave.open("photo.jpg").extend(left=64).upscale(2).save("wide.png")

Importing the package is instant and leaves the environment alone: torch and everything that needs it load when a
picture is opened. Errors are `SinwaveError`s; any callback may raise `Stop`, which ends the work within a step.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sinwave.errors import InputError, MissingError, OutputError, SinwaveError, Stop, TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

    from sinwave.python.frames import Frames
    from sinwave.python.keywords import Engine, PictureLike
    from sinwave.python.photo import Photo
    from sinwave.python.super_resolver import SuperResolver
    from sinwave.tasks.base.training_run import TrainedFile
    from sinwave.tasks.evaluate import Evaluation

__all__ = ["Frames", "InputError", "MissingError", "OutputError", "Photo", "SinwaveError", "Stop", "SuperResolver"]
__all__ += ["TrainingError", "__version__", "evaluate", "open", "train"]

__version__ = "0.1.0"


def open(
    picture: PictureLike, *, engine: Engine = "auto", seed: int = 0, device: str = "auto", threads: int | None = None
) -> Photo:
    """Open a picture (a path, bytes, a Pillow picture, an array), or a model file of `train`, to draw from and edit."""
    opened = import_module("sinwave.python.photo").open_photo
    photo: Photo = opened(picture, engine=engine, seed=seed, device=device, threads=threads)
    return photo


def train(
    pictures: str | PathLike[str] | Sequence[str | PathLike[str]],
    output: str | PathLike[str] | None = None,
    *,
    system: str = "wavelet",
    on_progress: Callable[[str, float, float], None] = lambda label, done, total: None,
    on_event: Callable[[str], None] = lambda sentence: None,
    **options: Any,
) -> TrainedFile:
    """Train a model; options: `sinwave train --system SYSTEM --help`; `.model` of the result is the file."""
    place = None if output is None else Path(output)
    training = import_module("sinwave.tasks.train").train_files(_several(pictures), place, system, options)
    result: TrainedFile = training.run(on_progress, on_event)
    return result


def evaluate(
    source: str | PathLike[str], samples: str | PathLike[str] | Sequence[str | PathLike[str]], **options: Any
) -> Evaluation:
    """Measure samples of one picture; options: `sinwave evaluate --help`; scores: `.results.scores`."""
    task = import_module("sinwave.tasks.evaluate").Evaluate(source=Path(source), samples=_several(samples), **options)
    result: Evaluation = task.run()
    return result


def _several(places: str | PathLike[str] | Sequence[str | PathLike[str]]) -> tuple[Path, ...]:
    several = [places] if isinstance(places, str) or hasattr(places, "__fspath__") else places
    return tuple(Path(place) for place in several)


def __getattr__(name: str) -> Any:
    module = {"Frames": "frames", "Photo": "photo", "SuperResolver": "super_resolver"}.get(name)
    if module is not None:
        return getattr(import_module(f"sinwave.python.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
