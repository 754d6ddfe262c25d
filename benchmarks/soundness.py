"""Soundness of samples: no smudges, no lattice, and a variation that does what it promises.

    defects      smudges and energy at the highest frequencies, of ours and of the recipe it began with
    variation    diversity from variation 0 to 1, and the PSNR to the picture at 0

    python benchmarks/soundness.py --pictures FOLDER --output tables.md --sheets sheets

Samples are cached as by closed_form.py.
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
    """Return the first samples of a job as users see them, (n, 3, h, w) uint8."""
    costs(job, count)
    return torch.stack([to_uint8(read(job.sample(index)).pixels) for index in range(count)])


def defects(options: argparse.Namespace, sources: dict[str, Path]) -> str:
    """Table of smudged samples, and of their highest frequencies over those of the picture."""
    lines = []
    for name, path in sources.items():
        source = to_uint8(read(path).pixels)
        row, column = lattice(source)
        rolled = [lattice(source.roll(shift, 2)) for shift in range(10, source.shape[2] - 9, 10)]
        lines.append((name, "itself, rolled", str(len(rolled)), "-", "-", *_spread(rolled, row, column)))
        for engine, variation in METHODS:
            job = Job(str(path), read(path).size, engine, variation, options.threads, options.seed)
            drawn = samples(job, options.samples)
            areas = [smudge_area(sample, source) for sample in drawn]
            smudged = sum(area >= SMUDGE for area in areas)
            energies = _spread([lattice(sample) for sample in drawn], row, column)
            lines.append((name, job.name, str(len(drawn)), str(smudged), str(max(areas)), *energies))
            if options.sheets:
                panels = [read(job.sample(index)).pixels for index in range(min(SHOWN, options.samples))]
                file = options.sheets / f"{name}-{job.name.replace(' ', '-')}.png"
                write(file, sheet(read(path).pixels, panels, columns=4), overwrite=True)
    head = ("picture", "method", "n", "smudged", "largest px", "last row", "its range", "last column", "its range")
    return table(head, lines)


def _spread(energies: Sequence[tuple[float, float]], row: float, column: float) -> tuple[str, ...]:
    """Mean and range of the energies in rows and in columns, over those of the picture."""
    cells: list[str] = []
    for direction, own in zip(zip(*energies, strict=True), (row, column), strict=True):
        ratios = [energy / own if own else math.inf for energy in direction]
        cells += [f"{statistics.fmean(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"]
    return tuple(cells)


def variation(options: argparse.Namespace, sources: dict[str, Path]) -> str:
    """Table of diversity at every variation, and of the least PSNR to the picture at 0."""
    lines, curves = [], []
    for name, path in sources.items():
        source = to_uint8(read(path).pixels)
        curve, likeness = [], math.inf
        for value in VARIATIONS:
            job = Job(str(path), read(path).size, OURS, value, options.threads, options.seed)
            drawn = samples(job, options.variation_samples)
            curve.append(pixel_diversity(drawn, source))
            if value == 0:
                likeness = min(psnr(sample, source) for sample in drawn)
        curves.append(curve)
        lines.append((name, *(f"{value:.3f}" for value in curve), f"{likeness:.1f} dB"))
    means = [statistics.fmean(values) for values in zip(*curves, strict=True)]
    lines.append(("mean", *(f"{value:.3f}" for value in means), ""))
    return table(("diversity at", *(f"{value:g}" for value in VARIATIONS), "least PSNR at 0"), lines)


def psnr(sample: Tensor, source: Tensor) -> float:
    """PSNR of 8-bit pictures in dB; infinite if they are equal."""
    error = (sample.double() - source.double()).square().mean().item()
    return 10 * math.log10(255**2 / error) if error else math.inf


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    names = ["defects", "variation"]
    add("--tables", nargs="+", choices=names, default=names, metavar="TABLE", help="of defects, variation; both")
    add("--pictures", type=Path, metavar="FOLDER", help="a folder of pictures, measured as they are")
    add("--photographs", nargs="*", default=PHOTOGRAPHS, metavar="NAME", help="of scikit-image; all four")
    add("--only", nargs="+", metavar="NAME", help="only these pictures and photographs")
    add("--samples", type=int, default=20, metavar="N", help="per method, for defects; 20")
    add("--variation-samples", type=int, default=20, metavar="N", help="per variation; 20")
    add("--sheets", type=Path, metavar="FOLDER", help="of contact sheets; none")
    share_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    options = parse(arguments)
    if options.sheets:
        options.sheets.mkdir(parents=True, exist_ok=True)
    chosen = pictures(options.pictures, options.photographs, options.only)
    sources = {
        name: keep(options.work, name, picture, (picture.shape[1], picture.shape[2]))
        for name, picture in chosen.items()
    }
    parts = [provenance("soundness.py", threads=options.threads, seed=options.seed)]
    if "defects" in options.tables:
        parts.append(f"### Defects\n\n{defects(options, sources)}")
    if "variation" in options.tables:
        parts.append(f"### Variation\n\n{variation(options, sources)}")
    deliver(parts, options.output)


if __name__ == "__main__":
    main(sys.argv[1:])
