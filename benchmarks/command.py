"""Time and memory of `sinwave train` and `sinwave generate`, as a user runs them, by size of the picture.

    python benchmarks/command.py --pictures FOLDER --sides 256 512 1024 --output table.md

Every picture is resized to these long sides, a model is trained on it with the defaults, and every engine draws from
the model at the size of the picture. Every command is a process of its own, and seconds are those of the whole process.
Models stay in the folder of `--work`, but each run trains them again, so that every number is measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from reporting import deliver, provenance, share_options, table
from sources import fitted, keep, pictures
from torch import Tensor

from sinwave.images import read, to_uint8
from sinwave.metrics.patches import sliced_wasserstein

HEAD = ("picture", "size", "command", "steps", "seconds", "peak MB", "MB of the file", "SWD")
ENGINES = ("hybrid", "network")


class Outcome(NamedTuple):
    """Duration of a process, and its printed result."""

    seconds: float
    result: dict[str, Any]


def command(*words: str) -> Outcome:
    """Run a command in a process of its own."""
    start = time.perf_counter()
    line = [sys.executable, "-m", "sinwave", *words, "--json", "--quiet"]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    return Outcome(time.perf_counter() - start, json.loads(done.stdout))


@dataclass(frozen=True)
class Results:
    """The commands on one picture of one size."""

    options: argparse.Namespace
    name: str
    source: Path

    def rows(self) -> list[tuple[str, ...]]:
        """Rows for the training and for every engine."""
        options = self.options
        shared = ["--threads", str(options.threads), "--seed", str(options.seed), "--overwrite"]
        model = self.source.with_name("model.safetensors")
        budget = ["--steps", str(options.steps)] if options.steps else []
        trained = command("train", str(self.source), "-o", str(model), *budget, *shared)
        rows = [self._row("train", trained, str(trained.result["steps"]), model)]
        for engine in ENGINES:
            count, folder = str(options.samples), str(self.source.with_name(engine))
            drawn = command("generate", str(model), "--engine", engine, "-n", count, "-o", folder, *shared)
            rows.append(self._row(f"generate -n {count}, {engine}", drawn, "", model))
        return rows

    def _row(self, what: str, outcome: Outcome, steps: str, model: Path) -> tuple[str, ...]:
        picture = read(self.source)
        height, width = picture.size
        memory, files = outcome.result["peak_memory_mb"], outcome.result.get("files", [])
        source = to_uint8(picture.pixels)
        distances = [sliced_wasserstein(to_uint8(read(file).pixels), source) for file in files]
        cells = (
            steps or "-",
            f"{outcome.seconds:.1f}",
            "unknown" if memory is None else f"{memory:.0f}",
            f"{model.stat().st_size / 1e6:.1f}",
            f"{statistics.fmean(distances):.4f}" if distances else "-",
        )
        print(self.name, f"{width} x {height}", what, *cells, file=sys.stderr, flush=True)
        return (self.name, f"{width} x {height}", what, *cells)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--pictures", type=Path, required=True, metavar="FOLDER", help="a folder of pictures")
    add("--only", nargs="+", metavar="NAME", help="only these of them")
    add("--sides", type=int, nargs="+", default=[256, 512, 1024], metavar="PIXELS", help="long sides; 256 512 1024")
    add("--steps", type=int, metavar="N", help="of each training; until the held-out loss stops falling")
    add("--samples", type=int, default=4, metavar="N", help="drawn by each engine; 4")
    share_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    sources: dict[str, Tensor] = pictures(options.pictures, [], options.only)
    rows = [
        row
        for name, picture in sources.items()
        for side in options.sides
        for row in Results(options, name, keep(options.work, name, picture, fitted(picture, side))).rows()
    ]
    deliver([provenance("command.py", threads=options.threads, seed=options.seed), table(HEAD, rows)], options.output)


if __name__ == "__main__":
    main(sys.argv[1:])
