"""How each metric of `cards` is computed that needs all pictures at once: those made, and the ones to compare with.

single    samples, their source
pairs     restored, true ones
sets      made, real ones
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from sinwave.errors import InputError
from sinwave.metrics.cache import content_hash
from sinwave.metrics.cards import Protocol
from sinwave.metrics.inception import discrepancy, fid, inception_features, kid, load_inception
from sinwave.metrics.measures import Resources
from sinwave.metrics.patch_frechet import LEAST_SIDE, PatchGaussians
from sinwave.metrics.patches import pixel_diversity, pixel_diversity_without_each
from sinwave.metrics.perceptual import Lpips, lpips_diversity, memorization
from sinwave.metrics.published import INCEPTION
from sinwave.metrics.scores import LEAST, Interval, jackknife
from sinwave.metrics.weights import fingerprint

__all__ = ["SetMeasure", "SetScore", "Suitable", "of_one_size", "set_measures_for"]

Pictures: TypeAlias = Mapping[str, Tensor]
"""By name."""

KID_SIZE = 1000
UNBIASED_FID = 2048
"""Pictures below which the covariance of Inception's features has no full rank, and FID is mostly its bias."""


class SetScore(NamedTuple):
    """A figure, of how many pictures, with its interval if it has one; `notes` are what must be said of it.

    Instead of a figure there may be None, with a note why.
    """

    value: float | None
    n: int
    interval: Interval | None = None
    notes: tuple[str, ...] = ()


class Suitable(NamedTuple):
    """Pictures that can be measured, and why others cannot."""

    pictures: dict[str, Tensor]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class SetMeasure:
    """One score for each name. An `InputError` says that pictures are unfit, a `MissingError` what is not there."""

    names: tuple[str, ...]
    scores: Callable[[Pictures, Pictures, Resources], tuple[SetScore, ...]]


def set_measures_for(protocol: Protocol, names: Collection[str]) -> list[SetMeasure]:
    """The measures of the metrics `names`, or of some of them."""
    return [measure for measure in _MEASURES[protocol] if not set(names).isdisjoint(measure.names)]


def of_one_size(pictures: Pictures) -> Suitable:
    """The pictures of the size that most of them have."""
    (size, _), *_ = Counter(each.shape[1:] for each in pictures.values()).most_common()
    return suitable(pictures, lambda each: each.shape[1:] == size, f"and those of {_size(size)} are measured")


def suitable(pictures: Pictures, condition: Callable[[Tensor], bool], fault: str) -> Suitable:
    """Those that meet a condition, and a sentence on each of the others."""
    kept = {name: each for name, each in pictures.items() if condition(each)}
    left_out = [
        f"{name} is left out: it is {_size(pictures[name].shape[1:])}, {fault}"
        for name in pictures.keys() - kept.keys()
    ]
    return Suitable(kept, tuple(sorted(left_out)))


def _size(size: torch.Size) -> str:
    return f"{size[1]} x {size[0]}"


def _diversity(samples: Pictures, sources: Pictures, resources: Resources) -> tuple[SetScore, ...]:
    kept, notes = of_one_size(samples)
    if len(kept) < 2:
        raise InputError("diversity is that of two samples of one size or more")
    stack, (source, *_) = torch.stack(list(kept.values())), sources.values()
    value = pixel_diversity(stack, source)
    interval = jackknife(value, pixel_diversity_without_each(stack, source)) if len(kept) >= LEAST else None
    return (SetScore(value, len(kept), interval, notes),)


def _lpips_diversity(samples: Pictures, sources: Pictures, resources: Resources) -> tuple[SetScore, ...]:
    lpips = Lpips.load("alex", resources.weights).to(resources.device)
    kept, notes = of_one_size(samples)
    return (SetScore(lpips_diversity(kept.values(), lpips), len(kept), notes=notes),)


def _set_frechet(made: Pictures, real: Pictures, resources: Resources) -> tuple[SetScore, ...]:
    (ours, notes), (theirs, other_notes) = (
        suitable(some, lambda each: min(each.shape[1:]) >= LEAST_SIDE, f"and {LEAST_SIDE} a side are needed")
        for some in (made, real)
    )
    if not ours or not theirs:
        raise InputError(f"pictures of {LEAST_SIDE} pixels a side or more are needed, in both sets")
    value = PatchGaussians.of(*ours.values()).distance(PatchGaussians.of(*theirs.values()))
    return (SetScore(value, len(ours), notes=(*notes, *other_notes)),)


def _features(pictures: Pictures, resources: Resources) -> Tensor:
    """Of Inception, (n, 2048), kept for the next metric and the next set."""
    key = fingerprint(INCEPTION, folder=resources.weights)
    network = load_inception(resources.weights).to(resources.device)

    def features(picture: Tensor) -> Tensor:
        parts = ("Inception", key, content_hash(picture))
        return resources.cache.array(parts, lambda: inception_features([picture], network), (1, 2048))

    return torch.cat([features(each) for each in pictures.values()])


def _fid(made: Pictures, real: Pictures, resources: Resources) -> tuple[SetScore, ...]:
    value = fid(_features(made, resources), _features(real, resources))
    sizes = f"{len(made)} and {len(real)} pictures"
    few = min(len(made), len(real)) < UNBIASED_FID
    notes = (f"of {sizes}, so few that it compares only with figures of as many",) if few else ()
    return (SetScore(value, len(made), notes=notes),)


def _kid(made: Pictures, real: Pictures, resources: Resources) -> tuple[SetScore, ...]:
    ours, theirs = _features(made, resources), _features(real, resources)
    if min(len(ours), len(theirs)) <= KID_SIZE:
        return (SetScore(discrepancy(ours, theirs), len(made)),)
    value, deviation = kid(ours, theirs, size=KID_SIZE)
    note = f"over 100 subsets of {KID_SIZE}, whose deviation is {deviation:.2g}"
    return (SetScore(value, len(made), notes=(note,)),)


def _memorization(made: Pictures, real: Pictures, resources: Resources) -> tuple[SetScore, ...]:
    lpips = Lpips.load("vgg", resources.weights).to(resources.device)
    known, notes = of_one_size(real)
    size = next(iter(known.values())).shape[1:]
    ours, other_notes = suitable(made, lambda each: each.shape[1:] == size, f"and the real ones are {_size(size)}")
    found = memorization(ours.values(), known.values(), lpips)
    members = f"nearest to each real picture are {' '.join(map(str, found.members))} of the made ones"
    alone = "no two made pictures are nearest to the same real one: there should be more of them"
    left_out = (*notes, *other_notes)
    clustered = sum(count for count in found.members if count > 1)
    within = SetScore(found.within, clustered, notes=(*left_out, alone if found.within is None else members))
    return within, SetScore(found.nearest, len(ours), notes=left_out)


_MEASURES: dict[Protocol, tuple[SetMeasure, ...]] = {
    "single": (SetMeasure(("diversity",), _diversity), SetMeasure(("lpips_diversity",), _lpips_diversity)),
    "pairs": (SetMeasure(("fid",), _fid),),
    "sets": (
        SetMeasure(("set_frechet",), _set_frechet),
        SetMeasure(("fid",), _fid),
        SetMeasure(("kid",), _kid),
        SetMeasure(("intra_lpips", "nearest_lpips"), _memorization),
    ),
}
