"""Charts as SVG, in the colors of the page that they stand on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Line", "chart"]

_WIDTH, _HEIGHT = 460, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 26, 12, 44


@dataclass(frozen=True)
class Line:
    """One curve: its label, its values at equal steps of x, and its place in the palette."""

    label: str
    values: Sequence[float]
    color: int
    dashed: bool = False


def chart(title: str, lines: Sequence[Line], ticks: Sequence[str], along: str, *, dots: bool = False) -> str:
    """Curves over the same steps; `ticks` label those steps that have a label, `along` says what x is."""
    top, marks = _scale(max((v for line in lines for v in line.values if math.isfinite(v)), default=0.0) or 1.0)
    count = max(len(line.values) for line in lines)
    parts = [part for mark in marks for part in _mark(mark, top)]
    parts += [_text("tick", _x(step, count), _HEIGHT - 24, label) for step, label in enumerate(ticks) if label]
    parts.append(_text("axis", (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, along))
    for line in lines:
        parts += _curve(line, count, top, dots=dots)
    legend = "".join(f'<span class="key {_style(line)}">{escape(line.label)}</span>' for line in lines)
    drawing = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    caption = f"<figcaption>{escape(title)}</figcaption>"
    return f'<figure class="chart">{caption}{drawing}<div class="legend">{legend}</div></figure>'


def _mark(value: float, top: float) -> tuple[str, str]:
    """A rule across, and its number on the left."""
    y = _y(value, top)
    rule = f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
    return rule, _text("tick", _LEFT - 8, y + 4, f"{value:g}", anchor="end")


def _text(kind: str, x: float, y: float, text: str, *, anchor: str = "middle") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _style(line: Line) -> str:
    return f"c{line.color}" + (" dashed" if line.dashed else "")


def _curve(line: Line, count: int, top: float, *, dots: bool) -> list[str]:
    points = [(_x(step, count), _y(value, top)) for step, value in enumerate(line.values) if math.isfinite(value)]
    path = " ".join(f"{x},{y}" for x, y in points)
    parts = [f'<polyline class="{_style(line)}" points="{path}"/>']
    if dots:
        parts += [f'<circle class="{_style(line)}" cx="{x}" cy="{y}" r="3.5"/>' for x, y in points]
    return parts


def _x(step: int, count: int) -> float:
    return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * (step / (count - 1) if count > 1 else 0.5), 1)


def _y(value: float, top: float) -> float:
    return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * min(max(value / top, 0.0), 1.0), 1)


def _scale(top: float) -> tuple[float, list[float]]:
    """The upper end of an axis and its marks: steps of 1, 2 or 5 times a power of ten, three to six of them."""
    power = 10 ** math.floor(math.log10(top))
    step = next(each * power for each in (0.2, 0.5, 1, 2, 5) if top / (each * power) <= 5)
    count = math.ceil(top / step - 1e-9)
    return count * step, [float(f"{step * index:.6g}") for index in range(count + 1)]
