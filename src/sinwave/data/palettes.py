"""Colors of one scene: few hues, most of them earth, leaf or sky, and most colors pale.

They are drawn in Oklab (lightness, green to red, blue to yellow), the gray axis tinted as by the light of a day:

    linear RGB = B (A lab)^3        A: Oklab to the roots of cones, B: cones to RGB
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from sinwave.data.draws import Draws
from sinwave.rng import fold

__all__ = ["natural_palette"]

_COUNT = 32
_OKLAB_TO_CONES = (
    (1, 0.3963377774, 0.2158037573),
    (1, -0.1055613458, -0.0638541728),
    (1, -0.0894841775, -1.2914855480),
)
_CONES_TO_RGB = (
    (4.0767416621, -3.3077115913, 0.2309699292),
    (-1.2684380046, 2.6097574011, -0.3413193965),
    (-0.0041960863, -0.7034186147, 1.7076147010),
)


def natural_palette(seed: int) -> Tensor:
    """Draw colors (32, 3) in [-1, 1]."""
    draws = Draws(fold(seed, "natural"))
    hues = np.array([20, 55, 85, 130, 250])[draws.below(5, 3)] + 20 * draws.normal(3)
    hue = np.radians(hues[draws.below(3, _COUNT)] + 12 * draws.normal(_COUNT))
    light = np.clip(draws.uniform(0.35, 0.75) + draws.uniform(0.08, 0.25) * draws.normal(_COUNT), 0.12, 0.97)
    chroma = draws.log_uniform(0.01, 0.1) * np.abs(draws.normal(_COUNT)) * np.sin(math.pi * light.clip(0.1, 0.9))
    tint = 0.012 * draws.normal(2)
    lab = np.stack([light, chroma * np.cos(hue) + tint[0], chroma * np.sin(hue) + tint[1]], 1)
    linear = np.clip((lab @ np.transpose(_OKLAB_TO_CONES)) ** 3 @ np.transpose(_CONES_TO_RGB), 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return torch.from_numpy(2 * srgb - 1).float()
