"""How alike the patches of two pictures are as Gaussians, over several scales, without any weights."""

from __future__ import annotations

from functools import reduce
from operator import add

from torch import Tensor

from sinwave.metrics.frechet import Gaussian, frechet_distance
from sinwave.metrics.levels import ELEMENTS, LEAST_DEVIATION, centered, laplacian, strips

__all__ = ["patch_frechet"]


def patch_frechet(sample: Tensor, source: Tensor, *, patch: int = 7, scales: int = 3) -> float:
    """The mean over scales of the Frechet distance between the patches, over the source's variance; 0 for a copy.

        d^2(N(m_a, C_a), N(m_b, C_b)) / tr C_b        on each band of a Laplacian pyramid

    It sees the mean color, the contrast and the correlations of neighboring pixels, and not what lies where: as
    SIFID, with patches as the features. (c, h, w), (c, h', w') uint8.
    """
    pyramids = (laplacian(centered(each, patch << (scales - 1)), scales) for each in (sample, source))
    return sum(_distance(a, b, patch) for a, b in zip(*pyramids, strict=True)) / scales


def _distance(sample: Tensor, source: Tensor, patch: int) -> float:
    ours, theirs = (_gaussian(band, patch) for band in (sample, source))
    least = len(theirs.mean) * LEAST_DEVIATION**2
    return frechet_distance(ours, theirs) / max(theirs.covariance.trace().item(), least)


def _gaussian(band: Tensor, patch: int) -> Gaussian:
    most = max(1, ELEMENTS // (4 * band.shape[1] * patch**2))
    return reduce(add, map(Gaussian.of, strips(band, patch, 1, most)))
