"""The exact closed form: the best local, shift-equivariant denoiser for a data set of one picture.

For every patch q of x_t = a x_0 + s eps, over all patches p_k of the picture,

    E[x_0 | q] = sum_k w_k p_k,    w = softmax_k( -|q - a m_q p_k|^2 / (2 s^2) - layout(q, k) - price_k )

and overlapping estimates are averaged. This is attention with queries q and keys p_k (Qiu, Kutulakos, Lindell, CVPR
2026, in pixels). Four things are added here:

*mask*     m_q is 1 where the patch q is inside the new picture: a patch that reaches over the border is compared only
           inside of it.
*layout*   a cost for a patch at another place than in the picture, independent of the noise. A cut at the left or right
           border is cheap, so objects may move sideways; a cut at the top or bottom costs more. A patch that touches
           the left or right border of the picture must do so in the new one. Nothing may move far up or down, so the
           sky stays up, but the horizon may move as a whole.
*price*    one step of Sinkhorn's balancing per step of the walk: patches used often become more expensive, unused ones
           cheaper, so that no texture takes over and no object is lost.
*focus*    large patches decide the layout while the noise is strong, small ones the detail.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.diffusion.process import Process, Scalar
from sinwave.systems.contracts import VerticalSpan
from sinwave.systems.wavelet.patches import LEAST_NOISE, Overlap, PatchBank, strips, unfold
from sinwave.wavelets import Size

__all__ = ["FORBIDDEN", "NO_LAYOUT", "ExactDenoiser", "Focus", "Layout", "Prices"]

FORBIDDEN = 1e4
"""Cost that outweighs any likeness while the layout is decided, yet leaves two decimals to the exponents."""

_ROWS = 2048  # queries at a time: a bound on memory
_BLOCK = 64  # keys are padded to blocks of this size: products whose rows start at a cache line are 1.5 times as fast
_FORGOTTEN = 1e-2  # added to the demand, so that an unused patch has a finite price
_NEGLIGIBLE = 1e-9  # for the sum over all queries: less than the rounding of one query's weights


@dataclass(frozen=True)
class Layout:
    """Costs of changes to the layout of the picture.

    `row_cut` and `column_cut` are the costs of a row or column of a patch that the new border cuts off, `row_beyond`
    and `column_beyond` those of one that lies beyond the old border. A patch that moves by the share d of the height
    costs `height` d^2, and must not move by more than `reach`.

    A height y of the new picture, from 0 at the top to 1 at the bottom, counts as y^g, with one g per picture: so its
    horizon may lie higher or lower, and the vertical order stays. log g is between -`drift` and `drift`.
    """

    row_cut: float = 0.5
    row_beyond: float = 2.0
    column_cut: float = 0.02
    column_beyond: float = FORBIDDEN
    height: float = 64.0
    reach: float = 0.2
    drift: float = 1.0


NO_LAYOUT = Layout(row_cut=0, row_beyond=FORBIDDEN, column_cut=0, height=0, reach=math.inf, drift=0)
"""Every patch may lie anywhere, except that patches from the border of the picture must not lie inside."""


@dataclass(frozen=True)
class Focus:
    """Patches and window that are used from a noise-to-signal ratio of `ratio` downwards."""

    ratio: float
    bank: PatchBank
    window: float


class Prices(NamedTuple):
    """State of a walk: the price of each patch of each focus, and the best patches (h, w, 2) of the last estimate."""

    prices: tuple[Tensor, ...]
    matches: Tensor


@final
class ExactDenoiser:
    """Attention over every patch of the picture, a function of the noisy bands and of the prices."""

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
        """Take `foci` by falling ratio, for a grid of `size`.

        `span` is the vertical span of the grid, `horizon` the exponent g of its heights; `balance` is how strongly
        prices react to demand.
        """
        self._process, self._size, self._balance = process, size, balance
        self._attention = [_Attention(focus, size, layout, span, horizon) for focus in foci]

    @property
    def start(self) -> Prices:
        """The state before the first estimate; matches are in pixels of the scale's picture."""
        free = tuple(torch.zeros_like(attention.aversion) for attention in self._attention)
        return Prices(free, torch.zeros(*self._size, 2, dtype=torch.long))

    def __call__(self, x_t: Tensor, t: Scalar, state: Prices) -> tuple[Tensor, Prices]:
        """Compute E[x_0 | x_t] of bands (1, c, h, w), and the state after it."""
        signal, _, noise = map(float, self._process.at(t))
        ratio = noise / signal if signal else math.inf
        foci = range(len(self._attention))
        index = next((i for i in reversed(foci) if ratio <= self._attention[i].focus.ratio), 0)
        attention, prices = self._attention[index], state.prices
        mean = attention.focus.bank.mean
        estimate, price, matches = attention(x_t - signal * mean, signal, noise, prices[index], self._balance)
        return estimate + mean, Prices((*prices[:index], price, *prices[index + 1 :]), matches)


class _Attention:
    """Attention of one focus, for the queries of a grid of `size`."""

    def __init__(self, focus: Focus, size: Size, layout: Layout, span: VerticalSpan, horizon: float) -> None:
        bank = focus.bank
        self.focus, self._size = focus, size
        masks = unfold(bank.mean.new_ones(1, 1, *size), bank.patch)
        self._masks = masks
        # cut (1 - m_q) m_k + beyond m_q (1 - m_k) = cut m_k - (cut + beyond) m_q m_k + a term that is equal for all k
        cut = _rows_and_columns(layout.row_cut, layout.column_cut, bank)
        beyond = _rows_and_columns(layout.row_beyond, layout.column_beyond, bank)
        key_sides = _sides(bank.masks, bank.patch)
        query_sides = (cut + beyond) * _sides(masks, bank.patch)
        climbs = _climbs(layout, bank.rows, size[0], span, horizon).to(masks).repeat_interleave(size[1], 0)
        key_rows = functional.one_hot(bank.position[:, 0] // 2, bank.rows).to(masks)
        place = torch.cat([query_sides, -climbs], 1)
        matters = place.any(0)  # no column is left without a layout
        self._query_place = place[:, matters]
        self._keys = _filled(torch.cat([bank.keys, torch.cat([key_sides, key_rows], 1)[:, matters], bank.energies], 1))
        self._values = torch.cat([bank.keys, bank.masks], 1)
        # The keys hold only the energy along the axes; outside of a mask it does not count.
        self._rest = bank.keys.square().sum(1) - bank.energies.sum(1)
        self.aversion = key_sides @ cut

    def __call__(
        self, x_t: Tensor, signal: float, noise: float, price: Tensor, balance: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the estimate (1, c, h, w), the new prices and the matches (h, w, 2)."""
        bank, (height, width) = self.focus.bank, self._size
        precision = 1 / max(noise, LEAST_NOISE) ** 2
        sharpness = signal**2 * precision / 2
        queries = torch.cat([bank.queries(x_t) * (signal * precision), self._query_place, self._masks * -sharpness], 1)
        bias = _filled(-sharpness * self._rest - self.aversion - price, -math.inf)
        overlap = Overlap(self._size, x_t.shape[1], bank.patch, self.focus.window, x_t)
        demand, best = torch.zeros_like(price), []
        for first, last in strips(self._size, _ROWS):
            weights = torch.addmm(bias, queries[first * width : last * width], self._keys.T).softmax(1)
            usage = weights.sum(0)[: len(demand)]
            demand += usage
            best.append(_best(weights))
            used = (usage > _NEGLIGIBLE).nonzero()[:, 0]
            means = weights.index_select(1, used) @ self._values[used]
            values, masks = means[:, : -(bank.patch**2)], means[:, -(bank.patch**2) :]
            overlap.add_along(first, bank.axes, values, masks)
        fair = height * width / len(demand)
        price = price + balance * torch.log(demand / fair + _FORGOTTEN)
        return overlap.average(), price, bank.position[torch.cat(best)].reshape(height, width, 2)


def _filled(keys: Tensor, value: float = 0.0) -> Tensor:
    """Append keys to (n, ...) until the last block is full."""
    return torch.cat([keys, keys.new_full((-len(keys) % _BLOCK, *keys.shape[1:]), value)])


def _best(weights: Tensor) -> Tensor:
    """Compute weights.argmax(1), blocks first: in PyTorch argmax is five times as slow as amax."""
    blocks = weights.reshape(len(weights), -1, _BLOCK)
    block = blocks.amax(2).argmax(1)
    place: Tensor = block * _BLOCK + blocks[torch.arange(len(block), device=block.device), block].argmax(1)
    return place


def _sides(masks: Tensor, patch: int) -> Tensor:
    """Mark the rows and the columns of a patch that are inside: (n, 2 p)."""
    square = masks.reshape(-1, patch, patch)
    return torch.cat([square.amax(2), square.amax(1)], 1)


def _climbs(layout: Layout, old: int, new: int, span: VerticalSpan, horizon: float) -> Tensor:
    """Costs of a move from each of the `old` rows to each of the `new` ones: (new, old)."""
    to, origin = (torch.arange(rows, dtype=torch.float64) / max(rows - 1, 1) for rows in (new, old))
    # Rows above or below the picture count as its nearest row.
    to = (span.top + (span.bottom - span.top) * to).clamp(0, 1)
    distance = (to[:, None] ** horizon - origin).abs()
    return layout.height * distance.square() + FORBIDDEN * (distance - layout.reach).clamp(min=0)


def _rows_and_columns(row: float, column: float, bank: PatchBank) -> Tensor:
    return bank.keys.new_tensor([row] * bank.patch + [column] * bank.patch)
