"""The closed form at linear cost: a fine patch is compared only with the matches of its coarser neighborhood.

The weights are those of the exact closed form without mask, layout and price, over nine candidates instead of all
patches:

    first estimate of a scale    the children of the coarser matches of the 3 x 3 positions around the parent
    every further estimate       the matches of the 3 x 3 positions around, each shifted by the distance of its position

Most pieces of a picture continue, so the match of a position is nearly always next to the match of its neighbor
(coherence, which PatchMatch uses; Barnes et al., 2009). Inside a piece all nine candidates are equal, and the estimate
is a copy; between pieces the weights decide. Pixels are averaged, not bands: an average of bands would have seams with
steps of two pixels.
"""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.diffusion.process import Process, Scalar
from sinwave.systems.wavelet.patches import LEAST_NOISE, Overlap, PatchBank, strips
from sinwave.wavelets import Size, pack

__all__ = ["Candidates", "PropagatedDenoiser", "children", "neighbors"]

_ROWS = 8192  # queries at a time: a bound on memory
_NEAR = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]


class Candidates(NamedTuple):
    """State of a walk: indices of nine patches for each position (h, w, 9), and the best one of each (h w,)."""

    indices: Tensor
    best: Tensor
    matches: Tensor
    """The best patch of each position: (h, w, 2), in pixels of the scale's picture."""


@final
class PropagatedDenoiser:
    """Attention over nine candidates per position, which each estimate derives from the one before."""

    def __init__(self, process: Process, bank: PatchBank, source: Size, window: float) -> None:
        """Take a bank with patches of pixels, which stand on a grid of size `source`."""
        self._process, self._bank, self._source, self._window = process, bank, source, window
        self._energy = bank.keys.square().sum(1) / 2
        self._redirect = None if bank.usable is None else _nearest_true(bank.usable.reshape(source))

    def start(self, candidates: Tensor) -> Candidates:
        """Begin with candidates (h, w, 9, 2), positions on the grid of the bank's patches."""
        index = self._indices(candidates)
        return self._state(index, index[..., len(_NEAR) // 2].flatten())

    def copy(self, state: Candidates) -> Tensor:
        """Assemble bands (1, c, h, w) from the middles of the best patches, 2 x 2 pixels each."""
        bank, (height, width) = self._bank, state.indices.shape[:2]
        patches = bank.patches.reshape(len(bank.patches), bank.patch**2, -1, 2, 2)
        cells = patches[:, bank.patch**2 // 2, :-1][state.best]
        placed = cells.reshape(height, width, -1, 2, 2).permute(2, 0, 3, 1, 4)
        return self._of_picture(placed.reshape(1, -1, 2 * height, 2 * width))

    def __call__(self, x_t: Tensor, t: Scalar, state: Candidates) -> tuple[Tensor, Candidates]:
        """Compute E[x_0 | x_t] of bands (1, c, h, w) over the candidates, and the state after it."""
        bank, (signal, _, noise) = self._bank, map(float, self._process.at(t))
        precision = 1 / max(noise, LEAST_NOISE) ** 2
        queries = bank.queries(x_t - signal * bank.mean)
        size, channels = (x_t.shape[2], x_t.shape[3]), bank.patches.shape[1] // (2 * bank.patch) ** 2 - 1
        overlap, parts = Overlap(size, channels, bank.patch, self._window, bank.patches, cell=2), []
        for first, last in strips(size, _ROWS):
            rows = slice(first * size[1], last * size[1])
            index, patches = self._attend(state.indices[first:last].flatten(0, 1), queries[rows], signal, precision)
            parts.append(index)
            overlap.add(first, patches)
        best, width = torch.cat(parts), self._source[1]
        grid = torch.stack([best // width, best % width], 1).reshape(*size, 2)
        return self._of_picture(overlap.average()), self._state(self._indices(neighbors(grid)), best)

    def _state(self, index: Tensor, best: Tensor) -> Candidates:
        return Candidates(index, best, self._bank.position[best].reshape(*index.shape[:2], 2))

    def _attend(self, candidates: Tensor, queries: Tensor, signal: float, precision: float) -> tuple[Tensor, Tensor]:
        """Return the best of nine candidates (n, 9) and their mean patch, computed only where they differ."""
        bank, best = self._bank, candidates[:, 0].clone()
        open_rows = (candidates != candidates[:, :1]).any(1).nonzero()[:, 0]
        keys = candidates[open_rows].sort(1).values
        repeated = functional.pad(keys[:, 1:] == keys[:, :-1], (1, 0))
        agreement = torch.bmm(bank.keys[keys], queries[open_rows, :, None])[..., 0]
        logits = (signal * agreement - signal**2 * self._energy[keys]) * precision
        weights = logits.masked_fill(repeated, -torch.inf).softmax(1)
        best[open_rows] = keys.gather(1, weights.argmax(1, keepdim=True))[:, 0]
        patches = bank.patches[best]
        patches[open_rows] = functional.embedding_bag(keys, bank.patches, per_sample_weights=weights, mode="sum")
        return best, patches

    def _of_picture(self, picture: Tensor) -> Tensor:
        return pack(picture, self._bank.filter)[:, : self._bank.mean.shape[1]]

    def _indices(self, positions: Tensor) -> Tensor:
        """Indices of the usable patches at, or next to, positions (..., 2) of the source's grid."""
        height, width = self._source
        index = positions[..., 0].clamp(0, height - 1) * width + positions[..., 1].clamp(0, width - 1)
        return index if self._redirect is None else self._redirect[index]


def neighbors(matches: Tensor, step: int = 1) -> Tensor:
    """Return the matches of the 3 x 3 positions around, shifted back by their distance: (h, w, 2) -> (h, w, 9, 2).

    `step` is the distance of two positions in the unit of the matches.
    """
    height, width, _ = matches.shape
    rows, columns = (torch.arange(-1, side + 1, device=matches.device).clamp(0, side - 1) for side in (height, width))
    # At the edge the neighbor is the position itself, so nothing is shifted.
    places = step * torch.stack(torch.meshgrid(rows, columns, indexing="ij"), 2)
    shifts = matches[rows][:, columns] - places
    around = [shifts[1 + down : 1 + down + height, 1 + right : 1 + right + width] for down, right in _NEAR]
    return torch.stack(around, 2) + places[1:-1, 1:-1, None]


def children(matches: Tensor, size: Size, factor: int) -> Tensor:
    """Candidates (h, w, 9, 2) on the grid of `size` from the matches of the coarser scale, in pixels of its picture.

    A position has `factor` x `factor` children. With factor 2 the positions of the finer grid are the pixels of the
    coarser picture; with factor 1 both scales have the same grid, with 2 x 2 pixels per position.
    """
    if factor == 1:
        return neighbors(matches // 2)
    around = neighbors(matches, step=2)
    height, width = size
    rows, columns = (torch.arange(side, device=matches.device) for side in size)
    parity = torch.stack(torch.meshgrid(rows % 2, columns % 2, indexing="ij"), 2)
    spread = around.repeat_interleave(2, 0).repeat_interleave(2, 1)[:height, :width]
    return spread + parity[:, :, None]


def _nearest_true(usable: Tensor) -> Tensor:
    """Index of the nearest usable position for every position of a grid, by growing from the usable ones: (h w,)."""
    height, width = usable.shape
    nearest = torch.where(usable.cpu(), torch.arange(height * width).reshape(height, width), -1)
    while (nearest < 0).any():
        # float64 holds every index exactly; on the CPU, since not every device has it.
        spread = functional.max_pool2d(nearest[None].double(), 3, 1, 1)[0].long()
        nearest = torch.where(nearest < 0, spread, nearest)
    return nearest.flatten().to(usable.device)
