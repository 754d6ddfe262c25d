"""`sinwave upscale` beside bicubic resampling, on pictures that were reduced by antialiased bicubic resampling.

    python benchmarks/upscaling.py --pictures FOLDER [FOLDER ...] --factors 2 4 --output table.md --sheet sheet.png

A picture is reduced, rounded to bytes and enlarged again, and the result is compared with the picture, borders
included. `consistent` is the start of both engines: the picture nearest to bicubic with the right reduction
(`--strength 0`).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from reporting import deliver, provenance, share_options, table
from sources import pictures
from torch import Tensor

from sinwave.images import Picture, from_uint8, sheet, to_uint8, write
from sinwave.kinds import Source
from sinwave.metrics.fidelity import psnr_y, ssim_y
from sinwave.reduction import Reduction
from sinwave.resize import resize
from sinwave.rng import NoiseSource
from sinwave.systems.wavelet.closed_form import QUICK, closed_form_model
from sinwave.systems.zero_shot.enlarger import Enlarger
from sinwave.tasks.upscale import Upscale

HEAD = (
    "factor",
    "method",
    "n",
    "PSNR-Y dB",
    "over bicubic dB (least to most)",
    "SSIM-Y",
    "gradient energy of the truth",
    "error of the reduction in levels: mean of worst (worst)",
    "seconds",
)


class Figures(NamedTuple):
    """Figures of one enlargement."""

    psnr: float
    ssim: float
    gradient: float
    misfit: float
    seconds: float


def gradient_energy(picture: Tensor) -> float:
    """Mean squared difference of neighboring pixels of the gray picture."""
    gray = picture.mean(1)
    return sum(gray.diff(dim=dim).square().mean().item() for dim in (1, 2))


def methods(factor: float, seed: int) -> Mapping[str, Callable[[Tensor, tuple[int, int]], Tensor]]:
    """Functions by name that enlarge a picture to a size."""
    noise = NoiseSource(seed).child("picture", 0)

    def upscaled(model: Any, small: Tensor, **options: float) -> Tensor:
        task = Upscale(source=Source(Picture(small[0])), factor=factor, **options)
        return task.drawn(model, small, noise)

    return {
        "bicubic": lambda small, size: resize(small, size).clamp(-1, 1),
        "consistent": lambda small, size: upscaled(closed_form_model(small), small, strength=0.0),
        "closed form": lambda small, size: upscaled(closed_form_model(small, options=QUICK), small),
        "network": lambda small, size: upscaled(Enlarger(), small),
    }


def measured(truth: Tensor, factor: float, seed: int, show: dict[str, Tensor]) -> dict[str, Figures]:
    """Measure every method on one picture (3, h, w), whose sides the factor divides."""
    size = (truth.shape[1], truth.shape[2])
    small = from_uint8(to_uint8(resize(truth[None], (round(size[0] / factor), round(size[1] / factor)))))
    results = {}
    for name, enlarge in methods(factor, seed).items():
        start = time.perf_counter()
        with torch.inference_mode():
            large = from_uint8(to_uint8(enlarge(small, size)))
        seconds = time.perf_counter() - start
        bytes_ = to_uint8(large[0]), to_uint8(truth)
        misfit = 127.5 * Reduction(small).misfit(large).max().item()
        gradient = gradient_energy(large) / gradient_energy(truth[None])
        results[name] = Figures(psnr_y(*bytes_), ssim_y(*bytes_), gradient, misfit, seconds)
        show[f"{name} {results[name].psnr:.2f} dB"] = large[0]
    return results


def rows(factor: float, pictures: Sequence[dict[str, Figures]]) -> list[tuple[str, ...]]:
    """Make the rows of the means of every method."""
    lines = []
    for name in pictures[0]:
        results = [row[name] for row in pictures]
        gains = [row[name].psnr - row["bicubic"].psnr for row in pictures]
        psnr, ssim, gradient, misfit, seconds = (statistics.fmean(column) for column in zip(*results, strict=True))
        worst = max(result.misfit for result in results)
        lines.append(
            (f"{factor:g}", name, str(len(results)), f"{psnr:.2f}",
             f"{statistics.fmean(gains):+.2f} ({min(gains):+.2f} to {max(gains):+.2f})", f"{ssim:.4f}",
             f"{gradient:.2f}", f"{misfit:.2f} ({worst:.2f})", f"{seconds:.1f}")
        )  # fmt: skip
    return lines


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--pictures", type=Path, nargs="+", required=True, metavar="FOLDER", help="folders of pictures")
    add("--only", nargs="+", metavar="NAME", help="only these of them")
    add("--factors", type=float, nargs="+", default=[2.0, 4.0], metavar="FACTOR", help="2 4")
    add("--sheet", type=Path, metavar="FILE", help="a sheet of one picture, the first")
    share_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    sources: dict[str, Tensor] = {}
    for folder in options.pictures:
        sources |= pictures(folder, [], options.only)
    lines: list[tuple[str, ...]] = []
    for factor in options.factors:
        every = []
        for name, truth in sources.items():
            show: dict[str, Tensor] = {}
            every.append(measured(truth, factor, options.seed, show))
            summary = "  ".join(f"{method} {figures.psnr:.2f}" for method, figures in every[-1].items())
            print(f"{factor:g}  {name}  {summary}", file=sys.stderr, flush=True)
            if options.sheet and len(every) == 1:
                place = options.sheet.with_stem(f"{options.sheet.stem}-{factor:g}")
                write(place, sheet(truth, list(show.values())), overwrite=True)
        lines += rows(factor, every)
    deliver(
        [provenance("upscaling.py", threads=options.threads, seed=options.seed), table(HEAD, lines)], options.output
    )


if __name__ == "__main__":
    main(sys.argv[1:])
