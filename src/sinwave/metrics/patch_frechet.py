"""How alike the patches of pictures are as Gaussians, over several scales, without any weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import add

from torch import Tensor

from sinwave.metrics.frechet import Gaussian, frechet_distance
from sinwave.metrics.levels import ELEMENTS, LEAST_DEVIATION, centered, laplacian, strips

__all__ = ["LEAST_SIDE", "PATCH", "PatchGaussians", "patch_frechet"]

PATCH, SCALES = 7, 3
LEAST_SIDE = PATCH << (SCALES - 1)
"""Of a picture that has a patch on every scale."""


@dataclass(frozen=True, eq=False)
class PatchGaussians:
    """The patches of a picture, or of many, on each band of a Laplacian pyramid, finest first."""

    bands: tuple[Gaussian, ...]

    @classmethod
    def of(cls, *pictures: Tensor, patch: int = PATCH, scales: int = SCALES) -> PatchGaussians:
        """Of pictures (c, h, w) uint8, of any sizes."""
        return reduce(add, (_of(each, patch, scales) for each in pictures))

    def __add__(self, other: PatchGaussians) -> PatchGaussians:
        """Of the pictures of both."""
        return PatchGaussians(tuple(map(add, self.bands, other.bands)))

    def distances(self, known: PatchGaussians) -> list[float]:
        """d^2(N(m_a, C_a), N(m_b, C_b)) / tr C_b of each band, where b is `known`; 0 for a copy."""
        return list(map(_distance, self.bands, known.bands))

    def distance(self, known: PatchGaussians) -> float:
        """The mean over bands."""
        return sum(self.distances(known)) / len(self.bands)


def patch_frechet(sample: Tensor, source: Tensor, *, patch: int = PATCH, scales: int = SCALES) -> float:
    """The mean over scales of the Frechet distance between the patches, over the source's variance; 0 for a copy.

    It sees the mean color, the contrast and the correlations of neighboring pixels, and not what lies where: as
    SIFID, with patches as the features. (c, h, w), (c, h', w') uint8.
    """
    ours, theirs = (PatchGaussians.of(each, patch=patch, scales=scales) for each in (sample, source))
    return ours.distance(theirs)


def _of(picture: Tensor, patch: int, scales: int) -> PatchGaussians:
    bands = laplacian(centered(picture, patch << (scales - 1)), scales)
    return PatchGaussians(tuple(_gaussian(band, patch) for band in bands))


def _gaussian(band: Tensor, patch: int) -> Gaussian:
    most = max(1, ELEMENTS // (4 * band.shape[1] * patch**2))
    parts: Iterable[Gaussian] = map(Gaussian.of, strips(band, patch, 1, most))
    return reduce(add, parts)


def _distance(ours: Gaussian, theirs: Gaussian) -> float:
    least = len(theirs.mean) * LEAST_DEVIATION**2
    return frechet_distance(ours, theirs) / max(theirs.covariance.trace().item(), least)
