"""Marks of an adaptation in hindsight: whether the automatic stop keeps the best one.

    python benchmarks/stopping.py --source many.safetensors --target FOLDER [portraits:KIND ...] --weights WEIGHTS ...

Sources, targets, sets of shots and figures are those of fewshot.py. Every case, a set of shots of a target, is trained
until true pictures tell that 30 % of the samples are copies, and all its marks are measured. Their models stay in
WORK/CASE-marks: a case that is complete there is only judged again, so the same WORK is for the same source. Rows:

    stop    the weights that `sinwave adapt` keeps, those of a mark or between two
    best    the mark with the least FD, among those with at most 10 % of copies by the limit of true pictures

The last line counts the cases in which the stop has few copies too, and an FD within 10 % of the best one's. The
column "near" has the share that the adaptation sees, and between two marks that which is due there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import fewshot
import torch
from reporting import deliver, provenance, table

from sinwave.data.shots import shots_of
from sinwave.errors import InputError, SinwaveError
from sinwave.pretrained.efficientnet import EfficientNetLite0
from sinwave.systems import table as systems
from sinwave.systems.contracts import Computing, TrainingRequest
from sinwave.systems.files import ModelFile, read_model, write_model
from sinwave.systems.pairwise.adapt import setup
from sinwave.systems.pairwise.adapt_options import Options
from sinwave.systems.pairwise.marks import Marks, share_due
from sinwave.systems.pairwise.model import Drawer, source_in
from sinwave.tasks.base.training_run import training_of

_MOST = 400
_FEW, _NEAR, _MANY = 0.10, 1.10, 0.3


class Mark(NamedTuple):
    """The share of near samples that the adaptation sees, and the figures of its samples."""

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
    """Judge the marks of a training on a set of shots."""
    source = source_in(options.source, "")
    rule = Marks(Drawer(source), shots_of(target.shots, source.configuration.size, lambda remark: None).pictures)
    marks, stop, before = list[Mark](), None, None
    for place in _places(target, network, options):
        file = read_model(place)
        seen = rule.at(_drawer(place)).get("near")
        if seen is None:
            continue
        marks.append(Mark(file.provenance["step"], seen, file.provenance["figures"]))
        print(target.name, *marks[-1], file=sys.stderr, flush=True)
        if stop is None and seen > rule.most_near:
            stop = marks[-1]
            if before is not None:
                share = share_due(marks[-2].seen, seen, rule.most_near)
                between = {name: torch.lerp(before[name], value, share) for name, value in file.weights.items()}
                step = round(marks[-2].step + share * (stop.step - marks[-2].step))
                kept = _kept(replace(file, weights=between), step, options.work / "between.safetensors", options)
                stop = Mark(step, rule.most_near, _figures(kept, target, network, options))
                print(target.name, "stop", *stop, file=sys.stderr, flush=True)
        before = file.weights
    if not marks:
        raise InputError(f"{target.name}: the samples of no mark were finite")
    return Case(target.name, marks, stop or marks[-1])


def _places(target: fewshot.Target, network: EfficientNetLite0, options: argparse.Namespace) -> Iterator[Path]:
    """The models of all marks with their figures: those in WORK, else they are trained and measured."""
    folder = options.work / f"{target.name.replace(' ', '-')}-{options.method}-marks"
    stored = sorted(folder.glob("*.safetensors"))
    if stored and _last(read_model(stored[-1])):
        yield from stored
        return
    folder.mkdir(parents=True, exist_ok=True)
    for step, file in _looks(target, options):
        place = _kept(file, step, folder / f"{step:04d}.safetensors", options)
        file = read_model(place)
        figures = _figures(place, target, network, options)
        write_model(place, replace(file, provenance={**file.provenance, "figures": figures}), overwrite=True)
        yield place
        if figures["copies"] > _MANY:
            break


def _last(file: ModelFile) -> bool:
    figures = file.provenance.get("figures")
    return figures is not None and (file.provenance["step"] >= _MOST or figures["copies"] > _MANY)


def _kept(file: ModelFile, step: int, place: Path, options: argparse.Namespace) -> Path:
    facts = {"training": {"source": str(options.source)}, "step": step}
    write_model(place, replace(file, provenance=facts), overwrite=True)
    return place


def _figures(
    place: Path, target: fewshot.Target, network: EfficientNetLite0, options: argparse.Namespace
) -> dict[str, float]:
    return fewshot.figures(fewshot.measured(fewshot.drawn(systems.load(place), options), network), target)


def _drawer(place: Path) -> Drawer:
    drawer = systems.load(place).build("network", Computing(torch.device("cpu"), torch.float32))
    assert isinstance(drawer, Drawer)
    return drawer


def _looks(target: fewshot.Target, options: argparse.Namespace) -> Iterator[tuple[int, ModelFile]]:
    """Train, and give at marks the step and the model."""
    request = TrainingRequest(
        options.seed, torch.device("cpu"), _MOST, None, lambda size, hint: None, _no_plan, lambda remark: None
    )
    ready = setup((target.shots,), Options(source=options.source, method=options.method), request)
    training = training_of(ready, options.seed)
    while not training.finished:
        halvings, look = training.halvings, training.advance().held_out
        if look and "copies" in look and training.halvings == halvings:  # else it fell back
            yield training.step, ready.keep(training.averages.values)


def _no_plan(measure: Any) -> Any:
    raise SinwaveError("an adaptation has no plan")


def _row(case: Case, name: str, mark: Mark) -> Sequence[str]:
    return [case.name, name, str(mark.step), f"{mark.seen:.3f}", *fewshot.cells(mark.figures)]


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
    head = ["case", "mark", "step", "near", *fewshot.DIGITS]
    lines = [_row(case, name, mark) for case in cases for name, mark in (("stop", case.stop), ("best", case.best))]
    count = f"{sum(case.near for case in cases)} of {len(cases)} stops are near the best mark"
    made_with = provenance("stopping.py", threads=options.threads, seed=options.seed)
    deliver([made_with, f"n = {options.samples}", table(head, lines), count], options.output)


if __name__ == "__main__":
    main(sys.argv[1:])
