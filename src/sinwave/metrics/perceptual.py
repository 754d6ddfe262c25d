"""Figures on LPIPS and ST-LPIPS: distance to the true picture, diversity of samples, memorization of training pictures.

d(a, b) = |phi(a) - phi(b)|^2 is a squared length (see pretrained/perceptual.py), so

    mean of d over pairs = 2 / (n - 1) sum_i |phi_i - mean phi|^2

takes one pass and one phi in memory, however many pictures there are.

Pictures are uint8 (3, h, w), or (1, h, w) for three equal channels, and all of one size: nothing is ever resized.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import final

import torch
from torch import Tensor

from sinwave.errors import InputError
from sinwave.metrics.pictures import rgb, size_of
from sinwave.pretrained.perceptual import PerceptualDistance

__all__ = ["Memorization", "diversity", "memorization", "perceptual_distance"]


@torch.no_grad()
def perceptual_distance(a: Tensor, b: Tensor, measure: PerceptualDistance) -> float:
    """d(a, b) of two pictures."""
    _check_sizes(measure, a, b)
    return measure(_image(a, measure), _image(b, measure)).item()


def diversity(samples: Iterable[Tensor], measure: PerceptualDistance) -> float:
    """The mean of d over all pairs of samples; at least two are needed."""
    spread = _Spread()
    for features in _features(samples, measure):
        spread.add(features)
    if spread.count < 2:
        raise InputError(f"diversity is a mean over pairs: two samples are needed, not {spread.count}")
    return spread.mean_over_pairs()


@final
@dataclass(frozen=True)
class Memorization:
    """Distances of samples to the few pictures that a model was trained on, by LPIPS.

    nearest    Nearest-LPIPS, the mean distance to the nearest training picture: low for a model that copies
               (Zhu et al., "Few-shot image generation with diffusion models", 2022)
    within     Intra-LPIPS: every sample joins its nearest training picture; the mean over pairs within a cluster, over
               clusters, 0 for a model that copies (Ojha et al., "Few-shot image generation via cross-domain
               correspondence", CVPR 2021); None if no cluster has a pair
    members    how many samples are in each cluster, one number a training picture

    A cluster of less than two samples has no part in Intra-LPIPS, as in published figures, which says nothing about
    training pictures that a model never comes close to: `members` does. All pairs count, not those of 50 random ones.
    """

    nearest: float
    within: float | None
    members: tuple[int, ...]


def memorization(samples: Iterable[Tensor], training: Iterable[Tensor], measure: PerceptualDistance) -> Memorization:
    """Measure in one pass over the samples; published figures take the network `vgg`."""
    pictures = list(training)
    if not pictures:
        raise InputError("there are no training pictures to compare samples with: at least one is needed")
    clusters, distances = [_Spread() for _ in pictures], []
    features = _features(chain(pictures, samples), measure)
    references = list(islice(features, len(pictures)))
    for vector in features:
        squares = [(vector - reference).square().sum().item() for reference in references]
        index = min(range(len(references)), key=squares.__getitem__)
        clusters[index].add(vector)
        distances.append(squares[index])
    if not distances:
        raise InputError("there are no samples to measure: at least one is needed")
    within = [cluster.mean_over_pairs() for cluster in clusters if cluster.count > 1]
    members = tuple(cluster.count for cluster in clusters)
    return Memorization(sum(distances) / len(distances), sum(within) / len(within) if within else None, members)


@final
class _Spread:
    """Count, mean, and sum of squared distances to the mean, of vectors that come one by one (Welford, 1962)."""

    def __init__(self) -> None:
        self.count, self.scatter = 0, 0.0
        self.mean: Tensor | None = None

    def add(self, vector: Tensor) -> None:
        self.count += 1
        self.mean = torch.zeros_like(vector) if self.mean is None else self.mean
        step = vector - self.mean
        self.mean += step / self.count
        self.scatter += step.square().sum().item() * (self.count - 1) / self.count

    def mean_over_pairs(self) -> float:
        return 2 * self.scatter / (self.count - 1)


def _features(pictures: Iterable[Tensor], measure: PerceptualDistance) -> Iterator[Tensor]:
    """Features phi of pictures of one size, (d,) of each."""
    first: Tensor | None = None
    for picture in pictures:
        first = picture if first is None else first
        _check_sizes(measure, first, picture)
        with torch.no_grad():
            yield measure.features(_image(picture, measure))[0]


def _image(picture: Tensor, measure: PerceptualDistance) -> Tensor:
    return rgb(picture, measure.trunk.least).to(measure.heads[0].device)


def _check_sizes(measure: PerceptualDistance, a: Tensor, b: Tensor) -> None:
    if a.shape[-2:] != b.shape[-2:]:
        sizes = f"{size_of(a.shape)} and {size_of(b.shape)}"
        raise InputError(f"{measure.name} compares pictures of one size, not of {sizes}: nothing is resized")
