"""Effect of single choices in a trained wavelet model: the same short training with one option changed.

    python benchmarks/design_space.py --pictures FOLDER --variants blocks=2 blocks=5 blocks=8
    python benchmarks/design_space.py --pictures FOLDER --variants coarse_share=0.3 coarse_share=0.6,width=48

A variant names fields of `Settings` with their values; `default` is the unchanged preset. All
variants are trained for the same number of steps on every picture, from the same seed, and every engine draws the same
number of samples. Losses are those of the averaged weights on held-out noise, by scale from the coarsest. Losses of
variants that weigh scales or noise differently are not comparable; the distances between pictures are.

Models are cached, and used again while picture, variant and code are the same.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from drawing import digest
from reporting import deliver, provenance, share_options, table
from sources import pictures
from torch import Tensor

import sinwave
from sinwave.data.batches import Constant
from sinwave.images import Picture, read, sheet, to_uint8, write
from sinwave.metrics.patches import coherence, completeness, pixel_diversity, sliced_wasserstein
from sinwave.rng import NoiseSource
from sinwave.systems.contracts import Computing
from sinwave.systems.files import read_manifest, write_model
from sinwave.systems.table import load
from sinwave.systems.wavelet.options import Options, Settings
from sinwave.systems.wavelet.train import begin, common_levels, model_file
from sinwave.training.loop import Budget, Report, Training, train

DEFAULT = "default"
STRIDE = 3
"""Pixels between the patches that are compared."""

DISTANCES = {
    "SWD": sliced_wasserstein,
    "coherence": partial(coherence, stride=STRIDE),
    "completeness": partial(completeness, stride=STRIDE),
}


def changed(base: Settings, variant: str) -> Settings:
    """The preset with the fields that a variant names."""
    if variant == DEFAULT:
        return base
    words = dict(part.split("=", 1) for part in variant.split(","))
    values: dict[str, Any] = {}
    for name, word in words.items():
        if name not in {field.name for field in dataclasses.fields(base)}:
            raise SystemExit(f"{variant}: no setting is named {name}")
        kind = type(getattr(base, name))
        values[name] = word == "True" if kind is bool else kind(word)
    return dataclasses.replace(base, **values)


class Outcome(NamedTuple):
    """Result of a variant on a picture: the model file, and figures of its training."""

    file: Path
    losses: Mapping[str, float]
    seconds: float
    parameters: int
    field: int


@dataclass(frozen=True)
class Search:
    """Trainings, one per variant and picture."""

    options: argparse.Namespace

    def train(self, name: str, picture: Picture, variant: str) -> Outcome:
        """Train, or take the cached model of the same training."""
        options = self.options
        base = Options(preset=options.preset).settings(common_levels([picture]))
        base = dataclasses.replace(base, precision=options.precision, channels_last=True)
        settings = changed(base, variant)
        content = [dataclasses.asdict(settings), picture.sha256, options.steps, options.seed]
        key = digest(json.dumps(content), _code())
        file = options.work / f"{name}-{key}.safetensors"
        if not file.exists():
            self._train(name, picture, settings, variant, file)
        facts = read_manifest(file).provenance
        return Outcome(file, facts["losses"], facts["seconds"], facts["parameters"], settings.receptive_field)

    def _train(self, name: str, picture: Picture, settings: Settings, variant: str, file: Path) -> None:
        options, losses = self.options, dict[str, float]()
        start = begin([picture], settings, options.seed, torch.device(options.device))
        budget = Budget(options.steps, settings.steps)
        training = Training(
            start.recipe(settings), Constant(None), budget, options.seed, longest_average=settings.average
        )

        def watch(training: Training, report: Report) -> None:
            if report.held_out is not None:
                losses.update(report.held_out)
                losses_text = " ".join(f"{value:.4f}" for value in report.held_out.values())
                print(f"{name}, {variant}: step {report.step}, {losses_text}", file=sys.stderr, flush=True)

        before = time.perf_counter()
        train(training, [watch])
        count = sum(parameter.numel() for parameter in start.network.parameters())
        provenance = {"losses": losses, "seconds": time.perf_counter() - before, "parameters": count}
        model = model_file(settings, start.material, training.averages.values, [picture])
        write_model(file, dataclasses.replace(model, provenance=provenance), overwrite=True)

    def draw(self, outcome: Outcome, engine: str, variation: float) -> list[Tensor]:
        """Draw samples (3, h, w) of a model."""
        model = load(outcome.file).build(engine, Computing(torch.device(self.options.device), torch.float32))
        noise = NoiseSource(self.options.seed).child("picture")
        with torch.inference_mode():
            return [
                model.generate(model.size, noise.child(index), variation=variation)[0].cpu()
                for index in range(self.options.samples)
            ]


def figures(samples: Sequence[Tensor], source: Tensor) -> dict[str, float]:
    """Mean distances of the samples to the source, and their diversity."""
    drawn = [to_uint8(sample) for sample in samples]
    distances = {
        name: statistics.fmean(measure(sample, source) for sample in drawn) for name, measure in DISTANCES.items()
    }
    return distances | {"diversity": pixel_diversity(torch.stack(drawn), source)}


def tables(options: argparse.Namespace, sources: Mapping[str, Picture]) -> list[str]:
    """Make a table of the trainings and one of the samples."""
    search, trainings, lines = Search(options), [], []
    means: dict[tuple[str, str, float], list[dict[str, float]]] = {}
    for name, picture in sources.items():
        source = to_uint8(picture.pixels)
        for variant in options.variants:
            outcome = search.train(name, picture, variant)
            losses = [f"{value:.4f}" for key, value in outcome.losses.items() if key != "loss"]
            size = (str(outcome.field), str(outcome.parameters), f"{outcome.seconds:.0f}")
            trainings.append((name, variant, *size, " ".join(losses)))
            for engine in options.engines:
                for variation in options.variation:
                    samples = search.draw(outcome, engine, variation)
                    distances = figures(samples, source)
                    means.setdefault((variant, engine, variation), []).append(distances)
                    lines.append((name, variant, engine, f"{variation:g}", *_cells(distances)))
                    print(*lines[-1], file=sys.stderr, flush=True)
                    if options.sheets:
                        file = options.sheets / f"{name}-{variant}-{engine}-{variation:g}.png"
                        write(file, sheet(picture.pixels, samples), overwrite=True)
    if len(sources) > 1:
        for (variant, engine, variation), rows in means.items():
            mean = {key: statistics.fmean(row[key] for row in rows) for key in rows[0]}
            lines.append(("mean", variant, engine, f"{variation:g}", *_cells(mean)))
    head = ("picture", "variant", "engine", "variation", *DISTANCES, "diversity")
    return [
        table(("picture", "variant", "field", "parameters", "seconds", "losses by scale"), trainings),
        table(head, lines),
    ]


def _cells(figures: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(f"{value:.4f}" for value in figures.values())


def _code() -> str:
    """Source code that a training depends on."""
    root, wavelet = Path(inspect.getfile(sinwave)).parent, "systems/wavelet"
    parts = [f"{wavelet}/{name}.py" for name in ("bands", "model", "options", "material", "recipe")]
    parts += [f"{wavelet}/{name}.py" for name in ("expectation", "train")]
    names = ["wavelets.py", "rng.py", "nn/local.py", "diffusion/*.py", "training/*.py", *parts]
    return "".join(file.read_text("utf-8") for name in names for file in sorted(root.glob(name)))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--variants", nargs="+", default=[DEFAULT], metavar="NAME=VALUE[,...]", help="what is changed; default")
    add("--preset", choices=["fast", "reference"], default="fast", help="what they change; fast")
    add("--pictures", type=Path, required=True, metavar="FOLDER", help="a folder of pictures")
    add("--only", nargs="+", metavar="NAME", help="only these of them")
    add("--steps", type=int, default=600, metavar="N", help="of each training; 600")
    add("--samples", type=int, default=8, metavar="N", help="per picture, variant, engine and variation; 8")
    add("--engines", nargs="+", choices=["network", "hybrid"], default=["network", "hybrid"], help="both")
    add("--variation", type=float, nargs="+", default=[0.7, 1.0], metavar="V", help="0.7 1")
    add("--precision", choices=["float32", "bfloat16"], default="bfloat16", help="of convolutions; bfloat16")
    add("--device", default="cpu", help="where to train and to draw; cpu")
    add("--sheets", type=Path, metavar="FOLDER", help="of contact sheets; none")
    share_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    for folder in (options.work, options.sheets):
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
    names = pictures(options.pictures, [], options.only)
    files = {file.stem: file for file in sorted(options.pictures.iterdir()) if file.stem in names}
    parts = [
        provenance("design_space.py", threads=options.threads, seed=options.seed),
        f"{options.steps} steps, {options.samples} samples of each\n",
        *tables(options, {name: read(file) for name, file in files.items()}),
    ]
    deliver(parts, options.output)


if __name__ == "__main__":
    main(sys.argv[1:])
