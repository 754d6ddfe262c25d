"""Whether a picture can be put beside itself: the step where it begins again, over the steps inside."""

from __future__ import annotations

import math

from torch import Tensor

from sinwave.metrics.levels import LEAST_DEVIATION, centered

__all__ = ["seam_error"]


def seam_error(picture: Tensor) -> float:
    """The larger of both directions of the root of

        mean |x_first - x_last|^2 / mean |x_(i+1) - x_i|^2        over rows, and over columns i

    for a uint8 picture (c, h, w). No seam is seen at 1 or below; 0 if the opposite borders are equal.
    """
    x = centered(picture, 2)
    return max(_step(x, 2), _step(x, 3))


def _step(x: Tensor, dim: int) -> float:
    across = (x.select(dim, 0) - x.select(dim, -1)).square().mean().item()
    inside = x.diff(dim=dim).square().mean().item()
    return math.sqrt(across / max(inside, LEAST_DEVIATION**2))
