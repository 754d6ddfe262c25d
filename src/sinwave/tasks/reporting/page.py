"""An HTML file that needs nothing else: its style, its pictures and its charts (SVG) are inside."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

import numpy as np
from PIL import Image
from torch import Tensor

from sinwave.images.writing import saved

__all__ = ["Line", "Section", "chart", "compared", "page", "pictures", "table"]

_WIDTH, _HEIGHT = 460, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 26, 12, 44


@dataclass(frozen=True)
class Section:
    """A heading, a paragraph that says how to read what follows, and that, as HTML."""

    heading: str
    explanation: str
    body: str


def page(title: str, subtitle: str, sections: Iterable[Section], footer: str) -> str:
    """The whole file."""
    body = "".join(
        f"<section><h2>{escape(part.heading)}</h2><p class='soft'>{escape(part.explanation)}</p>{part.body}</section>"
        for part in sections
    )
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    head = f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{escape(title)}</title>"
    return (
        f"<!doctype html>\n<html lang='en'><head>{head}<style>{style}</style></head><body><main>"
        f"<h1>{escape(title)}</h1><p class='soft'>{escape(subtitle)}</p>{body}"
        f"<h2>How this was made</h2><p class='soft'>{escape(footer)}</p></main></body></html>\n"
    )


def pictures(captioned: Sequence[tuple[str, Tensor]], *, wide: bool = False, framed: bool = False) -> str:
    """A grid of pictures, uint8 (3, h, w), each with the text below it; the first may have a frame."""
    figures = ""
    for index, (text, picture) in enumerate(captioned):
        figures += f"<figure{' class=first' if framed and index == 0 else ''}>{_image(picture, text)}"
        figures += f"<figcaption>{escape(text)}</figcaption></figure>"
    return f"<div class='grid{' wide' if wide else ''}'>{figures}</div>"


def compared(captioned: Sequence[tuple[str, Tensor, Tensor]]) -> str:
    """Pairs of pictures, uint8 (3, h, w), one over the other, with a line to move between them."""
    figures = ""
    for text, before, after in captioned:
        slider = (
            "<input type='range' min='0' max='100' value='50' aria-label='line between before and after' "
            'oninput=\'this.parentNode.style.setProperty("--cut", this.value + "%")\'>'
        )
        both = f"{_image(before, f'{text}, before')}{_image(after, f'{text}, after')}"
        figures += f"<figure class='compared'><div>{both}{slider}</div><figcaption>{escape(text)}</figcaption></figure>"
    return f"<div class='grid{' one' if len(captioned) == 1 else ' two'}'>{figures}</div>"


def _image(picture: Tensor, text: str) -> str:
    """A picture, uint8 (3, h, w), with a text for those who cannot see it."""
    pixels = Image.fromarray(np.ascontiguousarray(picture.movedim(0, 2).numpy()))
    address = f"data:image/png;base64,{base64.b64encode(saved(pixels, 'PNG', optimize=True)).decode()}"
    return f"<img src='{address}' alt='{escape(text)}'>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already."""
    top = "".join(f"<th>{escape(title)}</th>" for title in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class='scroll'><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


@dataclass(frozen=True)
class Line:
    """A curve: its label, its values at equal steps of x, and its place in the palette."""

    label: str
    values: Sequence[float]
    color: int
    dashed: bool = False

    @property
    def style(self) -> str:
        return f"c{self.color}" + (" dashed" if self.dashed else "")


def chart(title: str, lines: Sequence[Line], ticks: Sequence[str], along: str, *, dots: bool = False) -> str:
    """Curves over the same steps; `ticks` label those steps that have a label, `along` says what x is."""
    top, marks = _scale(max((v for line in lines for v in line.values if math.isfinite(v)), default=0.0) or 1.0)
    count = max(len(line.values) for line in lines)
    parts = []
    for mark in marks:
        y = _y(mark, top)
        parts.append(f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(_text("tick", _LEFT - 8, y + 4, f"{mark:g}", anchor="end"))
    parts += [_text("tick", _x(step, count), _HEIGHT - 24, label) for step, label in enumerate(ticks) if label]
    parts.append(_text("axis", (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, along))
    for line in lines:
        points = [(_x(step, count), _y(value, top)) for step, value in enumerate(line.values) if math.isfinite(value)]
        path = " ".join(f"{x},{y}" for x, y in points)
        parts.append(f'<polyline class="{line.style}" points="{path}"/>')
        if dots:
            parts += [f'<circle class="{line.style}" cx="{x}" cy="{y}" r="3.5"/>' for x, y in points]
    legend = "".join(f'<span class="key {line.style}">{escape(line.label)}</span>' for line in lines)
    drawing = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    caption = f"<figcaption>{escape(title)}</figcaption>"
    return f'<figure class="chart">{caption}{drawing}<div class="legend">{legend}</div></figure>'


def _text(kind: str, x: float, y: float, text: str, *, anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _x(step: int, count: int) -> float:
    return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * (step / (count - 1) if count > 1 else 0.5), 1)


def _y(value: float, top: float) -> float:
    return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * min(max(value / top, 0.0), 1.0), 1)


def _scale(top: float) -> tuple[float, list[float]]:
    """The upper end of an axis and its marks: steps of 1, 2 or 5 times a power of ten, three to six of them."""
    power = 10 ** math.floor(math.log10(top))
    step = next(digit * power for digit in (0.2, 0.5, 1, 2, 5) if top / (digit * power) <= 5)
    count = math.ceil(top / step - 1e-9)
    return count * step, [float(f"{step * index:.6g}") for index in range(count + 1)]
