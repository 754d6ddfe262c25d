"""Adaptations of a model of many pictures to a few of another kind, beside real pictures and the unadapted model.

    python benchmarks/fewshot.py --source many.safetensors --target FOLDER [FOLDER ...] --weights WEIGHTS --work WORK
    python benchmarks/fewshot.py --source plain.safetensors --target portraits:sketch portraits:long ...

A target is a folder, or a kind of portraits (data/portraits.py). Of its pictures, in the order of their names, the
first are the shots, the next ones those of the second of the --sets, and so on; the rest is the truth. A source for
portraits learns from plain ones, which --portraits FOLDER writes. Rows:

    real        as many true pictures as there are samples, compared with other true ones
    unadapted   samples of the source
    local, ...  samples of `sinwave train SHOTS --system few-shot --source SOURCE --method ...`

Last come means over the sets of shots. Portraits have two figures more, by ridge regression on the pixels of others:

    factors     deviation of the factors that it tells (R^2 of .5 and more), over that of true portraits
    attribute   share of pictures that it takes for the target's kind, and not for plain ones

Figures of a set of pictures, all in the size that the source draws:

    FD          Frechet distance of EfficientNet-Lite0's features to the truth's (pictures enlarged to 224 x 224)
    patch FD    the same of patches, on three scales, over the truth's variance
    copies      share of pictures nearer to a shot, by their drawing (data.likeness), than 95 % of true pictures are
    spread      mean distance of two pictures in those features, over that of true pictures

The same noise draws every row. Sheets of all rows are in WORK.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch
from reporting import deliver, provenance, share_options, table
from torch import Tensor

import sinwave
from sinwave.data.folder import Folder
from sinwave.data.likeness import Copies
from sinwave.data.portraits import Factors, Portraits
from sinwave.data.squares import squared
from sinwave.errors import InputError, SinwaveError
from sinwave.images import from_uint8, sheet, to_uint8, write
from sinwave.metrics.frechet import Gaussian, frechet_distance, patch_distances, patch_gaussians
from sinwave.pretrained.efficientnet import EfficientNetLite0
from sinwave.resize import resize
from sinwave.rng import NoiseSource
from sinwave.systems import table as systems
from sinwave.systems.contracts import Computing, Loaded

METHODS = ("local", "direct", "lora", "pairwise")
_SIDE, _BATCH = 224, 32
_LEARNED, _RIDGE = 1500, 0.03


class Set(NamedTuple):
    """Pictures (n, 3, h, w) as they are in files, their features (n, 1280), and the Gaussians of their patches."""

    pictures: Tensor
    features: Tensor
    patches: tuple[Gaussian, ...]


class Reading(NamedTuple):
    """Linear maps from pixels (and 1) to factors and to the kind, and the deviation of factors among true portraits."""

    factors: Tensor
    kind: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, kind: str, side: int) -> Reading:
        """Learn from 1,500 portraits of the kind and as many plain ones."""
        numbers = range(5000, 5000 + _LEARNED)
        own, plain = (
            torch.stack([Portraits(name)(side, number, 2) for number in numbers])  # type: ignore[arg-type]
            for name in (kind, "plain")
        )
        true = torch.tensor([astuple(Factors.drawn(number, 2)) for number in numbers])
        learned, tested = slice(0, _LEARNED * 2 // 3), slice(_LEARNED * 2 // 3, None)
        factors = _ridge(_row_of(own[learned]), true[learned])
        error = (_row_of(own[tested]) @ factors - true[tested]).square().mean(0)
        factors = factors[:, error < 0.5 * true[tested].var(0)]
        signs = torch.cat([torch.ones(len(own), 1), -torch.ones(len(plain), 1)])
        return cls(factors, _ridge(_row_of(torch.cat([own, plain])), signs), (_row_of(own) @ factors).std(0))

    def figures(self, pictures: Tensor) -> dict[str, float]:
        """Measure pictures (n, 3, h, w) in [-1, 1]."""
        inputs = _row_of(pictures)
        spread = ((inputs @ self.factors).std(0) / self.deviation).mean().item()
        return {"factors": spread, "attribute": (inputs @ self.kind > 0).float().mean().item()}


def _row_of(pictures: Tensor) -> Tensor:
    flat = pictures.flatten(1)
    return torch.cat([flat, torch.ones(len(flat), 1)], 1)


def _ridge(inputs: Tensor, outputs: Tensor) -> Tensor:
    inputs, outputs = inputs.double(), outputs.double()
    gram = inputs.T @ inputs
    gram.diagonal().add_(_RIDGE * gram.diagonal().mean())
    return torch.linalg.solve(gram, inputs.T @ outputs).float()


class Target(NamedTuple):
    """A folder's shots and truth, what is a copy of a shot, and the spread of the truth."""

    name: str
    shots: Path
    near: Set
    truth: Set
    real: Set
    copies: Copies
    spread: float
    reading: Reading | None


def measured(pictures: Tensor, network: EfficientNetLite0) -> Set:
    """Round pictures to bytes, and take their features."""
    pictures = to_uint8(pictures)
    features = []
    with torch.inference_mode():
        for first in range(0, len(pictures), _BATCH):
            part = from_uint8(pictures[first : first + _BATCH])
            features.append(network.features(resize(part, (_SIDE, _SIDE)).clamp(-1, 1)))
    return Set(pictures, torch.cat(features), patch_gaussians(*pictures))


def pictures_of(target: str, side: int, count: int) -> list[Tensor]:
    """Read or draw so many pictures of a target."""
    kind = target.partition(":")[2]
    if kind:
        return [Portraits(kind)(side, number, 1) for number in range(count)]  # type: ignore[arg-type]
    files = Folder(target, min_side=16)
    if len(files) < count:
        raise InputError(f"{target}: {len(files)} files are too few, {count} are needed")
    return [squared(picture, side) for number in range(count) if (picture := files.picture(number)) is not None]


def target_of(name: str, turn: int, side: int, options: argparse.Namespace, network: EfficientNetLite0) -> Target:
    """Read a target, and copy a set of its shots into a folder of their own."""
    used = options.sets * options.shots
    read = pictures_of(name, side, used + options.samples + options.truth)
    shots, rest = read[turn * options.shots :][: options.shots], read[used:]
    short = name.partition(":")[2] or Path(name).name
    place = options.work / f"{short}-{turn}"
    place.mkdir(parents=True, exist_ok=True)
    for stale in place.iterdir():
        stale.unlink()
    for number, shot in enumerate(shots):
        write(place / f"{number:02d}.png", shot, overwrite=True)
    near, real, truth = (
        measured(torch.stack(part), network) for part in (shots, rest[: options.samples], rest[options.samples :])
    )
    copies = Copies(from_uint8(near.pictures), from_uint8(truth.pictures))
    reading = Reading.of(short, side) if ":" in name else None
    return Target(f"{short} {turn}", place, near, truth, real, copies, _spread(truth), reading)


def _spread(pictures: Set) -> float:
    return torch.pdist(pictures.features).mean().item()


def drawn(loaded: Loaded, options: argparse.Namespace) -> Tensor:
    """Draw the samples of a model, all rows from the same noise."""
    model: Any = loaded.build("network", Computing(torch.device("cpu"), torch.float32))
    assert loaded.size is not None
    parts = [range(first, min(first + _BATCH, options.samples)) for first in range(0, options.samples, _BATCH)]
    with torch.inference_mode():
        return torch.cat([model.generate(loaded.size, NoiseSource(options.seed).batch(part)) for part in parts])


def figures(pictures: Set, target: Target) -> dict[str, float]:
    """Compare a set with the truth and the shots of a target."""
    distance = frechet_distance(Gaussian.of(pictures.features), Gaussian.of(target.truth.features))
    patches = patch_distances(pictures.patches, target.truth.patches)
    return {
        "FD": distance,
        "patch FD": sum(patches) / len(patches),
        "copies": target.copies.share(from_uint8(pictures.pictures)),
        "spread": _spread(pictures) / target.spread,
        **({} if target.reading is None else target.reading.figures(from_uint8(pictures.pictures))),
    }


class Row(NamedTuple):
    """Figures of a set of pictures."""

    target: str
    pictures: str
    figures: Mapping[str, float]


def rows(target: Target, unadapted: Set, network: EfficientNetLite0, options: argparse.Namespace) -> Iterator[Row]:
    """Give the rows of a target."""
    yield _row(target, "real", target.real, {}, options)
    yield _row(target, "unadapted", unadapted, {}, options)
    for method in options.methods:
        more: Mapping[str, Any] = {} if options.steps is None else {"steps": options.steps}
        file = options.work / f"{target.name.replace(' ', '-')}-{method}.safetensors"
        begin = time.perf_counter()
        result = sinwave.train(
            target.shots, file, system="few-shot", source=options.source, method=method, seed=options.seed, **more
        )
        took = {} if result.kept else {"seconds": time.perf_counter() - begin}
        pictures = measured(drawn(systems.load(file), options), network)
        yield _row(target, method, pictures, {"steps": float(result.steps), **took}, options)


def _row(target: Target, name: str, pictures: Set, more: Mapping[str, float], options: argparse.Namespace) -> Row:
    shown = from_uint8(pictures.pictures[:40])
    shots = {f"shot {n + 1}": shot for n, shot in enumerate(from_uint8(target.near.pictures))}
    overview = sheet(None, shown, inputs=shots, columns=10)
    write(options.work / f"{target.name.replace(' ', '-')}-{name}.png", overview, overwrite=True)
    values = {**figures(pictures, target), **more}
    print(target.name, name, {key: round(value, 3) for key, value in values.items()}, file=sys.stderr, flush=True)
    return Row(target.name, name, values)


def means(lines: Sequence[Row]) -> Iterator[Row]:
    """Average over the sets of shots of every target."""
    groups: dict[tuple[str, str], list[Mapping[str, float]]] = {}
    for row in lines:
        groups.setdefault((row.target.rpartition(" ")[0], row.pictures), []).append(row.figures)
    for (target, pictures), values in groups.items():
        shared = [key for key in values[0] if all(key in value for value in values)]
        yield Row(f"{target}, mean", pictures, {key: fmean(value[key] for value in values) for key in shared})


DIGITS = {"FD": 1, "patch FD": 4, "copies": 3, "spread": 2, "factors": 2, "attribute": 2}
"""Of the figures of samples."""

_COLUMNS = {**DIGITS, "steps": 0, "seconds": 0}


def cells(figures: Mapping[str, float], digits: Mapping[str, int] = DIGITS) -> list[str]:
    """Format the figures that there are."""
    return [f"{figures[key]:.{count}f}" if key in figures else "-" for key, count in digits.items()]


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Declare the options of every benchmark on adaptations."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--source", type=Path, metavar="FILE", help="a model of train --system ddpm")
    add("--target", nargs="+", default=[], metavar="FOLDER", help="or portraits:KIND; shots first, then the truth")
    add("--sets", type=int, default=1, metavar="N", help="sets of shots; 1")
    add("--shots", type=int, default=10, metavar="N", help="10")
    add("--truth", type=int, default=500, metavar="N", help="true pictures; 500")
    add("--samples", type=int, default=200, metavar="N", help="of every row; 200")
    add("--weights", type=Path, metavar="FOLDER", help="where EfficientNet-Lite0's weights are")
    share_options(parser)
    return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--portraits", type=Path, metavar="FOLDER", help="write 3,000 plain portraits of 32 pixels, and nothing else")
    add("--methods", choices=METHODS, nargs="+", default=["local", "direct"], metavar="NAME", help="local direct")
    add("--steps", type=int, metavar="N", help="of every adaptation; as the command does")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    if options.portraits is not None:
        options.portraits.mkdir(parents=True, exist_ok=True)
        for number in range(3000):
            write(options.portraits / f"{number:04d}.png", Portraits()(32, number, 0), overwrite=True)
        return
    if options.source is None or not options.target:
        raise SystemExit("fewshot.py: --source and --target are needed")
    head = ["target", "pictures", *_COLUMNS]
    try:
        network, source = EfficientNetLite0.load(options.weights), systems.load(options.source)
        side = source.size[0] if source.size else 0
        unadapted, lines = measured(drawn(source, options), network), list[Row]()
        for name in options.target:
            for turn in range(options.sets):
                lines += rows(target_of(name, turn, side, options, network), unadapted, network, options)
    except SinwaveError as error:
        raise SystemExit(f"fewshot.py: {error}") from error
    made_with = provenance("fewshot.py", threads=options.threads, seed=options.seed)
    all_lines = [*lines, *means(lines)] if options.sets > 1 else lines
    listed = [[row.target, row.pictures, *cells(row.figures, _COLUMNS)] for row in all_lines]
    deliver([made_with, f"n = {options.samples}", table(head, listed)], options.output)


if __name__ == "__main__":
    main(sys.argv[1:])
