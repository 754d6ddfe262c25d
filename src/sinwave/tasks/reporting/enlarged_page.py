"""The page about enlarged pictures: beside a plain enlargement, where they are unsure, and how well they agree."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from sinwave import __version__
from sinwave.images import from_uint8, read, to_uint8
from sinwave.resize import Kind, resize
from sinwave.tasks.reporting.page import Section, compared, page, pictures, table

__all__ = ["Compared", "enlarged_page"]

_WHOLE, _PART, _PARTS = 960, 256, 4
"""Pixels along the longer side of the whole picture and of a part, and the number of parts."""

_REACH = 4
"""Pixels around what is transparent that a reduction mixes with it."""

_LEVELS = 4
"""Gray levels of the map for a gray level of doubt."""


class Compared(NamedTuple):
    """The source of results: its name, its colors (1, 3, h, w) and alpha, its reduction, and the command.

    `visible` (1, 1, h, w) is alpha from 0 to 1, None if that is 1.
    """

    name: str
    low: Tensor
    visible: Tensor | None
    kind: Kind
    command: str


def enlarged_page(source: Compared, files: Sequence[Path], doubt: Tensor | None) -> str:
    """Make the page about results in files; `doubt` (1, 1, h, w) is in gray levels."""
    source = source._replace(
        low=source.low.float().cpu(), visible=None if source.visible is None else source.visible.cpu()
    )
    first = _read(files[0])
    size = (first.shape[2], first.shape[3])
    plain = resize(source.low, size).clamp(-1, 1)
    doubt = None if doubt is None else doubt.float().cpu()
    height, width = source.low.shape[2:]
    subtitle = f"{source.name}, {width} x {height} pixels, became {size[1]} x {size[0]}."
    parts = [_whole(plain, first), _details(plain, first, doubt)]
    parts += [] if doubt is None else [_unsure(doubt)]
    parts.append(_figures(source, plain, files, doubt))
    title = f"{source.name}, enlarged" if first.shape[2] > height else source.name
    return page(title, subtitle, parts, f"sinwave {__version__}: {source.command} --report")


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


def _figures(source: Compared, plain: Tensor, files: Sequence[Path], doubt: Tensor | None) -> Section:
    rows = [("resized bicubically", *_row(plain, source, plain))]
    rows += [(escape(file.name), *_row(_read(file), source, plain)) for file in files]
    head = ("", "agreement, dB", "largest deviation, gray levels", "detail")
    how = source.kind if source.kind != "bicubic" else "bicubically"
    explanation = (
        f"Agreement: every result is reduced to the size of SOURCE again ({how}) and compared with it; no deviation "
        "means that it contradicts nothing. Detail: energy of differences of neighboring pixels, bicubic = 1; more is "
        "not better."
    )
    if doubt is not None:
        explanation += f" Expected error over all pixels: {doubt.square().mean().sqrt().item():.1f} gray levels."
    return Section("Figures", explanation, table(head, rows))


def _row(result: Tensor, source: Compared, plain: Tensor) -> tuple[str, str, str]:
    again = from_uint8(to_uint8(resize(result, (source.low.shape[2], source.low.shape[3]), source.kind)))
    apart = 127.5 * (again - source.low)
    if source.visible is not None:  # colors of what nobody sees are nothing to agree with
        clear = -functional.max_pool2d(-source.visible, 2 * _REACH + 1, 1, _REACH)
        apart = apart[:, :, clear[0, 0] == 1]
    if not apart.numel():
        return "-", "-", "-"
    error = apart.square().mean().item()
    agreement = "exact" if error == 0 else f"{10 * math.log10(255**2 / error):.1f}"
    detail = _energy(result) / max(_energy(plain), 1e-12)
    return agreement, f"{apart.abs().max().item():.0f}", f"{detail:.2f}"


def _energy(picture: Tensor) -> float:
    gray = picture.mean(1)
    return sum(gray.diff(dim=dim).square().mean().item() for dim in (1, 2))
