"""How each metric of `cards` is computed that needs all pictures at once: those made, and the ones to compare with.

single    samples, [source]
pairs     restored, true ones
sets      made, real ones
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from sinwave.errors import InputError
from sinwave.metrics.cache import content_hash
from sinwave.metrics.cards import Protocol
from sinwave.metrics.inception import fid, inception_features, kid, load_inception
from sinwave.metrics.measures import Equipment
from sinwave.metrics.patch_frechet import PatchGaussians
from sinwave.metrics.patches import pixel_diversity
from sinwave.metrics.perceptual import Lpips, lpips_diversity, memorization
from sinwave.metrics.scores import Interval, jackknife
from sinwave.metrics.weights import INCEPTION, fingerprint

__all__ = ["SetMeasure", "SetScore", "of_one_size", "set_measures_for"]

Pictures: TypeAlias = Sequence[Tensor]

KID_SIZE, KID_SUBSETS = 1000, 100


class SetScore(NamedTuple):
    """A figure, of how many pictures, with its interval if it has one; `note` is what must be said of it."""

    value: float
    n: int
    interval: Interval | None = None
    note: str = ""


@dataclass(frozen=True)
class SetMeasure:
    """One score for each name. An `InputError` says that pictures are unfit, a `MissingError` what is not there."""

    names: tuple[str, ...]
    scores: Callable[[Pictures, Pictures, Equipment], tuple[SetScore, ...]]


def set_measures_for(protocol: Protocol, names: Collection[str]) -> list[SetMeasure]:
    """The measures of the metrics `names`, or of some of them."""
    return [measure for measure in _MEASURES[protocol] if not set(names).isdisjoint(measure.names)]


def of_one_size(pictures: Pictures) -> tuple[list[Tensor], str]:
    """The pictures of the size that most of them have, and a note on the others."""
    (size, count), *others = Counter(each.shape[1:] for each in pictures).most_common()
    kept = [each for each in pictures if each.shape[1:] == size]
    note = f"{len(pictures) - count} pictures are not of {size[1]} x {size[0]} and were left out" if others else ""
    return kept, note


def _diversity(samples: Pictures, sources: Pictures, equipment: Equipment) -> tuple[SetScore, ...]:
    kept, note = of_one_size(samples)
    if len(kept) < 2:
        raise InputError("diversity is that of two samples of one size or more")
    stack, source = torch.stack(kept), sources[0]
    without = [pixel_diversity(_without(stack, index), source) for index in range(len(stack))] if len(kept) > 2 else []
    value = pixel_diversity(stack, source)
    return (SetScore(value, len(kept), jackknife(value, without), note),)


def _without(stack: Tensor, index: int) -> Tensor:
    return torch.cat([stack[:index], stack[index + 1 :]])


def _lpips_diversity(samples: Pictures, sources: Pictures, equipment: Equipment) -> tuple[SetScore, ...]:
    lpips = Lpips.load("alex", equipment.weights)
    kept, note = of_one_size(samples)
    return (SetScore(lpips_diversity(kept, lpips), len(kept), note=note),)


def _set_frechet(made: Pictures, real: Pictures, equipment: Equipment) -> tuple[SetScore, ...]:
    return (SetScore(PatchGaussians.of(*made).distance(PatchGaussians.of(*real)), len(made)),)


def _inception(made: Pictures, real: Pictures, equipment: Equipment) -> tuple[SetScore, ...]:
    """FID and KID, of features that are kept for the next set."""
    network, key = load_inception(equipment.weights), fingerprint(INCEPTION, folder=equipment.weights)

    def features(picture: Tensor) -> Tensor:
        parts = ("Inception", key, content_hash(picture))
        return equipment.cache.array(parts, lambda: inception_features([picture], network))

    ours, theirs = (torch.cat([features(each) for each in some]) for some in (made, real))
    least = min(len(ours), len(theirs))
    size, subsets = (KID_SIZE, KID_SUBSETS) if least > KID_SIZE else (least, 1)
    discrepancy, deviation = kid(ours, theirs, size=size, subsets=subsets)
    note = f"over {subsets} subsets of {size}, deviation {deviation:.2g}" if subsets > 1 else ""
    return SetScore(fid(ours, theirs), len(made)), SetScore(discrepancy, len(made), note=note)


def _memorization(made: Pictures, real: Pictures, equipment: Equipment) -> tuple[SetScore, ...]:
    found = memorization(made, real, Lpips.load("vgg", equipment.weights))
    if found.within is None:
        raise InputError("no two made pictures are nearest to the same real one: there should be more of them")
    note = f"nearest to each real picture are {' '.join(map(str, found.members))} of the made ones"
    return SetScore(found.within, len(made), note=note), SetScore(found.nearest, len(made))


_MEASURES: dict[Protocol, tuple[SetMeasure, ...]] = {
    "single": (SetMeasure(("diversity",), _diversity), SetMeasure(("lpips_diversity",), _lpips_diversity)),
    "pairs": (SetMeasure(("fid", "kid"), _inception),),
    "sets": (
        SetMeasure(("set_frechet",), _set_frechet),
        SetMeasure(("fid", "kid"), _inception),
        SetMeasure(("intra_lpips", "nearest_lpips"), _memorization),
    ),
}
