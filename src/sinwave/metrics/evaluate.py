"""Evaluation: every metric that is asked for, of every picture, of every method."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from torch import Tensor

from sinwave.errors import InputError, MissingError
from sinwave.metrics.cards import Protocol, cards_for
from sinwave.metrics.picture_measures import MEASURES, UNDEFINED, Measure, Ready, Resources, figures
from sinwave.metrics.scores import Score, mean_score
from sinwave.metrics.set_measures import SET_MEASURES, SetMeasure
from sinwave.pretrained.files import UnfitWeightsError

__all__ = ["Method", "Results", "evaluate"]


@dataclass(frozen=True, eq=False)
class Method:
    """The pictures of one method, uint8 (c, h, w): for each name the one to judge, then those that it is judged by."""

    name: str
    pictures: Mapping[str, tuple[Tensor, ...]]

    @property
    def results(self) -> dict[str, Tensor]:
        """The pictures to judge."""
        return {name: picture for name, (picture, *_) in self.pictures.items()}


@dataclass(eq=False)
class Results:
    """Scores in the order of the cards; why a metric is unavailable; and remarks for the user."""

    scores: list[Score] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def score(self, metric: str, method: str) -> Score | None:
        """The score of a method, if it has one."""
        return next((score for score in self.scores if (score.metric, score.method) == (metric, method)), None)


def evaluate(
    protocol: Protocol,
    names: Collection[str],
    methods: Sequence[Method],
    references: Mapping[str, Tensor],
    resources: Resources,
    on_step: Callable[[str, float, float], None] = lambda label, done, total: None,
) -> Results:
    """Compute the metrics `names`; whole sets are compared with the pictures `references`."""
    results, steps, total = Results(), count(), sum(len(method.pictures) + 1 for method in methods)
    order = [card.name for card in cards_for(protocol) if card.name in names]
    measures = list(_prepared(order, resources, results))
    for method in methods:
        _score_pictures(measures, method, resources, results, lambda label: on_step(label, next(steps), total))
        on_step(f"{method.name}: all together", next(steps), total)
        for set_measure in SET_MEASURES:
            if not set(order).isdisjoint(set_measure.names):
                _score_set(set_measure, names, method, references, resources, results)
    # A measure may give metrics along with those that were asked for.
    scores = [score for metric in order for score in results.scores if score.metric == metric]
    unavailable = {name: results.unavailable[name] for name in order if name in results.unavailable}
    return Results(scores, unavailable, results.remarks)


def _prepared(names: Collection[str], resources: Resources, results: Results) -> Iterator[tuple[Measure, Ready]]:
    """Prepare the measures of the metrics `names`, apart from those whose needs are not met."""
    for measure in MEASURES:
        if set(names).isdisjoint(measure.names):
            continue
        try:
            ready = measure.prepare(resources)
        except (MissingError, UnfitWeightsError) as error:
            results.unavailable.update(dict.fromkeys(measure.names, str(error)))
        else:
            results.remarks += [ready.remark] if ready.remark else []
            yield measure, ready


def _score_pictures(
    measures: Sequence[tuple[Measure, Ready]],
    method: Method,
    resources: Resources,
    results: Results,
    on_picture: Callable[[str], None],
) -> None:
    """Add the means of a method's pictures, and a remark for each reason why any have none."""
    values, unfit = defaultdict[str, dict[str, float]](dict), defaultdict[tuple[str, str], list[str]](list)
    for name, pictures in method.pictures.items():
        on_picture(f"{method.name}: {name}")
        for measure, ready in measures:
            try:
                by_metric = figures(measure, ready, pictures, resources.cache)
            except InputError as error:
                unfit[" or ".join(measure.names), str(error)].append(name)
                continue
            for metric, value in by_metric.items():
                if math.isnan(value):
                    unfit[metric, UNDEFINED.get(metric, "the figure is no number")].append(name)
                else:
                    values[metric][name] = value
    results.scores += [mean_score(metric, method.name, by_picture) for metric, by_picture in values.items()]
    for (metrics, reason), names in unfit.items():
        results.remarks.append(f"{method.name}: no {metrics} for {', '.join(names)}: {reason}")


def _score_set(
    measure: SetMeasure,
    names: Collection[str],
    method: Method,
    references: Mapping[str, Tensor],
    resources: Resources,
    results: Results,
) -> None:
    """Add the figures of a method's pictures together, or why there are none."""
    try:
        scores = measure.scores(method.results, references, resources)
    except (MissingError, UnfitWeightsError) as error:
        results.unavailable.update(dict.fromkeys(measure.names, str(error)))
    except InputError as error:
        results.remarks.append(f"{method.name}: no {' or '.join(measure.names)}: {error}")
    else:
        noted: set[str] = set()
        for name, score in zip(measure.names, scores, strict=True):
            if name not in names:
                continue
            if score.value is not None:
                results.scores.append(Score(name, method.name, score.value, score.n, score.interval))
            results.remarks.extend(f"{method.name}: {name}: {note}" for note in score.notes if note not in noted)
            noted.update(score.notes)
