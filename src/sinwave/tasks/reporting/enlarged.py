"""The page about enlarged pictures: beside a plain enlargement, where they are unsure, and how well they agree."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from torch import Tensor
from torch.nn import functional

from sinwave import __version__
from sinwave.images import from_uint8, read, to_uint8
from sinwave.resize import resize
from sinwave.tasks.reporting.page import Section, compared, page, pictures, table

__all__ = ["enlarged_page"]

_WHOLE, _PART, _PARTS = 960, 256, 4
"""Pixels along the longer side of the whole picture and of a part, and the number of parts."""

_LEVELS = 4
"""Gray levels of the map for a gray level of doubt."""


def enlarged_page(name: str, low: Tensor, files: Sequence[Path], doubt: Tensor | None, command: str) -> str:
    """Make the page about results of a picture (1, 3, h, w); `doubt` (1, 1, h, w) is in gray levels."""
    results = {file.name: _read(file) for file in files}
    first = next(iter(results.values()))
    size = (first.shape[2], first.shape[3])
    plain = resize(low.float().cpu(), size).clamp(-1, 1)
    doubt = None if doubt is None else doubt.float().cpu()
    height, width = low.shape[2:]
    subtitle = f"{name}, {width} x {height} pixels, became {size[1]} x {size[0]}."
    parts = [_whole(plain, first), _details(plain, first, doubt)]
    parts += [] if doubt is None else [_unsure(doubt)]
    parts.append(_figures(low.float().cpu(), plain, results, doubt))
    return page(f"{name}, enlarged" if first.shape[2] > height else name, subtitle, parts, _footer(command))


def _footer(command: str) -> str:
    return f"sinwave {__version__}: {command} --report"


def _read(file: Path) -> Tensor:
    return read(file, max_pixels=1 << 62, min_side=1, max_aspect=None).pixels[None]


def _whole(plain: Tensor, result: Tensor) -> Section:
    share = min(1.0, _WHOLE / max(result.shape[2:]))
    size = (max(1, round(share * result.shape[2])), max(1, round(share * result.shape[3])))
    before, after = (to_uint8(resize(picture, size)[0]) for picture in (plain, result))
    smaller = "" if share == 1 else f" Shown at {100 * share:.0f} %."
    explanation = f"Left of the line: SOURCE, resized bicubically. Right of it: the result. Move the line.{smaller}"
    return Section("Before and after", explanation, compared([("the whole picture", before, after)]))


def _details(plain: Tensor, result: Tensor, doubt: Tensor | None) -> Section:
    change = (result - plain).square().mean(1, keepdim=True)
    places = list(_largest(change if doubt is None else doubt.square()))

    def part(picture: Tensor, top: int, left: int) -> Tensor:
        return to_uint8(picture[0, :, top : top + _PART, left : left + _PART])

    cut = [(f"{left}, {top}", part(plain, top, left), part(result, top, left)) for top, left in places]
    chosen = "changed most" if doubt is None else "is least sure"
    explanation = f"Parts at full size, where the result {chosen}; below each, its left and upper pixel."
    return Section("Details", explanation, compared(cut))


def _largest(values: Tensor) -> Iterator[tuple[int, int]]:
    """Choose places (top, left) of parts that do not overlap, where the mean of `values` (1, 1, h, w) is largest."""
    height, width = values.shape[2:]
    side = (min(_PART, height), min(_PART, width))
    means = functional.avg_pool2d(values, side, max(1, _PART // 8))[0, 0].clone()
    step = max(1, _PART // 8)
    for _ in range(_PARTS):
        row, column = divmod(int(means.argmax()), means.shape[1])
        if means[row, column] <= 0:
            return
        yield row * step, column * step
        reach = _PART // step
        means[max(0, row - reach + 1) : row + reach, max(0, column - reach + 1) : column + reach] = 0


def _unsure(doubt: Tensor) -> Section:
    share = min(1.0, _WHOLE / max(doubt.shape[2:]))
    size = (max(1, round(share * doubt.shape[2])), max(1, round(share * doubt.shape[3])))
    shown = to_uint8((_LEVELS * resize(doubt, size)[0] / 127.5 - 1).clamp(-1, 1)).expand(3, -1, -1)
    explanation = (
        f"The expected error of every pixel: black is none, white {255 // _LEVELS} gray levels or more. It follows "
        "from the result alone, by what the model missed in pictures of which the truth was at hand."
    )
    return Section("Where it is unsure", explanation, pictures([("expected error", shown)], wide=True))


def _figures(low: Tensor, plain: Tensor, results: Mapping[str, Tensor], doubt: Tensor | None) -> Section:
    rows = [("resized bicubically", *_row(plain, low, plain))]
    rows += [(name, *_row(result, low, plain)) for name, result in results.items()]
    head = ("", "agreement, dB", "largest deviation, gray levels", "detail")
    explanation = (
        "Agreement: every result is reduced to the size of SOURCE again and compared with it; no deviation means that "
        "it contradicts nothing. Detail: energy of differences of neighboring pixels, bicubic = 1; more is not better."
    )
    if doubt is not None:
        explanation += f" Expected error over all pixels: {doubt.square().mean().sqrt().item():.1f} gray levels."
    return Section("Figures", explanation, table(head, rows))


def _row(result: Tensor, low: Tensor, plain: Tensor) -> tuple[str, str, str]:
    again = from_uint8(to_uint8(resize(result, (low.shape[2], low.shape[3]))))
    apart = 127.5 * (again - low)
    error = apart.square().mean().item()
    agreement = "exact" if error == 0 else f"{10 * math.log10(255**2 / error):.1f}"
    detail = _energy(result) / max(_energy(plain), 1e-12)
    return agreement, f"{apart.abs().max().item():.0f}", f"{detail:.2f}"


def _energy(picture: Tensor) -> float:
    gray = picture.mean(1)
    return sum(gray.diff(dim=dim).square().mean().item() for dim in (1, 2))
