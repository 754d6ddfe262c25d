"""What a report shows of samples, and how to read it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

import torch
from torch import Tensor

from sinwave.metrics.cards import CARDS, cards_for
from sinwave.metrics.copies import SIDE, copy_report, nearest_for_copies
from sinwave.metrics.evaluate import Method, Results
from sinwave.metrics.patch_frechet import PATCH, PatchGaussians
from sinwave.metrics.patches import wasserstein_by_scale
from sinwave.metrics.scores import Score
from sinwave.metrics.sets import of_one_size
from sinwave.tasks.material import Material
from sinwave.tasks.reporting.charts import Line, chart
from sinwave.tasks.reporting.maps import copied_areas, data_uri, differences, origin, places
from sinwave.tasks.reporting.page import Section, pictures, table

__all__ = ["sections"]

ON_SHEET = 23  # with the source, full rows of four, six or eight
IN_CURVES = 5  # samples of a method: their curves hardly differ from those of all
BINS = 64
OCTAVES = 8  # 0 to 255 gray levels


def sections(name: str, material: Material, measured: Results) -> Iterator[Section]:
    """From what everybody looks at first to what few look up."""
    (source,) = material.others.values()
    ours = material.judged[0]
    yield _sheet(name, source, ours)
    for peer in material.judged[1:]:
        yield _peer_sheet(peer)
    yield _figures(material, measured)
    yield _origins(source, ours, measured)
    yield _diversity(ours)
    yield _curves(source, material.judged)
    yield _histograms(source, material.judged)
    yield _every_sample(ours, measured)


def _sheet(name: str, source: Tensor, ours: Method) -> Section:
    shown = [(data_uri(source), f"{name}, the source")]
    shown += [(data_uri(sample), label) for label, (sample, *_) in list(ours.pictures.items())[:ON_SHEET]]
    left = len(ours.pictures) - ON_SHEET
    more = f" {left} more were measured and are not shown." if left > 0 else ""
    return Section("Samples", f"The source has a frame.{more}", pictures(shown, framed=True))


def _peer_sheet(peer: Method) -> Section:
    shown = [(data_uri(sample), label) for label, (sample, *_) in list(peer.pictures.items())[: ON_SHEET + 1]]
    return Section(f"Samples of {peer.method}", "Results beside the others.", pictures(shown))


def _figures(material: Material, measured: Results) -> Section:
    methods = [method.method for method in material.judged]
    rows = []
    for card in cards_for("single"):
        scores = [measured.of(card.name, method) for method in methods]
        if any(scores):
            rows.append((_title(card.name), card.better, *_cells(card.better, scores)))
    explanation = (
        "Each figure with the number of samples and, where one can be told, its 95 % interval. Likeness alone rewards "
        "copies, so it means something only beside novelty: a perfect copy of the source is best in every likeness and "
        "worst in novelty."
    )
    body = table(("metric", "better", *methods), rows)
    absent = "".join(
        f"<li>{escape(CARDS[name].title)}: {escape(reason)}</li>" for name, reason in measured.unavailable.items()
    )
    if absent:
        summary = f"<summary>unavailable: {len(measured.unavailable)}</summary>"
        body += f"<details>{summary}<ul>{absent}</ul></details>"
    return Section("Figures", explanation, body)


def _title(metric: str) -> str:
    card = CARDS[metric]
    return f"{escape(card.title)} <small>{card.kind}: {escape(card.meaning)}</small>"


def _cells(better: str, scores: Sequence[Score | None]) -> Iterator[str]:
    values = [score.value for score in scores if score is not None]
    best = min(values) if better == "lower" else max(values)
    for score in scores:
        if score is None:
            yield "-"
            continue
        mark = " class=best" if len(values) > 1 and score.value == best else ""
        interval = f"<small>{score.interval[0]:.3g} to {score.interval[1]:.3g}</small>" if score.interval else ""
        yield f"<span{mark}>{score.value:.4g}</span>{interval}<small>n = {score.n}</small>"


def _origins(source: Tensor, ours: Method, measured: Results) -> Section:
    """The maps of the samples of which least, half way and most is copied."""
    copied = measured.of("copied", ours.method)
    if copied is None:
        return Section("Where samples come from", "No sample could be compared with the source.", "")
    order = sorted(copied.each, key=copied.each.__getitem__)
    chosen = list(dict.fromkeys((order[0], order[len(order) // 2], order[-1])))
    size = (source.shape[1], source.shape[2])
    shown = [(data_uri(source), "the source"), (data_uri(places(*size)), "the color of each of its places")]
    body = pictures(shown, wide=True)
    for name in chosen:
        sample = ours.pictures[name][0]
        field = nearest_for_copies(sample, source)
        report = copy_report(sample, source, field=field)
        map_ = origin(field, (sample.shape[1], sample.shape[2]), size)
        body += pictures(
            [
                (data_uri(sample), name),
                (data_uri(map_), "where its patches come from"),
                (data_uri(copied_areas(sample, report.mask)), f"copied: {report.area:.0%}, in color"),
            ],
            wide=True,
        )
    explanation = (
        "Every place of a sample in the color of the place in the source where its nearest patch lies: one even run of "
        f"colors is one piece that was moved as a whole. Copied is what lies in squares of {SIDE} pixels that the "
        "source has too. Shown are the samples of which least, half way and most is copied."
    )
    return Section("Where samples come from", explanation, body)


def _diversity(ours: Method) -> Section:
    kept, _ = of_one_size({name: sample for name, (sample, *_) in ours.pictures.items()})
    if len(kept) < 2:
        return Section("Where samples differ", "One sample differs from none.", "")
    stack = torch.stack(list(kept.values()))
    shown = [
        (data_uri(differences(stack)), f"deviation of each pixel over {len(kept)} samples: dark is the same in all"),
        (data_uri(stack.float().mean(0).round().byte()), "their mean"),
    ]
    return Section("Where samples differ", "What is dark never changes.", pictures(shown, wide=True))


def _curves(source: Tensor, judged: Sequence[Method]) -> Section:
    """Distances of patches on as many scales as fit."""
    pictures_of = {
        method.method: [s for s, *_ in method.pictures.values() if min(s.shape[1:]) >= PATCH][:IN_CURVES]
        for method in judged
    }
    pictures_of = {method: some for method, some in pictures_of.items() if some}
    if not pictures_of:
        return Section("Patches, scale by scale", f"No sample has {PATCH} pixels a side.", "")
    least = min(min(each.shape[1:]) for each in [source, *(s for some in pictures_of.values() for s in some)])
    scales = min(6, 1 + int(math.log2(least / PATCH)))
    known = PatchGaussians.of(source, scales=scales)
    transport, gaussian = [], []
    for color, (method, samples) in enumerate(pictures_of.items()):
        swd = [wasserstein_by_scale(sample, source, scales=scales) for sample in samples]
        frechet = [PatchGaussians.of(sample, scales=scales).distances(known) for sample in samples]
        transport.append(Line(method, _means(swd), color % 6))
        gaussian.append(Line(method, _means(frechet), color % 6))
    ticks = ["1 px", *(f"{2**scale} px" for scale in range(1, scales))]
    body = chart("Sliced Wasserstein distance", transport, ticks, "size of detail", dots=True)
    body += chart("Patch Frechet distance", gaussian, ticks, "size of detail", dots=True)
    explanation = (
        f"Distances between the patches of samples and of the source on each scale, means of at most {IN_CURVES} "
        "samples. High on the left: fine texture is off, as with blur or noise. High on the right: there is more or "
        "less of something than in the source."
    )
    return Section("Patches, scale by scale", explanation, f"<div class='grid two'>{body}</div>")


def _means(curves: Sequence[Sequence[float]]) -> list[float]:
    return [sum(values) / len(values) for values in zip(*curves, strict=True)]


def _histograms(source: Tensor, judged: Sequence[Method]) -> Section:
    groups = {"source": [source], **{method.method: [s for s, *_ in method.pictures.values()] for method in judged}}
    light, steps = [], []
    for index, (label, some) in enumerate(groups.items()):
        color, dashed = (5, True) if index == 0 else ((index - 1) % 6, False)
        light.append(Line(label, _shares([each.float().mean(0) for each in some], 255), color, dashed))
        steps.append(Line(label, _at_least(_shares([_steps(each) for each in some], OCTAVES)), color, dashed))
    body = chart("Intensity", light, _ticks({0: "0", 0.5: "128", 1: "255"}), "gray level")
    octaves = {octave / OCTAVES: f"{2**octave - 1}" for octave in range(OCTAVES + 1)}
    body += chart("Steps between neighbors of at least ...", steps, _ticks(octaves), "gray levels")
    explanation = (
        "Shares of pixels. Samples of a good generator have the light and the edges of the source: a curve of steps "
        "that falls too early is blur, one that falls late is noise."
    )
    return Section("Histograms", explanation, f"<div class='grid two'>{body}</div>")


def _ticks(labels: Mapping[float, str]) -> list[str]:
    """The label of each bin, empty for most, from those at shares of the axis."""
    at = {min(round(share * BINS), BINS - 1): label for share, label in labels.items()}
    return [at.get(index, "") for index in range(BINS)]


def _steps(picture: Tensor) -> Tensor:
    """In octaves, since most steps are small and what is told by the large ones matters as much."""
    return torch.log2(1 + picture.float().mean(0).diff(dim=1).abs())


def _shares(planes: Sequence[Tensor], most: float) -> list[float]:
    counts = sum(torch.histc(plane, BINS, 0, most) for plane in planes)
    assert isinstance(counts, Tensor)
    shares: list[float] = (counts / counts.sum()).tolist()
    return shares


def _at_least(shares: Sequence[float]) -> list[float]:
    """The share of each bin and of all after it."""
    found: list[float] = torch.tensor(shares).flip(0).cumsum(0).flip(0).tolist()
    return found


def _every_sample(ours: Method, measured: Results) -> Section:
    scores = [score for score in measured.scores if score.method == ours.method and score.each]
    rows = [
        (escape(name), *(f"{score.each[name]:.4g}" if name in score.each else "-" for score in scores))
        for name in ours.pictures
    ]
    head = ("sample", *(CARDS[score.metric].title for score in scores))
    return Section("Every sample", "To find the one that stands out.", table(head, rows))
