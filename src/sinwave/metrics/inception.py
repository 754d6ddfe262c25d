"""Distances between pictures as Inception-v3 sees them: one pair of pictures, or two sets.

    sifid    d^2 of the Gaussians of the 64 channels at all places of a sample, and of its source        0 for a copy
    fid      d^2 of the Gaussians of 2048 features of each picture                                      0 for equal sets
    kid      the mean over subsets of   E k(x, x') + E k(y, y') - 2 E k(x, y),   k(x, y) = (x.y / d + 1)^3

d^2 is the Frechet distance. The tap of SIFID is the map before the first pool (Shaham et al., "SinGAN", ICCV 2019; some
figures elsewhere use 192 channels), and pictures keep their size. FID and KID look after the last pool at pictures
resized to 299 x 299, bilinear without antialiasing: aliasing included, that is how published figures were made (Heusel
et al., "GANs trained by a two time-scale update rule", 2017; Binkowski et al., "Demystifying MMD GANs", ICLR 2018).

Weights: INCEPTION for FID and KID; for SIFID INCEPTION_TORCHVISION, as SinGAN's program has it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from sinwave.errors import InputError
from sinwave.metrics.frechet import Gaussian, frechet_distance
from sinwave.metrics.pictures import rgb
from sinwave.pretrained.files import load_module
from sinwave.pretrained.inception import Inception
from sinwave.pretrained.published import INCEPTION, Weights
from sinwave.resize import resize
from sinwave.rng import NoiseSource

__all__ = ["discrepancy", "fid", "inception_features", "kid", "load_inception", "sifid"]

_SIZE, _ROWS = (299, 299), 1024
_LEAST = 9  # leaves 2 x 2 places, and one has no covariance


def load_inception(path: Path | None = None, weights: Weights = INCEPTION) -> Inception:
    """Load the network with published weights."""
    return load_module(Inception, weights, path)


@torch.no_grad()
def sifid(sample: Tensor, source: Tensor, network: Inception) -> float:
    """SIFID of pictures (3 or 1, h, w), (3 or 1, h', w'); never printed without diversity, since it rewards copies."""
    places = (network.places(_image(picture, network, _LEAST))[0].flatten(1).T for picture in (sample, source))
    return frechet_distance(*map(Gaussian.of, places))


@torch.no_grad()
def inception_features(pictures: Iterable[Tensor], network: Inception) -> Tensor:
    """Pictures (3 or 1, h, w) of any sizes, n of them -> (n, 2048), what `fid` and `kid` compare."""
    images = (resize(_image(picture, network), _SIZE, "bilinear", antialias=False) for picture in pictures)
    features = [network(image) for image in images]
    if not features:
        raise InputError("there are no pictures to take features of: at least one is needed")
    return torch.cat(features)


def fid(samples: Tensor, truth: Tensor) -> float:
    """FID of features (n, d) and (m, d); biased by how many there are, so compare only figures of one n and m."""
    return frechet_distance(Gaussian.of(samples), Gaussian.of(truth))


def discrepancy(samples: Tensor, truth: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy of features (n, d) and (m, d), of all at once.

    It may fall below 0. A feature is not compared with itself, so two of each are needed.
    """
    _check(samples, truth)
    if min(len(samples), len(truth)) < 2:
        raise InputError(f"two features of each set are needed, not {len(samples)} and {len(truth)}")
    a, b = samples.cpu().double(), truth.cpu().double()
    between = _kernel_sum(a, b) / (len(a) * len(b))
    own = (((x.square().sum(1) / x.shape[1] + 1) ** 3).sum().item() for x in (a, b))
    within = ((_kernel_sum(x, x) - itself) / (len(x) * (len(x) - 1)) for x, itself in zip((a, b), own, strict=True))
    return sum(within) - 2 * between


def kid(samples: Tensor, truth: Tensor, *, subsets: int = 100, size: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Mean `discrepancy` of random subsets of `size` of features (n, d) and (m, d), and its deviation over them.

    Published figures are of this kind; where there are not more than `size`, take `discrepancy`.
    """
    _check(samples, truth)
    least = min(len(samples), len(truth))
    if subsets < 1 or not 2 <= size <= least:
        raise InputError(f"KID draws 1 subset or more of 2 to {least} of these features, not {subsets} of {size}")
    noise = NoiseSource(seed).child("KID")
    values = [
        discrepancy(*(_subset(x, size, noise.child(name, index)) for name, x in (("a", samples), ("b", truth))))
        for index in range(subsets)
    ]
    result = torch.tensor(values, dtype=torch.float64)
    return result.mean().item(), result.std(correction=0).item()


def _check(samples: Tensor, truth: Tensor) -> None:
    if not (samples.ndim == truth.ndim == 2 and samples.shape[1] == truth.shape[1]):
        shapes = f"{tuple(samples.shape)} and {tuple(truth.shape)}"
        raise InputError(f"features to compare are (n, d) and (m, d), not {shapes}")


def _image(picture: Tensor, network: Inception, least: int = 1) -> Tensor:
    return rgb(picture, least).to(next(network.parameters()).device)


def _subset(features: Tensor, size: int, noise: NoiseSource) -> Tensor:
    order = noise.normal((len(features),)).argsort(stable=True)
    return features.cpu()[order[:size]]


def _kernel_sum(a: Tensor, b: Tensor) -> float:
    """Sum k over all pairs, some rows at a time."""
    return math.fsum(((rows @ b.T / a.shape[1] + 1) ** 3).sum().item() for rows in torch.split(a, _ROWS))
