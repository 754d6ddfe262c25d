"""LPIPS, a distance between pictures that agrees with people, and what is built on it: diversity, and memorization.

    LPIPS(a, b) = sum_l 1 / (h_l w_l) sum_place sum_c  w_lc (u_lc(a) - u_lc(b))^2        0 for a copy

u_l are the activations at tap l of a network, brought to length 1 over the channels at each place, and w_l >= 0 the
published heads (version 0.1). So it is a squared length: with phi(a) all numbers sqrt(w_lc / (h_l w_l)) u_lc(a),

    LPIPS(a, b) = |phi(a) - phi(b)|^2        mean over pairs = 2 / (n - 1) sum_i |phi_i - mean phi|^2

and the mean over all pairs takes one pass and one phi in memory, however many pictures there are. (Zhang et al., "The
unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018.)

Needs weights: those of a network and of its heads, see weights.py. Pictures are uint8 (3, h, w), or (1, h, w) for three
equal channels, and all of one size: nothing is ever resized.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from sinwave.errors import InputError
from sinwave.metrics.published import ALEXNET, LPIPS_ALEX, LPIPS_VGG, VGG16
from sinwave.metrics.rgb import rgb
from sinwave.metrics.weights import load, load_module
from sinwave.nn.trunks import Trunk, alexnet, vgg16

__all__ = ["Lpips", "Memorization", "lpips_diversity", "memorization"]

_NETWORKS = {"alex": (alexnet, ALEXNET, LPIPS_ALEX), "vgg": (vgg16, VGG16, LPIPS_VGG)}
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_EPSILON = 1e-10


@final
@dataclass(frozen=True, eq=False)
class Lpips:
    """A network and the weights (c_l,) of the channels at each of its taps; it computes where the network is."""

    trunk: Trunk
    heads: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        for index, head in enumerate(self.heads):
            if not (head >= 0).all():
                raise InputError(f"the heads of LPIPS are >= 0, and number {index} is not: it has {head.min().item()}")

    @classmethod
    def load(cls, network: str = "alex", folder: Path | None = None) -> Lpips:
        """With the published weights: `alex`, the network of most figures, or `vgg`."""
        if network not in _NETWORKS:
            raise InputError(f"LPIPS knows the networks {', '.join(_NETWORKS)}, not {network!r}")
        build, weights, head_weights = _NETWORKS[network]
        trunk = load_module(build, weights, folder)
        names = [f"lin{index}.model.1.weight" for index in range(len(trunk.channels))]
        expected = {name: torch.empty(1, c, 1, 1) for name, c in zip(names, trunk.channels, strict=True)}
        heads = load(head_weights, expected, folder)
        return cls(trunk, tuple(heads[name].flatten() for name in names))

    def to(self, device: torch.device) -> Lpips:
        """The same on another device."""
        return Lpips(self.trunk.to(device), tuple(head.to(device) for head in self.heads))

    @torch.no_grad()
    def features(self, picture: Tensor) -> Tensor:
        """phi, (d,): 0.6 million numbers for 256 x 256 and `alex`, 8 million for `vgg`."""
        image = rgb(picture, self.trunk.least).to(next(self.trunk.parameters()).device)
        shift, scale = (image.new_tensor(each)[:, None, None] for each in (_SHIFT, _SCALE))
        taps = self.trunk((image - shift) / scale)
        return torch.cat([_weighted(tap[0], head.to(tap)) for tap, head in zip(taps, self.heads, strict=True)])

    def distance(self, a: Tensor, b: Tensor) -> float:
        """LPIPS(a, b)."""
        return _distance(*map(self.features, _of_one_size([a, b])))


def lpips_diversity(samples: Iterable[Tensor], lpips: Lpips) -> float:
    """The mean LPIPS over all pairs of samples; at least two are needed."""
    spread = _Spread()
    for features in map(lpips.features, _of_one_size(samples)):
        spread.add(features)
    if spread.count < 2:
        raise InputError(f"diversity is a mean over pairs: two samples are needed, not {spread.count}")
    return spread.mean_over_pairs()


@final
@dataclass(frozen=True)
class Memorization:
    """How samples lie around the few pictures that a model was trained on, by LPIPS.

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


def memorization(samples: Iterable[Tensor], training: Iterable[Tensor], lpips: Lpips) -> Memorization:
    """In one pass over the samples; published figures take the network `vgg`."""
    pictures = list(training)
    clusters, distances = [_Spread() for _ in pictures], []
    for index, distance, features in _nearest(samples, pictures, lpips):
        clusters[index].add(features)
        distances.append(distance)
    if not distances:
        raise InputError("there are no samples to measure: at least one is needed")
    within = [cluster.mean_over_pairs() for cluster in clusters if cluster.count > 1]
    members = tuple(cluster.count for cluster in clusters)
    return Memorization(sum(distances) / len(distances), sum(within) / len(within) if within else None, members)


@final
class _Spread:
    """Of vectors seen one by one: how many, their mean, and the sum of squared distances to it (Welford, 1962)."""

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


def _nearest(
    samples: Iterable[Tensor], training: Iterable[Tensor], lpips: Lpips
) -> Iterator[tuple[int, float, Tensor]]:
    """For each sample the nearest training picture, the distance to it, and the sample's features."""
    pictures = list(training)
    if not pictures:
        raise InputError("there are no training pictures to compare samples with: at least one is needed")
    features = map(lpips.features, _of_one_size(chain(pictures, samples)))
    known = list(islice(features, len(pictures)))
    for each in features:
        distances = [_distance(each, other) for other in known]
        index = min(range(len(known)), key=distances.__getitem__)
        yield index, distances[index], each


def _of_one_size(pictures: Iterable[Tensor]) -> Iterator[Tensor]:
    size: torch.Size | None = None
    for picture in pictures:
        size = size or picture.shape[-2:]
        if picture.shape[-2:] != size:
            sizes = " and ".join(" x ".join(map(str, reversed(each))) for each in (size, picture.shape[-2:]))
            raise InputError(f"LPIPS compares pictures of one size, not of {sizes}: nothing is resized")
        yield picture


def _weighted(tap: Tensor, head: Tensor) -> Tensor:
    """sqrt(w_c / (h w)) u_c at each place, (c, h, w) -> (c h w,)."""
    unit: Tensor = tap / (torch.linalg.vector_norm(tap, dim=0) + _EPSILON)
    return (unit * (head / tap[0].numel()).sqrt()[:, None, None]).flatten()


def _distance(a: Tensor, b: Tensor) -> float:
    return (a - b).square().sum().item()
