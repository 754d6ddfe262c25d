"""`sinwave inpaint` beside the biharmonic fill of scikit-image, on holes with known content.

    python benchmarks/inpainting.py --pictures FOLDER [FOLDER ...] --photographs brick grass --output table.md

Every picture is resized to a long side of 250 pixels, and gets a hole of a tenth of its area at a random place. The
fill is compared with the true content: the sliced Wasserstein distance of the two pieces, and the roughness, the
deviation of the gradient over that of the truth.
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

import sinwave
from sinwave.images import Picture, from_uint8, sheet, to_uint8, write
from sinwave.metrics.patches import sliced_wasserstein
from sinwave.resize import resize
from sinwave.rng import fold

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
        """Return the content of the hole in (..., h, w)."""
        return picture[..., self.top : self.top + self.height, self.left : self.left + self.width]


def hole(size: tuple[int, int], seed: int, number: int) -> Hole:
    """Choose a hole of a tenth of the area, not at the border."""
    height, width = (round(math.sqrt(SHARE) * side) for side in size)
    generator = np.random.default_rng(fold(seed, "hole", number))
    top, left = (int(generator.integers(8, side - part - 8)) for side, part in zip(size, (height, width), strict=True))
    return Hole(top, left, height, width)


def biharmonic(picture: Tensor, mask: Tensor) -> Tensor:
    """Fill with scikit-image, on values from 0 to 1."""
    image = (picture[0].movedim(0, 2).double().numpy() + 1) / 2
    filled = inpaint_biharmonic(image, mask[0, 0].numpy() > 0, channel_axis=2)
    return torch.from_numpy(filled * 2 - 1).movedim(2, 0)[None].float()


def patches(picture: Tensor, mask: Tensor, seed: int) -> Tensor:
    """Fill with ours; the model does not see the hole."""
    return sinwave.open(Picture(picture[0]), seed=seed).inpaint(mask[0, 0]).picture.pixels[None]


def roughness(piece: Tensor, truth: Tensor) -> float:
    """Deviation of the differences of neighbors, over that of the truth."""
    return (piece.diff(dim=-1).std() / truth.diff(dim=-1).std()).item()


def measured(picture: Tensor, place: Hole, seed: int) -> tuple[list[float], list[Tensor]]:
    """Return the figures of both fills, and the pictures: the hole and both fills."""
    mask = torch.zeros(1, 1, *picture.shape[2:])
    place.cut(mask).fill_(1)
    # Both fills get zeros instead of the true content.
    seen = torch.where(mask > 0, 0.0, picture)
    truth, columns, fills = place.cut(picture), [], []
    for fill in (biharmonic, lambda x, m: patches(x, m, seed)):
        start = time.perf_counter()
        with torch.inference_mode():
            filled = from_uint8(to_uint8(fill(seen, mask)))
        seconds = time.perf_counter() - start
        piece = place.cut(filled)
        distance = sliced_wasserstein(to_uint8(piece[0]), to_uint8(truth[0]))
        columns.append((distance, roughness(piece, truth), seconds))
        fills.append(filled[0])
    theirs, ours = columns
    return [theirs[0], ours[0], ours[0] / theirs[0], theirs[1], ours[1], theirs[2], ours[2]], [seen[0], *fills]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--pictures", type=Path, nargs="*", default=[], metavar="FOLDER", help="folders of pictures")
    add("--photographs", nargs="*", default=[], metavar="NAME", help="pictures inside scikit-image")
    add("--holes", type=int, default=2, metavar="N", help="in each picture, one at a time; 2")
    add("--sheet", type=Path, metavar="FILE", help="a sheet of all: truth, hole, biharmonic, ours")
    share_options(parser)
    return parser.parse_args(arguments)


def photographs(options: argparse.Namespace) -> dict[str, Tensor]:
    """Load the pictures (3, h, w) with a long side of 250 pixels."""
    sources: dict[str, Tensor] = {}
    for folder in options.pictures:
        sources |= pictures(folder, [], None)
    for name in options.photographs:
        pixels = torch.from_numpy(np.asarray(getattr(data, name)()))
        pixels = pixels.movedim(-1, 0) if pixels.dim() == 3 else pixels.expand(3, -1, -1)
        sources[name] = from_uint8(pixels.contiguous())
    return {
        name: resize(picture[None], fitted(picture, LONG_SIDE))[0].clamp(-1, 1) for name, picture in sources.items()
    }


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    lines, every, panels = [], [], []
    for name, picture in photographs(options).items():
        rows = []
        for number in range(options.holes):
            place = hole((picture.shape[1], picture.shape[2]), options.seed, number)
            figures, pictures_ = measured(picture[None], place, options.seed)
            rows.append(figures)
            panels += [picture, *pictures_]
        means = [statistics.fmean(column) for column in zip(*rows, strict=True)]
        every.append(means)
        lines.append((name, *_cells(means)))
        print("  ".join(lines[-1]), file=sys.stderr, flush=True)
    lines.append(("mean", *_cells([statistics.fmean(column) for column in zip(*every, strict=True)])))
    if options.sheet:
        write(options.sheet, sheet(panels[0], panels[1:], columns=8), overwrite=True)
    deliver(
        [provenance("inpainting.py", threads=options.threads, seed=options.seed), table(HEAD, lines)], options.output
    )


def _cells(values: Sequence[float]) -> list[str]:
    formats = ("{:.4f}", "{:.4f}", "{:.2f}", "{:.2f}", "{:.2f}", "{:.1f}", "{:.1f}")
    return [form.format(value) for form, value in zip(formats, values, strict=True)]


if __name__ == "__main__":
    main(sys.argv[1:])
