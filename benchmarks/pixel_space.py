"""The reference: the exact closed form in pixel space, written from the formulas and with the constants of the paper.

    x_t = alpha x_0 + (1 - alpha) eps,   alpha = 1e-4 .. 1 in 10 steps per scale,   scales of factor 1/2

Qiu, Kutulakos, Lindell, "Efficient and Training-Free Single-Image Diffusion Models", CVPR 2026.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.resize import resize
from sinwave.rng import NoiseSource

__all__ = ["pixel_pyramid", "pixel_sample"]

PATCH, STEPS, WINDOW, COARSEST = 15, 10, 0.2, 1.6


def pixel_pyramid(image: Tensor) -> list[Tensor]:
    """The picture (1, 3, h, w) halved until its short side is about 1.6 patches, coarsest first."""
    pyramid = [image]
    for _ in range(round(math.log2(min(image.shape[2:]) / (COARSEST * PATCH)))):
        pyramid.insert(0, resize(pyramid[0], (pyramid[0].shape[2] // 2, pyramid[0].shape[3] // 2)))
    return pyramid


def pixel_sample(pyramid: Sequence[Tensor], noise: NoiseSource) -> Tensor:
    """DDIM on x_t = alpha x_0 + (1 - alpha) eps, scale by scale; a finer scale keeps the coarser one's low band."""
    alphas = torch.linspace(1e-4, 1, STEPS + 1).tolist()
    x = torch.empty(0)
    for scale, picture in enumerate(pyramid):
        size = (picture.shape[2], picture.shape[3])
        coarse, x = x, noise.normal(picture.shape, scale)
        for step, (alpha, following) in enumerate(pairwise(alphas)):
            clean = pixel_posterior_mean(x, picture, alpha, 1 - alpha)
            if scale > 0 and step < STEPS - 1:
                clean = clean + resize(coarse - resize(clean, (coarse.shape[2], coarse.shape[3])), size)
            eps = (x - alpha * clean) / (1 - alpha)
            x = following * clean + (1 - following) * eps
    return x


def pixel_posterior_mean(x: Tensor, picture: Tensor, alpha: float, sigma: float) -> Tensor:
    """E[x_0 | x_t]: a patch q becomes the mean of the patches p, weighted by softmax_p(-|q - alpha p|^2 / (2 sigma^2)).

    Where patches overlap, they are averaged with a Gaussian window.
    """
    queries, keys = (functional.unfold(image, PATCH)[0].T for image in (x, picture))
    energy = keys.square().sum(1, keepdim=True) / 2
    q = torch.cat([queries * (alpha / sigma**2), torch.ones_like(queries[:, :1])], 1)
    k = torch.cat([keys, -energy * (alpha / sigma) ** 2], 1)
    v = torch.cat([keys, torch.zeros_like(energy)], 1)  # as wide as the keys, as the fused kernel requires
    q, k, v = (rows[None, None] for rows in (q, k, v))
    means = functional.scaled_dot_product_attention(q, k, v, scale=1.0)[0, 0, :, :-1]
    line = torch.exp(-((torch.linspace(-1, 1, PATCH) / WINDOW) ** 2) / 2)
    window = torch.outer(line, line).flatten()
    votes = functional.fold((means * window.repeat(3)).T[None], x.shape[2:], PATCH)
    return votes / functional.fold(window.expand(len(means), -1).T[None], x.shape[2:], PATCH)
