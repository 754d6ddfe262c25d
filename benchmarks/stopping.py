"""Marks of an adaptation in hindsight: whether the automatic stop keeps the best one.

    python benchmarks/stopping.py --source many.safetensors --target FOLDER [portraits:KIND ...] --weights WEIGHTS ...

Sources, targets, sets of shots and figures are those of fewshot.py. Every case, a set of shots of a target, is trained
on beyond the stop; all its marks are measured, until true pictures tell that 30 % of the samples are copies. Rows:

    stop    the weights that `sinwave adapt` keeps, those of a mark or between two
    best    the mark with the least FD, among those with at most 10 % of copies by the limit of true pictures

The last line counts the cases in which the stop has few copies too, and an FD within 10 % of the best one's. Between
two marks the column "copies seen" has the share that is due there, by those of the two.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import fewshot
import torch
from reporting import deliver, provenance, table
from torch import Tensor

from sinwave.data.shots import shots_of
from sinwave.errors import InputError, SinwaveError
from sinwave.pretrained.efficientnet import EfficientNetLite0
from sinwave.systems import table as systems
from sinwave.systems.contracts import TrainingRequest
from sinwave.systems.files import ModelFile, write_model
from sinwave.systems.pairwise.adapt import setup
from sinwave.systems.pairwise.adapt_options import Options
from sinwave.systems.pairwise.marks import Marks, share_due
from sinwave.systems.pairwise.model import Drawer, source_in
from sinwave.tasks.base.training_run import training_of

_MOST = 400
_FEW, _NEAR, _MANY = 0.10, 1.10, 0.3


class Mark(NamedTuple):
    """The share of copies that the adaptation sees, and the figures of its samples."""

    step: int
    seen: float
    figures: Mapping[str, float]


class Case(NamedTuple):
    """The marks of a training, and what of it is kept."""

    name: str
    marks: Sequence[Mark]
    stop: Mark

    @property
    def best(self) -> Mark:
        """The mark with the least FD among those with few copies, or if there is none that with the fewest."""
        few = [mark for mark in self.marks if mark.figures["copies"] <= _FEW]
        if not few:
            return min(self.marks, key=lambda mark: mark.figures["copies"])
        return min(few, key=lambda mark: mark.figures["FD"])

    @property
    def near(self) -> bool:
        most = max(_FEW, self.best.figures["copies"])
        return self.stop.figures["copies"] <= most and self.stop.figures["FD"] <= _NEAR * self.best.figures["FD"]


def case_of(target: fewshot.Target, network: EfficientNetLite0, options: argparse.Namespace) -> Case:
    """Train on a set of shots, and measure the marks."""
    source = source_in(options.source, "")
    shots = shots_of(target.shots, source.configuration.size, lambda remark: None)
    most = Marks(Drawer(source), shots.pictures).most_copies
    marks, stop, before = list[Mark](), None, dict[str, Tensor]()

    def mark_of(step: int, seen: float, file: ModelFile) -> Mark:
        place = options.work / "mark.safetensors"
        file = replace(file, provenance={"training": {"source": str(options.source)}})
        write_model(place, file, overwrite=True)
        pictures = fewshot.measured(fewshot.drawn(systems.load(place), options), network)
        mark = Mark(step, seen, fewshot.figures(pictures, target))
        print(target.name, *mark, file=sys.stderr, flush=True)
        return mark

    for step, seen, file in _looks(target, options):
        marks.append(mark_of(step, seen, file))
        if stop is None and seen > most:
            stop = marks[-1]
            if len(marks) > 1:
                share = share_due(marks[-2].seen, seen, most)
                between = {name: torch.lerp(before[name], value, share) for name, value in file.weights.items()}
                back = round((1 - share) * (step - marks[-2].step))
                stop = mark_of(step - back, most, replace(file, weights=between))
        before = {name: value.clone() for name, value in file.weights.items()}
        if stop is not None and marks[-1].figures["copies"] > _MANY:
            break
    if not marks:
        raise InputError(f"{target.name}: the samples of no mark were finite")
    return Case(target.name, marks, stop or marks[-1])


def _looks(target: fewshot.Target, options: argparse.Namespace) -> Iterator[tuple[int, float, ModelFile]]:
    """Train, and give at marks the step, the share of copies that the adaptation sees, and the model."""
    request = TrainingRequest(
        options.seed, torch.device("cpu"), _MOST, None, lambda size, hint: None, _no_plan, lambda remark: None
    )
    ready = setup((target.shots,), Options(source=options.source, method=options.method), request)
    training = training_of(ready, options.seed)
    while not training.finished:
        halvings, look = training.halvings, training.advance().held_out
        if look and "copies" in look and training.halvings == halvings:  # else it fell back
            yield training.step, look["copies"], ready.keep(training.averages.values)


def _no_plan(measure: Any) -> Any:
    raise SinwaveError("an adaptation has no plan")


def _row(case: Case, name: str, mark: Mark) -> Sequence[str]:
    figures = [f"{mark.figures[key]:.{digits}f}" for key, digits in (("FD", 1), ("copies", 3), ("spread", 2))]
    return [case.name, name, str(mark.step), f"{mark.seen:.3f}", *figures]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = fewshot.parser_of(__doc__)
    parser.add_argument("--method", choices=("direct", "lora"), default="direct", metavar="NAME", help="direct")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    if options.source is None or not options.target:
        raise SystemExit("stopping.py: --source and --target are needed")
    cases = list[Case]()
    try:
        network, source = EfficientNetLite0.load(options.weights), systems.load(options.source)
        side = source.size[0] if source.size else 0
        for name in options.target:
            for turn in range(options.sets):
                cases.append(case_of(fewshot.target_of(name, turn, side, options, network), network, options))
    except SinwaveError as error:
        raise SystemExit(f"stopping.py: {error}") from error
    head = ["case", "mark", "step", "copies seen", "FD", "copies", "spread"]
    lines = [_row(case, name, mark) for case in cases for name, mark in (("stop", case.stop), ("best", case.best))]
    count = f"{sum(case.near for case in cases)} of {len(cases)} stops are near the best mark"
    made_with = provenance("stopping.py", threads=options.threads, seed=options.seed)
    deliver([made_with, f"n = {options.samples}", table(head, lines), count], options.output)


if __name__ == "__main__":
    main(sys.argv[1:])
