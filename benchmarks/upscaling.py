"""`sinwave upscale` beside bicubic resampling, on pictures that were reduced by antialiased bicubic resampling.

    python benchmarks/upscaling.py --pictures FOLDER [FOLDER ...] --factors 2 4 --output table.md --sheet sheet.png

A picture is reduced, rounded to bytes, and enlarged again; what comes back is measured against the picture. No border
is left out. `consistent` is what both engines begin with: the nearest to bicubic that has the reduction (`--strength
0`).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from reporting import deliver, provenance, share_options, table
from sources import pictures
from torch import Tensor

from sinwave.images import from_uint8, sheet, to_uint8, write
from sinwave.metrics.fidelity import psnr_y, ssim_y
from sinwave.reduction import Reduction
from sinwave.resize import resize
from sinwave.rng import NoiseSource
from sinwave.systems.wavelet.closed_form import closed_form_model
from sinwave.systems.wavelet.hybrid import OPTIONS
from sinwave.systems.zero_shot.enlarger import Enlarger
from sinwave.tasks.edits.upscale import Upscale

HEAD = (
    "factor",
    "method",
    "n",
    "PSNR-Y dB",
    "over bicubic dB (least to most)",
    "SSIM-Y",
    "gradient energy of the truth",
    "reduced: levels off, mean of worst (worst)",
    "seconds",
)


class Figures(NamedTuple):
    """Of one enlargement."""

    psnr: float
    ssim: float
    gradient: float
    misfit: float
    seconds: float


def gradient_energy(picture: Tensor) -> float:
    """The mean squared difference of neighbors, of a gray picture."""
    gray = picture.mean(1)
    return sum(gray.diff(dim=dim).square().mean().item() for dim in (1, 2))


def methods(factor: float, seed: int) -> Mapping[str, Callable[[Tensor, tuple[int, int]], Tensor]]:
    """By name; each enlarges a picture to a size."""
    noise = NoiseSource(seed).child("picture", 0)
    return {
        "bicubic": lambda small, size: resize(small, size).clamp(-1, 1),
        "consistent": lambda small, size: Upscale(factor=factor, strength=0).run(closed_form_model(small), small),
        "closed form (default)": lambda small, size: Upscale(factor=factor).run(
            closed_form_model(small, options=OPTIONS), small, noise
        ),
        "network": lambda small, size: Upscale(factor=factor).run(Enlarger(), small, noise),
    }


def measured(truth: Tensor, factor: float, seed: int, show: dict[str, Tensor]) -> dict[str, Figures]:
    """All methods on one picture (3, h, w), whose sides the factor divides."""
    size = (truth.shape[1], truth.shape[2])
    small = from_uint8(to_uint8(resize(truth[None], (round(size[0] / factor), round(size[1] / factor)))))
    found = {}
    for name, enlarge in methods(factor, seed).items():
        start = time.perf_counter()
        with torch.inference_mode():
            large = from_uint8(to_uint8(enlarge(small, size)))
        seconds = time.perf_counter() - start
        bytes_ = to_uint8(large[0]), to_uint8(truth)
        misfit = 127.5 * Reduction(small).misfit(large).max().item()
        gradient = gradient_energy(large) / gradient_energy(truth[None])
        found[name] = Figures(psnr_y(*bytes_), ssim_y(*bytes_), gradient, misfit, seconds)
        show[f"{name} {found[name].psnr:.2f} dB"] = large[0]
    return found


def rows(factor: float, every: Sequence[dict[str, Figures]]) -> list[tuple[str, ...]]:
    """The means of each method."""
    lines = []
    for name in every[0]:
        some = [each[name] for each in every]
        gains = [each[name].psnr - each["bicubic"].psnr for each in every]
        psnr, ssim, gradient, misfit, seconds = (statistics.fmean(column) for column in zip(*some, strict=True))
        worst = max(each.misfit for each in some)
        lines.append(
            (f"{factor:g}", name, str(len(some)), f"{psnr:.2f}",
             f"{statistics.fmean(gains):+.2f} ({min(gains):+.2f} to {max(gains):+.2f})", f"{ssim:.4f}",
             f"{gradient:.2f}", f"{misfit:.2f} ({worst:.2f})", f"{seconds:.1f}")
        )  # fmt: skip
    return lines


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--pictures", type=Path, nargs="+", required=True, metavar="FOLDER", help="folders of pictures")
    add("--only", nargs="+", metavar="NAME", help="only these of them")
    add("--factors", type=float, nargs="+", default=[2.0, 4.0], metavar="FACTOR", help="2 4")
    add("--sheet", type=Path, metavar="FILE", help="a sheet of one picture, the first")
    share_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Do what the command line says."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    known: dict[str, Tensor] = {}
    for folder in options.pictures:
        known |= pictures(folder, [], options.only)
    lines: list[tuple[str, ...]] = []
    for factor in options.factors:
        every = []
        for name, truth in known.items():
            show: dict[str, Tensor] = {}
            every.append(measured(truth, factor, options.seed, show))
            told = "  ".join(f"{method} {figures.psnr:.2f}" for method, figures in every[-1].items())
            print(f"{factor:g}  {name}  {told}", file=sys.stderr, flush=True)
            if options.sheet and len(every) == 1:
                place = options.sheet.with_stem(f"{options.sheet.stem}-{factor:g}")
                write(place, sheet(truth, list(show.values())), overwrite=True)
        lines += rows(factor, every)
    deliver(
        [provenance("upscaling.py", threads=options.threads, seed=options.seed), table(HEAD, lines)], options.output
    )


if __name__ == "__main__":
    main(sys.argv[1:])
