"""The closed form in the wavelet domain against the exact one in pixels: cost and quality, by the same functions.

    quality    both at half size, many samples each: patch distances and diversity
    time       both at full size, few samples: seconds and memory
    scaling    ours alone, from 256 x 192 to 2048 x 1536, and a panorama from a small picture

    python benchmarks/closed_form.py --pictures FOLDER --output tables.md --sheets sheets

Samples, seconds and figures are cached in the work folder under a hash of picture, options and code, so an interrupted
run resumes where it was; delete the folder to measure again.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from drawing import OURS, PIXELS, Job, costs, digest, write_json
from reporting import deliver, provenance, share_options, table
from sources import LONG_SIDE, PHOTOGRAPHS, Size, cropped, fitted, keep, photograph, pictures, scaled
from torch import Tensor

from sinwave.images import read, sheet, to_uint8, write
from sinwave.metrics import patches as metrics
from sinwave.metrics.scores import bootstrap

SIZES = ((192, 256), (384, 512), (768, 1024), (1536, 2048))
PANORAMA = (1024, 4096)
HEAD = ("picture", "size", "method", "n", "set-up s", "sample s", "peak MB")
FIGURES = ("SWD", "coherence", "completeness", "diversity")


@dataclass(frozen=True)
class Figures:
    """Distances of one sample to the source."""

    swd: float
    coherence: float
    completeness: float


def figures(path: Path, source: Tensor, stride: int) -> Figures:
    """Measure the sample in a file, and cache the distances beside it."""
    key = digest(inspect.getsource(metrics), str(stride))
    record = path.with_suffix(f".{key}.json")
    if not record.exists():
        sample = to_uint8(read(path).pixels)
        distances = Figures(
            metrics.sliced_wasserstein(sample, source),
            metrics.coherence(sample, source, stride=stride),
            metrics.completeness(sample, source, stride=stride),
        )
        write_json(record, dataclasses.asdict(distances))
    return Figures(**json.loads(record.read_text("utf-8")))


@dataclass(frozen=True)
class Row:
    """Results of one method on one picture: medians of costs, means of distances."""

    picture: str
    size: Size
    method: str
    n: int
    setup: float
    seconds: float
    peak_mb: float | None
    swd: float
    coherence: float
    completeness: float
    diversity: float | None


def row(job: Job, count: int, together: int, stride: int) -> Row:
    """Draw and measure `count` samples; diversity is that of the first `together`, as it depends on their number."""
    spent = costs(job, count)
    source = to_uint8(read(job.source).pixels)
    paths = [job.sample(index) for index in range(count)]
    distances = [figures(path, source, stride) for path in paths]
    samples = torch.stack([to_uint8(read(path).pixels) for path in paths])
    peaks = [cost.peak_mb for cost in spent if cost.peak_mb is not None]
    return Row(
        picture=job.folder.parent.name.rpartition("-")[0],
        size=job.size,
        method=job.name,
        n=count,
        setup=statistics.median(cost.setup for cost in spent),
        seconds=statistics.median(cost.seconds for cost in spent),
        peak_mb=max(peaks) if peaks else None,
        swd=statistics.fmean(sample.swd for sample in distances),
        coherence=statistics.fmean(sample.coherence for sample in distances),
        completeness=statistics.fmean(sample.completeness for sample in distances),
        diversity=metrics.pixel_diversity(samples[:together], source) if together > 1 else None,
    )


def compare(options: argparse.Namespace, factor: float, count: int, reference_count: int) -> str:
    """Make the table of both methods, and the table of their ratios."""
    rows = []
    together = min(count, reference_count or count)
    for name, picture in pictures(options.pictures, options.photographs, options.only).items():
        source = keep(options.work, name, picture, scaled(picture, factor))
        size = read(source).size
        for engine, variation in [(PIXELS, None), *((OURS, variation) for variation in options.variation)]:
            n = reference_count if engine == PIXELS else count
            if n == 0:
                continue
            job = Job(str(source), size, engine, variation, options.threads, options.seed)
            rows.append(row(job, n, together, options.stride))
            if options.sheets:
                samples = [read(job.sample(index)).pixels for index in range(n)]
                file = options.sheets / f"{name}-{size[1]}x{size[0]}-{job.name.replace(' ', '-')}.png"
                write(file, sheet(read(source).pixels, samples), overwrite=True)
    return table(HEAD + FIGURES, [_cells(row) for row in rows]) + "\n" + ratios(rows)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.picture,
        f"{row.size[1]} x {row.size[0]}",
        row.method,
        str(row.n),
        f"{row.setup:.2f}",
        f"{row.seconds:.2f}",
        "-" if row.peak_mb is None else f"{row.peak_mb:.0f}",
        f"{row.swd:.4f}",
        f"{row.coherence:.4f}",
        f"{row.completeness:.4f}",
        "-" if row.diversity is None else f"{row.diversity:.3f}",
    )


def ratios(rows: Sequence[Row]) -> str:
    """Table of ratios, ours over the reference's: geometric mean over pictures, interval, extremes."""
    base = {row.picture: row for row in rows if row.method == PIXELS}
    measures: dict[str, Callable[[Row], float | None]] = {
        "seconds of a sample": lambda row: row.seconds,
        "seconds of a sample with its set-up": lambda row: row.setup + row.seconds,
        "peak memory": lambda row: row.peak_mb,
        "sliced Wasserstein": lambda row: row.swd,
        "coherence": lambda row: row.coherence,
        "completeness": lambda row: row.completeness,
        "pixel diversity": lambda row: row.diversity,
    }
    lines = []
    for method in dict.fromkeys(row.method for row in rows if row.method != PIXELS):
        pairs = [(row, base[row.picture]) for row in rows if row.method == method and row.picture in base]
        for name, measure in measures.items():
            values = [(measure(ours), measure(theirs)) for ours, theirs in pairs]
            logs = [math.log(ours / theirs) for ours, theirs in values if ours and theirs]
            if logs:
                around = bootstrap(logs) or (logs[0], logs[0])
                numbers = (statistics.fmean(logs), *around, min(logs), max(logs))
                mean, low, high, least, most = (f"{math.exp(number):.3g}" for number in numbers)
                cells = str(len(logs)), mean, f"{low} to {high}", f"{least} to {most}"
                lines.append((f"{method} / {PIXELS}", name, *cells))
    return table(("ratio", "of", "pictures", "geometric mean", "95 % interval", "range"), lines) if lines else ""


def scaling(options: argparse.Namespace) -> str:
    """Table of costs by size: from a photograph of the output's size, and a panorama from a small one."""
    name = options.scaling_photograph
    whole = photograph(name)
    tasks = [(keep(options.work, name, cropped(whole, size), size), size) for size in options.sizes]
    tasks.append((keep(options.work, name, whole, fitted(whole, LONG_SIDE)), options.panorama))
    lines = []
    for source, size in tasks:
        job = Job(str(source), size, OURS, options.variation[0], options.threads, options.seed)
        spent = costs(job, options.scaling_samples)
        setup, seconds = (statistics.median(getattr(cost, of) for cost in spent) for of in ("setup", "seconds"))
        peaks = [cost.peak_mb for cost in spent if cost.peak_mb is not None]
        height, width = read(source).size
        lines.append(
            (
                f"{width} x {height}",
                f"{size[1]} x {size[0]}",
                str(len(spent)),
                f"{setup:.2f}",
                f"{seconds:.2f}",
                f"{1e6 * (setup + seconds) / math.prod(size):.1f}",
                f"{max(peaks):.0f}" if peaks else "-",
            )
        )
    return table(("source", "output", "n", "set-up s", "sample s", "µs per pixel with set-up", "peak MB"), lines)


def _size(text: str) -> Size:
    width, height = text.split("x")
    return int(height), int(width)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    names = ["quality", "time", "scaling"]
    add("--tables", nargs="+", choices=names, default=names, metavar="TABLE", help="of quality, time, scaling; all")
    add("--pictures", type=Path, metavar="FOLDER", help="a folder of pictures, measured as they are")
    add(
        "--photographs",
        nargs="*",
        default=PHOTOGRAPHS,
        metavar="NAME",
        help="of scikit-image; " + " ".join(PHOTOGRAPHS),
    )
    add("--only", nargs="+", metavar="NAME", help="only these pictures and photographs")
    add("--variation", type=float, nargs="+", default=[1.0], metavar="V", help="of ours, one row per value; 1")
    add("--samples", type=int, default=20, metavar="N", help="of ours, for quality; 20")
    add("--reference-samples", type=int, default=20, metavar="N", help="of the reference, for quality, 0 for none; 20")
    add("--scale", type=float, default=0.5, help="of the pictures, for quality; 0.5")
    add("--time-samples", type=int, default=5, metavar="N", help="of ours, for time; 5")
    add("--time-reference-samples", type=int, default=1, metavar="N", help="of the reference, for time, 0 for none; 1")
    add("--time-scale", type=float, default=1.0, metavar="SCALE", help="of the pictures, for time; 1")
    add("--scaling-samples", type=int, default=1, metavar="N", help="for scaling; 1")
    add("--scaling-photograph", default="coffee", metavar="NAME", help="for scaling; coffee")
    add("--sizes", type=_size, nargs="*", default=SIZES, metavar="WxH", help="for scaling; 256x192 to 2048x1536")
    add("--panorama", type=_size, default=PANORAMA, metavar="WxH", help="from a picture of 250 pixels; 4096x1024")
    add("--stride", type=int, default=2, metavar="N", help="between the patches that are compared; 2")
    add("--sheets", type=Path, metavar="FOLDER", help="of contact sheets; none")
    share_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    options = parse(arguments)
    if options.sheets:
        options.sheets.mkdir(parents=True, exist_ok=True)
    parts = [provenance("closed_form.py", threads=options.threads, seed=options.seed)]
    if "quality" in options.tables:
        text = compare(options, options.scale, options.samples, options.reference_samples)
        parts.append(f"### Quality, pictures at {options.scale:g} of their size\n\n{text}")
    if "time" in options.tables:
        text = compare(options, options.time_scale, options.time_samples, options.time_reference_samples)
        parts.append(f"### Time, pictures at {options.time_scale:g} of their size\n\n{text}")
    if "scaling" in options.tables:
        parts.append(f"### Scaling, ours, variation {options.variation[0]:g}\n\n{scaling(options)}")
    deliver(parts, options.output)


if __name__ == "__main__":
    main(sys.argv[1:])
