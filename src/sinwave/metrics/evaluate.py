"""Every metric that was asked for, of every picture that there is, by every method."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from torch import Tensor

from sinwave.errors import InputError, MissingError
from sinwave.metrics.cache import Cache
from sinwave.metrics.cards import Protocol, cards_for
from sinwave.metrics.measures import Equipment, Measure, Ready, figures, measures_for
from sinwave.metrics.scores import Score, mean_score
from sinwave.metrics.sets import SetMeasure, set_measures_for

__all__ = ["Judged", "Measured", "evaluate"]

OnStep: TypeAlias = Callable[[str, float, float], None]


@dataclass(frozen=True, eq=False)
class Judged:
    """The pictures of one method, uint8 (c, h, w): for each name the one to judge, then those that it is judged by."""

    method: str
    pictures: Mapping[str, tuple[Tensor, ...]]


@dataclass(frozen=True, eq=False)
class Measured:
    """Scores in the order of the cards, and sentences: by metric why it is unavailable, and what else is to be said."""

    scores: list[Score] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def of(self, metric: str, method: str) -> Score | None:
        """One score, if it is there."""
        return next((each for each in self.scores if (each.metric, each.method) == (metric, method)), None)


def evaluate(
    protocol: Protocol,
    names: Collection[str],
    judged: Sequence[Judged],
    others: Sequence[Tensor],
    equipment: Equipment,
    on_step: OnStep = lambda label, done, total: None,
) -> Measured:
    """The metrics `names` of pictures; `others` are those that whole sets are compared with."""
    found = Measured()
    measures = list(_prepared(measures_for(protocol, names), equipment, found))
    done, total = 0, sum(len(each.pictures) + 1 for each in judged)
    for method in judged:
        each: dict[str, dict[str, float]] = {}
        for name, pictures in method.pictures.items():
            on_step(f"{method.method}: {name}", done, total)
            for measure, ready in measures:
                _note(each, name, _figures(measure, ready, name, pictures, equipment.cache, found))
            done += 1
        on_step(f"{method.method}: all together", done, total)
        found.scores.extend(mean_score(metric, method.method, values) for metric, values in each.items())
        for together in set_measures_for(protocol, names):
            _score_set(together, method, others, equipment, found)
        done += 1
    for name in [each for each in found.unavailable if each not in names]:
        del found.unavailable[name]  # another metric's companion
    order = [card.name for card in cards_for(protocol) if card.name in names]
    found.scores[:] = sorted(
        (s for s in found.scores if s.metric in order), key=lambda score: order.index(score.metric)
    )
    return found


def _prepared(measures: Sequence[Measure], equipment: Equipment, found: Measured) -> Iterator[tuple[Measure, Ready]]:
    for measure in measures:
        try:
            ready = measure.prepare(equipment)
        except MissingError as error:
            found.unavailable.update(dict.fromkeys(measure.names, str(error)))
            continue
        if ready.remark:
            found.remarks.append(ready.remark)
        yield measure, ready


def _figures(
    measure: Measure, ready: Ready, name: str, pictures: Sequence[Tensor], cache: Cache, found: Measured
) -> dict[str, float]:
    """The figures of a picture, or none and a remark."""
    try:
        return figures(measure, ready, pictures, cache)
    except InputError as error:
        found.remarks.append(f"{name}: no {' or '.join(measure.names)}: {error}")
        return {}


def _note(each: dict[str, dict[str, float]], name: str, values: dict[str, float]) -> None:
    for metric, value in values.items():
        each.setdefault(metric, {})[name] = value


def _score_set(
    measure: SetMeasure, method: Judged, others: Sequence[Tensor], equipment: Equipment, found: Measured
) -> None:
    made = [pictures[0] for pictures in method.pictures.values()]
    names = " or ".join(measure.names)
    try:
        scores = measure.scores(made, others, equipment)
    except MissingError as error:
        found.unavailable.update(dict.fromkeys(measure.names, str(error)))
    except InputError as error:
        found.remarks.append(f"{method.method}: no {names}: {error}")
    else:
        for name, score in zip(measure.names, scores, strict=True):
            found.scores.append(Score(name, method.method, score.value, score.n, score.interval))
            if score.note:
                found.remarks.append(f"{method.method}: {name}: {score.note}")
