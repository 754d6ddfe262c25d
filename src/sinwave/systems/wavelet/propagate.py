"""The closed form at linear cost: a fine patch looks only where its coarser neighborhood found its matches.

The weights are those of the exact closed form without its mask, border and price, over a few candidates instead of
all patches:

    first estimate of a scale    the children of the coarser matches of the 3 x 3 positions around the parent
    every further estimate       the matches of the 3 x 3 positions around, each moved as its position is

A picture is mostly made of pieces that continue, so the match of a position is nearly always the neighbor of a
neighbor's match (the coherence that PatchMatch lives from; Barnes et al., 2009). Inside a piece all nine candidates
are one, and the estimate is a copy; between pieces the noise decides and the overlap settles it. What overlaps are
pixels: the weights of a mean of bands change every second pixel only, and its seams are stairs of two pixels.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.diffusion.denoise import Denoiser
from sinwave.diffusion.process import Process, Scalar
from sinwave.systems.wavelet.patches import LEAST_NOISE, Overlap, PatchBank, strips
from sinwave.wavelets import Size, pack

__all__ = ["PropagatedDenoiser", "children", "neighbors"]

_ROWS = 8192  # queries at a time: a bound on memory
_NEAR = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]


@final
class PropagatedDenoiser(Denoiser):
    """Attention over nine candidates a position, handed from estimate to estimate."""

    def __init__(self, process: Process, bank: PatchBank, source: Size, candidates: Tensor, window: float) -> None:
        """`candidates` (h, w, 9, 2) are positions on the grid of size `source`, where the patches of the bank stand.

        These are of pixels.
        """
        self._process, self._bank, self._source, self._window = process, bank, source, window
        self._energy = bank.keys.square().sum(1) / 2
        self._redirect = None if bank.usable is None else _nearest_true(bank.usable.reshape(source))
        self._size = (candidates.shape[0], candidates.shape[1])
        self._candidates = self._indices(candidates)
        self._best = self._candidates[..., len(_NEAR) // 2].flatten()

    @property
    def matches(self) -> Tensor:
        """The best patch of each position in the last estimate: (h, w, 2), pixels of the scale's picture."""
        return self._bank.position[self._best].reshape(*self._size, 2)

    def copy(self) -> Tensor:
        """Bands (1, c, h, w) put together from the middles of the best patches, two by two pixels of each."""
        bank, (height, width) = self._bank, self._size
        patches = bank.patches.reshape(len(bank.patches), bank.patch**2, -1, 2, 2)
        cells = patches[:, bank.patch**2 // 2, :-1][self._best]
        placed = cells.reshape(height, width, -1, 2, 2).permute(2, 0, 3, 1, 4)
        picture = placed.reshape(1, -1, 2 * height, 2 * width)
        return self._of_picture(picture)

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """E[x_0 | x_t] of bands (1, c, h, w), over the candidates."""
        signal, _, noise = (float(each) for each in self._process.at(t))
        precision = 1 / max(noise, LEAST_NOISE) ** 2
        queries = self._bank.queries(x_t - signal * self._bank.mean)
        overlap, best = self._overlap(), []
        for first, last in strips(self._size, _ROWS):
            rows = slice(first * self._size[1], last * self._size[1])
            found, patches = self._answer(self._candidates[first:last].flatten(0, 1), queries[rows], signal, precision)
            best.append(found)
            overlap.add(first, patches)
        self._best = torch.cat(best)
        width = self._source[1]
        grid = torch.stack([self._best // width, self._best % width], 1).reshape(*self._size, 2)
        self._candidates = self._indices(neighbors(grid))
        return self._of_picture(overlap.average())

    def _answer(self, candidates: Tensor, queries: Tensor, signal: float, precision: float) -> tuple[Tensor, Tensor]:
        """The best of nine candidates (n, 9) and their mean patch; only where they differ there is something to ask."""
        bank, best = self._bank, candidates[:, 0].clone()
        asked = (candidates != candidates[:, :1]).any(1).nonzero()[:, 0]
        some, repeated = _without_repeats(candidates[asked])
        agreement = torch.bmm(bank.keys[some], queries[asked, :, None])[..., 0]
        logits = (signal * agreement - signal**2 * self._energy[some]) * precision
        weights = logits.masked_fill(repeated, -torch.inf).softmax(1)
        best[asked] = some.gather(1, weights.argmax(1, keepdim=True))[:, 0]
        patches = bank.patches[best]
        patches[asked] = functional.embedding_bag(some, bank.patches, per_sample_weights=weights, mode="sum")
        return best, patches

    def _overlap(self) -> Overlap:
        bank = self._bank
        channels = bank.patches.shape[1] // (2 * bank.patch) ** 2 - 1
        return Overlap(self._size, channels, bank.patch, self._window, bank.patches, cell=2)

    def _of_picture(self, picture: Tensor) -> Tensor:
        return pack(picture, self._bank.filter)[:, : self._bank.mean.shape[1]]

    def _indices(self, positions: Tensor) -> Tensor:
        """Which patches stand at positions (..., 2) of the source's grid, or as near to them as possible."""
        height, width = self._source
        index = positions[..., 0].clamp(0, height - 1) * width + positions[..., 1].clamp(0, width - 1)
        return index if self._redirect is None else self._redirect[index]


def neighbors(matches: Tensor, step: int = 1) -> Tensor:
    """The match of each of the 3 x 3 positions around, moved back by its distance: (h, w, 2) -> (h, w, 9, 2).

    `step` is the distance of two positions in the unit of the matches.
    """
    height, width, _ = matches.shape
    rows, columns = (torch.arange(-1, side + 1, device=matches.device).clamp(0, side - 1) for side in (height, width))
    padded = matches[rows][:, columns]
    found = []
    for down, right in _NEAR:
        around = padded[1 + down : 1 + down + height, 1 + right : 1 + right + width]
        # At the edge the neighbor is the position itself, which has not moved.
        moved_down = rows[1 + down :][:height] - rows[1:-1]
        moved_right = columns[1 + right :][:width] - columns[1:-1]
        found.append(around - step * torch.stack(torch.meshgrid(moved_down, moved_right, indexing="ij"), 2))
    return torch.stack(found, 2)


def children(matches: Tensor, size: Size, factor: int) -> Tensor:
    """Candidates (h, w, 9, 2) on the grid of `size` from the matches of the coarser scale, pixels of its picture.

    A position has `factor` x `factor` children. With factor 2 their grid has the pixels of the coarser picture as its
    positions; with factor 1 it is the coarser grid itself, of 2 x 2 pixels a position.
    """
    if factor == 1:
        return neighbors(matches // 2)
    around = neighbors(matches, step=2)
    height, width = size
    rows, columns = (torch.arange(side, device=matches.device) for side in size)
    parity = torch.stack(torch.meshgrid(rows % 2, columns % 2, indexing="ij"), 2)
    spread = around.repeat_interleave(2, 0).repeat_interleave(2, 1)[:height, :width]
    return spread + parity[:, :, None]


def _without_repeats(candidates: Tensor) -> tuple[Tensor, Tensor]:
    """The candidates in order, and which of them are the same as the one before."""
    ordered = candidates.sort(1).values
    repeated = torch.zeros_like(ordered, dtype=torch.bool)
    repeated[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    return ordered, repeated


def _nearest_true(usable: Tensor) -> Tensor:
    """For each position of a grid the index of the nearest usable one, found by growing from those: (h w,)."""
    height, width = usable.shape
    nearest = torch.where(usable.cpu(), torch.arange(height * width).reshape(height, width), -1)
    while (nearest < 0).any():
        # As float64, which holds every index exactly but which not every device has.
        spread = functional.max_pool2d(nearest[None].double(), 3, 1, 1)[0].long()
        nearest = torch.where(nearest < 0, spread, nearest)
    return nearest.flatten().to(usable.device)
