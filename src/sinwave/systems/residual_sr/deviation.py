"""The deviation of what an enlargement misses, by place and band.

    log b_c(p) = w_c . phi(p),      deviation = sqrt(2) b_c

phi(p) has the logarithms of the local energies in the enlargement's own bands around p, and 1. The error of band c is
taken for Laplace's, so that its mean length is b_c, and w_c has the largest likelihood over pictures of which the truth
is at hand: mean(w . phi + |error| exp(-w . phi)), by Fisher's scoring.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.systems.contracts import Size
from sinwave.systems.residual_sr.network import FACTORS
from sinwave.wavelets import pack, unpack

__all__ = ["BANDS", "FEATURES", "Bands", "Deviations", "Missing", "bands_of", "measured", "of_pixels", "scaled"]

BANDS = 7
"""Horizontal, vertical and diagonal of the finest level, the same of the next, and what is left."""

FEATURES = 10
"""Energies of the three finest bands in two windows, of the next three in one, and 1."""

Bands: TypeAlias = Sequence[Tensor]
"""Seven bands (b, c, ...), finest first."""

_WINDOWS = (3, 9)
_LEAST_ENERGY = 1e-5
_LEAST = 1e-3
"""The least deviation: an eighth of a gray level."""

_ROWS = 60_000
_ROUNDS = 40


class Missing(NamedTuple):
    """An enlargement and what is missing from it, both (b, 3, h, w)."""

    base: Tensor
    error: Tensor


@final
@dataclass(frozen=True)
class Deviations:
    """The numbers w: `FEATURES` for each of `BANDS`, and these for each of `FACTORS`."""

    table: tuple[float, ...]

    def of(self, base: Tensor, factor: int) -> tuple[Tensor, ...]:
        """Estimate the deviations (b, 1, ...) in the bands of what an enlargement by `factor` misses."""
        first, count = BANDS * FEATURES * FACTORS.index(factor), BANDS * FEATURES
        weights = torch.tensor(self.table[first : first + count], dtype=base.dtype, device=base.device)
        fine, coarse = _features(base)
        rows = weights.reshape(BANDS, FEATURES)
        logs = (_sum(fine if band < 3 else coarse, row) for band, row in enumerate(rows))
        return tuple((math.sqrt(2) * log.clamp(max=0).exp()).clamp(min=_LEAST) for log in logs)


def measured(pairs: Callable[[int], Iterable[Missing]]) -> Deviations:
    """Choose the numbers by what is missing from the enlargements of each factor."""
    return Deviations(tuple(value for factor in FACTORS for value in _fitted(pairs(factor))))


def bands_of(picture: Tensor) -> tuple[Tensor, ...]:
    """List the seven bands of two levels of Haar's transform."""
    fine = pack(picture)
    channels = picture.shape[1]
    coarse = pack(fine[:, :channels])
    return (*fine[:, channels:].chunk(3, 1), *coarse[:, channels:].chunk(3, 1), coarse[:, :channels])


def scaled(picture: Tensor, factors: Sequence[Tensor | float]) -> Tensor:
    """Multiply the seven bands of a picture by seven factors or maps of factors."""
    *bands, rest = (band * factor for band, factor in zip(bands_of(picture), factors, strict=True))
    fine, coarse = bands[:3], bands[3:]
    lowpass = unpack(torch.cat([rest, *coarse], 1), (fine[0].shape[2], fine[0].shape[3]))
    return unpack(torch.cat([lowpass, *fine], 1), (picture.shape[2], picture.shape[3]))


def of_pixels(deviations: Bands, size: Size) -> Tensor:
    """Combine the deviations of bands (b, 1, ...) into those of pixels (b, 1, h, w)."""
    total = deviations[0].new_zeros(len(deviations[0]), 1, *size)
    for level, bands in ((1, deviations[:3]), (2, deviations[3:])):
        variance = torch.stack([band.square() for band in bands]).sum(0) / 4**level
        side = 2**level
        whole = variance.repeat_interleave(side, 2).repeat_interleave(side, 3)
        total = total + whole[:, :, : size[0], : size[1]]
    return total.sqrt()


def _features(base: Tensor) -> tuple[Tensor, Tensor]:
    """Compute phi (b, 10, ...) on the grid of the finest bands and on that of the next."""
    bands = [band.square().mean(1, keepdim=True) for band in bands_of(base)[:-1]]
    fine = _log([_around(band, side) for side in _WINDOWS for band in bands[:3]])
    coarse = _log([_around(band, _WINDOWS[0]) for band in bands[3:]])
    near = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, : fine.shape[2], : fine.shape[3]]
    fewer = functional.avg_pool2d(fine, 2, ceil_mode=True, count_include_pad=False)
    return _with_one(torch.cat([fine, near], 1)), _with_one(torch.cat([fewer, coarse], 1))


def _log(energies: Sequence[Tensor]) -> Tensor:
    return torch.log(torch.cat(list(energies), 1) + _LEAST_ENERGY)


def _with_one(features: Tensor) -> Tensor:
    return torch.cat([features, torch.ones_like(features[:, :1])], 1)


def _around(energy: Tensor, side: int) -> Tensor:
    """Average a picture over a square window; borders are repeated."""
    return functional.avg_pool2d(functional.pad(energy, (side // 2,) * 4, mode="replicate"), side, 1)


def _sum(features: Tensor, weights: Tensor) -> Tensor:
    """Compute w . phi (b, 1, ...) feature by feature: a product of matrices would depend on the number of threads."""
    total = torch.zeros_like(features[:, :1])
    for number in range(FEATURES):
        total = torch.addcmul(total, features[:, number : number + 1], weights[number])
    return total


def _fitted(pairs: Iterable[Missing]) -> list[float]:
    """Fit the numbers of one factor."""
    rows: list[tuple[list[Tensor], list[Tensor]]] = []
    for pair in pairs:
        lengths = [band.abs().mean(1).flatten() for band in bands_of(pair.error)]
        features = [x.movedim(1, 3).flatten(0, 2) for x in _features(pair.base)]
        rows.append((features, lengths))
    fine, coarse = (torch.cat([features[level] for features, _ in rows]).double() for level in (0, 1))
    weights: list[float] = []
    for band in range(BANDS):
        x = fine if band < 3 else coarse
        length = torch.cat([lengths[band] for _, lengths in rows]).double()
        every = max(1, len(x) // _ROWS)
        weights += _scored(x[::every], length[::every] + _LEAST).tolist()
    return weights


def _scored(x: Tensor, length: Tensor) -> Tensor:
    """Minimize mean(x w + length exp(-x w)) over w (k,), for features (n, k) and lengths (n,)."""
    gram = x.mT @ x / len(x)
    gram = torch.linalg.cholesky(gram + 1e-6 * gram.diagonal().mean() * torch.eye(len(gram), dtype=x.dtype))
    weights = torch.cholesky_solve((x.mT @ length.log() / len(x))[:, None], gram)
    for _ in range(_ROUNDS):
        surprise = (length * torch.exp(-x @ weights[:, 0])).clamp(max=20) - 1
        weights = weights + torch.cholesky_solve((x.mT @ surprise / len(x))[:, None], gram)
    return weights[:, 0]
