"""The options that every task shares that measures pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sinwave.options import option

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave.metrics.measures import Equipment

__all__ = ["Measuring"]


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """Where weights are, where figures are kept, and what is too large."""

    weights: Path | None = option(None, "a folder of published weights, searched before the usual places")
    niqe: Path | None = option(None, "for NIQE: its parameter file, or a folder of good pictures to fit it to")
    cache: Path | None = option(None, "where figures are kept (default: your cache folder)")
    anew: bool = option(False, "compute everything anew, and keep nothing")
    threads: int | None = option(None, "processor threads to use (default: one a core)", low=1, high=1024)
    max_pixels: int = option(100_000_000, "the largest picture to read, a guard against accidents", low=256)

    def equipment(self, natural: tuple[Tensor, ...] = ()) -> tuple[Equipment, tuple[str, ...]]:
        """What metrics need, and remarks; NIQE is fitted to `natural` pictures where no file or folder is given."""
        import torch

        from sinwave.metrics.cache import Cache, cache_folder
        from sinwave.metrics.measures import NIQE_BLOCK, Equipment
        from sinwave.tasks.collect import collect

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        cache = Cache(None if self.anew else (self.cache or cache_folder() / "sinwave" / "metrics"))
        if self.niqe is None or not self.niqe.is_dir():
            return Equipment(self.weights, self.niqe, natural, cache), ()
        good = collect([self.niqe], self.max_pixels)
        small = [name for name, each in good.pictures.items() if min(each.shape[1:]) < NIQE_BLOCK]
        good.remarks += [f"{self.niqe / name}: too small to fit NIQE to, {NIQE_BLOCK} pixels a side" for name in small]
        fit = tuple(each for name, each in good.pictures.items() if name not in small)
        return Equipment(self.weights, None, fit, cache), tuple(good.remarks)
