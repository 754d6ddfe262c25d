"""Every metric that was asked for, of every picture that there is, by every method."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from torch import Tensor

from sinwave.errors import InputError, MissingError
from sinwave.metrics.cards import Protocol, cards_for
from sinwave.metrics.measures import UNDEFINED, Measure, Ready, Resources, figures, measures_for
from sinwave.metrics.scores import Score, mean_score
from sinwave.metrics.sets import SetMeasure, set_measures_for
from sinwave.metrics.weights import UnfitWeightsError

__all__ = ["Method", "Results", "evaluate"]

OnStep: TypeAlias = Callable[[str, float, float], None]


@dataclass(frozen=True, eq=False)
class Method:
    """The pictures of one method, uint8 (c, h, w): for each name the one to judge, then those that it is judged by."""

    method: str
    pictures: Mapping[str, tuple[Tensor, ...]]


@dataclass(eq=False)
class Results:
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
    judged: Sequence[Method],
    others: Mapping[str, Tensor],
    resources: Resources,
    on_step: OnStep = lambda label, done, total: None,
) -> Results:
    """The metrics `names` of pictures; `others` are those that whole sets are compared with."""
    found = Results()
    measures = list(_prepared(measures_for(protocol, names), resources, found))
    done, total = 0, sum(len(each.pictures) + 1 for each in judged)
    for method in judged:
        each = _Each(method)
        for name, pictures in method.pictures.items():
            on_step(f"{method.method}: {name}", done, total)
            for measure, ready in measures:
                each.measure(measure, ready, name, pictures, resources)
            done += 1
        on_step(f"{method.method}: all together", done, total)
        found.scores.extend(each.scores())
        found.remarks.extend(each.remarks())
        for together in set_measures_for(protocol, names):
            _score_set(together, names, method, others, resources, found)
        done += 1
    return _only(found, [card.name for card in cards_for(protocol) if card.name in names])


def _prepared(measures: Sequence[Measure], resources: Resources, found: Results) -> Iterator[tuple[Measure, Ready]]:
    """Those measures that have what they need."""
    for measure in measures:
        try:
            ready = measure.prepare(resources)
        except (MissingError, UnfitWeightsError) as error:
            found.unavailable.update(dict.fromkeys(measure.names, str(error)))
            continue
        if ready.remark:
            found.remarks.append(ready.remark)
        yield measure, ready


class _Each:
    """The figures of a method's pictures, one by one, and why some have none."""

    def __init__(self, method: Method) -> None:
        self._method = method
        self._values: dict[str, dict[str, float]] = {}
        self._unfit: dict[tuple[str, str], list[str]] = {}

    def measure(
        self, measure: Measure, ready: Ready, name: str, pictures: Sequence[Tensor], resources: Resources
    ) -> None:
        """The figures of one picture."""
        try:
            for metric, value in figures(measure, ready, pictures, resources.cache).items():
                if math.isnan(value):
                    self._unfit.setdefault((metric, UNDEFINED.get(metric, "the figure is no number")), []).append(name)
                else:
                    self._values.setdefault(metric, {})[name] = value
        except InputError as error:
            self._unfit.setdefault((" or ".join(measure.names), str(error)), []).append(name)

    def scores(self) -> Iterator[Score]:
        """The means."""
        return (mean_score(metric, self._method.method, values) for metric, values in self._values.items())

    def remarks(self) -> Iterator[str]:
        """One for each reason, however many pictures it concerns."""
        for (metrics, reason), names in self._unfit.items():
            yield f"{self._method.method}: no {metrics} for {', '.join(names)}: {reason}"


def _score_set(
    measure: SetMeasure,
    names: Collection[str],
    method: Method,
    others: Mapping[str, Tensor],
    resources: Resources,
    found: Results,
) -> None:
    """The figures of a method's pictures together, or why there are none."""
    made = {name: pictures[0] for name, pictures in method.pictures.items()}
    try:
        scores = measure.scores(made, others, resources)
    except (MissingError, UnfitWeightsError) as error:
        found.unavailable.update(dict.fromkeys(measure.names, str(error)))
    except InputError as error:
        found.remarks.append(f"{method.method}: no {' or '.join(measure.names)}: {error}")
    else:
        said: set[str] = set()
        for name, score in zip(measure.names, scores, strict=True):
            if name not in names:
                continue
            if score.value is not None:
                found.scores.append(Score(name, method.method, score.value, score.n, score.interval))
            found.remarks.extend(f"{method.method}: {name}: {note}" for note in score.notes if note not in said)
            said.update(score.notes)


def _only(found: Results, order: Sequence[str]) -> Results:
    """What was asked for, in that order: a measure may give other metrics along with one."""
    scores = sorted((each for each in found.scores if each.metric in order), key=lambda each: order.index(each.metric))
    unavailable = {name: found.unavailable[name] for name in order if name in found.unavailable}
    return Results(scores, unavailable, found.remarks)
