"""Outlines of leaves, and the leaf that is seen at a sample of the picture.

A leaf is a disk, an ellipse, a rectangle, a thin bar or another polygon, with corners on an ellipse with half-axes r
and b <= r. A pixel has 4 x 4 samples, and the leaf that fell last covers the others.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from sinwave.data.draws import Array, Draws, Whole

__all__ = ["on_top"]

Where: TypeAlias = npt.NDArray[np.bool_]

_GRID = 4  # samples along a side of a pixel


def on_top(draws: Draws, radius: Array, center: Array, straight: float, side: int) -> Whole:
    """Numbers of the leaves that are seen, from 1, at samples (4 side, 4 side) of a picture; 0 is none.

    `straight` is the share of leaves with straight edges, centers are (x, y).
    """
    canvas = Image.new("I", (_GRID * side, _GRID * side))
    draw = ImageDraw.Draw(canvas)
    for number, outline in enumerate(_outlines(draws, radius, center, straight), 1):
        draw.polygon(outline, fill=number)
    return np.asarray(canvas)


def _outlines(draws: Draws, radius: Array, center: Array, share: float) -> list[list[float]]:
    """Corners x, y, x, y, ... of leaves, in samples; small leaves have fewer."""
    straight, thin, corners = _forms(draws, len(radius), share)
    turn = _turns(draws, straight)
    outlines: list[list[float]] = [[]] * len(radius)
    for least, most, number in ((0, 4, 12), (4, 24, 24), (24, math.inf, 96)):
        (group,) = np.nonzero((radius >= least) & (radius < most))
        even, is_straight = np.arange(number) * (2 * math.pi / number), straight[group, None]
        angle = np.where(is_straight, corners[group][:, np.arange(number).clip(max=6)], even)
        bent = radius[group, None] * _bend(draws, angle, is_straight)
        place = bent * (np.cos(angle) + 1j * thin[group, None] * np.sin(angle)) * np.exp(1j * turn[group, None])
        points = _GRID * (np.stack([place.real, place.imag], 2) + center[group, None])
        for leaf, outline in zip(group.tolist(), points.reshape(-1, 2 * number).tolist(), strict=True):
            outlines[leaf] = outline[:14] if straight[leaf] else outline
    return outlines


def _forms(draws: Draws, count: int, share: float) -> tuple[Where, Array, Array]:
    """Whether a leaf is straight, its b / r, and the angles (n, 7) of its corners if it is; the last is repeated."""
    straight, kind = draws.uniform(0, 1, count) < share, draws.uniform(0, 1, count)
    thin = np.where(straight & (kind < 0.25), draws.log_uniform(0.03, 0.15, count), draws.uniform(0.3, 1, count))
    thin[~straight & (kind < 0.5)] = 1
    corners = np.sort(draws.uniform(0, 2 * math.pi, count, 7), 1)
    corners = np.take_along_axis(corners, np.minimum(np.arange(7), draws.below(5, count, 1) + 2), 1)
    corners[kind < 0.7] = (np.arange(7).clip(max=3) + 0.5) * math.pi / 2
    return straight, thin, corners


def _bend(draws: Draws, angle: Array, straight: Where) -> Array:
    """Factors of the radius: a third of the leaves without straight edges have two to six lobes."""
    count = len(angle)
    depth = draws.uniform(0, 0.3, count, 1) * (draws.uniform(0, 1, count, 1) < 1 / 3) * ~straight
    lobes, phase = draws.below(5, count, 1) + 2, draws.uniform(0, 2 * math.pi, count, 1)
    return (1 + depth * np.cos(lobes * angle + phase)) / (1 + depth)


def _turns(draws: Draws, straight: Where) -> Array:
    """Angles; most straight leaves of a picture lie along or across one direction, upright in half of the pictures."""
    count = len(straight)
    main = draws.uniform(0, math.pi / 2) * draws.happens(0.5)
    aligned = main + draws.below(4, count) * math.pi / 2 + 0.02 * draws.normal(count)
    free = draws.uniform(0, 2 * math.pi, count)
    return np.where(straight & (draws.uniform(0, 1, count) < 0.7), aligned, free)
