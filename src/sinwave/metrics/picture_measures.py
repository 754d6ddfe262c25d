"""Measures: how each metric of `cards` is computed from the pictures of its protocol, one picture at a time.

A measure gives one figure or several that share their work. It takes the first `inputs` pictures of its protocol:

    single    sample, source
    pairs     restored, truth, low
    sets      generated
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from sinwave.metrics.cache import Cache, content_hash
from sinwave.metrics.cards import CARDS
from sinwave.metrics.copies import SIDE, copy_report, nearest_for_copies, stride_for
from sinwave.metrics.fidelity import lr_consistency, psnr_y, ssim_y
from sinwave.metrics.frechet import patch_frechet
from sinwave.metrics.inception import load_inception, sifid
from sinwave.metrics.learned import LICENSE, Learned
from sinwave.metrics.niqe import NaturalModel, niqe
from sinwave.metrics.patches import completeness, relative_distance, seam_error, sliced_wasserstein
from sinwave.metrics.perceptual import perceptual_distance
from sinwave.pretrained.files import find, fingerprint
from sinwave.pretrained.perceptual import Lpips, StLpips
from sinwave.pretrained.published import INCEPTION_TORCHVISION, NIQE

__all__ = ["MEASURES", "UNDEFINED", "Measure", "Ready", "Resources", "figures"]

Figures: TypeAlias = float | tuple[float, ...]

UNDEFINED = {
    "coherence": "the source has one color only: there is nothing to measure a difference by",
    "copied": f"copies are squares of {SIDE} pixels, and the sample or the source has a shorter side",
}
"""Why one figure of several that share their work is not a number for a picture, while the others are."""


@dataclass(frozen=True, eq=False)
class Resources:
    """Everything that metrics may need besides pictures.

    weights    a folder of published weights, searched first
    natural    the model of natural pictures for NIQE, if it is not the published one
    cache      where figures and features are kept
    device     where networks compute
    """

    weights: Path | None = None
    natural: NaturalModel | None = None
    cache: Cache = field(default_factory=lambda: Cache(None))
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


class Ready(NamedTuple):
    """A measure that has what it needs, the hash of that, and a remark for whoever uses it."""

    figures: Callable[..., Figures]
    key: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Measure:
    """`prepare` raises a `MissingError` for what is not there, an `UnfitWeightsError` for what is damaged."""

    names: tuple[str, ...]
    inputs: int
    prepare: Callable[[Resources], Ready]


def figures(measure: Measure, ready: Ready, pictures: Sequence[Tensor], cache: Cache) -> dict[str, float]:
    """The figures of one picture, `pictures[0]`, by metric."""
    inputs = pictures[: measure.inputs]
    key = ("figures", *measure.names, ready.key, *map(content_hash, inputs))
    shape = (len(measure.names),)
    values = cache.array(key, lambda: torch.tensor(ready.figures(*inputs), dtype=torch.float64).reshape(shape), shape)
    return dict(zip(measure.names, values.tolist(), strict=True))


def _plain(names: str, inputs: int, compute: Callable[..., Figures]) -> Measure:
    """A measure that needs nothing but pictures."""
    return Measure(tuple(names.split()), inputs, lambda resources: Ready(compute))


def _from_nearest(sample: Tensor, source: Tensor) -> Figures:
    """Coherence and copies: the search for the nearest patches is most of the work of both."""
    field = nearest_for_copies(sample, source)
    report = copy_report(sample, source, field=field)
    coherence = math.nan if source.float().std() == 0 else relative_distance(field, source)
    area = math.nan if min(*sample.shape[1:], *source.shape[1:]) < SIDE else report.area
    return coherence, area, report.entropy


def _with_weights(name: str, load: Callable[[Path | None], Any], compute: Callable[..., float]) -> Measure:
    def prepare(resources: Resources) -> Ready:
        network = load(resources.weights).to(resources.device)
        key = fingerprint(*CARDS[name].weights, path=resources.weights)
        return Ready(lambda picture, other: compute(picture, other, network), key)

    return Measure((name,), 2, prepare)


def _niqe(resources: Resources) -> Ready:
    model = resources.natural or NaturalModel.load(find(NIQE, resources.weights))
    content = hashlib.sha256(torch.cat([model.mean, model.covariance.flatten()]).numpy().data)
    return Ready(lambda picture: niqe(picture, model), f"{model.block} {content.hexdigest()}")


def _learned(name: str, inputs: int) -> Measure:
    def prepare(resources: Resources) -> Ready:
        metric = Learned(name, resources.device)
        return Ready(metric, metric.version, f"{CARDS[name].title} {LICENSE}")

    return Measure((name,), inputs, prepare)


MEASURES = (
    _plain("coherence copied offsets", 2, _from_nearest),
    _plain("completeness", 2, lambda sample, source: completeness(sample, source, stride=stride_for(source, sample))),
    _plain("swd", 2, sliced_wasserstein),
    _plain("patch_frechet", 2, patch_frechet),
    _with_weights("sifid", lambda path: load_inception(path, INCEPTION_TORCHVISION), sifid),
    _plain("seam", 1, seam_error),
    _plain("psnr_y", 2, psnr_y),
    _plain("ssim_y", 2, ssim_y),
    _plain("lr_consistency", 3, lambda restored, truth, low: lr_consistency(restored, low)),
    _with_weights("lpips", partial(Lpips.load, "alex"), perceptual_distance),
    _with_weights("st_lpips", partial(StLpips.load, "alex"), perceptual_distance),
    _learned("dists", 2),
    Measure(("niqe",), 1, _niqe),
    *(_learned(name, 1) for name in ("nima", "musiq", "clipiqa", "maniqa")),
)
