"""Samples and their costs, drawn by fresh processes, one after the other.

A job is one picture and one method. Its process writes every sample as soon as it is drawn, with its seconds and memory
beside it, into a folder named after a hash of picture, options and code. Existing samples are not drawn again, so an
interrupted benchmark resumes where it was, and changed code is measured anew.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pixel_space
import recipe
import torch
from reporting import peak_memory_mb
from sources import Size
from torch import Tensor

import sinwave
from sinwave.images import read, write
from sinwave.rng import NoiseSource
from sinwave.systems.wavelet.closed_form import closed_form_model

__all__ = ["OURS", "PIXELS", "RECIPE", "Cost", "Job", "costs", "digest", "write_json"]

Draw = Callable[[Size, NoiseSource], Tensor]

OURS, PIXELS, RECIPE = "ours", "pixels", "recipe"
REFERENCES = {PIXELS: pixel_space, RECIPE: recipe}


@functools.cache
def _our_code() -> str:
    """Read our source code once, so that later edits do not matter to this run."""
    root = Path(inspect.getfile(sinwave)).parent
    names = ["resize.py", "rng.py", "wavelets.py", "diffusion/*.py", "systems/**/*.py"]
    return "".join(file.read_text("utf-8") for name in names for file in sorted(root.glob(name)))


@dataclass(frozen=True)
class Job:
    """Samples of one picture by one method: an engine, ours at a `variation`."""

    source: str
    size: Size
    engine: str
    variation: float | None
    threads: int
    seed: int

    @property
    def name(self) -> str:
        return self.engine if self.variation is None else f"{self.engine} {self.variation:g}"

    @property
    def folder(self) -> Path:
        """Folder of its samples: a readable name and a hash of picture, options and code."""
        source = Path(self.source)
        settings = dataclasses.asdict(self) | {"source": hashlib.sha256(source.read_bytes()).hexdigest()}
        del settings["engine"]  # its code stands for it
        key = digest(json.dumps(settings), self._code)
        return source.parent / f"{self.name.replace(' ', '-')}-{self.size[1]}x{self.size[0]}-{key}"

    @property
    def _code(self) -> str:
        """Source code of the method; the recipe uses our modules too."""
        own = inspect.getsource(REFERENCES[self.engine]) if self.engine in REFERENCES else ""
        return own if self.engine == PIXELS else own + _our_code()

    def prepare(self, image: Tensor) -> Draw:
        """Do the work that is needed once per picture, and return the function that draws."""
        if self.engine == PIXELS:
            pyramid = pixel_space.pixel_pyramid(image)
            return lambda size, noise: pixel_space.pixel_sample(pyramid, noise)
        if self.engine == RECIPE:
            model = recipe.Recipe(image)
            return lambda size, noise: model.generate(noise)
        ours, variation = closed_form_model(image), self.variation
        if variation is None:
            raise ValueError("a variation is missing")
        return lambda size, noise: ours.generate(size, noise, variation=variation)

    def sample(self, index: int) -> Path:
        return self.folder / f"{index:04d}.png"


@dataclass(frozen=True)
class Cost:
    """Costs of one sample: seconds of the set-up, seconds of the sample, and peak memory of the process."""

    setup: float
    seconds: float
    peak_mb: float | None


def work(job: Job, files: Sequence[str]) -> None:
    """Draw the samples of a job in this process: sample 17 into the file 0017.png."""
    torch.set_num_threads(job.threads)
    image = read(job.source).pixels[None]
    with torch.inference_mode():
        start = time.perf_counter()
        draw = job.prepare(image)
        setup = time.perf_counter() - start
        for file in map(Path, files):
            start = time.perf_counter()
            sample = draw(job.size, NoiseSource(job.seed).child(int(file.stem)))
            cost = Cost(setup, time.perf_counter() - start, peak_memory_mb())
            write(file, sample[0], overwrite=True)
            write_json(file.with_suffix(".json"), dataclasses.asdict(cost))
            print(f"{file.parent}: sample {file.stem}, {cost.seconds:.2f} s", file=sys.stderr, flush=True)


def costs(job: Job, count: int) -> list[Cost]:
    """Return the costs of `count` samples, and draw the missing ones first."""
    samples = [job.sample(index) for index in range(count)]
    records = [sample.with_suffix(".json") for sample in samples]
    missing = [str(sample) for sample, record in zip(samples, records, strict=True) if not record.exists()]
    if missing:
        job.folder.mkdir(parents=True, exist_ok=True)
        order = json.dumps({"job": dataclasses.asdict(job), "files": missing})
        environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(job.threads)}
        subprocess.run([sys.executable, __file__, order], check=True, env=environment)
    return [Cost(**json.loads(record.read_text("utf-8"))) for record in records]


def digest(*texts: str) -> str:
    """Short hash of texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:8]


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file whole or not at all, since its existence means that the sample is done."""
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    work(Job(**order["job"] | {"size": tuple(order["job"]["size"])}), order["files"])
