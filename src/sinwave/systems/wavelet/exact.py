"""The closed form, exact: the best denoiser that is local and shift-equivariant, for a data set of one picture.

For every patch q of x_t = a x_0 + s eps, over all patches p_k of the picture,

    E[x_0 | q] = sum_k w_k p_k,    w = softmax_k( -|q - a m_q p_k|^2 / (2 s^2) - layout(q, k) - price_k )

and overlapping estimates are averaged. It is attention with queries q and keys p_k (Qiu, Kutulakos, Lindell, CVPR 2026,
in pixels). Four things are ours:

*mask*     m_q is 1 where the patch q is inside the new picture: a patch that hangs over the border is compared where
           there is something to compare.
*layout*   what it costs that a patch lies elsewhere than in the picture, the same whatever the noise. To cut a patch
           off at the left or right border costs little, so what is left may come to stand on the right; to cut it off
           above or below costs more; and what touches the left or right border of the picture may do nothing else in
           the new one. Nothing may move far up or down, so the sky stays up, but the horizon is moved as a whole.
*price*    one step of Sinkhorn's balancing a step of the walk: patches in demand become dearer and forgotten ones
           cheaper, so that no texture takes over and no object is lost.
*focus*    large patches decide the layout while there is much noise, small ones the detail.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.diffusion.denoise import Denoiser
from sinwave.diffusion.process import Process, Scalar
from sinwave.systems.contracts import VerticalSpan
from sinwave.systems.wavelet.patches import LEAST_NOISE, Overlap, PatchBank, strips, unfold
from sinwave.wavelets import Size

__all__ = ["FORBIDDEN", "NO_LAYOUT", "ExactDenoiser", "Focus", "Layout"]

FORBIDDEN = 1e4
"""A cost that outweighs any likeness while the layout is decided, and yet leaves the exponents two decimals."""

_ROWS = 2048  # queries at a time: a bound on memory
_BLOCK = 64  # keys come in blocks of so many: a product whose rows begin with a cache line is half as quick again
_FORGOTTEN = 1e-2  # the least demand that is told from none
_NEGLIGIBLE = 1e-9  # less than the rounding of one query's weights, for all of them together


@dataclass(frozen=True)
class Layout:
    """What it costs to break with the layout of the picture.

    A row or a column of a patch costs that is *cut* off by the new border, or lies *beyond* the old one; and `height`
    is the cost of moving from the top of the picture to its bottom, falling with the square of the distance, up to a
    distance of `reach`: farther is forbidden.

    Heights y, from 0 at the top to 1 at the bottom, are compared as y^g in the new picture, with one g for all of it:
    so its horizon may lie higher or lower, and yet nothing changes its order. log g is between -`drift` and `drift`.
    """

    row_cut: float = 0.5
    row_beyond: float = 2.0
    column_cut: float = 0.02
    column_beyond: float = FORBIDDEN
    height: float = 64.0
    reach: float = 0.2
    drift: float = 1.0


NO_LAYOUT = Layout(row_cut=0, row_beyond=FORBIDDEN, column_cut=0, height=0, reach=math.inf, drift=0)
"""Anything may be anywhere, but what lies at a border of the picture ends there, so it may not be inside."""


@dataclass(frozen=True)
class Focus:
    """Which patches decide, and how widely they are averaged, down from a noise-to-signal ratio of `ratio`."""

    ratio: float
    bank: PatchBank
    window: float


@final
class ExactDenoiser(Denoiser):
    """Attention over every patch of the picture."""

    def __init__(
        self,
        process: Process,
        foci: Sequence[Focus],
        size: Size,
        *,
        layout: Layout = Layout(),
        span: VerticalSpan = VerticalSpan(),
        horizon: float = 1.0,
        balance: float = 1.0,
    ) -> None:
        """`foci` by falling ratio, for a grid of `size`.

        `span` are those of the grid, and `horizon` is the exponent g of them; `balance` is how strongly prices react
        to demand.
        """
        self._process, self._size, self._balance = process, size, balance
        self._attention = [_Attention(focus, size, layout, span, horizon) for focus in foci]
        self._matches = torch.zeros(*size, 2, dtype=torch.long)

    @property
    def matches(self) -> Tensor:
        """The best patch of each position in the last estimate: (h, w, 2), pixels of the scale's picture."""
        return self._matches

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """E[x_0 | x_t] of bands (1, c, h, w)."""
        signal, _, noise = (float(each) for each in self._process.at(t))
        ratio = noise / signal if signal else math.inf
        attention = next((each for each in reversed(self._attention) if ratio <= each.focus.ratio), self._attention[0])
        mean = attention.focus.bank.mean
        estimate, self._matches = attention(x_t - signal * mean, signal, noise, self._balance)
        return estimate + mean


class _Attention:
    """The weights and means of one focus, for the queries of a grid of `size`."""

    def __init__(self, focus: Focus, size: Size, layout: Layout, span: VerticalSpan, horizon: float) -> None:
        bank = focus.bank
        self.focus, self._size = focus, size
        masks = unfold(bank.mean.new_ones(1, 1, *size), bank.patch)
        self._masks = masks
        # cut (1 - m_q) m_k + beyond m_q (1 - m_k) = cut m_k - (cut + beyond) m_q m_k + what is the same for all k
        cut = _rows_and_columns(layout.row_cut, layout.column_cut, bank)
        beyond = _rows_and_columns(layout.row_beyond, layout.column_beyond, bank)
        key_sides = _sides(bank.masks, bank.patch)
        query_sides = (cut + beyond) * _sides(masks, bank.patch)
        climbs = _climbs(layout, bank.rows, size[0], span, horizon).to(masks).repeat_interleave(size[1], 0)
        key_rows = functional.one_hot(bank.position[:, 0] // 2, bank.rows).to(masks)
        place = torch.cat([query_sides, -climbs], 1)
        matters = place.any(0)  # nothing of it does without a layout
        self._query_place = place[:, matters]
        self._keys = _filled(torch.cat([bank.keys, torch.cat([key_sides, key_rows], 1)[:, matters], bank.energies], 1))
        self._values = torch.cat([bank.keys, bank.masks], 1)
        # The keys see what is along the axes, so that is what their energy is made of; off a mask it does not count.
        self._rest = bank.keys.square().sum(1) - bank.energies.sum(1)
        self._aversion = key_sides @ cut
        self._price = torch.zeros_like(self._aversion)

    def __call__(self, x_t: Tensor, signal: float, noise: float, balance: float) -> tuple[Tensor, Tensor]:
        """The estimate (1, c, h, w) and the matches (h, w, 2)."""
        bank, (height, width) = self.focus.bank, self._size
        precision = 1 / max(noise, LEAST_NOISE) ** 2
        sharpness = signal**2 * precision / 2
        queries = torch.cat([bank.queries(x_t) * (signal * precision), self._query_place, self._masks * -sharpness], 1)
        bias = _filled(-sharpness * self._rest - self._aversion - self._price, -math.inf)
        overlap = Overlap(self._size, x_t.shape[1], bank.patch, self.focus.window, x_t)
        demand, best = torch.zeros_like(self._price), []
        for first, last in strips(self._size, _ROWS):
            weights = torch.addmm(bias, queries[first * width : last * width], self._keys.T).softmax(1)
            wanted = weights.sum(0)[: len(demand)]
            demand += wanted
            best.append(_best(weights))
            seen = (wanted > _NEGLIGIBLE).nonzero()[:, 0]
            means = weights.index_select(1, seen) @ self._values[seen]
            values, masks = means[:, : -(bank.patch**2)], means[:, -(bank.patch**2) :]
            overlap.add_along(first, bank.axes, values, masks)
        fair = height * width / len(demand)
        self._price = self._price + balance * torch.log(demand / fair + _FORGOTTEN)
        return overlap.average(), bank.position[torch.cat(best)].reshape(height, width, 2)


def _filled(keys: Tensor, value: float = 0.0) -> Tensor:
    """As many more keys (n, ...) as fill the last block."""
    return torch.cat([keys, keys.new_full((-len(keys) % _BLOCK, *keys.shape[1:]), value)])


def _best(weights: Tensor) -> Tensor:
    """weights.argmax(1), of blocks first: PyTorch finds the place of a maximum five times as slowly as its value."""
    blocks = weights.reshape(len(weights), -1, _BLOCK)
    block = blocks.amax(2).argmax(1)
    place: Tensor = block * _BLOCK + blocks[torch.arange(len(block), device=block.device), block].argmax(1)
    return place


def _sides(masks: Tensor, patch: int) -> Tensor:
    """Which rows and which columns of a patch are inside: (n, 2 p)."""
    square = masks.reshape(-1, patch, patch)
    return torch.cat([square.amax(2), square.amax(1)], 1)


def _climbs(layout: Layout, old: int, new: int, span: VerticalSpan, horizon: float) -> Tensor:
    """What it costs to come to each of the `new` rows from each of the `old` ones: (new, old)."""
    to, origin = (torch.arange(rows, dtype=torch.float64) / max(rows - 1, 1) for rows in (new, old))
    # What lies above or below of all that is known is as the nearest row of it.
    to = (span.top + (span.bottom - span.top) * to).clamp(0, 1)
    distance = (to[:, None] ** horizon - origin).abs()
    return layout.height * distance.square() + FORBIDDEN * (distance - layout.reach).clamp(min=0)


def _rows_and_columns(row: float, column: float, bank: PatchBank) -> Tensor:
    return bank.keys.new_tensor([row] * bank.patch + [column] * bank.patch)
