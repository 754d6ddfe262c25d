"""The Frechet distance between two sets of features, taken for Gaussians, and between patches of pictures by it.

    d^2 = |m_a - m_b|^2 + tr( C_a + C_b - 2 (C_a C_b)^(1/2) )

It is the squared 2-Wasserstein distance of N(m_a, C_a) and N(m_b, C_b) (Dowson and Landau, 1982; for Inception's
features: Heusel et al., "GANs trained by a two time-scale update rule", 2017). The trace of the root is that of
(C_a^(1/2) C_b C_a^(1/2))^(1/2), which is symmetric, so no complex root is ever needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor

from sinwave.errors import InputError
from sinwave.metrics.pictures import ELEMENTS, LEAST_DEVIATION, centered, laplacian, strips

__all__ = ["LEAST_SIDE", "PATCH", "Gaussian", "frechet_distance", "patch_distances", "patch_frechet", "patch_gaussians"]

PATCH, SCALES = 7, 3
LEAST_SIDE = PATCH << (SCALES - 1)
"""Shortest side of a picture that has a patch on every scale."""


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Summary of n features (n, d): their mean (d,) and the sum of products of deviations (d, d), in float64."""

    count: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Gaussian:
        """Summarize features (n, d)."""
        if features.ndim != 2 or 0 in features.shape:
            raise InputError(f"features are (n, d), not {tuple(features.shape)}")
        features = features.cpu().double()
        mean = features.mean(0)
        centered = features - mean
        return cls(len(features), mean, centered.T @ centered)

    def __add__(self, other: Gaussian) -> Gaussian:
        """Summarize the features of both, without seeing them again (Chan, Golub and LeVeque, 1979)."""
        count = self.count + other.count
        step = other.mean - self.mean
        scatter = self.scatter + other.scatter + torch.outer(step, step) * (self.count * other.count / count)
        return Gaussian(count, self.mean + step * (other.count / count), scatter)

    @property
    def covariance(self) -> Tensor:
        """The unbiased estimate, (d, d)."""
        if self.count < 2:
            raise InputError("one feature has no covariance: at least two are needed")
        return self.scatter / (self.count - 1)


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """d^2, 0 for equal ones; it does not shrink to 0 with few features, so compare only sets of one size."""
    if a.mean.shape != b.mean.shape:
        raise InputError(f"features of {len(a.mean)} and of {len(b.mean)} numbers cannot be compared")
    values, vectors = torch.linalg.eigh(a.covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    common = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp(min=0).sqrt().sum()
    way = (a.mean - b.mean).square().sum()
    distance: float = (way + a.covariance.trace() + b.covariance.trace() - 2 * common).item()
    return max(distance, 0.0)


def patch_gaussians(*pictures: Tensor, patch: int = PATCH, scales: int = SCALES) -> tuple[Gaussian, ...]:
    """Summarize the patches of pictures (c, h, w) uint8 of any sizes: on each band of a pyramid, finest first."""
    summaries = (_bands(picture, patch, scales) for picture in pictures)
    return reduce(lambda ours, theirs: tuple(map(add, ours, theirs)), summaries)


def patch_distances(ours: Sequence[Gaussian], theirs: Sequence[Gaussian]) -> list[float]:
    """d^2(N(m_a, C_a), N(m_b, C_b)) / tr C_b of each band, where b is `theirs`; 0 for a copy."""
    least = len(theirs[0].mean) * LEAST_DEVIATION**2
    return [frechet_distance(a, b) / max(b.covariance.trace().item(), least) for a, b in zip(ours, theirs, strict=True)]


def patch_frechet(sample: Tensor, source: Tensor, *, patch: int = PATCH, scales: int = SCALES) -> float:
    """The mean over scales of the Frechet distance between the patches, over the source's variance; 0 for a copy."""
    ours, theirs = (_bands(picture, patch, scales) for picture in (sample, source))
    return sum(patch_distances(ours, theirs)) / scales


def _bands(picture: Tensor, patch: int, scales: int) -> tuple[Gaussian, ...]:
    most = max(1, ELEMENTS // (4 * picture.shape[0] * patch**2))
    bands = laplacian(centered(picture, patch << (scales - 1)), scales)
    return tuple(reduce(add, map(Gaussian.of, strips(band, patch, 1, most))) for band in bands)
