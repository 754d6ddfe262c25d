"""A reference: the first closed form in the wavelet domain, exact attention on every scale without further ideas.

    x_t = alpha x_0 + (1 - alpha) eps,   alpha = 1e-4 .. 1 in 40 ancestral, 12 and 10 deterministic equal steps

on the Haar bands of three scales, with patches of 9, 7 and 5 positions along 192, 128 and 96 principal axes. A finer
scale mixes the low band of the coarser one into its estimates, with a weight that falls from 1 to 0.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import final

import torch
from torch import Tensor

from sinwave.rng import NoiseSource
from sinwave.systems.wavelet.bands import Levels
from sinwave.systems.wavelet.patches import Overlap, PatchBank, strips

__all__ = ["Recipe"]

PATCHES, AXES, STEPS = (9, 7, 5), (192, 128, 96), (40, 12, 10)
BORDER, WINDOW, ROWS = 2.0, 0.35, 2048


@final
class Recipe:
    """Model of a picture (1, 3, h, w): its patches on every scale."""

    def __init__(self, image: Tensor) -> None:
        """Cut the picture into patches."""
        self._levels, self._size = Levels(len(PATCHES)), (image.shape[2], image.shape[3])
        scales = self._levels.split(image)
        self._banks = [PatchBank.of(*row) for row in zip(scales, PATCHES, AXES, strict=True)]
        self._grids = [(scale.bands.shape[2], scale.bands.shape[3]) for scale in scales]

    def generate(self, noise: NoiseSource) -> Tensor:
        """Draw a picture of the same size."""
        bands, coarse = torch.empty(0), None
        for scale, (bank, grid, size) in enumerate(
            zip(self._banks, self._grids, self._levels.sizes(self._size), strict=True)
        ):
            bands = _walk(bank, grid, STEPS[scale], coarse, noise.child(scale)) + bank.mean
            coarse = self._levels.inherited(bands, size)
        return self._levels.picture(bands, self._size)


def _walk(bank: PatchBank, grid: tuple[int, int], steps: int, coarse: Tensor | None, noise: NoiseSource) -> Tensor:
    """Draw the centered bands of a scale: by ancestral steps at the coarsest, else by deterministic ones."""
    alphas = torch.linspace(1e-4, 1, steps + 1).tolist()
    x = noise.normal((1, bank.mean.shape[1], *grid), "start")
    for step, (alpha, following) in enumerate(pairwise(alphas)):
        clean = posterior_mean(bank, grid, x, alpha, 1 - alpha)
        fresh = (1 - following) ** 2 * (1 - (alpha * (1 - following) / (following * (1 - alpha))) ** 2)
        if coarse is not None:
            gamma, low = 1 - step / (steps - 1), coarse.shape[1]
            clean[:, :low] = gamma * (coarse - bank.mean[:, :low]) + (1 - gamma) * clean[:, :low]
            fresh = 0.0
        eps = (x - alpha * clean) / (1 - alpha)
        x = following * clean + math.sqrt((1 - following) ** 2 - fresh) * eps
        x = x + math.sqrt(fresh) * noise.normal(x.shape, step)
    return x


def posterior_mean(bank: PatchBank, grid: tuple[int, int], x: Tensor, alpha: float, sigma: float) -> Tensor:
    """E[x_0 | x_t], where a patch costs 2 |b_q - b_k|^2 for the masks b of the positions inside of the picture."""
    sharpness = alpha / sigma**2
    masks = bank.masks  # of the queries too, as the sizes are the same
    queries = torch.cat([sharpness * bank.queries(x), 2 * BORDER * masks], 1)
    keys = torch.cat([bank.keys, masks], 1)
    bias = -alpha * sharpness * bank.keys.square().sum(1) / 2 - BORDER * masks.sum(1)
    overlap = Overlap(grid, x.shape[1], bank.patch, WINDOW, x)
    for first, last in strips(grid, ROWS):
        weights = torch.addmm(bias, queries[first * grid[1] : last * grid[1]], keys.T).softmax(1)
        overlap.add_along(first, bank.axes, weights @ bank.keys, weights.new_ones(len(weights), bank.patch**2))
    return overlap.average()
