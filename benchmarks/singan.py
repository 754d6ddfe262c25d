"""How fast SinGAN trains here beside the paper's loop written down plainly, and with how much memory.

    python benchmarks/singan.py --picture FILE --side 128 --threads 2 --output table.md

At the coarsest, the middle and the finest scale of a picture whose longer side is reduced to `--side`, in turn some
iterations of ours (three steps of the critic and three of the generator, by the training loop, all it does included)
and as many of `plain_singan.py`; the medians, and the median of the ratios of neighbors. Memory is that of a process of
its own that trains the finest scale.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from plain_singan import PlainSingan
from reporting import deliver, provenance, share_options, table

from sinwave.images import Picture, read
from sinwave.systems.singan.fitting import PRESETS, Fitting
from sinwave.systems.trainable import Wanted
from sinwave.tasks.hardware import peak_memory
from sinwave.training.loop import Training

OURS, PLAIN = "ours", "plain"


def fitting_of(picture: Picture, side: int) -> Fitting:
    """The published preset for a picture of that longer side."""
    return replace(PRESETS["official"], most=side).begin([picture], 0, torch.device("cpu"))


def iteration(fitting: Fitting, index: int, which: str) -> Callable[[], object]:
    """One iteration of a scale, by either."""
    if which == PLAIN:
        widths = [fitting.generators.configuration.channels(n) for n in range(len(fitting.scales))]
        torch.manual_seed(0)
        return PlainSingan(list(fitting.scales), widths, index).iteration
    course = fitting.course({"iterations": 1_000_000}, Wanted(None, None, "float32"))
    fitting.generators.progress.copy_(torch.tensor([index, 0]))
    training = Training(course.recipe, course.budget, 0, schedule=course.schedule, longest_average=course.average)
    return training.advance


def speeds(picture: Picture, options: argparse.Namespace, index: int) -> tuple[str, ...]:
    """A line of the table: seconds of an iteration by both."""
    fitting = fitting_of(picture, options.side)
    both = [iteration(fitting, index, which) for which in (OURS, PLAIN)]
    rounds = []
    for number in range(options.rounds + 1):
        took = []
        for step in both:
            start = time.perf_counter()
            for _ in range(options.iterations):
                step()
            took.append((time.perf_counter() - start) / options.iterations)
        if number:  # the first prepares what the others find
            rounds.append(took)
    ours, plain = (statistics.median(each) for each in zip(*rounds, strict=True))
    ratio = statistics.median(there / here for here, there in rounds)
    height, width = fitting.generators.sizes[index]
    return f"{index + 1}", f"{width} x {height}", f"{1 / ours:.2f}", f"{1 / plain:.2f}", f"{ratio:.2f}"


def memory(options: argparse.Namespace, which: str) -> str:
    """Of a process that trains the finest scale."""
    command = [sys.executable, __file__, "--picture", str(options.picture), "--side", str(options.side)]
    command += ["--threads", str(options.threads), "--only", which]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return f"{int(told) / 1e6:.0f}"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--picture", type=Path, required=True, metavar="FILE", help="to train on")
    add("--side", type=int, default=128, metavar="PIXELS", help="its longer side is reduced to; 128")
    add("--iterations", type=int, default=2, metavar="N", help="of each in a round; 2")
    add("--rounds", type=int, default=5, metavar="N", help="5")
    add("--only", choices=[OURS, PLAIN], help="train the finest scale a little and print the peak memory in bytes")
    share_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Do what the command line says."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    picture = read(options.picture)
    last = len(fitting_of(picture, options.side).scales) - 1
    if options.only:
        step = iteration(fitting_of(picture, options.side), last, options.only)
        for _ in range(3):
            step()
        print(peak_memory())
        return
    head = ("scale", "pixels", "iterations a second", "plain loop", "ratio")
    parts = [
        provenance("singan.py", threads=options.threads, seed=0),
        table(head, [speeds(picture, options, index) for index in sorted({0, last // 2, last})]),
        f"Peak memory at the finest scale: {memory(options, OURS)} MB, plain loop {memory(options, PLAIN)} MB\n",
    ]
    deliver(parts, options.output)


if __name__ == "__main__":
    main(sys.argv[1:])
