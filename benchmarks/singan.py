"""Speed and memory of SinGAN's training beside a plain loop as in the paper.

    python benchmarks/singan.py --picture FILE --side 128 --threads 2 --output table.md

The longer side of the picture is reduced to `--side`. At the coarsest, the middle and the finest scale two kinds of
processes run in turn: one with iterations of ours (three steps of the critic and three of the generator, in the full
training loop), its threads waiting as in the command, and one with as many iterations of `plain_singan.py`, its threads
waiting as PyTorch's default. Printed are medians over processes, the median ratio of neighbors, and peak memory.
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

from sinwave.data.batches import Constant
from sinwave.images import Picture, read
from sinwave.systems.singan.options import OFFICIAL
from sinwave.systems.singan.train import Start, begin, to_learn
from sinwave.tasks.base.machine import peak_memory
from sinwave.training.loop import Budget, Training
from sinwave.training.schedule import Trapezoid

OURS, PLAIN = "ours", "plain"


def begun(picture: Picture, side: int) -> Start:
    """The published preset for a picture of that longer side."""
    settings = replace(OFFICIAL, max_size=side)
    return begin(to_learn([picture], settings), settings, 0, torch.device("cpu"))


def iteration(start: Start, index: int, which: str) -> Callable[[], object]:
    """One iteration of a scale, by either."""
    if which == PLAIN:
        widths = [start.generators.configuration.channels(n) for n in range(len(start.scales))]
        torch.manual_seed(0)
        return PlainSingan(list(start.scales), widths, index).iteration
    recipe = start.recipe(replace(OFFICIAL, iterations=1_000_000))
    start.generators.progress.copy_(torch.tensor([index, 0]))
    return Training(recipe, Constant(None), Budget(), 0, schedule=Trapezoid(0, 0.0), longest_average=0.0).advance


def measured(options: argparse.Namespace, index: int, which: str) -> dict[str, float]:
    """Measure seconds per iteration and peak bytes in a process of its own."""
    command = [sys.executable, __file__, "--picture", str(options.picture), "--side", str(options.side)]
    command += ["--threads", str(options.threads), "--iterations", str(options.iterations)]
    command += ["--only", which, "--scale", str(index)]
    waiting = {"OMP_WAIT_POLICY": "PASSIVE"} if which == OURS else {}
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | waiting)
    result: dict[str, float] = json.loads(run.stdout)
    return result


def row(options: argparse.Namespace, index: int, size: tuple[int, int]) -> tuple[str, ...]:
    """Make a row of the table."""
    rounds = [[measured(options, index, which) for which in (OURS, PLAIN)] for _ in range(options.rounds)]
    ours, plain = zip(*rounds, strict=True)
    rates = [f"{1 / statistics.median(result['seconds'] for result in results):.2f}" for results in (ours, plain)]
    ratio = statistics.median(there["seconds"] / here["seconds"] for here, there in rounds)
    memory = [f"{statistics.median(result['bytes'] for result in results) / 1e6:.0f}" for results in (ours, plain)]
    return f"{index + 1}", f"{size[1]} x {size[0]}", *rates, f"{ratio:.2f}", *memory


def timed(options: argparse.Namespace) -> str:
    """Time iterations in this process, as JSON: the median without the first, which includes preparation."""
    step = iteration(begun(read(options.picture), options.side), options.scale, options.only)
    durations = []
    for _ in range(options.iterations + 1):
        start = time.perf_counter()
        step()
        durations.append(time.perf_counter() - start)
    return json.dumps({"seconds": statistics.median(durations[1:]), "bytes": peak_memory() or 0})


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--picture", type=Path, required=True, metavar="FILE", help="to train on")
    add("--side", type=int, default=128, metavar="PIXELS", help="its longer side is reduced to; 128")
    add("--iterations", type=int, default=5, metavar="N", help="per process and round; 5")
    add("--rounds", type=int, default=3, metavar="N", help="3")
    add("--only", choices=[OURS, PLAIN], help="be one of the processes, and print its seconds and bytes")
    add("--scale", type=int, default=0, metavar="N", help="of that process, from 0; 0")
    share_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    if options.only:
        print(timed(options))
        return
    sizes = begun(read(options.picture), options.side).generators.sizes
    last = len(sizes) - 1
    head = ("scale", "pixels", "iterations per second", "plain loop", "ratio", "MB", "plain loop")
    rows = [row(options, index, sizes[index]) for index in sorted({0, last // 2, last})]
    deliver([provenance("singan.py", threads=options.threads, seed=0), table(head, rows)], options.output)


if __name__ == "__main__":
    main(sys.argv[1:])
