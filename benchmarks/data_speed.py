"""Pictures a second that the sources of training data make on one core, by the clock and by the processor's own.

    python benchmarks/data_speed.py --count 100 --output table.md

The crops that are degraded are dead leaves: what a picture shows costs nothing there, its size does.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from reporting import deliver, provenance, table

from sinwave.data.dead_leaves import DeadLeaves
from sinwave.data.degrade import REAL_ESRGAN, RESSHIFT, degrade
from sinwave.threads import threads

HEAD = ("source", "pixels", "n", "pictures a second", "a second of the processor")


def row(name: str, pixels: str, count: int, make: Callable[[int], object]) -> tuple[str, ...]:
    """Time `count` pictures after one that warms up."""
    make(count)
    clock, processor = time.perf_counter(), time.process_time()
    for index in range(count):
        make(index)
    rates = (count / (time.perf_counter() - clock), count / (time.process_time() - processor))
    return (name, pixels, str(count), *(f"{rate:.1f}" for rate in rates))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--count", type=int, default=100, metavar="N", help="pictures of a source; 100")
    add("--side", type=int, default=192, metavar="N", help="of dead leaves; 192")
    add("--crop", type=int, default=256, metavar="N", help="side of what is degraded, to a quarter; 256")
    add("--seed", type=int, default=0, metavar="N", help="of all pictures; 0")
    add("--output", type=Path, metavar="FILE", help="of the table; standard output")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    options = parse(arguments)
    side, crop, seed, leaves = options.side, options.crop, options.seed, DeadLeaves()
    with threads(1), torch.inference_mode():
        picture = leaves(crop, seed, 0, 0)
        size = (crop // 4, crop // 4)
        rows = [
            row("dead leaves", f"{side}", options.count, lambda index: leaves(side, seed, 1, index)),
            row("ResShift", f"{crop} to {size[0]}", options.count,
                lambda index: degrade(picture, size, (seed, 1, index), RESSHIFT)),
            row("Real-ESRGAN", f"{crop} to {size[0]}", options.count,
                lambda index: degrade(picture, size, (seed, 1, index), REAL_ESRGAN)),
        ]  # fmt: skip
    deliver([provenance("data_speed.py", threads=1, seed=seed), table(HEAD, rows)], options.output)


if __name__ == "__main__":
    main(sys.argv[1:])
