"""The card of every metric: what it compares, which way is better, between which bounds, and whose weights it needs.

A metric belongs to one or more protocols:

    single    samples of one picture, beside that picture
    pairs     restored pictures, beside the true ones and the low-resolution ones that they were made from
    sets      a set of made pictures, beside a set of real ones
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from sinwave.metrics.published import (
    ALEXNET,
    INCEPTION,
    INCEPTION_TORCHVISION,
    LPIPS_ALEX,
    LPIPS_VGG,
    NIQE,
    PYIQA,
    VGG16,
    Weights,
)

__all__ = ["CARDS", "Card", "Protocol", "cards_for"]

Protocol = Literal["single", "pairs", "sets"]


@dataclass(frozen=True)
class Card:
    """What is known of a metric without running it.

    best       its value for a perfect result; for likeness that is a copy, so novelty is always read beside it
    worst      its value at the other end, infinite if there is none
    of         how many pictures one figure is made of: each picture by itself, or all of them together
    weights    the published files that it needs, with their source and license
    default    whether it is computed when no metric is named
    """

    name: str
    title: str
    kind: Literal["likeness", "novelty", "quality", "fidelity"]
    best: float
    worst: float
    of: Literal["each", "all"]
    protocols: tuple[Protocol, ...]
    meaning: str
    weights: tuple[Weights, ...] = ()
    default: bool = True

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Which way is better."""
        return "lower" if self.best < self.worst else "higher"


_ALEX, _VGG, _PYIQA = (ALEXNET, LPIPS_ALEX), (VGG16, LPIPS_VGG), (PYIQA,)
_STEM, _INCEPTION, _NIQE = (INCEPTION_TORCHVISION,), (INCEPTION,), (NIQE,)
_EVERY: tuple[Protocol, ...] = ("single", "pairs", "sets")

_ALL = (
    Card(
        "swd",
        "sliced Wasserstein",
        "likeness",
        0.0,
        math.inf,
        "each",
        ("single",),
        "distance between the patches of sample and source on three scales, in deviations of the source's bands",
    ),
    Card(
        "patch_frechet",
        "patch Frechet",
        "likeness",
        0.0,
        math.inf,
        "each",
        ("single",),
        "distance between the patches as Gaussians on three scales, over the source's variance",
    ),
    Card(
        "coherence",
        "coherence",
        "likeness",
        0.0,
        math.inf,
        "each",
        ("single",),
        "mean distance of a sample's patch to the nearest of the source, over the source's variance",
    ),
    Card(
        "completeness",
        "completeness",
        "likeness",
        0.0,
        math.inf,
        "each",
        ("single",),
        "mean distance of a source's patch to the nearest of the sample, over the source's variance",
    ),
    Card(
        "sifid",
        "SIFID",
        "likeness",
        0.0,
        math.inf,
        "each",
        ("single",),
        "Frechet distance between Inception's 64 channels before the first pool, between places of sample and source",
        _STEM,
    ),
    Card(
        "diversity",
        "pixel diversity",
        "novelty",
        math.inf,
        0.0,
        "all",
        ("single",),
        "deviation of each pixel over samples, averaged, over the deviation of the source's pixels",
    ),
    Card(
        "lpips_diversity",
        "LPIPS diversity",
        "novelty",
        math.inf,
        0.0,
        "all",
        ("single",),
        "mean LPIPS (Alex) between two samples",
        _ALEX,
    ),
    Card(
        "copied",
        "copied area",
        "novelty",
        0.0,
        1.0,
        "each",
        ("single",),
        "share of a sample that lies in squares of 24 pixels which are in the source too",
    ),
    Card(
        "offsets",
        "entropy of offsets",
        "novelty",
        1.0,
        0.0,
        "each",
        ("single",),
        "in how many pieces a sample comes from the source: 0 for one piece",
    ),
    Card(
        "seam",
        "seam",
        "quality",
        0.0,
        math.inf,
        "each",
        ("single",),
        "step between opposite borders, over those between neighbors inside: no seam at 1 or below",
        default=False,
    ),
    Card(
        "psnr_y",
        "PSNR-Y",
        "fidelity",
        math.inf,
        -math.inf,
        "each",
        ("pairs",),
        "peak signal-to-noise ratio of luma in dB",
    ),
    Card(
        "ssim_y",
        "SSIM-Y",
        "fidelity",
        1.0,
        -1.0,
        "each",
        ("pairs",),
        "structural similarity of luma",
    ),
    Card(
        "lr_consistency",
        "LR consistency",
        "fidelity",
        math.inf,
        -math.inf,
        "each",
        ("pairs",),
        "PSNR-Y in dB between the restored picture, reduced, and the low-resolution one",
    ),
    Card(
        "lpips",
        "LPIPS",
        "fidelity",
        0.0,
        math.inf,
        "each",
        ("pairs",),
        "perceptual distance (Alex) to the true picture",
        _ALEX,
    ),
    Card(
        "niqe",
        "NIQE",
        "quality",
        0.0,
        math.inf,
        "each",
        _EVERY,
        "distance of a picture's local statistics to those of natural pictures",
        _NIQE,
    ),
    Card(
        "fid",
        "FID",
        "likeness",
        0.0,
        math.inf,
        "all",
        ("pairs", "sets"),
        "Frechet distance between Inception's 2048 features of both sets",
        _INCEPTION,
    ),
    Card(
        "kid",
        "KID",
        "likeness",
        0.0,
        math.inf,
        "all",
        ("sets",),
        "squared maximum mean discrepancy between Inception's features of both sets, unbiased, so it may fall below 0",
        _INCEPTION,
    ),
    Card(
        "set_frechet",
        "patch Frechet of sets",
        "likeness",
        0.0,
        math.inf,
        "all",
        ("sets",),
        "distance between all patches of both sets as Gaussians on three scales, over the real ones' variance",
    ),
    Card(
        "intra_lpips",
        "Intra-LPIPS",
        "novelty",
        math.inf,
        0.0,
        "all",
        ("sets",),
        "mean LPIPS (VGG) between made pictures that are nearest to the same real one",
        _VGG,
    ),
    Card(
        "nearest_lpips",
        "Nearest-LPIPS",
        "novelty",
        math.inf,
        0.0,
        "all",
        ("sets",),
        "mean LPIPS (VGG) of a made picture to the nearest real one: low means copying",
        _VGG,
    ),
    Card(
        "dists",
        "DISTS",
        "fidelity",
        0.0,
        1.0,
        "each",
        ("pairs",),
        "distance in structure and texture to the true picture",
        _PYIQA,
        default=False,
    ),
    *(
        Card(name, title, "quality", best, worst, "each", _EVERY, meaning, _PYIQA, default=False)
        for name, title, best, worst, meaning in (
            ("nima", "NIMA", 10.0, 1.0, "predicted mean opinion of its looks"),
            ("musiq", "MUSIQ", 100.0, 0.0, "predicted quality at several scales"),
            ("clipiqa", "CLIPIQA", 1.0, 0.0, "how much CLIP takes it for a good photo"),
            ("maniqa", "MANIQA", 1.0, 0.0, "predicted quality by attention"),
        )
    ),
)

CARDS = {card.name: card for card in _ALL}
"""Every metric by its name on the command line."""


def cards_for(protocol: Protocol) -> tuple[Card, ...]:
    """The metrics of a protocol, in the order in which they are shown."""
    return tuple(card for card in _ALL if protocol in card.protocols)
