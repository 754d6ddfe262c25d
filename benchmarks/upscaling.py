"""`sinwave upscale` beside bicubic resampling, networks of other authors and stored results.

    python benchmarks/upscaling.py --high FOLDER ... --output table.md
    python benchmarks/upscaling.py --high FOLDER ... --low FOLDER ... --projected 0.6 1 --output table.md

Without `--low` the true pictures are reduced by Pillow's bicubic resampling and rounded to bytes, and `sinwave upscale`
does what it does by default. With `--low` the small pictures are real ones of equal names. Nobody knows how they were
reduced, so our networks draw with `--consistency 0`. `--projected SHARE` lists every method a second time, moved by
that share of the way to what reduces to the small picture. All pixels count, borders too.

    bicubic                   resampling
    consistent                the nearest to it in range that reduces to the small picture
    patches, zero-shot        consistent by themselves, even with `--consistency 0`
    small                     comes with sinwave; further model files by `--model NAME=FILE`
    SPAN, DAT-light, ...      see peers.py, out of the folder `--peers`
    stored results            files of equal names, by `--stored NAME=FOLDER`

Figures are means over pictures, but for seconds, a median, and for LR consistency, of which the errors are averaged.
Networks are loaded before; what a method learns from the picture is part of its seconds. Memory is what the process
grows by meanwhile, at the most. `--sheets` writes a sheet of every picture. With `--blind SEED` its methods, the truth
among them, have letters, in another order for each picture, and key.txt says which is which.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import string
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

import torch
from enlarging import BASE, NAMES, TRUTH, Method, methods, projected
from pairs import Pair, pairs
from reporting import deliver, peak_memory_mb, provenance, share_options, table
from torch import Tensor

from sinwave.errors import InputError, MissingError, SinwaveError
from sinwave.images import from_uint8, sheet, to_uint8, write
from sinwave.metrics.cards import CARDS
from sinwave.metrics.picture_measures import MEASURES, Resources
from sinwave.metrics.scores import bootstrap
from sinwave.rng import fold

METRICS = ("psnr_y", "ssim_y", "st_lpips", "niqe", "lr_consistency")


def of_mean_error(decibels: Sequence[float]) -> float:
    """Average the errors instead of their dB: a result that is exact, with its infinitely many, does not rule them."""
    error = fmean(10 ** (-value / 10) for value in decibels)
    return -10 * math.log10(error) if error else math.inf


class Column(NamedTuple):
    """A column of the table, and how the figures of pictures become one."""

    title: str
    form: str
    whole: Callable[[Sequence[float]], float] = fmean


COLUMNS = {
    "psnr_y": Column("PSNR-Y dB", "{:.2f}"),
    "ssim_y": Column("SSIM-Y", "{:.4f}"),
    "st_lpips": Column("ST-LPIPS", "{:.3f}"),
    "niqe": Column("NIQE", "{:.2f}"),
    "gradient": Column("gradient energy / truth's", "{:.2f}"),
    "lr_consistency": Column("LR consistency dB", "{:.1f}", of_mean_error),
    "cpu": Column("CPU s", "{:.2f}", median),
    "wall": Column("wall s", "{:.2f}", median),
    "peak": Column("memory MB", "{:.0f}", max),
}

Figures = Mapping[str, float]
Meter = Callable[[Tensor, Tensor, Tensor], float]
"""The figure of a restored picture, the truth and the small picture."""


def meters(weights: Path | None) -> Mapping[str, Meter]:
    """Prepare the metrics; one whose weights are not to be had is remarked upon and left out."""
    ready = {}
    for name in METRICS:
        measure = next(measure for measure in MEASURES if measure.names == (name,))
        try:
            ready[name] = partial(_figure, measure.prepare(Resources(weights)).figures, measure.inputs)
        except MissingError as error:
            print(f"without {CARDS[name].title}: {error}", file=sys.stderr)
    return ready


def _figure(figures: Callable[..., Any], inputs: int, *pictures: Tensor) -> float:
    return figures(*pictures[:inputs])


def gradient_energy(picture: Tensor) -> float:
    """Mean squared difference of neighboring pixels of the gray picture (3, h, w)."""
    gray = picture.float().mean(0)
    return sum(gray.diff(dim=dim).square().mean().item() for dim in (0, 1))


def figures_of(large: Tensor, pair: Pair, ready: Mapping[str, Meter]) -> dict[str, float]:
    """Measure a result (3, h, w) uint8."""
    values = {name: meter(large, pair.truth, pair.low) for name, meter in ready.items()}
    return values | {"gradient": gradient_energy(large) / gradient_energy(pair.truth)}


def timed(method: Method, pair: Pair) -> tuple[Tensor, Figures]:
    """Enlarge, and measure seconds and memory."""
    before = _peak_from_here()
    wall, cpu = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        large = method.enlarge(pair)
    cost = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    if before is not None and (peak := peak_memory_mb()) is not None:
        cost["peak"] = peak - before
    return large, cost if method.works else {}


def _peak_from_here() -> float | None:
    """Give free memory back, let the system forget the peak until now, and return the memory; None but on Linux."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (AttributeError, OSError, TypeError):
        return None
    return peak_memory_mb()


def results(made: Mapping[str, Method], pair: Pair, shares: Sequence[float]) -> Iterator[tuple[str, Tensor, Figures]]:
    """Enlarge by all methods: name, picture (3, h, w) uint8 and cost; then the same projected."""
    for name, method in made.items():
        large, cost = timed(method, pair)
        if large.shape[2:] != pair.size:
            sizes = f"{large.shape[3]} x {large.shape[2]}, not {pair.size[1]} x {pair.size[0]}"
            raise InputError(f"{pair.name}: the result of {name} has {sizes}")
        if not large.isfinite().all():
            raise InputError(f"{pair.name}: the result of {name} has values that are no finite numbers")
        yield name, to_uint8(large[0]), cost
        for share in shares:
            yield f"{name}, projected {share:g}", to_uint8(projected(large, pair, share)[0]), {}


def rows(every: Sequence[Mapping[str, Figures]]) -> Iterator[list[str]]:
    """Make a row of each method out of the figures of all pictures."""
    for name in every[0]:
        cells = [name, str(len(every))]
        for key, column in COLUMNS.items():
            values = [picture[name][key] for picture in every if key in picture[name]]
            cells.append(column.form.format(column.whole(values)) if values else "-")
            if key == "psnr_y":
                gains = [picture[name][key] - picture[BASE][key] for picture in every]
                cells += gain_cells(gains) if all(map(math.isfinite, gains)) else ["-"] * 2
        yield cells


def gain_cells(gains: Sequence[float]) -> list[str]:
    interval = bootstrap(gains)
    between = "-" if interval is None else "{:+.2f} to {:+.2f}".format(*interval)
    return [f"{fmean(gains):+.2f} ({min(gains):+.2f} to {max(gains):+.2f})", between]


def head() -> list[str]:
    titles = [column.title for column in COLUMNS.values()]
    return ["method", "n", titles[0], "over bicubic dB (least to most)", "95 % of the mean", *titles[1:]]


def labels(names: Sequence[str], picture: str, seed: int | None) -> dict[str, str]:
    """Give every method its name for a label, or a letter by chance, and sort by the labels."""
    if seed is None:
        return {name: name for name in names}
    if len(names) > len(string.ascii_uppercase):
        raise InputError(f"a blind sheet has at most {len(string.ascii_uppercase)} letters, not {len(names)}")
    generator = torch.Generator().manual_seed(fold(seed, "blind", picture))
    order = torch.randperm(len(names), generator=generator).tolist()
    return {letter: names[index] for letter, index in zip(string.ascii_uppercase, order, strict=False)}


def write_sheet(folder: Path, pair: Pair, show: Mapping[str, Tensor], seed: int | None) -> str:
    """Write the sheet of a picture, and return what its labels stand for."""
    names = labels(list(show), pair.name, seed)
    factors = [large // little for large, little in zip(pair.size, pair.low.shape[1:], strict=True)]
    squares = pair.small[0].repeat_interleave(factors[0], 1).repeat_interleave(factors[1], 2)
    cells = {label: from_uint8(show[name]) for label, name in names.items()}
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / f"{pair.name}.png", sheet(squares, [], inputs=cells), overwrite=True)
    return f"{pair.name}: {', '.join(f'{label} {name}' for label, name in names.items())}\n"


def measured(options: argparse.Namespace) -> Iterator[Mapping[str, Figures]]:
    """Measure the pictures one after another, by method."""
    made, ready, key = methods(options), meters(options.weights), ""
    for pair in pairs(options.high, options.low, options.factor, options.count):
        by_method, show = {TRUTH: figures_of(pair.truth, pair, ready)}, {TRUTH: pair.truth}
        for name, large, cost in results(made, pair, options.projected):
            by_method[name], show[name] = {**figures_of(large, pair, ready), **cost}, large
        if options.sheets:
            key += write_sheet(options.sheets, pair, show, options.blind)
        summary = "  ".join(f"{name} {figures['psnr_y']:.2f}" for name, figures in by_method.items())
        print(f"{pair.name}  {summary}", file=sys.stderr, flush=True)
        yield by_method
    if options.sheets and options.blind is not None:
        (options.sheets / "key.txt").write_text(key, encoding="utf-8")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, several = parser.add_argument, partial(parser.add_argument, nargs="+", default=[])
    add("--high", type=Path, nargs="+", required=True, metavar="FOLDER", help="true pictures")
    several("--low", type=Path, metavar="FOLDER", help="real small pictures of the same names")
    add("--factor", type=_natural, default=4, metavar="N", help="by which true pictures are reduced; 4")
    add("--count", type=_natural, metavar="N", help="so many pictures, evenly chosen; all")
    several("--methods", choices=NAMES, metavar="NAME", help="only these, and bicubic; all")
    several("--model", type=_assigned, metavar="NAME=FILE", help="further models")
    several("--fidelity", type=_share, metavar="SHARE", help="also list the further models with such a --fidelity")
    several("--stored", type=_assigned, metavar="NAME=FOLDER", help="results in files; a name may have several folders")
    several("--projected", type=_share, metavar="SHARE", help="also list all methods projected, from 0 to 1")
    add("--peers", type=Path, metavar="FOLDER", help="wheels of other authors, see peers.py")
    add("--weights", type=Path, metavar="FOLDER", help="published weights of ST-LPIPS and NIQE")
    add("--sheets", type=Path, metavar="FOLDER", help="sheets of all pictures")
    add("--blind", type=int, metavar="SEED", help="letters on the sheets instead of names")
    share_options(parser)
    options = parser.parse_args(arguments)
    if options.blind is not None and options.sheets is None:
        parser.error("--blind is about sheets, and needs --sheets")
    return options


def _natural(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {text}")
    return int(text)


def _share(text: str) -> float:
    if not 0 <= float(text) <= 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to 1, not {text}")
    return float(text)


def _assigned(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, not {text!r}")
    return name, value


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    try:
        lines = list(rows(list(measured(options))))
    except SinwaveError as error:
        raise SystemExit(f"upscaling.py: {error}") from error
    made_with = provenance("upscaling.py", threads=options.threads, seed=options.seed)
    deliver([made_with, table(head(), lines)], options.output)


if __name__ == "__main__":
    main(sys.argv[1:])
