"""The Frechet distance between two sets of features, taken for Gaussians.

    d^2 = |m_a - m_b|^2 + tr( C_a + C_b - 2 (C_a C_b)^(1/2) )

It is the squared 2-Wasserstein distance of N(m_a, C_a) and N(m_b, C_b) (Dowson and Landau, 1982; for Inception's
features: Heusel et al., "GANs trained by a two time-scale update rule", 2017). The trace of the root is that of
(C_a^(1/2) C_b C_a^(1/2))^(1/2), which is symmetric, so no complex root is ever needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sinwave.errors import InputError

__all__ = ["Gaussian", "frechet_distance"]


@dataclass(frozen=True, eq=False)
class Gaussian:
    """What is kept of n features (n, d): their mean (d,) and the sum of products of deviations (d, d), in float64."""

    count: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Gaussian:
        """Of features (n, d)."""
        if features.ndim != 2 or 0 in features.shape:
            raise InputError(f"features are (n, d), not {tuple(features.shape)}")
        features = features.cpu().double()
        mean = features.mean(0)
        centered = features - mean
        return cls(len(features), mean, centered.T @ centered)

    def __add__(self, other: Gaussian) -> Gaussian:
        """Of the features of both, without seeing them again (Chan, Golub and LeVeque, 1979)."""
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
    root = _root(a.covariance)
    common = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp(min=0).sqrt().sum()
    way = (a.mean - b.mean).square().sum()
    distance: float = (way + a.covariance.trace() + b.covariance.trace() - 2 * common).item()
    return max(distance, 0.0)


def _root(symmetric: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(symmetric)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root
