"""Effect of single choices in drawing from a trained wavelet model: the same models with other walks.

    python benchmarks/walks.py --models FOLDER --variants default energy=off sampler=ddim coarse_steps=12,fine_steps=5
    python benchmarks/walks.py --models FOLDER --variants default finer=8 finer=2 patches=2 --engines hybrid

A variant names fields of `Configuration` that matter for drawing, or one of these:

    sampler=ddim    steps of first order; the default is second order
    energy=off      estimates are not rescaled to the energy of the picture
    patches=N       steps of the closed form at the coarsest scale of the hybrid
    finer=N         steps of the closed form at each finer scale of the hybrid

Nothing is trained. The column `energy` is the mean squared difference of neighboring pixels over that of the picture:
below 1 the samples are more blurred than it is.
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

from sinwave.diffusion import sample
from sinwave.images import sheet, to_uint8, write
from sinwave.metrics.patches import pixel_diversity
from sinwave.rng import NoiseSource
from sinwave.systems.contracts import Computing
from sinwave.systems.table import load
from sinwave.systems.wavelet import combined, network
from sinwave.systems.wavelet.network import Trained
from sinwave.systems.wavelet.options import Configuration

DEFAULT = "default"
COLUMNS = (*DISTANCES, "diversity", "diversity to source", "energy", "seconds")


@contextmanager
def walked(variant: str) -> Iterator[Mapping[str, Any]]:
    """Patch the package as a variant demands, and yield the fields of the configuration that it names."""
    words = {} if variant == DEFAULT else dict(part.split("=", 1) for part in variant.split(","))
    with ExitStack() as stack:
        if words.pop("sampler", "") == "ddim":
            stack.enter_context(patch.object(sample, "Multistep", sample.Ddim))
        if words.pop("energy", "") == "off":
            stack.enter_context(patch.object(network, "NetworkPrior", _without_energy))
        if steps := words.pop("patches", None):
            shorter = dataclasses.replace(combined.PATCHES, steps=int(steps))
            stack.enter_context(patch.object(combined, "PATCHES", shorter))
        if steps := words.pop("finer", None):
            finer = dataclasses.replace(network.QUICK.finer, steps=int(steps))
            stack.enter_context(patch.object(network, "QUICK", dataclasses.replace(network.QUICK, finer=finer)))
        types = {field.name: type(field.default) for field in dataclasses.fields(Configuration)}
        for name in words:
            if name not in types:
                raise SystemExit(f"{variant}: no field of a configuration is named {name}")
        yield {name: types[name](word) for name, word in words.items()}


def _without_energy(network: Any, configuration: Any, statistics: Any, pictures: Any, **options: Any) -> Any:
    return _network_prior(network, configuration, statistics, (), **options)


_network_prior = network.NetworkPrior


def drawn(options: argparse.Namespace, file: Path, variant: str, engine: str, variation: float) -> dict[str, float]:
    """Draw samples of a model, and measure them."""
    model_file = load(file)
    if not isinstance(model_file, Trained):
        raise SystemExit(f"{file}: no wavelet model")
    with walked(variant) as fields, torch.inference_mode():
        whole = dataclasses.replace(model_file, configuration=dataclasses.replace(model_file.configuration, **fields))
        model = whole.build(engine, Computing(torch.device("cpu"), torch.float32))
        noise, start = NoiseSource(options.seed).child("picture"), time.perf_counter()
        samples = [
            model.generate(model.size, noise.child(index), variation=variation)[0] for index in range(options.samples)
        ]
        seconds = (time.perf_counter() - start) / options.samples
    picture = model_file.pictures[0].pixels
    if options.sheets:
        name = f"{file.stem}-{variant}-{engine}-{variation:g}.png".replace("/", "_")
        write(options.sheets / name, sheet(picture, samples), overwrite=True)
    source = to_uint8(picture)
    pairs = [pixel_diversity(torch.stack([to_uint8(sample), source]), source) for sample in samples]
    energy = statistics.fmean(_energy(sample) for sample in samples) / _energy(picture)
    rest = {"diversity to source": statistics.fmean(pairs), "energy": energy, "seconds": seconds}
    return figures(samples, source) | rest


def _energy(picture: Tensor) -> float:
    return (picture[:, 1:] - picture[:, :-1]).square().mean().item()


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
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
    """Run the command line."""
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
                results = [drawn(options, file, variant, engine, variation) for file in files]
                cells = [f"{statistics.fmean(result[name] for result in results):.4f}" for name in COLUMNS]
                rows.append((engine, f"{variation:g}", variant, *cells))
                print(*rows[-1], file=sys.stderr, flush=True)
    note = f"{len(files)} models, {options.samples} samples of each\n"
    head = ("engine", "variation", "variant", *COLUMNS)
    deliver(
        [provenance("walks.py", threads=options.threads, seed=options.seed), note, table(head, rows)], options.output
    )


if __name__ == "__main__":
    main(sys.argv[1:])
