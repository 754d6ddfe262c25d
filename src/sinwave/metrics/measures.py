"""How each metric of `cards` is computed from the pictures of its protocol, one picture at a time.

A measure gives one figure or several that share their work. It sees the first `sees` pictures of its protocol:

    single    sample, source
    pairs     restored, truth, low
    sets      made
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from sinwave.metrics.cache import Cache, content_hash
from sinwave.metrics.cards import CARDS, Protocol
from sinwave.metrics.copies import SIDE, copy_report, nearest_for_copies
from sinwave.metrics.fidelity import lr_consistency, psnr_y, ssim_y
from sinwave.metrics.inception import load_inception, sifid
from sinwave.metrics.learned import LICENSE, Learned
from sinwave.metrics.nearest import stride_for
from sinwave.metrics.niqe import NaturalModel, niqe
from sinwave.metrics.patch_frechet import patch_frechet
from sinwave.metrics.patches import completeness, relative_distance, sliced_wasserstein
from sinwave.metrics.perceptual import Lpips
from sinwave.metrics.published import ALEXNET, INCEPTION_TORCHVISION, LPIPS_ALEX, NIQE
from sinwave.metrics.seams import seam_error
from sinwave.metrics.weights import find, fingerprint

__all__ = ["UNDEFINED", "Measure", "Ready", "Resources", "figures", "measures_for"]

Figures: TypeAlias = tuple[float, ...]

UNDEFINED = {
    "coherence": "the source has one color only: there is nothing to measure a difference by",
    "copied": f"copies are squares of {SIDE} pixels, and the sample or the source has a shorter side",
}
"""Why one figure of several that share their work is not a number for a picture, while the others are."""


@dataclass(frozen=True, eq=False)
class Resources:
    """What metrics may need besides pictures.

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
    """A measure that has what it needs, the hash of that, and what must be said when it is used."""

    figures: Callable[..., Figures]
    key: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Measure:
    """`prepare` raises a `MissingError` for what is not there, an `UnfitWeightsError` for what is damaged."""

    names: tuple[str, ...]
    sees: int
    prepare: Callable[[Resources], Ready]


def measures_for(protocol: Protocol, names: Collection[str]) -> list[Measure]:
    """The measures that give the metrics `names`, or some of them."""
    return [measure for measure in _MEASURES[protocol] if not set(names).isdisjoint(measure.names)]


def figures(measure: Measure, ready: Ready, pictures: Sequence[Tensor], cache: Cache) -> dict[str, float]:
    """The figures of one picture, `pictures[0]`, by metric."""
    seen = pictures[: measure.sees]
    key = ("figures", *measure.names, ready.key, *map(content_hash, seen))
    found = cache.array(key, lambda: torch.tensor(ready.figures(*seen), dtype=torch.float64), (len(measure.names),))
    return dict(zip(measure.names, found.tolist(), strict=True))


def _plain(names: str, sees: int, compute: Callable[..., float | Figures]) -> Measure:
    """A measure that needs nothing but pictures."""

    def each(*pictures: Tensor) -> Figures:
        found = compute(*pictures)
        return found if isinstance(found, tuple) else (found,)

    return Measure(tuple(names.split()), sees, lambda resources: Ready(each))


def _from_nearest(sample: Tensor, source: Tensor) -> Figures:
    """Coherence and copies: the search for the nearest patches is most of the work of both."""
    field = nearest_for_copies(sample, source)
    report = copy_report(sample, source, field=field)
    coherence = math.nan if source.float().std() == 0 else relative_distance(field, source)
    area = math.nan if min(*sample.shape[1:], *source.shape[1:]) < SIDE else report.area
    return coherence, area, report.entropy


def _completeness(sample: Tensor, source: Tensor) -> float:
    return completeness(sample, source, stride=stride_for(source, sample))


def _sifid(resources: Resources) -> Ready:
    network = load_inception(resources.weights, INCEPTION_TORCHVISION).to(resources.device)
    key = fingerprint(INCEPTION_TORCHVISION, folder=resources.weights)
    return Ready(lambda sample, source: (sifid(sample, source, network),), key)


def _lpips(resources: Resources) -> Ready:
    lpips = Lpips.load("alex", resources.weights).to(resources.device)
    key = fingerprint(ALEXNET, LPIPS_ALEX, folder=resources.weights)
    return Ready(lambda restored, truth: (lpips.distance(restored, truth),), key)


def _niqe(resources: Resources) -> Ready:
    model = resources.natural or NaturalModel.load(find(NIQE, resources.weights))
    content = hashlib.sha256(torch.cat([model.mean, model.covariance.flatten()]).numpy().data)
    return Ready(lambda picture: (niqe(picture, model),), f"{model.block} {content.hexdigest()}")


def _learned(name: str, sees: int) -> Measure:
    """A metric of pyiqa."""

    def prepare(resources: Resources) -> Ready:
        metric = Learned(name, resources.device)
        remark = f"{CARDS[name].title} {LICENSE}"
        return Ready(lambda *pictures: (metric(*pictures),), metric.version, remark)

    return Measure((name,), sees, prepare)


_OF_ANY_PICTURE = (
    Measure(("niqe",), 1, _niqe),
    *(_learned(name, 1) for name in ("nima", "musiq", "clipiqa", "maniqa")),
)

_MEASURES: dict[Protocol, tuple[Measure, ...]] = {
    "single": (
        _plain("coherence copied offsets", 2, _from_nearest),
        _plain("completeness", 2, _completeness),
        _plain("swd", 2, sliced_wasserstein),
        _plain("patch_frechet", 2, patch_frechet),
        Measure(("sifid",), 2, _sifid),
        _plain("seam", 1, seam_error),
        *_OF_ANY_PICTURE,
    ),
    "pairs": (
        _plain("psnr_y", 2, psnr_y),
        _plain("ssim_y", 2, ssim_y),
        _plain("lr_consistency", 3, lambda restored, truth, low: lr_consistency(restored, low)),
        Measure(("lpips",), 2, _lpips),
        _learned("dists", 2),
        *_OF_ANY_PICTURE,
    ),
    "sets": _OF_ANY_PICTURE,
}
