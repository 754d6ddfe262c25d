"""Adaptations of a model of many pictures to a few of another kind, beside real pictures and the unadapted model.

    python benchmarks/fewshot.py --source many.safetensors --target FOLDER [FOLDER ...] --weights WEIGHTS --work WORK

A target is a folder whose first pictures, in the order of their names, are the shots; the rest is the truth. Rows:

    real        as many true pictures as there are samples, compared with other true ones
    unadapted   samples of the source
    local, ...  samples of `sinwave train SHOTS --system few-shot --source SOURCE --method ...`

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
from pathlib import Path
from typing import Any, NamedTuple

import torch
from reporting import deliver, provenance, share_options, table
from torch import Tensor

import sinwave
from sinwave.data.folder import Folder
from sinwave.data.likeness import Copies
from sinwave.data.squares import enlarged, squared
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


class Set(NamedTuple):
    """Pictures (n, 3, h, w) as they are in files, their features (n, 1280), and the Gaussians of their patches."""

    pictures: Tensor
    features: Tensor
    patches: tuple[Gaussian, ...]


class Target(NamedTuple):
    """A folder's shots and truth, what is a copy of a shot, and the spread of the truth."""

    name: str
    shots: Path
    near: Set
    truth: Set
    real: Set
    copies: Copies
    spread: float


def measured(pictures: Tensor, network: EfficientNetLite0) -> Set:
    """Round pictures to bytes, and take their features."""
    pictures = to_uint8(pictures)
    features = []
    with torch.inference_mode():
        for first in range(0, len(pictures), _BATCH):
            part = from_uint8(pictures[first : first + _BATCH])
            features.append(network.features(resize(part, (_SIDE, _SIDE)).clamp(-1, 1)))
    return Set(pictures, torch.cat(features), patch_gaussians(*pictures))


def target_of(folder: Path, side: int, options: argparse.Namespace, network: EfficientNetLite0) -> Target:
    """Read a target, and copy its shots into a folder of their own."""
    files = Folder(folder, min_side=16)
    wanted = range(min(len(files), options.shots + options.truth + options.samples))
    if len(files) < options.shots + options.samples + 2:
        raise InputError(
            f"{folder}: {len(files)} files are too few for {options.shots} shots, {options.samples} and truth"
        )
    read = [squared(picture, side) for number in wanted if (picture := files.picture(number)) is not None]
    shots, rest = read[: options.shots], read[options.shots :]
    place = options.work / f"{folder.name}-{options.shots}-shots"
    place.mkdir(parents=True, exist_ok=True)
    for stale in place.iterdir():
        stale.unlink()
    for number, shot in enumerate(shots):
        write(place / f"{number:02d}.png", shot, overwrite=True)
    near, real, truth = (
        measured(torch.stack(part), network) for part in (shots, rest[: options.samples], rest[options.samples :])
    )
    copies = Copies(from_uint8(near.pictures), from_uint8(truth.pictures))
    return Target(folder.name, place, near, truth, real, copies, _spread(truth))


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
    }


def rows(
    target: Target, source: Loaded, network: EfficientNetLite0, options: argparse.Namespace
) -> Iterator[list[str]]:
    """Give the rows of a target."""
    yield _row(target, "real", target.real, 0.0, options)
    unadapted = measured(drawn(source, options), network)
    yield _row(target, "unadapted", unadapted, 0.0, options)
    for method in options.methods:
        more: Mapping[str, Any] = {} if options.steps is None else {"steps": options.steps}
        file = options.work / f"{target.name}-{method}.safetensors"
        begin = time.perf_counter()
        result = sinwave.train(
            target.shots, file, system="few-shot", source=options.source, method=method, seed=options.seed, **more
        )
        seconds = 0.0 if result.kept else time.perf_counter() - begin
        yield _row(target, method, measured(drawn(systems.load(file), options), network), seconds, options)


def _row(target: Target, name: str, pictures: Set, seconds: float, options: argparse.Namespace) -> list[str]:
    shown = from_uint8(pictures.pictures[:40])
    shots = {f"shot {n + 1}": enlarged(shot) for n, shot in enumerate(from_uint8(target.near.pictures))}
    overview = sheet(None, [enlarged(picture) for picture in shown], inputs=shots, columns=10)
    write(options.work / f"{target.name}-{name}.png", overview, overwrite=True)
    values = figures(pictures, target)
    print(target.name, name, {key: round(value, 3) for key, value in values.items()}, file=sys.stderr, flush=True)
    return [
        target.name,
        name,
        str(len(pictures.pictures)),
        f"{values['FD']:.1f}",
        f"{values['patch FD']:.4f}",
        f"{values['copies']:.3f}",
        f"{values['spread']:.2f}",
        f"{seconds:.0f}" if seconds else "-",
    ]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--source", type=Path, required=True, metavar="FILE", help="a model of train --system ddpm")
    add("--target", type=Path, nargs="+", required=True, metavar="FOLDER", help="shots first, then the truth")
    add("--methods", choices=METHODS, nargs="+", default=["local", "direct"], metavar="NAME", help="local direct")
    add("--shots", type=int, default=10, metavar="N", help="10")
    add("--truth", type=int, default=500, metavar="N", help="true pictures; 500")
    add("--samples", type=int, default=200, metavar="N", help="of every row; 200")
    add("--steps", type=int, metavar="N", help="of every adaptation; as the command does")
    add("--weights", type=Path, metavar="FOLDER", help="where EfficientNet-Lite0's weights are")
    share_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    head = ["target", "pictures", "n", "FD", "patch FD", "copies", "spread / real", "seconds"]
    try:
        network, source = EfficientNetLite0.load(options.weights), systems.load(options.source)
        side = source.size[0] if source.size else 0
        targets = [target_of(folder, side, options, network) for folder in options.target]
        lines = [line for target in targets for line in rows(target, source, network, options)]
    except SinwaveError as error:
        raise SystemExit(f"fewshot.py: {error}") from error
    made_with = provenance("fewshot.py", threads=options.threads, seed=options.seed)
    deliver([made_with, table(head, lines)], options.output)


if __name__ == "__main__":
    main(sys.argv[1:])
