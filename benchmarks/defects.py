"""Two defects of samples that no distance between patches detects: smudges, and a lattice of two pixels.

Pictures are uint8 (3, h, w).
"""

from __future__ import annotations

import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from sinwave.metrics.copies import NearestField

__all__ = ["SMUDGE", "lattice", "smudge_area"]

PATCH, STRIDE, SMUDGE = 11, 4, 150
FAR, FLAT = 0.03, 0.5
TILE = 32


def smudge_area(sample: Tensor, source: Tensor) -> int:
    """Pixels of the largest connected area of the sample that differs from the source and is blurred.

    An 11 x 11 patch counts if its mean squared difference to the nearest patch of the source is above 3 % of the
    source's variance, and its detail (mean squared difference of neighboring pixels) is less than half of that patch's.
    An area of 150 pixels or more is called a smudge.
    """
    field = NearestField.of(sample, source, patch=PATCH, stride=STRIDE)
    distance, place = field.distance, field.place
    mine = _detail(sample)[::STRIDE, ::STRIDE][: distance.shape[0], : distance.shape[1]]
    theirs = _detail(source)[place[..., 0], place[..., 1]]
    blurred = (distance > FAR * source.double().var().item()) & (mine < FLAT * theirs)
    labels, count = ndimage.label(blurred.numpy())
    areas = ndimage.sum_labels(blurred.numpy(), labels, range(1, count + 1))
    return STRIDE**2 * int(max(areas, default=0))


def _detail(picture: Tensor) -> Tensor:
    """Mean squared difference of neighboring pixels in every 11 x 11 patch, at its upper left corner."""
    gray = picture.double().mean(0, keepdim=True)
    across, down = gray.diff(dim=2).square(), gray.diff(dim=1).square()
    return functional.avg_pool2d(functional.pad(across, (0, 1)) + functional.pad(down, (0, 0, 0, 1)), PATCH, 1)[0]


def lattice(picture: Tensor) -> tuple[float, float]:
    """Energy of the intensity in the last row and last column of frequencies, which show a lattice of two pixels.

    Welch's estimate: the mean over overlapping tiles with a Hann window, so that all places but the rim count equally.
    With one window over the whole picture the middle counts most, and rolling a photograph sideways could double its
    energy.
    """
    tiles = picture.double().mean(0).unfold(0, TILE, TILE // 4).unfold(1, TILE, TILE // 4)
    line = torch.hann_window(TILE, dtype=torch.float64)
    centered = tiles - tiles.mean((2, 3), keepdim=True)
    energy = torch.fft.fft2(centered * torch.outer(line, line)).abs().square().mean((0, 1))
    return energy[TILE // 2].sum().item(), energy[:, TILE // 2].sum().item()
