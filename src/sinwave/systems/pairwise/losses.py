"""The terms of DDPM-PA, as pure functions of one-step predictions.

    x0~     = (x_t - sqrt(1 - abar) eps) / sqrt(abar)               not clipped; by the adapted network and the source
    p_i     = softmax over j != i of cosine(x0~_i, x0~_j)
    L_img   = (N - 1) / (N - 2) mean_i KL(p_i^adapted || p_i^source)
    L_hf    = the same of hf(x0~)
    L_hfmse = mean (hf(x0~) - hf(x_0))^2
    L_vlb   = NLL of discretized values at the index 0, else KL(q(x_{i-1} | x_i, x_0) || p(x_{i-1} | x_i)), in bits

hf has the three details of the Haar transform. The paper adds them up, which with its signs leaves
- horizontal - vertical + diagonal, one number of three; or all three stand side by side. The factor of L_img makes it
free of the number N of pictures. With `snr_weights` a term sees y = x0~ moved by w = min(1, signal^2 / noise^2) of its
gradient: where there is nearly no signal, x0~ is noise times a large number. (Zhu et al., "Few-shot image generation
with diffusion models", arXiv 2211.03264; L_vlb: Nichol and Dhariwal, 2021.)
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.diffusion.process import VariancePreserving
from sinwave.errors import InputError
from sinwave.wavelets import pack

__all__ = ["Bands", "Direction", "details", "divergence", "pairwise", "snr_weights", "variational", "weighted"]

Bands: TypeAlias = Literal["all", "sum"]
Direction: TypeAlias = Literal["adapted", "source"]
"""Which distribution stands first in the divergence, KL(first || other)."""

LEAST_GROUP = 3


def pairwise(adapted: Tensor, source: Tensor, *, group: int | None = None, direction: Direction = "adapted") -> Tensor:
    """L_img of predictions (n, ...), in groups of so many, or of them all together; no gradient reaches `source`.

    A group of two is refused: with one other picture every softmax is 1.
    """
    size = len(adapted) if group is None else group
    if size < LEAST_GROUP or len(adapted) % size:
        raise InputError(
            f"groups of {size} of {len(adapted)} pictures: pairwise distances need groups of at least {LEAST_GROUP} "
            "that divide the batch"
        )
    first = _log_shares(adapted.reshape(-1, size, adapted[0].numel()))
    second = _log_shares(source.detach().reshape(-1, size, source[0].numel()))
    if direction == "source":
        first, second = second, first
    return divergence(first, second)


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """(N - 1) / (N - 2) times the mean KL of logarithms of shares (..., N - 1), free of N for independent cosines."""
    others = first.shape[-1]
    return (first.exp() * (first - second)).sum(-1).mean() * others / (others - 1)


def _log_shares(x: Tensor) -> Tensor:
    """Logarithms of p_i (groups, n, n - 1) of flattened predictions (groups, n, d)."""
    unit = functional.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=2)
    n = x.shape[1]
    others = ~torch.eye(n, dtype=torch.bool, device=x.device)
    cosines = (unit @ unit.transpose(1, 2))[:, others].reshape(-1, n, n - 1)
    return cosines.log_softmax(2)


def details(x: Tensor, bands: Bands = "all") -> Tensor:
    """hf(x): (b, 3 c, h / 2, w / 2), or (b, c, h / 2, w / 2) for their sum."""
    _, horizontal, vertical, diagonal = pack(x).chunk(4, 1)
    if bands == "sum":
        return diagonal - horizontal - vertical
    return torch.cat([horizontal, vertical, diagonal], 1)


def snr_weights(process: VariancePreserving, t: Tensor) -> Tensor:
    """The weights min(1, signal^2 / noise^2) at times (b, 1, 1, 1)."""
    signal, _, noise = (torch.as_tensor(a) for a in process.at(t))
    return (signal / noise).square().clamp(max=1)


def weighted(x: Tensor, weights: Tensor) -> Tensor:
    """x, with so much of its gradient."""
    return x.detach() + weights * (x - x.detach())


class _Steps(NamedTuple):
    """What the posterior q(x_{i-1} | x_i, x_0) has at every index i = 0 .. T - 1."""

    log_beta: Tensor
    log_variance: Tensor
    of_clean: Tensor
    of_noisy: Tensor


def variational(
    process: VariancePreserving, index: Tensor, x_t: Tensor, clean: Tensor, noise: Tensor, interpolation: Tensor
) -> Tensor:
    """L_vlb of each picture (b,) in bits a number, of the index (b,) and the v that the network answers.

    log variance = (v + 1) / 2 log beta_i + (1 - v) / 2 log beta~_i with beta~_0 := beta~_1. The mean is that of the
    predicted `noise`, of which it has no gradient: L_vlb trains v alone.
    """
    steps = _Steps(*(table.to(x_t.device)[index][:, None, None, None] for table in _steps(process)))
    t = (index + 1)[:, None, None, None] / (len(process.alphas_cumprod) - 1)
    predicted = process.clean_in(x_t, t, noise.detach())
    mean = steps.of_clean * predicted + steps.of_noisy * x_t
    share = (interpolation + 1) / 2
    log_variance = share * steps.log_beta + (1 - share) * steps.log_variance
    apart = (steps.of_clean * (clean - predicted)).square()
    gap = steps.log_variance - log_variance
    divergence = 0.5 * (gap.exp() - 1 - gap + apart * torch.exp(-log_variance))
    likelihood = -_log_discretized(clean, mean, 0.5 * log_variance)
    bits = torch.where(index[:, None, None, None] == 0, likelihood, divergence) / math.log(2)
    return bits.mean((1, 2, 3))


def _log_discretized(x: Tensor, mean: Tensor, log_deviation: Tensor) -> Tensor:
    """Log probability of the 1/127.5 wide bin of x under a Gaussian; the first and the last bin are open."""
    root = torch.exp(-log_deviation)
    above = _below((x - mean + 1 / 255) * root)
    under = _below((x - mean - 1 / 255) * root)
    least = torch.finfo(x.dtype).tiny
    inner = torch.where(x > 0.999, 1 - under, above - under)
    return torch.where(x < -0.999, above, inner).clamp(min=least).log()


def _below(x: Tensor) -> Tensor:
    """The share of a Gaussian below x."""
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


@lru_cache(maxsize=8)
def _steps(process: VariancePreserving) -> _Steps:
    abar = torch.tensor(process.alphas_cumprod, dtype=torch.float64)
    before, here = abar[:-1], abar[1:]
    beta = 1 - here / before
    variance = beta * (1 - before) / (1 - here)
    variance[0] = variance[1]
    of_clean = beta * before.sqrt() / (1 - here)
    of_noisy = (1 - before) * (1 - beta).sqrt() / (1 - here)
    return _Steps(*(table.float() for table in (beta.log(), variance.log(), of_clean, of_noisy)))
