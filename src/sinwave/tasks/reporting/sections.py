"""Sections of a report on samples, with explanations of how to read them, and pictures that explain samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import chain

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.metrics.cards import CARDS, cards_for
from sinwave.metrics.copies import SIDE, NearestField, copy_report, nearest_for_copies
from sinwave.metrics.evaluate import Method, Results
from sinwave.metrics.frechet import PATCH, patch_distances, patch_gaussians
from sinwave.metrics.patches import wasserstein_by_scale
from sinwave.metrics.scores import Score
from sinwave.metrics.set_measures import of_one_size
from sinwave.tasks.base.material import Material
from sinwave.tasks.reporting.page import Line, Section, chart, pictures, table

__all__ = ["sections"]

ON_SHEET = 23  # with the source, full rows of four, six or eight
IN_CURVES = 5  # samples of a method: their curves hardly differ from those of all
BINS = 64
OCTAVES = 8  # 0 to 255 gray levels
_HEAT = ((0.05, 0.06, 0.12), (0.25, 0.22, 0.55), (0.80, 0.29, 0.42), (0.98, 0.65, 0.29), (0.99, 0.95, 0.75))


def sections(name: str, material: Material, results: Results) -> Iterator[Section]:
    """Yield the sections, from what everybody looks at first to what few look up."""
    (source,) = material.references.values()
    ours = material.methods[0]
    yield _sheet(name, source, ours)
    for peer in material.methods[1:]:
        body = pictures(list(peer.results.items())[: ON_SHEET + 1])
        yield Section(f"Samples of {peer.name}", "Results beside the others.", body)
    yield from (_figures(material, results), _origins(source, ours, results), _diversity(ours))
    yield from (_curves(source, material.methods), _histograms(source, material.methods), _every_sample(ours, results))


def _sheet(name: str, source: Tensor, ours: Method) -> Section:
    captioned = [(f"{name}, the source", source), *list(ours.results.items())[:ON_SHEET]]
    left = len(ours.pictures) - ON_SHEET
    more = f" {left} more were measured and are not shown." if left > 0 else ""
    return Section("Samples", f"The source has a frame.{more}", pictures(captioned, framed=True))


def _figures(material: Material, results: Results) -> Section:
    methods = [method.name for method in material.methods]
    rows = []
    for card in cards_for("single"):
        scores = [results.score(card.name, method) for method in methods]
        if any(scores):
            title = f"{escape(card.title)} <small>{card.kind}: {escape(card.meaning)}</small>"
            rows.append((title, card.better, *_cells(card.better, scores)))
    explanation = (
        "Each figure with the number of samples and, where one can be told, its 95 % interval. Likeness alone rewards "
        "copies, so it means something only beside novelty: a perfect copy of the source is best in every likeness and "
        "worst in novelty."
    )
    body = table(("metric", "better", *methods), rows)
    absent = "".join(
        f"<li>{escape(CARDS[name].title)}: {escape(reason)}</li>" for name, reason in results.unavailable.items()
    )
    if absent:
        summary = f"<summary>unavailable: {len(results.unavailable)}</summary>"
        body += f"<details>{summary}<ul>{absent}</ul></details>"
    return Section("Figures", explanation, body)


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


def _origins(source: Tensor, ours: Method, results: Results) -> Section:
    """The maps of the samples of which least, half way and most is copied."""
    copied = results.score("copied", ours.name)
    if copied is None:
        return Section("Where samples come from", "No sample could be compared with the source.", "")
    order = sorted(copied.by_picture, key=copied.by_picture.__getitem__)
    chosen = list(dict.fromkeys((order[0], order[len(order) // 2], order[-1])))
    size = (source.shape[1], source.shape[2])
    body = pictures([("the source", source), ("the color of each of its places", _places(*size))], wide=True)
    for name in chosen:
        sample = ours.results[name]
        field = nearest_for_copies(sample, source)
        report = copy_report(sample, source, field=field)
        origins = _origin(field, (sample.shape[1], sample.shape[2]), size)
        copies = f"copied: {report.area:.0%}, in color", _copied_areas(sample, report.mask)
        body += pictures([(name, sample), ("where its patches come from", origins), copies], wide=True)
    explanation = (
        "Every place of a sample in the color of the place in the source where its nearest patch lies: one even run of "
        f"colors is one piece that was moved as a whole. Copied is what lies in squares of {SIDE} pixels that the "
        "source has too. Shown are the samples of which least, half way and most is copied."
    )
    return Section("Where samples come from", explanation, body)


def _diversity(ours: Method) -> Section:
    samples, _ = of_one_size(ours.results)
    if len(samples) < 2:
        return Section("Where samples differ", "One sample differs from none.", "")
    stack = torch.stack(list(samples.values()))
    captioned = [
        (f"deviation of each pixel over {len(samples)} samples: dark is the same in all", _differences(stack)),
        ("their mean", stack.float().mean(0).round().byte()),
    ]
    return Section("Where samples differ", "What is dark never changes.", pictures(captioned, wide=True))


def _curves(source: Tensor, methods: Sequence[Method]) -> Section:
    """Distances of patches on as many scales as fit."""
    pictures_of = {}
    for method in methods:
        if large := [sample for sample in method.results.values() if min(sample.shape[1:]) >= PATCH]:
            pictures_of[method.name] = large[:IN_CURVES]
    if not pictures_of:
        return Section("Patches, scale by scale", f"No sample has {PATCH} pixels a side.", "")
    least = min(min(picture.shape[1:]) for picture in chain([source], *pictures_of.values()))
    scales = min(6, 1 + int(math.log2(least / PATCH)))
    reference = patch_gaussians(source, scales=scales)
    transport, gaussian = [], []
    for color, (name, samples) in enumerate(pictures_of.items()):
        swd = [wasserstein_by_scale(sample, source, scales=scales) for sample in samples]
        frechet = [patch_distances(patch_gaussians(sample, scales=scales), reference) for sample in samples]
        transport.append(Line(name, _means(swd), color % 6))
        gaussian.append(Line(name, _means(frechet), color % 6))
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


def _histograms(source: Tensor, methods: Sequence[Method]) -> Section:
    groups = {"source": [source], **{method.name: list(method.results.values()) for method in methods}}
    light, steps = [], []
    for index, (label, group) in enumerate(groups.items()):
        color, dashed = (5, True) if index == 0 else ((index - 1) % 6, False)
        light.append(Line(label, _shares((picture.float().mean(0) for picture in group), 255).tolist(), color, dashed))
        at_least = _shares(map(_steps, group), OCTAVES).flip(0).cumsum(0).flip(0)
        steps.append(Line(label, at_least.tolist(), color, dashed))
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
    """Steps between neighbors in octaves: most are small, and the large ones matter as much."""
    return torch.log2(1 + picture.float().mean(0).diff(dim=1).abs())


def _shares(planes: Iterable[Tensor], most: float) -> Tensor:
    counts = torch.stack([torch.histc(plane, BINS, 0, most) for plane in planes]).sum(0)
    return counts / counts.sum()


def _every_sample(ours: Method, results: Results) -> Section:
    scores = [score for score in results.scores if score.method == ours.name and score.by_picture]
    rows = [
        (escape(name), *(f"{score.by_picture[name]:.4g}" if name in score.by_picture else "-" for score in scores))
        for name in ours.pictures
    ]
    head = ("sample", *(CARDS[score.metric].title for score in scores))
    return Section("Every sample", "To find the one that stands out.", table(head, rows))


def _places(height: int, width: int) -> Tensor:
    """A color for every place of a picture: warm on the right, light above."""
    y, x = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)[None]
    red, green, blue = 0.2 + 0.8 * x + 0 * y, 0.95 - 0.75 * y + 0 * x, 1.0 - 0.8 * x + 0 * y
    return _bytes(torch.stack([red, green, blue]) * (0.55 + 0.45 * (1 - y)))


def _origin(field: NearestField, size: tuple[int, int], source: tuple[int, int]) -> Tensor:
    """A sample of `size` in the colors of the places in the source that its nearest patches come from."""
    middle = field.place + field.patch // 2
    colors = _places(*source)[:, middle[..., 0].clamp(max=source[0] - 1), middle[..., 1].clamp(max=source[1] - 1)]
    return functional.interpolate(colors[None].float(), size, mode="nearest")[0].byte()


def _copied_areas(sample: Tensor, mask: Tensor) -> Tensor:
    """The sample in gray where it is new, and in color with a bright outline where it is copied."""
    gray = 0.55 * sample.float().mean(0, keepdim=True).expand(3, -1, -1) + 100
    grown = functional.max_pool2d(mask[None].float(), 3, 1, 1)[0] > 0
    outline = torch.tensor([255.0, 64.0, 96.0])[:, None, None]
    colors = torch.where(mask, sample.float(), gray)
    return torch.where(grown & ~mask, outline, colors).byte()


def _differences(samples: Tensor) -> Tensor:
    """Differences of each pixel between samples (n, 3, h, w): dark where they agree, light where they do not."""
    deviation = samples.float().mean(1).std(0)
    share = (deviation / deviation.max().clamp(min=1)).clamp(0, 1) * (len(_HEAT) - 1)
    colors, below = torch.tensor(_HEAT), share.floor().long().clamp(max=len(_HEAT) - 2)
    part = (share - below)[..., None]
    return _bytes((colors[below] * (1 - part) + colors[below + 1] * part).movedim(2, 0))


def _bytes(colors: Tensor) -> Tensor:
    return (255 * colors).round().clamp(0, 255).byte()
