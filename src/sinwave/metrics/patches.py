"""Likeness of the patches of a sample and of its source, diversity, and seams: figures that need no weights.

    coherence             does every patch of the sample exist in the source?    0 for a copy
    completeness          does every patch of the source exist in the sample?    0 for a copy
    sliced_wasserstein    are there as many of each kind, on every scale?        0 for a copy
    pixel_diversity       how much do samples differ from each other?            0 for copies, about 1 at best

The first three reward copying, so none of them means anything without the fourth. Pictures are uint8 (c, h, w), what
users see, and none of these figures changes when all of them are scaled in contrast alike.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.metrics.copies import NearestField
from sinwave.metrics.pictures import ELEMENTS, LEAST_DEVIATION, centered, laplacian
from sinwave.rng import NoiseSource

__all__ = ["coherence", "completeness", "pixel_diversity", "pixel_diversity_without_each", "relative_distance"]
__all__ += ["seam_error", "sliced_wasserstein", "wasserstein_by_scale"]


def coherence(sample: Tensor, source: Tensor, *, patch: int = 7, stride: int = 1) -> float:
    """The mean squared difference of a sample's patch to the nearest one of the source, over the source's variance.

    (c, h, w), (c, h', w') uint8; patches are taken every `stride` pixels of the sample, the difference is a mean over
    pixels and channels, the variance that of all values of the source. (Simakov et al., "Summarizing visual data using
    bidirectional similarity", CVPR 2008.)
    """
    return relative_distance(NearestField.of(sample, source, patch=patch, stride=stride), source)


def completeness(sample: Tensor, source: Tensor, *, patch: int = 7, stride: int = 1) -> float:
    """`coherence` the other way round: large when something of the source is missing in the sample."""
    return relative_distance(NearestField.of(source, sample, patch=patch, stride=stride), source)


def relative_distance(field: NearestField, source: Tensor) -> float:
    """The mean distance of a field that is there already, over the variance of the source."""
    return field.distance.mean().item() / _variance(source)


def sliced_wasserstein(
    sample: Tensor, source: Tensor, *, patch: int = 7, scales: int = 3, projections: int = 128, seed: int = 0
) -> float:
    """The mean over scales and directions of the W1 distance between the projected patches of two pictures.

    On each scale of a Laplacian pyramid, so that fine texture counts as much as color, all p x p patches are projected
    on random directions u of length 1, and two sorted lists of any lengths compared by their quantile functions,

        W1(u) = int_0^1 |Q_sample(s) - Q_source(s)| ds = int |F_sample(x) - F_source(x)| dx.

    In deviations of the source's band. (Rabin et al., 2011; on pyramids: Karras et al., "Progressive growing of GANs",
    ICLR 2018.) (c, h, w), (c, h', w') uint8.
    """
    distances = wasserstein_by_scale(sample, source, patch=patch, scales=scales, projections=projections, seed=seed)
    return sum(distances) / scales


def wasserstein_by_scale(
    sample: Tensor, source: Tensor, *, patch: int = 7, scales: int = 3, projections: int = 128, seed: int = 0
) -> list[float]:
    """`sliced_wasserstein` of each scale, finest first."""
    noise = NoiseSource(seed).child("sliced Wasserstein")
    samples, sources = (laplacian(centered(picture, patch << (scales - 1)), scales) for picture in (sample, source))
    results = []
    for scale, (a, b) in enumerate(zip(samples, sources, strict=True)):
        directions = noise.normal((projections, a.shape[1], patch, patch), scale, like=a)
        directions /= torch.linalg.vector_norm(directions, dim=(1, 2, 3), keepdim=True)
        chunk = max(1, ELEMENTS // 2 // (a[0, 0].numel() + b[0, 0].numel()))
        total = 0.0
        stairs = _stairs(*((band.shape[2] - patch + 1) * (band.shape[3] - patch + 1) for band in (a, b)))
        for kernels in torch.split(directions, chunk):
            at_a, at_b = (functional.conv2d(band, kernels)[0].flatten(1) for band in (a, b))
            total += _transport(at_a, at_b, stairs).sum().item()
        results.append(total / projections / max(b.std(correction=0).item(), LEAST_DEVIATION))
    return results


def pixel_diversity(samples: Tensor, source: Tensor) -> float:
    """The deviation of each pixel's intensity over samples, averaged over pixels, over that of the source's pixels.

    (n, c, h, w), (c, h', w') uint8; intensity is the mean of the channels. (Shaham et al., "SinGAN", ICCV 2019.)
    """
    _check_samples(samples, 2)
    return samples.float().mean(1).std(0).mean().item() / math.sqrt(_variance(source.float().mean(0)))


def pixel_diversity_without_each(samples: Tensor, source: Tensor) -> list[float]:
    """`pixel_diversity` of all samples but one, for each, in one pass: n figures of n >= 3 samples."""
    _check_samples(samples, 3)
    intensity = samples.double().mean(1)
    intensity -= intensity.mean(0)  # so that sums of squares do not cancel
    n, total, squares = len(samples), intensity.sum(0), intensity.square().sum(0)
    deviation, results = math.sqrt(_variance(source.float().mean(0))), []
    for sample in intensity:
        variance = (squares - sample.square() - (total - sample).square() / (n - 1)) / (n - 2)
        results.append(variance.clamp(min=0).sqrt().mean().item() / deviation)
    return results


def seam_error(picture: Tensor) -> float:
    """The larger of both directions of the root of

        mean |x_first - x_last|^2 / mean |x_(i+1) - x_i|^2        over rows, and over columns i

    for a uint8 picture (c, h, w). No seam is seen at 1 or below; 0 if the opposite borders are equal.
    """
    x = centered(picture, 2)
    return max(_step(x, 2), _step(x, 3))


def _check_samples(samples: Tensor, least: int) -> None:
    if samples.dtype != torch.uint8 or samples.ndim != 4 or len(samples) < least:
        raise InputError(f"diversity needs uint8 (n >= {least}, c, h, w), not {samples.dtype} {tuple(samples.shape)}")


def _variance(values: Tensor) -> float:
    variance = values.cpu().double().var(correction=0).item()
    if variance == 0:
        raise InputError("the source has one color only: there is nothing to measure a difference by")
    return variance


def _stairs(n: int, m: int) -> tuple[Tensor, Tensor, Tensor]:
    """Two stairs of n and of m equal steps, cut wherever either has one: the widths, and the step of each there."""
    # In units of 1 / (n m), so that equal steps are equal.
    stairs = (np.arange(1, n + 1, dtype=np.int64) * m, np.arange(1, m + 1, dtype=np.int64) * n)
    steps = torch.from_numpy(np.union1d(*stairs))
    widths = torch.diff(steps, prepend=steps.new_zeros(1)) / (n * m)
    return widths, (steps - 1) // m, (steps - 1) // n


def _transport(a: Tensor, b: Tensor, stairs: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """W1 between the rows of (k, n) and (k, m): the area between their quantile functions.

    Those are stairs with steps at i / n and at j / m, so between two neighboring steps both are constant.
    """
    widths, at_a, at_b = (tensor.to(a.device) for tensor in stairs)
    span = (_sorted(a)[:, at_a] - _sorted(b)[:, at_b]).abs()
    return span @ widths.to(span)


def _sorted(rows: Tensor) -> Tensor:
    # NumPy sorts many times faster, but only what lies in the machine's own memory.
    return torch.from_numpy(np.sort(rows.numpy(), 1)) if rows.device.type == "cpu" else rows.sort(1).values


def _step(x: Tensor, dim: int) -> float:
    across = (x.select(dim, 0) - x.select(dim, -1)).square().mean().item()
    inside = x.diff(dim=dim).square().mean().item()
    return math.sqrt(across / max(inside, LEAST_DEVIATION**2))
