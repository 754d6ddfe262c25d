"""What the choices in drawing from a trained wavelet model are worth: the same models, walked otherwise.

    python benchmarks/walks.py --models FOLDER --variants default energy=off sampler=ddim coarse_steps=12,fine_steps=5
    python benchmarks/walks.py --models FOLDER --variants default finer=8 finer=2 patches=2 --engines hybrid

A variant names fields of `Configuration` that matter in drawing, or one of these:

    sampler=ddim    steps of the first order, where the default has the second
    energy=off      estimates keep the energy that the network gave them
    patches=N       steps of the closed form at the coarsest scale of the hybrid
    finer=N         steps of the closed form at each finer scale of the hybrid

Nothing is trained. `energy` of the result is the mean square difference of neighboring pixels, as a share of the
picture's own: below 1 the samples are vaguer than it is.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from design_space import DISTANCES, figures
from reporting import deliver, provenance, share_options, table
from torch import Tensor

from sinwave.diffusion.samplers import Ddim
from sinwave.images import sheet, to_uint8, write
from sinwave.metrics.patches import pixel_diversity
from sinwave.rng import NoiseSource
from sinwave.systems.table import load
from sinwave.systems.wavelet import configuration, hybrid, trained
from sinwave.systems.wavelet.configuration import Configuration
from sinwave.systems.wavelet.trained import Trained

DEFAULT = "default"
COLUMNS = (*DISTANCES, "diversity", "diversity to source", "energy", "seconds")


@contextmanager
def walked(variant: str) -> Iterator[Mapping[str, Any]]:
    """The package as a variant wants it, and the fields of the configuration that it names."""
    words = {} if variant == DEFAULT else dict(each.split("=", 1) for each in variant.split(","))
    with ExitStack() as stack:
        if words.pop("sampler", "") == "ddim":
            stack.enter_context(patch.object(configuration, "Multistep", Ddim))
        if words.pop("energy", "") == "off":
            stack.enter_context(patch.object(trained, "NetworkPrior", _without_energy))
        if steps := words.pop("patches", None):
            shorter = dataclasses.replace(hybrid.PATCHES, steps=int(steps))
            stack.enter_context(patch.object(hybrid, "PATCHES", shorter))
        if steps := words.pop("finer", None):
            finer = dataclasses.replace(trained.OPTIONS.finer, steps=int(steps))
            stack.enter_context(patch.object(trained, "OPTIONS", dataclasses.replace(trained.OPTIONS, finer=finer)))
        known = {field.name: type(field.default) for field in dataclasses.fields(Configuration)}
        for name in words:
            if name not in known:
                raise SystemExit(f"{variant}: no field of a configuration is named {name}")
        yield {name: known[name](word) for name, word in words.items()}


def _without_energy(network: Any, configuration: Any, statistics: Any, pictures: Any, **options: Any) -> Any:
    return _network_prior(network, configuration, statistics, (), **options)


_network_prior = trained.NetworkPrior


def drawn(options: argparse.Namespace, file: Path, variant: str, engine: str, variation: float) -> dict[str, float]:
    """The figures of a model's samples."""
    found = load(file)
    if not isinstance(found, Trained):
        raise SystemExit(f"{file}: no wavelet model")
    with walked(variant) as fields, torch.inference_mode():
        whole = dataclasses.replace(found, configuration=dataclasses.replace(found.configuration, **fields))
        model = whole.model(engine, torch.device("cpu"), torch.float32)
        noise, start = NoiseSource(options.seed).child("picture"), time.perf_counter()
        samples = [
            model.generate(model.size, noise.child(index), variation=variation)[0] for index in range(options.samples)
        ]
        seconds = (time.perf_counter() - start) / options.samples
    picture = found.pictures[0].pixels
    if options.sheets:
        name = f"{file.stem}-{variant}-{engine}-{variation:g}.png".replace("/", "_")
        write(options.sheets / name, sheet(picture, samples), overwrite=True)
    source = to_uint8(picture)
    pairs = [pixel_diversity(torch.stack([to_uint8(each), source]), source) for each in samples]
    energy = statistics.fmean(_energy(each) for each in samples) / _energy(picture)
    rest = {"diversity to source": statistics.fmean(pairs), "energy": energy, "seconds": seconds}
    return figures(samples, source) | rest


def _energy(picture: Tensor) -> float:
    return (picture[:, 1:] - picture[:, :-1]).square().mean().item()


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--models", type=Path, required=True, metavar="FOLDER", help="of model files, as sinwave train writes them")
    add("--only", nargs="+", metavar="NAME", help="only these of them")
    add("--variants", nargs="+", default=[DEFAULT], metavar="NAME=VALUE[,...]", help="what is changed; default")
    add("--engines", nargs="+", choices=["network", "hybrid"], default=["network", "hybrid"], help="both")
    add("--variation", type=float, nargs="+", default=[0.7, 1.0], metavar="V", help="0.7 1")
    add("--samples", type=int, default=3, metavar="N", help="of each model; 3")
    add("--sheets", type=Path, metavar="FOLDER", help="of contact sheets; none")
    share_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Do what the command line says."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    if options.sheets:
        options.sheets.mkdir(parents=True, exist_ok=True)
    files = sorted(f for f in options.models.glob("*.safetensors") if not options.only or f.stem in options.only)
    if not files:
        raise SystemExit(f"{options.models}: no model to draw from")
    rows = []
    for engine in options.engines:
        for variation in options.variation:
            for variant in options.variants:
                found = [drawn(options, file, variant, engine, variation) for file in files]
                cells = [f"{statistics.fmean(each[name] for each in found):.4f}" for name in COLUMNS]
                rows.append((engine, f"{variation:g}", variant, *cells))
                print(*rows[-1], file=sys.stderr, flush=True)
    told = f"{len(files)} models, {options.samples} samples of each\n"
    head = ("engine", "variation", "variant", *COLUMNS)
    deliver(
        [provenance("walks.py", threads=options.threads, seed=options.seed), told, table(head, rows)], options.output
    )


if __name__ == "__main__":
    main(sys.argv[1:])
