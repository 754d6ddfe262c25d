"""The main job on a photograph that everybody may use."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sinwave.atomic import make_folder
from sinwave.errors import MissingError
from sinwave.option_kinds import Source
from sinwave.options import check, option
from sinwave.tasks.base.machine import Hardware, OnProgress, silent
from sinwave.tasks.base.run import Output, Run, Written
from sinwave.tasks.generate import Generate

__all__ = ["Demo"]

SHORT_SIDE = 192


@dataclass(frozen=True, kw_only=True)
class Demo(Hardware):
    """Draw new pictures from a photograph that is in the public domain, and say where to look."""

    photograph: Literal["hubble_deep_field", "rocket", "coffee", "chelsea", "astronaut", "grass", "gravel"] = option(
        "rocket", "which photograph, of those inside scikit-image"
    )
    count: int = option(8, "how many pictures to draw", low=1, high=10_000, short="-n", metavar="N")
    variation: float = option(0.7, "0 = the photograph itself, 1 = a new composition", low=0, high=1)
    seed: int = option(0, "the seed of the noise: another one draws other pictures", low=0, high=2**63 - 1)
    output: Path = option(Path("sinwave-demo"), "the folder to write to", short="-o", metavar="DIR")

    def __post_init__(self) -> None:
        check(self)

    def run(self, on_progress: OnProgress = silent) -> Written:
        """Put a small copy of the photograph into the folder and generate from it."""
        from sinwave.images import read, write
        from sinwave.resize import resize

        picture = read(photograph(self.photograph))
        shrink = SHORT_SIDE / min(picture.size)
        small = resize(picture.pixels[None], (round(picture.size[0] * shrink), round(picture.size[1] * shrink)))[0]
        make_folder(self.output)
        source = self.output / f"{self.photograph}.png"
        write(source, small, overwrite=True, gray=picture.gray)
        task = Generate(source=Source(source), variation=self.variation)
        return Run(task, Output(count=self.count, seed=self.seed, output=self.output), self).run(on_progress)


def photograph(name: str) -> Path:
    """Look up where scikit-image keeps a photograph, without importing it, which would take a second."""
    package = importlib.util.find_spec("skimage")
    if package is None or not package.submodule_search_locations:
        raise MissingError.extra("scikit-image", "demo")
    folder = Path(package.submodule_search_locations[0]) / "data"
    files = sorted(folder.glob(f"{name}.*"))
    if not files:
        raise MissingError(f"scikit-image holds no photograph {name}: looked for {folder / name}.*")
    return files[0]
