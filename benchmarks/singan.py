"""How fast SinGAN trains here beside the paper's loop written down plainly, and with how much memory.

    python benchmarks/singan.py --picture FILE --side 128 --threads 2 --output table.md

At the coarsest, the middle and the finest scale of a picture whose longer side is reduced to `--side`, in turn a
process with some iterations of ours (three steps of the critic and three of the generator, by the training loop, all it
does included), whose threads wait as those of the command, and one with as many of `plain_singan.py`, whose threads
wait as PyTorch has it; the medians of all processes, the median of the ratios of neighbors, and the peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
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


def measured(options: argparse.Namespace, index: int, which: str) -> dict[str, float]:
    """Seconds of an iteration and bytes at the most, of a process of its own."""
    command = [sys.executable, __file__, "--picture", str(options.picture), "--side", str(options.side)]
    command += ["--threads", str(options.threads), "--iterations", str(options.iterations)]
    command += ["--only", which, "--scale", str(index)]
    waiting = {"OMP_WAIT_POLICY": "PASSIVE"} if which == OURS else {}
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | waiting)
    told: dict[str, float] = json.loads(run.stdout)
    return told


def row(options: argparse.Namespace, index: int, size: tuple[int, int]) -> tuple[str, ...]:
    """A line of the table."""
    rounds = [[measured(options, index, which) for which in (OURS, PLAIN)] for _ in range(options.rounds)]
    ours, plain = zip(*rounds, strict=True)
    rates = [f"{1 / statistics.median(each['seconds'] for each in some):.2f}" for some in (ours, plain)]
    ratio = statistics.median(there["seconds"] / here["seconds"] for here, there in rounds)
    memory = [f"{statistics.median(each['bytes'] for each in some) / 1e6:.0f}" for some in (ours, plain)]
    return f"{index + 1}", f"{size[1]} x {size[0]}", *rates, f"{ratio:.2f}", *memory


def told(options: argparse.Namespace) -> str:
    """What a process of one scale tells: the median of its iterations but the first, which prepares the others."""
    step = iteration(fitting_of(read(options.picture), options.side), options.scale, options.only)
    took = []
    for _ in range(options.iterations + 1):
        start = time.perf_counter()
        step()
        took.append(time.perf_counter() - start)
    return json.dumps({"seconds": statistics.median(took[1:]), "bytes": peak_memory() or 0})


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--picture", type=Path, required=True, metavar="FILE", help="to train on")
    add("--side", type=int, default=128, metavar="PIXELS", help="its longer side is reduced to; 128")
    add("--iterations", type=int, default=5, metavar="N", help="of each in a round; 5")
    add("--rounds", type=int, default=3, metavar="N", help="3")
    add("--only", choices=[OURS, PLAIN], help="be one of the processes, and print its seconds and bytes")
    add("--scale", type=int, default=0, metavar="N", help="of that process, from 0; 0")
    share_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Do what the command line says."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    if options.only:
        print(told(options))
        return
    sizes = fitting_of(read(options.picture), options.side).generators.sizes
    last = len(sizes) - 1
    head = ("scale", "pixels", "iterations a second", "plain loop", "ratio", "MB", "plain loop")
    rows = [row(options, index, sizes[index]) for index in sorted({0, last // 2, last})]
    deliver([provenance("singan.py", threads=options.threads, seed=0), table(head, rows)], options.output)


if __name__ == "__main__":
    main(sys.argv[1:])
