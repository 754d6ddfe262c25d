"""Measures of whole sets: how each metric of `cards` is computed that needs all pictures at once, and references.

single    samples; their source
pairs     restored; true ones
sets      generated; real ones
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from sinwave.errors import InputError
from sinwave.metrics.cache import content_hash
from sinwave.metrics.frechet import LEAST_SIDE, patch_distances, patch_gaussians
from sinwave.metrics.inception import discrepancy, fid, inception_features, kid, load_inception
from sinwave.metrics.patches import pixel_diversity, pixel_diversity_without_each
from sinwave.metrics.perceptual import diversity, memorization
from sinwave.metrics.picture_measures import Resources
from sinwave.metrics.pictures import size_of
from sinwave.metrics.scores import LEAST, Interval, jackknife
from sinwave.pretrained.files import fingerprint
from sinwave.pretrained.perceptual import Lpips, PerceptualDistance, StLpips
from sinwave.pretrained.published import INCEPTION

__all__ = ["SET_MEASURES", "SetMeasure", "SetScore", "Suitable", "of_one_size"]

Pictures: TypeAlias = Mapping[str, Tensor]
"""Pictures by their names."""

Suitable: TypeAlias = tuple[dict[str, Tensor], tuple[str, ...]]
"""Pictures that can be measured, and why others cannot."""

KID_SIZE = 1000
UNBIASED_FID = 2048
"""Pictures below which the covariance of Inception's features has no full rank, and FID is mostly its bias."""


class SetScore(NamedTuple):
    """A figure of `n` pictures, or None with a note why; its interval if it has one, and `notes` for the user."""

    value: float | None
    n: int
    interval: Interval | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SetMeasure:
    """A score for each name. An `InputError` says that pictures are unfit, a `MissingError` what is not there."""

    names: tuple[str, ...]
    scores: Callable[[Pictures, Pictures, Resources], tuple[SetScore, ...]]


def of_one_size(pictures: Pictures) -> Suitable:
    """The pictures of the size that most of them have."""
    (size, _), *_ = Counter(picture.shape[1:] for picture in pictures.values()).most_common()
    return _suitable(pictures, lambda picture: picture.shape[1:] == size, f"and those of {size_of(size)} are measured")


def _suitable(pictures: Pictures, condition: Callable[[Tensor], bool], fault: str) -> Suitable:
    """Keep the pictures that meet a condition, with a sentence on each of the others."""
    fit = {name: picture for name, picture in pictures.items() if condition(picture)}
    others = sorted(pictures.keys() - fit.keys())
    return fit, tuple(f"{name} is left out: it is {size_of(pictures[name].shape)}, {fault}" for name in others)


def _diversity(samples: Pictures, sources: Pictures, resources: Resources) -> tuple[SetScore, ...]:
    fit, notes = of_one_size(samples)
    if len(fit) < 2:
        raise InputError("diversity is that of two samples of one size or more")
    stack, (source, *_) = torch.stack(list(fit.values())), sources.values()
    value = pixel_diversity(stack, source)
    interval = jackknife(value, pixel_diversity_without_each(stack, source)) if len(fit) >= LEAST else None
    return (SetScore(value, len(fit), interval, notes),)


def _perceptual_diversity(name: str, kind: type[PerceptualDistance]) -> SetMeasure:
    def scores(samples: Pictures, sources: Pictures, resources: Resources) -> tuple[SetScore, ...]:
        measure = kind.load("alex", resources.weights).to(resources.device)
        fit, notes = of_one_size(samples)
        return (SetScore(diversity(fit.values(), measure), len(fit), notes=notes),)

    return SetMeasure((name,), scores)


def _set_frechet(generated: Pictures, real: Pictures, resources: Resources) -> tuple[SetScore, ...]:
    (ours, notes), (theirs, other_notes) = (
        _suitable(pictures, lambda picture: min(picture.shape[1:]) >= LEAST_SIDE, f"and {LEAST_SIDE} a side are needed")
        for pictures in (generated, real)
    )
    if not ours or not theirs:
        raise InputError(f"pictures of {LEAST_SIDE} pixels a side or more are needed, in both sets")
    distances = patch_distances(patch_gaussians(*ours.values()), patch_gaussians(*theirs.values()))
    return (SetScore(sum(distances) / len(distances), len(ours), notes=(*notes, *other_notes)),)


def _features(pictures: Pictures, resources: Resources) -> Tensor:
    """Features of Inception, (n, 2048), kept for the next metric and the next set."""
    key = fingerprint(INCEPTION, path=resources.weights)
    network = load_inception(resources.weights).to(resources.device)

    def features(picture: Tensor) -> Tensor:
        parts = ("Inception", key, content_hash(picture))
        return resources.cache.array(parts, lambda: inception_features([picture], network), (1, 2048))

    return torch.cat([features(picture) for picture in pictures.values()])


def _fid(generated: Pictures, real: Pictures, resources: Resources) -> tuple[SetScore, ...]:
    value = fid(_features(generated, resources), _features(real, resources))
    few = min(len(generated), len(real)) < UNBIASED_FID
    note = f"of {len(generated)} and {len(real)} pictures, so few that it compares only with figures of as many"
    return (SetScore(value, len(generated), notes=(note,) if few else ()),)


def _kid(generated: Pictures, real: Pictures, resources: Resources) -> tuple[SetScore, ...]:
    ours, theirs = _features(generated, resources), _features(real, resources)
    if min(len(ours), len(theirs)) <= KID_SIZE:
        return (SetScore(discrepancy(ours, theirs), len(generated)),)
    value, deviation = kid(ours, theirs, size=KID_SIZE)
    note = f"over 100 subsets of {KID_SIZE}, whose deviation is {deviation:.2g}"
    return (SetScore(value, len(generated), notes=(note,)),)


def _memorization(generated: Pictures, real: Pictures, resources: Resources) -> tuple[SetScore, ...]:
    lpips = Lpips.load("vgg", resources.weights).to(resources.device)
    theirs, notes = of_one_size(real)
    size = next(iter(theirs.values())).shape[1:]
    fault = f"and the real ones are {size_of(size)}"
    ours, other_notes = _suitable(generated, lambda picture: picture.shape[1:] == size, fault)
    result = memorization(ours.values(), theirs.values(), lpips)
    left_out = (*notes, *other_notes)
    note = "no two generated pictures are nearest to the same real one: there should be more of them"
    if result.within is not None:
        note = f"nearest to each real picture are {' '.join(map(str, result.members))} of the generated ones"
    clustered = sum(count for count in result.members if count > 1)
    within = SetScore(result.within, clustered, notes=(*left_out, note))
    return within, SetScore(result.nearest, len(ours), notes=left_out)


SET_MEASURES = (
    SetMeasure(("diversity",), _diversity),
    _perceptual_diversity("lpips_diversity", Lpips),
    _perceptual_diversity("st_lpips_diversity", StLpips),
    SetMeasure(("set_frechet",), _set_frechet),
    SetMeasure(("fid",), _fid),
    SetMeasure(("kid",), _kid),
    SetMeasure(("intra_lpips", "nearest_lpips"), _memorization),
)
