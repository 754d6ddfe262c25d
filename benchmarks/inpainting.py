"""`sinwave inpaint` beside the biharmonic fill of scikit-image, on holes whose content is known.

    python benchmarks/inpainting.py --pictures FOLDER [FOLDER ...] --photographs brick grass --output table.md

In each picture, resized to a long side of 250 pixels, a hole of a tenth of its area is made, somewhere. What fills it
is compared with what was there: the sliced Wasserstein distance of the two pieces, and the deviation of the gradient,
which is 1 where the fill is as rough as the truth.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from reporting import deliver, provenance, share_options, table
from skimage import data
from skimage.restoration import inpaint_biharmonic
from sources import LONG_SIDE, fitted, pictures
from torch import Tensor

from sinwave.images import from_uint8, sheet, to_uint8, write
from sinwave.metrics.patches import sliced_wasserstein
from sinwave.resize import resize
from sinwave.rng import NoiseSource, fold
from sinwave.systems.wavelet.closed_form import closed_form_model
from sinwave.tasks.edits.inpaint import Inpaint

HEAD = ("picture", "SWD biharmonic", "SWD sinwave", "ratio", "roughness biharmonic", "roughness sinwave",
        "seconds biharmonic", "seconds sinwave")  # fmt: skip
SHARE = 0.1


class Hole(NamedTuple):
    """A rectangle in the proportions of the picture."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, picture: Tensor) -> Tensor:
        """What is in it of (..., h, w)."""
        return picture[..., self.top : self.top + self.height, self.left : self.left + self.width]


def hole(size: tuple[int, int], seed: int, number: int) -> Hole:
    """One of a tenth of the area, not at the border."""
    height, width = (round(math.sqrt(SHARE) * side) for side in size)
    generator = np.random.default_rng(fold(seed, "hole", number))
    top, left = (int(generator.integers(8, side - part - 8)) for side, part in zip(size, (height, width), strict=True))
    return Hole(top, left, height, width)


def biharmonic(picture: Tensor, mask: Tensor) -> Tensor:
    """That of scikit-image, on values from 0 to 1."""
    image = (picture[0].movedim(0, 2).double().numpy() + 1) / 2
    filled = inpaint_biharmonic(image, mask[0, 0].numpy() > 0, channel_axis=2)
    return torch.from_numpy(filled * 2 - 1).movedim(2, 0)[None].float()


def patches(picture: Tensor, mask: Tensor, seed: int) -> Tensor:
    """Ours: the model does not know the hole."""
    model = closed_form_model(picture, opaque=mask[0, 0] == 0)
    return Inpaint().run(model, picture, mask, NoiseSource(seed).child("picture", 0))


def roughness(piece: Tensor, truth: Tensor) -> float:
    """The deviation of the differences of neighbors, as a part of that of the truth."""
    return (piece.diff(dim=-1).std() / truth.diff(dim=-1).std()).item()


def measured(picture: Tensor, place: Hole, seed: int) -> tuple[list[float], list[Tensor]]:
    """The figures of both, and both pictures."""
    mask = torch.zeros(1, 1, *picture.shape[2:])
    place.cut(mask).fill_(1)
    # Nobody is shown what was there.
    seen = torch.where(mask > 0, 0.0, picture)
    truth, columns, shown = place.cut(picture), [], []
    for fill in (biharmonic, lambda x, m: patches(x, m, seed)):
        start = time.perf_counter()
        with torch.inference_mode():
            filled = from_uint8(to_uint8(fill(seen, mask)))
        seconds = time.perf_counter() - start
        piece = place.cut(filled)
        distance = sliced_wasserstein(to_uint8(piece[0]), to_uint8(truth[0]))
        columns.append((distance, roughness(piece, truth), seconds))
        shown.append(filled[0])
    theirs, ours = columns
    return [theirs[0], ours[0], ours[0] / theirs[0], theirs[1], ours[1], theirs[2], ours[2]], [seen[0], *shown]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--pictures", type=Path, nargs="*", default=[], metavar="FOLDER", help="folders of pictures")
    add("--photographs", nargs="*", default=[], metavar="NAME", help="pictures inside scikit-image")
    add("--holes", type=int, default=2, metavar="N", help="in each picture, one at a time; 2")
    add("--sheet", type=Path, metavar="FILE", help="a sheet of all: truth, hole, biharmonic, ours")
    share_options(parser)
    return parser.parse_args(arguments)


def known(options: argparse.Namespace) -> dict[str, Tensor]:
    """All pictures (3, h, w), with a long side of 250."""
    found: dict[str, Tensor] = {}
    for folder in options.pictures:
        found |= pictures(folder, [], None)
    for name in options.photographs:
        pixels = torch.from_numpy(np.asarray(getattr(data, name)()))
        pixels = pixels.movedim(-1, 0) if pixels.dim() == 3 else pixels.expand(3, -1, -1)
        found[name] = from_uint8(pixels.contiguous())
    return {name: resize(each[None], fitted(each, LONG_SIDE))[0].clamp(-1, 1) for name, each in found.items()}


def main(arguments: Sequence[str]) -> None:
    """Do what the command line says."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    lines, every, shown = [], [], []
    for name, picture in known(options).items():
        some = []
        for number in range(options.holes):
            place = hole((picture.shape[1], picture.shape[2]), options.seed, number)
            figures, pictures_ = measured(picture[None], place, options.seed)
            some.append(figures)
            shown += [picture, *pictures_]
        means = [statistics.fmean(column) for column in zip(*some, strict=True)]
        every.append(means)
        lines.append((name, *_cells(means)))
        print("  ".join(lines[-1]), file=sys.stderr, flush=True)
    lines.append(("mean", *_cells([statistics.fmean(column) for column in zip(*every, strict=True)])))
    if options.sheet:
        write(options.sheet, sheet(shown[0], shown[1:], columns=8), overwrite=True)
    deliver(
        [provenance("inpainting.py", threads=options.threads, seed=options.seed), table(HEAD, lines)], options.output
    )


def _cells(values: Sequence[float]) -> list[str]:
    formats = ("{:.4f}", "{:.4f}", "{:.2f}", "{:.2f}", "{:.2f}", "{:.1f}", "{:.1f}")
    return [form.format(value) for form, value in zip(formats, values, strict=True)]


if __name__ == "__main__":
    main(sys.argv[1:])
