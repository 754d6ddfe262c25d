"""How alike the patches of a sample and of its source are: figures that need no weights.

    coherence             does every patch of the sample exist in the source?    0 for a copy
    completeness          does every patch of the source exist in the sample?    0 for a copy
    sliced_wasserstein    are there as many of each kind, on every scale?        0 for a copy
    pixel_diversity       how much do samples differ from each other?            0 for copies, about 1 at best

The first three reward copying, so none of them means anything without the fourth. Pictures are uint8 (c, h, w), what
users see, and none of these figures changes when all of them are scaled in contrast alike.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.metrics.levels import ELEMENTS, LEAST_DEVIATION, centered, laplacian
from sinwave.metrics.nearest import NearestField
from sinwave.rng import NoiseSource

__all__ = [
    "coherence",
    "completeness",
    "pixel_diversity",
    "pixel_diversity_without_each",
    "relative_distance",
    "sliced_wasserstein",
    "wasserstein_by_scale",
]


def coherence(sample: Tensor, source: Tensor, *, patch: int = 7, stride: int = 1) -> float:
    """The mean squared difference of a sample's patch to the nearest one of the source, over the source's variance.

    (c, h, w), (c, h', w') uint8; patches are taken every `stride` pixels of the sample, the difference is a mean over
    pixels and channels, the variance that of all values of the source. (Simakov et al., "Summarizing visual data using
    bidirectional similarity", CVPR 2008.)
    """
    return relative_distance(NearestField.of(sample, source, patch=patch, stride=stride), source)


def completeness(sample: Tensor, source: Tensor, *, patch: int = 7, stride: int = 1) -> float:
    """The mean squared difference of a source's patch to the nearest one of the sample, over the source's variance.

    As `coherence`, the other way round: large when something of the source is missing in the sample.
    """
    return relative_distance(NearestField.of(source, sample, patch=patch, stride=stride), source)


def relative_distance(field: NearestField, source: Tensor) -> float:
    """The mean distance of a field over the variance of the source: of a field that is there already."""
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
    each = wasserstein_by_scale(sample, source, patch=patch, scales=scales, projections=projections, seed=seed)
    return sum(each) / scales


def wasserstein_by_scale(
    sample: Tensor, source: Tensor, *, patch: int = 7, scales: int = 3, projections: int = 128, seed: int = 0
) -> list[float]:
    """`sliced_wasserstein` of each scale, finest first."""
    noise = NoiseSource(seed).child("sliced Wasserstein")
    samples, sources = (laplacian(centered(each, patch << (scales - 1)), scales) for each in (sample, source))
    found = []
    for scale, (a, b) in enumerate(zip(samples, sources, strict=True)):
        directions = noise.normal((projections, a.shape[1], patch, patch), scale, like=a)
        directions /= torch.linalg.vector_norm(directions, dim=(1, 2, 3), keepdim=True)
        chunk = max(1, ELEMENTS // 2 // (a[0, 0].numel() + b[0, 0].numel()))
        total = 0.0
        stairs = _stairs(*((each.shape[2] - patch + 1) * (each.shape[3] - patch + 1) for each in (a, b)))
        for some in torch.split(directions, chunk):
            at_a, at_b = (functional.conv2d(band, some)[0].flatten(1) for band in (a, b))
            distances = _transport(at_a, at_b, stairs)
            total += distances.sum().item()
        found.append(total / projections / max(b.std(correction=0).item(), LEAST_DEVIATION))
    return found


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
    found = []
    for each in intensity:
        variance = (squares - each.square() - (total - each).square() / (n - 1)) / (n - 2)
        found.append(variance.clamp(min=0).sqrt().mean().item())
    deviation = math.sqrt(_variance(source.float().mean(0)))
    return [each / deviation for each in found]


def _check_samples(samples: Tensor, least: int) -> None:
    if samples.dtype != torch.uint8 or samples.ndim != 4 or len(samples) < least:
        shown = f"{samples.dtype} {tuple(samples.shape)}"
        raise InputError(f"diversity needs uint8 (n >= {least}, c, h, w), not {shown}")


def _variance(values: Tensor) -> float:
    variance = values.cpu().double().var(correction=0).item()
    if variance == 0:
        raise InputError("the source has one color only: there is nothing to measure a difference by")
    return variance


class _Stairs(NamedTuple):
    """Two stairs of n and of m equal steps, cut wherever either has one: the widths, and the step of each there."""

    widths: Tensor
    at_a: Tensor
    at_b: Tensor


def _stairs(n: int, m: int) -> _Stairs:
    # In units of 1 / (n m), so that equal steps are found to be equal.
    stairs = (np.arange(1, n + 1, dtype=np.int64) * m, np.arange(1, m + 1, dtype=np.int64) * n)
    steps = torch.from_numpy(np.union1d(*stairs))
    widths = torch.diff(steps, prepend=steps.new_zeros(1)) / (n * m)
    return _Stairs(widths, (steps - 1) // m, (steps - 1) // n)


def _transport(a: Tensor, b: Tensor, stairs: _Stairs) -> Tensor:
    """W1 between the rows of (k, n) and (k, m): the area between their quantile functions.

    Those are stairs with steps at i / n and at j / m, so between two neighboring steps both are constant.
    """
    widths, at_a, at_b = (each.to(a.device) for each in stairs)
    span = (_sorted(a)[:, at_a] - _sorted(b)[:, at_b]).abs()
    return span @ widths.to(span)


def _sorted(rows: Tensor) -> Tensor:
    # NumPy sorts many times faster, but only what lies in the machine's own memory.
    return torch.from_numpy(np.sort(rows.numpy(), 1)) if rows.device.type == "cpu" else rows.sort(1).values
