"""What the choices in a trained wavelet model are worth: the same short training with one thing changed.

    python benchmarks/design_space.py --pictures FOLDER --variants blocks=2 blocks=5 blocks=8
    python benchmarks/design_space.py --pictures FOLDER --variants coarse_share=0.3 coarse_share=0.6,width=48

A variant names fields of `Configuration` and of `Practice` with their values; `default` is the preset as it is. All
are trained for so many steps on each picture, from the same seed, and each engine then draws the same numbers of
samples. Losses are those of the averaged weights on noise that no step has, by scale from the coarsest; losses of
variants that weigh scales or noise otherwise are not comparable, the distances between pictures are.

Models are kept, and used again while picture, variant and code are the same.
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
from sinwave.images import Picture, read, sheet, to_uint8, write
from sinwave.metrics.patches import coherence, completeness, pixel_diversity, sliced_wasserstein
from sinwave.rng import NoiseSource
from sinwave.systems.files import read_manifest, write_model
from sinwave.systems.table import load
from sinwave.systems.wavelet.fitting import Fitting, common_levels
from sinwave.systems.wavelet.presets import PRESETS, Preset
from sinwave.systems.wavelet.recipe import Numerics
from sinwave.training.loop import Budget, Report, Training, train

DEFAULT = "default"
STRIDE = 3
"""Pixels between the patches that look for their nearest."""

DISTANCES = {
    "SWD": sliced_wasserstein,
    "coherence": partial(coherence, stride=STRIDE),
    "completeness": partial(completeness, stride=STRIDE),
}


def changed(base: Preset, variant: str) -> Preset:
    """The preset with the fields that a variant names."""
    if variant == DEFAULT:
        return base
    words = dict(each.split("=", 1) for each in variant.split(","))
    found: dict[str, dict[str, Any]] = {"configuration": {}, "practice": {}}
    for name, word in words.items():
        parts = [part for part in found if hasattr(getattr(base, part), name)]
        if not parts:
            raise SystemExit(f"{variant}: no field of a configuration or a practice is named {name}")
        known = getattr(getattr(base, parts[0]), name)
        found[parts[0]][name] = word == "True" if isinstance(known, bool) else type(known)(word)
    parts = {part: dataclasses.replace(getattr(base, part), **values) for part, values in found.items()}
    return dataclasses.replace(base, **parts)


class Outcome(NamedTuple):
    """Of a variant on a picture: the model file, and what its training told."""

    file: Path
    losses: Mapping[str, float]
    seconds: float
    parameters: int
    field: int


@dataclass(frozen=True)
class Search:
    """One training a variant and picture."""

    options: argparse.Namespace

    def train(self, name: str, picture: Picture, variant: str) -> Outcome:
        """Train, or find what the same training has left."""
        options = self.options
        base = PRESETS[options.preset]
        levels = common_levels([picture.size])
        base = dataclasses.replace(base, configuration=dataclasses.replace(base.configuration, levels=levels))
        preset = changed(base, variant)
        settings = [dataclasses.asdict(preset.configuration), dataclasses.asdict(preset.practice), picture.sha256]
        key = digest(json.dumps([*settings, options.steps, options.seed, options.precision]), _code())
        file = options.work / f"{name}-{key}.safetensors"
        if not file.exists():
            self._train(name, picture, preset, variant, file)
        known = read_manifest(file).provenance
        shape = preset.configuration.shape
        return Outcome(file, known["losses"], known["seconds"], known["parameters"], shape.field)

    def _train(self, name: str, picture: Picture, preset: Preset, variant: str, file: Path) -> None:
        options, losses = self.options, dict[str, float]()
        numerics = Numerics(options.precision, channels_last=True)
        fitting = Fitting.begin([picture], preset, options.seed, torch.device(options.device))
        budget, average = Budget(options.steps, preset.most), preset.practice.average
        training = Training(fitting.recipe(numerics), budget, options.seed, longest_average=average)

        def watch(training: Training, report: Report) -> None:
            if report.held_out is not None:
                losses.update(report.held_out)
                told = " ".join(f"{value:.4f}" for value in report.held_out.values())
                print(f"{name}, {variant}: step {report.step}, {told}", file=sys.stderr, flush=True)

        start = time.perf_counter()
        train(training, [watch])
        count = sum(parameter.numel() for parameter in fitting.network.parameters())
        told = {"losses": losses, "seconds": time.perf_counter() - start, "parameters": count}
        write_model(file, fitting.trained(training.averages.values, numerics).to_file(told), overwrite=True)

    def draw(self, outcome: Outcome, engine: str, variation: float) -> list[Tensor]:
        """Samples of a model, (3, h, w) each."""
        model = load(outcome.file).model(engine, torch.device(self.options.device), torch.float32)
        noise = NoiseSource(self.options.seed).child("picture")
        with torch.inference_mode():
            return [
                model.generate(model.size, noise.child(index), variation=variation)[0].cpu()
                for index in range(self.options.samples)
            ]


def figures(samples: Sequence[Tensor], source: Tensor) -> dict[str, float]:
    """Distances of the samples to the source, and how they differ."""
    drawn = [to_uint8(each) for each in samples]
    found = {name: statistics.fmean(measure(each, source) for each in drawn) for name, measure in DISTANCES.items()}
    return found | {"diversity": pixel_diversity(torch.stack(drawn), source)}


def tables(options: argparse.Namespace, sources: Mapping[str, Picture]) -> list[str]:
    """One of the trainings and one of the samples."""
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
                    found = figures(samples, source)
                    means.setdefault((variant, engine, variation), []).append(found)
                    lines.append((name, variant, engine, f"{variation:g}", *_cells(found)))
                    print(*lines[-1], file=sys.stderr, flush=True)
                    if options.sheets:
                        file = options.sheets / f"{name}-{variant}-{engine}-{variation:g}.png"
                        write(file, sheet(picture.pixels, samples), overwrite=True)
    if len(sources) > 1:
        for (variant, engine, variation), some in means.items():
            mean = {key: statistics.fmean(each[key] for each in some) for key in some[0]}
            lines.append(("mean", variant, engine, f"{variation:g}", *_cells(mean)))
    head = ("picture", "variant", "engine", "variation", *DISTANCES, "diversity")
    return [
        table(("picture", "variant", "field", "parameters", "seconds", "losses by scale"), trainings),
        table(head, lines),
    ]


def _cells(found: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(f"{value:.4f}" for value in found.values())


def _code() -> str:
    """All that a training depends on, beside its own files."""
    root, wavelet = Path(inspect.getfile(sinwave)).parent, "systems/wavelet"
    parts = [f"{wavelet}/{name}.py" for name in ("bands", "configuration", "material", "recipe", "schedules")]
    parts += [f"{wavelet}/{name}.py" for name in ("expectation", "fitting")]
    names = ["wavelets.py", "rng.py", "nn/local.py", "diffusion/*.py", "training/*.py", *parts]
    return "".join(file.read_text("utf-8") for name in names for file in sorted(root.glob(name)))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--variants", nargs="+", default=[DEFAULT], metavar="NAME=VALUE[,...]", help="what is changed; default")
    add("--preset", choices=sorted(PRESETS), default="fast", help="what they change; fast")
    add("--pictures", type=Path, required=True, metavar="FOLDER", help="a folder of pictures")
    add("--only", nargs="+", metavar="NAME", help="only these of them")
    add("--steps", type=int, default=600, metavar="N", help="of each training; 600")
    add("--samples", type=int, default=8, metavar="N", help="a picture, variant, engine and variation; 8")
    add("--engines", nargs="+", choices=["network", "hybrid"], default=["network", "hybrid"], help="both")
    add("--variation", type=float, nargs="+", default=[0.7, 1.0], metavar="V", help="0.7 1")
    add("--precision", choices=["float32", "bfloat16"], default="bfloat16", help="of convolutions; bfloat16")
    add("--device", default="cpu", help="where to train and to draw; cpu")
    add("--sheets", type=Path, metavar="FOLDER", help="of contact sheets; none")
    share_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Do what the command line says."""
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
