"""Ours beside the stored samples of SinGAN and GPNN, by the same functions.

    python benchmarks/single_image.py --peers FOLDER --output table.md --sheet sheet.png

FOLDER has the sources in `real`, and one sample per source in `singan` and `gpnn`, under the same names. Of ours one
sample per picture is drawn too, so that every mean is over the same number. Diversity needs two samples of one picture,
which the peers do not have, so the table has none. NIQE's model is fitted to the sources. Samples are cached as by
closed_form.py.

With `--models FOLDER` a model is trained for every source, unless FOLDER has it already (minutes per model; an
interrupted training resumes), and its engines are two more columns per variation. With `--singan FOLDER` our SinGAN is
trained too, and drawn from its second scale and from its first, as the stored samples seem to be. `--side` reduces all
pictures.
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
from sinwave.metrics.niqe import NaturalModel
from sinwave.metrics.patches import pixel_diversity
from sinwave.metrics.picture_measures import Resources
from sinwave.metrics.scores import Score, mean_score
from sinwave.resize import resize
from sinwave.rng import NoiseSource
from sinwave.systems.contracts import Computing
from sinwave.systems.singan.options import reduced
from sinwave.systems.table import load
from sinwave.tasks.base.collect import collect
from sinwave.tasks.evaluate import NIQE_BLOCK
from sinwave.tasks.train import Train

PEERS = {"SinGAN": "singan", "GPNN": "gpnn"}
MARGIN, HEAD, WIDTH = 6, 22, 250
MOST_PIXELS = 1 << 24
SECOND_AND_FIRST = (0.58, 1.0)
"""Variations that start a SinGAN of six to ten scales at its second scale and at its first."""


def pictures_in(folder: Path, side: int | None) -> dict[str, Tensor]:
    """Read the pictures of a folder by name, reduced to a longer side; an unreadable one ends the benchmark."""
    collection = collect([folder], MOST_PIXELS)
    if collection.remarks:
        raise SystemExit("\n".join(collection.remarks))
    return {name: reduced_to(picture, side) for name, picture in collection.pictures.items()}


def reduced_to(picture: Tensor, side: int | None) -> Tensor:
    """Reduce a picture (3, h, w) of bytes to a longer side."""
    size = reduced((picture.shape[1], picture.shape[2]), side)
    if size == picture.shape[1:]:
        return picture
    return to_uint8(resize(picture[None].float() / 127.5 - 1, size)[0].clamp(-1, 1))


def drawn(options: argparse.Namespace, sources: Mapping[str, Tensor], variation: float) -> dict[str, Tensor]:
    """Draw one sample of ours per source."""
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
    """Draw one sample per source with a model trained on it, by the command's defaults."""
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
        model = load(file).build(engine, Computing(torch.device("cpu"), torch.float32))
        with torch.inference_mode():
            sample = model.generate(model.size, NoiseSource(options.seed).child(0), variation=variation)
        samples[name] = to_uint8(sample[0])
    return samples


def block_for(pictures: Iterable[Tensor]) -> int:
    """Side of NIQE's blocks in pixels: small enough that three fit along a side, since its model needs many blocks.

    Figures of different block sizes are not comparable.
    """
    third = 2 * (min(min(picture.shape[1:]) for picture in pictures) // 6)
    return max(16, min(NIQE_BLOCK, third))


def rows(measured: Results, methods: Sequence[str]) -> list[tuple[str, ...]]:
    """Make a row per metric: the mean of every method with its interval."""
    lines = []
    for metric in dict.fromkeys(score.metric for score in measured.scores):
        cells = []
        for method in methods:
            score = measured.score(metric, method)
            cells.append("-" if score is None else _cell(score))
        lines.append((CARDS[metric].title, CARDS[metric].better, *cells))
    return lines


def departures(methods: Mapping[str, Mapping[str, Tensor]], sources: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Pixel diversity of sample and source: the diversity of the method if the source were one more sample."""
    cells = []
    for label, samples in methods.items():
        pairs = {name: torch.stack([samples[name], source]) for name, source in sources.items()}
        values = {name: pixel_diversity(pair, sources[name]) for name, pair in pairs.items()}
        cells.append(_cell(mean_score("departure", label, values)))
    return ("diversity of sample and source", "higher", *cells)


def _cell(score: Score) -> str:
    interval = f" ({score.interval[0]:.4f} to {score.interval[1]:.4f})" if score.interval else ""
    return f"{score.value:.4f}{interval}"


def wins(measured: Results, ours: Sequence[str]) -> list[tuple[str, ...]]:
    """Count the pictures on which ours is better than a peer, by metric."""
    lines = []
    for metric in dict.fromkeys(score.metric for score in measured.scores):
        sign = 1 if CARDS[metric].better == "higher" else -1
        cells = []
        for method in ours:
            for peer in PEERS:
                a, b = measured.score(metric, method), measured.score(metric, peer)
                if a is None or b is None:
                    raise ValueError(f"no score of {metric}")
                better = [sign * a.by_picture[name] > sign * b.by_picture[name] for name in a.by_picture]
                cells.append(f"{sum(better)} of {len(better)}")
        lines.append((CARDS[metric].title, *cells))
    return lines


def side_by_side(file: Path, columns: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write a sheet with a row per picture and a column per method."""
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
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--peers", type=Path, required=True, metavar="FOLDER", help="with the folders real, singan, gpnn")
    add("--variation", type=float, nargs="+", default=[0.5, 0.7, 1.0], metavar="V", help="of ours; 0.5 0.7 1")
    add("--models", type=Path, metavar="FOLDER", help="of trained models; missing ones are trained; none")
    add("--singan", type=Path, metavar="FOLDER", help="of trained models of SinGAN; missing ones are trained; none")
    add("--side", type=int, metavar="PIXELS", help="reduce all pictures to this longer side; as they are")
    add("--steps", type=int, metavar="N", help="of a training; the command's default")
    add("--sheet", type=Path, metavar="FILE", help="all pictures side by side; none")
    share_options(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run the command line."""
    options = parse(arguments)
    sources = pictures_in(options.peers / "real", options.side)
    methods = {label: pictures_in(options.peers / folder, options.side) for label, folder in PEERS.items()}
    for label, samples in methods.items():
        if set(samples) != set(sources):
            raise SystemExit(f"{label}: the names of its samples are not those of the sources")
    methods |= {f"{OURS} {variation:g}": drawn(options, sources, variation) for variation in options.variation}
    for engine in ("network", "hybrid") if options.models else ():
        methods |= {
            f"{engine} {variation:g}": learned(options, sources, engine, variation) for variation in options.variation
        }
    for variation in SECOND_AND_FIRST if options.singan else ():
        methods[f"SinGAN, ours {variation:g}"] = learned(options, sources, "network", variation, "singan")
    judged = [Method(label, {n: (pictures[n], sources[n]) for n in sources}) for label, pictures in methods.items()]
    names = [
        card.name for card in cards_for("single") if card.default and not card.weights and card.name != "diversity"
    ]
    block = block_for(sources.values())
    natural = NaturalModel.fit(sources.values(), block)
    measured = evaluate("single", [*names, "niqe"], judged, {}, Resources(natural=natural))
    if measured.remarks:
        raise SystemExit("\n".join(measured.remarks))
    ours = [label for label in methods if label not in PEERS]
    parts = [
        provenance("single_image.py", threads=options.threads, seed=options.seed),
        f"n = {len(sources)} pictures, one sample per picture, mean and 95 % interval; NIQE by blocks of {block}\n",
        table(("metric", "better", *methods), [*rows(measured, list(methods)), departures(methods, sources)]),
        "Number of pictures on which ours is better:\n",
        table(("metric", *(f"{label} / {peer}" for label in ours for peer in PEERS)), wins(measured, ours)),
    ]
    deliver(parts, options.output)
    if options.sheet:
        side_by_side(options.sheet, {"source": sources, **methods})


if __name__ == "__main__":
    main(sys.argv[1:])
