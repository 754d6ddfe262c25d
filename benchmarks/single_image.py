"""Ours beside the stored samples of SinGAN and GPNN, by the same functions.

    python benchmarks/single_image.py --peers FOLDER --output table.md --sheet sheet.png

FOLDER has the sources in `real` and one sample of each in `singan` and in `gpnn`, files of equal names. Of ours there
is one sample a picture too, that of the seed, so that every mean is over as many samples. Diversity needs two samples
of one picture, which the peers do not have: it is no part of the table. NIQE's model is fitted to the sources. Samples
are kept as those of closed_form.py.

With `--models FOLDER` a model is trained for each source, unless FOLDER has it already (some minutes each; an
interrupted training goes on), and its engines are two more columns at each variation. With `--singan FOLDER` likewise
a SinGAN of ours, from its second scale and from its first, as the stored samples seem to be; of pictures reduced to
`--side`, if that is given.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from drawing import OURS, Job, costs
from PIL import Image, ImageDraw
from reporting import deliver, provenance, share_options, table
from sources import keep
from torch import Tensor

from sinwave.images import read, to_uint8
from sinwave.metrics.cards import CARDS, cards_for
from sinwave.metrics.evaluate import Method, Results, evaluate
from sinwave.metrics.measures import Resources
from sinwave.metrics.niqe import NaturalModel
from sinwave.metrics.patches import pixel_diversity
from sinwave.metrics.scores import Score, mean_score
from sinwave.resize import resize
from sinwave.rng import NoiseSource
from sinwave.systems.singan.pyramid import reduced
from sinwave.systems.table import load
from sinwave.tasks.collect import collect
from sinwave.tasks.measuring import NIQE_BLOCK
from sinwave.tasks.train import Train

PEERS = {"SinGAN": "singan", "GPNN": "gpnn"}
MARGIN, HEAD, WIDTH = 6, 22, 250
MOST_PIXELS = 1 << 24
SECOND_AND_FIRST = (0.58, 1.0)
"""Variations of a SinGAN of six to ten scales that begin at its second one and at its first."""


def found_in(folder: Path, side: int | None) -> dict[str, Tensor]:
    """The pictures of a folder by name, reduced to a longer side; one that cannot be read ends the benchmark."""
    collection = collect([folder], MOST_PIXELS)
    if collection.remarks:
        raise SystemExit("\n".join(collection.remarks))
    return {name: reduced_to(picture, side) for name, picture in collection.pictures.items()}


def reduced_to(picture: Tensor, side: int | None) -> Tensor:
    """(3, h, w) uint8."""
    size = reduced((picture.shape[1], picture.shape[2]), side)
    if size == picture.shape[1:]:
        return picture
    return to_uint8(resize(picture[None].float() / 127.5 - 1, size)[0].clamp(-1, 1))


def drawn(options: argparse.Namespace, sources: Mapping[str, Tensor], variation: float) -> dict[str, Tensor]:
    """One sample of ours for each source."""
    samples = {}
    for name, source in sources.items():
        size = (source.shape[1], source.shape[2])
        path = keep(options.work, f"peers-{name}", source.float() / 127.5 - 1, size)
        job = Job(str(path), size, OURS, variation, options.threads, options.seed)
        costs(job, 1)
        samples[name] = to_uint8(read(job.sample(0)).pixels)
    return samples


def learned(
    options: argparse.Namespace,
    sources: Mapping[str, Tensor],
    engine: str,
    variation: float,
    system: Literal["wavelet", "singan"] = "wavelet",
) -> dict[str, Tensor]:
    """One sample for each source by a model that was trained on it, with the command's defaults."""
    samples, folder = {}, options.models if system == "wavelet" else options.singan
    for name, source in sources.items():
        (picture,) = (options.peers / "real").glob(f"{name}.*")
        if options.side is not None:
            picture = keep(
                options.work, f"peers-{name}", source.float() / 127.5 - 1, (source.shape[1], source.shape[2])
            )
        file = folder / f"{name}.safetensors"
        Train(
            pictures=(picture,),
            output=file,
            system=system,
            threads=options.threads,
            seed=options.seed,
            steps=options.steps,
        ).run(on_event=lambda sentence, name=name: print(f"{name}: {sentence}", file=sys.stderr, flush=True))
        model = load(file).model(engine, torch.device("cpu"), torch.float32)
        with torch.inference_mode():
            sample = model.generate(model.size, NoiseSource(options.seed).child(0), variation=variation)
        samples[name] = to_uint8(sample[0])
    return samples


def block_for(pictures: Iterable[Tensor]) -> int:
    """Pixels along a side of a block of NIQE: so few that three fit, since its model needs more than there are large.

    Figures of different blocks cannot be compared.
    """
    third = 2 * (min(min(picture.shape[1:]) for picture in pictures) // 6)
    return max(16, min(NIQE_BLOCK, third))


def rows(measured: Results, methods: Sequence[str]) -> list[tuple[str, ...]]:
    """A metric a line: the mean of each method with its interval."""
    lines = []
    for metric in dict.fromkeys(score.metric for score in measured.scores):
        cells = []
        for method in methods:
            score = measured.of(metric, method)
            cells.append("-" if score is None else _cell(score))
        lines.append((CARDS[metric].title, CARDS[metric].better, *cells))
    return lines


def departures(methods: Mapping[str, Mapping[str, Tensor]], sources: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Pixel diversity of sample and source: were the source one more sample, this would be that of the method."""
    cells = []
    for label, some in methods.items():
        pairs = {name: torch.stack([some[name], source]) for name, source in sources.items()}
        each = {name: pixel_diversity(pair, sources[name]) for name, pair in pairs.items()}
        cells.append(_cell(mean_score("departure", label, each)))
    return ("diversity of sample and source", "higher", *cells)


def _cell(score: Score) -> str:
    interval = f" ({score.interval[0]:.4f} to {score.interval[1]:.4f})" if score.interval else ""
    return f"{score.value:.4f}{interval}"


def wins(measured: Results, ours: Sequence[str]) -> list[tuple[str, ...]]:
    """Of how many pictures ours is better than each peer, by metric."""
    lines = []
    for metric in dict.fromkeys(score.metric for score in measured.scores):
        sign = 1 if CARDS[metric].better == "higher" else -1
        cells = []
        for method in ours:
            for peer in PEERS:
                a, b = measured.of(metric, method), measured.of(metric, peer)
                if a is None or b is None:
                    raise ValueError(f"no score of {metric}")
                better = [sign * a.each[name] > sign * b.each[name] for name in a.each]
                cells.append(f"{sum(better)} of {len(better)}")
        lines.append((CARDS[metric].title, *cells))
    return lines


def side_by_side(file: Path, columns: Mapping[str, Mapping[str, Tensor]]) -> None:
    """A row for each picture, a column for each method."""
    names = list(next(iter(columns.values())))
    span = [max(round(WIDTH * c[name].shape[1] / c[name].shape[2]) for c in columns.values()) for name in names]
    size = (len(columns) * (WIDTH + MARGIN) + MARGIN, HEAD + sum(span) + MARGIN * len(names))
    page = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    for column, (method, pictures) in enumerate(columns.items()):
        left, top = MARGIN + column * (WIDTH + MARGIN), HEAD
        draw.text((left, MARGIN), method, fill="black")
        for name, height in zip(names, span, strict=True):
            picture = Image.fromarray(pictures[name].movedim(0, 2).contiguous().numpy())
            page.paste(picture.resize((WIDTH, round(WIDTH * picture.height / picture.width))), (left, top))
            top += height + MARGIN
    page.save(file)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--peers", type=Path, required=True, metavar="FOLDER", help="with the folders real, singan, gpnn")
    add("--variation", type=float, nargs="+", default=[0.5, 0.7, 1.0], metavar="V", help="of ours; 0.5 0.7 1")
    add("--models", type=Path, metavar="FOLDER", help="of trained models, made where they are missing; none")
    add("--singan", type=Path, metavar="FOLDER", help="likewise, of models of SinGAN; none")
    add("--side", type=int, metavar="PIXELS", help="reduce all pictures to this longer side; as they are")
    add("--steps", type=int, metavar="N", help="of their training; as the command's default")
    add("--sheet", type=Path, metavar="FILE", help="all pictures side by side; none")
    share_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Do what the command line says."""
    options = parse(arguments)
    sources = found_in(options.peers / "real", options.side)
    methods = {label: found_in(options.peers / folder, options.side) for label, folder in PEERS.items()}
    for label, some in methods.items():
        if set(some) != set(sources):
            raise SystemExit(f"{label}: the names of its samples are not those of the sources")
    methods |= {f"{OURS} {variation:g}": drawn(options, sources, variation) for variation in options.variation}
    for engine in ("network", "hybrid") if options.models else ():
        methods |= {
            f"{engine} {variation:g}": learned(options, sources, engine, variation) for variation in options.variation
        }
    for variation in SECOND_AND_FIRST if options.singan else ():
        methods[f"SinGAN, ours {variation:g}"] = learned(options, sources, "network", variation, "singan")
    judged = [Method(label, {n: (some[n], sources[n]) for n in sources}) for label, some in methods.items()]
    names = [card.name for card in cards_for("single") if card.of == "each" and card.default and not card.weights]
    block = block_for(sources.values())
    natural = NaturalModel.fit(sources.values(), block)
    measured = evaluate("single", [*names, "niqe"], judged, {}, Resources(natural=natural))
    if measured.remarks:
        raise SystemExit("\n".join(measured.remarks))
    ours = [label for label in methods if label not in PEERS]
    parts = [
        provenance("single_image.py", threads=options.threads, seed=options.seed),
        f"n = {len(sources)} pictures, one sample each, mean and 95 % interval; NIQE by blocks of {block}\n",
        table(("metric", "better", *methods), [*rows(measured, list(methods)), departures(methods, sources)]),
        "Of how many pictures ours is the better one:\n",
        table(("metric", *(f"{label} / {peer}" for label in ours for peer in PEERS)), wins(measured, ours)),
    ]
    deliver(parts, options.output)
    if options.sheet:
        side_by_side(options.sheet, {"source": sources, **methods})


if __name__ == "__main__":
    main(sys.argv[1:])
