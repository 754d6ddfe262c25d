"""What must hold of samples whatever they show: no smudges, no lattice, and a variation that means what it says.

    defects      smudges and energy at the highest frequencies, ours and the recipe that it began with
    variation    diversity from variation 0 to 1, and at 0 how near the samples are to the picture

    python benchmarks/soundness.py --pictures FOLDER --output tables.md --sheets sheets

Samples are kept as those of closed_form.py are.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from defects import SMUDGE, lattice, smudge_area
from drawing import OURS, RECIPE, Job, costs
from reporting import deliver, provenance, share_options, table
from sources import PHOTOGRAPHS, keep, pictures
from torch import Tensor

from sinwave.images import read, sheet, to_uint8, write
from sinwave.metrics.patches import pixel_diversity

VARIATIONS = tuple(step / 10 for step in range(11))
METHODS = ((RECIPE, None), (OURS, 0.5), (OURS, 1.0))
SHOWN = 11  # samples in a sheet: with the source three rows of four


def samples(job: Job, count: int) -> Tensor:
    """The first samples of a job as users see them, (n, 3, h, w) uint8."""
    costs(job, count)
    return torch.stack([to_uint8(read(job.sample(index)).pixels) for index in range(count)])


def defects(options: argparse.Namespace, sources: dict[str, Path]) -> str:
    """How many samples have a smudge, and their highest frequencies over those of the picture."""
    lines = []
    for name, path in sources.items():
        source = to_uint8(read(path).pixels)
        row, column = lattice(source)
        rolled = [lattice(source.roll(shift, 2)) for shift in range(10, source.shape[2] - 9, 10)]
        lines.append((name, "itself, rolled", str(len(rolled)), "-", "-", *_spread(rolled, row, column)))
        for engine, variation in METHODS:
            job = Job(str(path), read(path).size, engine, variation, options.threads, options.seed)
            drawn = samples(job, options.samples)
            areas = [smudge_area(each, source) for each in drawn]
            smudged = sum(area >= SMUDGE for area in areas)
            energies = _spread([lattice(each) for each in drawn], row, column)
            lines.append((name, job.name, str(len(drawn)), str(smudged), str(max(areas)), *energies))
            if options.sheets:
                shown = [read(job.sample(index)).pixels for index in range(min(SHOWN, options.samples))]
                file = options.sheets / f"{name}-{job.name.replace(' ', '-')}.png"
                write(file, sheet(read(path).pixels, shown, columns=4), overwrite=True)
    head = ("picture", "method", "n", "smudged", "largest px", "last row", "its range", "last column", "its range")
    return table(head, lines)


def _spread(found: Sequence[tuple[float, float]], row: float, column: float) -> tuple[str, ...]:
    """Mean and range of the energies of rows and of columns, over those of the picture."""
    cells: list[str] = []
    for energies, own in zip(zip(*found, strict=True), (row, column), strict=True):
        ratios = [energy / own if own else math.inf for energy in energies]
        cells += [f"{statistics.fmean(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"]
    return tuple(cells)


def variation(options: argparse.Namespace, sources: dict[str, Path]) -> str:
    """Diversity at every variation, and the worst likeness to the picture at 0."""
    lines, curves = [], []
    for name, path in sources.items():
        source = to_uint8(read(path).pixels)
        curve, likeness = [], math.inf
        for value in VARIATIONS:
            job = Job(str(path), read(path).size, OURS, value, options.threads, options.seed)
            drawn = samples(job, options.variation_samples)
            curve.append(pixel_diversity(drawn, source))
            if value == 0:
                likeness = min(psnr(each, source) for each in drawn)
        curves.append(curve)
        lines.append((name, *(f"{each:.3f}" for each in curve), f"{likeness:.1f} dB"))
    means = [statistics.fmean(each) for each in zip(*curves, strict=True)]
    lines.append(("mean", *(f"{each:.3f}" for each in means), ""))
    return table(("diversity at", *(f"{value:g}" for value in VARIATIONS), "least PSNR at 0"), lines)


def psnr(sample: Tensor, source: Tensor) -> float:
    """Of 8-bit pictures, in dB; infinite when they are the same."""
    error = (sample.double() - source.double()).square().mean().item()
    return 10 * math.log10(255**2 / error) if error else math.inf


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    names = ["defects", "variation"]
    add("--tables", nargs="+", choices=names, default=names, metavar="TABLE", help="of defects, variation; both")
    add("--pictures", type=Path, metavar="FOLDER", help="a folder of pictures, measured as they are")
    add("--photographs", nargs="*", default=PHOTOGRAPHS, metavar="NAME", help="of scikit-image; all four")
    add("--only", nargs="+", metavar="NAME", help="only these pictures and photographs")
    add("--samples", type=int, default=20, metavar="N", help="a method, for defects; 20")
    add("--variation-samples", type=int, default=20, metavar="N", help="a variation; 20")
    add("--sheets", type=Path, metavar="FOLDER", help="of contact sheets; none")
    share_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Do what the command line says."""
    options = parse(arguments)
    if options.sheets:
        options.sheets.mkdir(parents=True, exist_ok=True)
    chosen = pictures(options.pictures, options.photographs, options.only)
    sources = {name: keep(options.work, name, each, (each.shape[1], each.shape[2])) for name, each in chosen.items()}
    parts = [provenance("soundness.py", threads=options.threads, seed=options.seed)]
    if "defects" in options.tables:
        parts.append(f"### Defects\n\n{defects(options, sources)}")
    if "variation" in options.tables:
        parts.append(f"### Variation\n\n{variation(options, sources)}")
    deliver(parts, options.output)


if __name__ == "__main__":
    main(sys.argv[1:])
