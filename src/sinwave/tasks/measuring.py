"""The options that every task shares that measures pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sinwave.errors import InputError
from sinwave.options import option
from sinwave.tasks.collect import collect
from sinwave.tasks.folders import make_folder
from sinwave.tasks.hardware import usable_device

if TYPE_CHECKING:
    from sinwave.metrics.measures import Resources
    from sinwave.metrics.niqe import NaturalModel

__all__ = ["Measuring"]

NIQE_BLOCK = 48
"""Of a model that is fitted here: a picture of 250 pixels has four blocks of the published 96."""


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """Where weights are, where figures are kept, and what is too large."""

    weights: Path | None = option(None, "a folder of published weights, searched before the usual places")
    niqe: Path | None = option(None, "for NIQE: its parameter file, or a folder of good pictures to fit it to")
    cache: Path | None = option(None, "where figures are kept (default: your cache folder)")
    anew: bool = option(False, "compute everything anew, and keep nothing")
    device: str = option("auto", "for metrics with networks: auto, cpu, cuda, mps, ...; auto takes the fastest")
    threads: int | None = option(None, "processor threads to use (default: one a core)", low=1, high=1024)
    max_pixels: int = option(100_000_000, "the largest picture to read, a guard against accidents", low=256)

    def resources(self) -> tuple[Resources, tuple[str, ...]]:
        """What metrics need, with whatever was named by the user there and sound; and remarks."""
        import torch

        from sinwave.metrics.cache import Cache, cache_folder
        from sinwave.metrics.measures import Resources

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        device = usable_device(self.device, torch.float32)
        if self.weights is not None and not self.weights.is_dir():
            raise InputError(f"{self.weights}: there is no such folder of weights")
        if self.cache is not None:
            if self.anew:
                raise InputError("anew and cache exclude each other: what is computed anew is not kept")
            make_folder(self.cache)
        kept = None if self.anew else (self.cache or cache_folder() / "sinwave" / "metrics")
        natural, remarks = self._natural_model()
        return Resources(self.weights, natural, Cache(kept), device), remarks

    def _natural_model(self) -> tuple[NaturalModel | None, tuple[str, ...]]:
        from sinwave.metrics.niqe import NaturalModel

        if self.niqe is None:
            return None, ()
        if not self.niqe.is_dir():
            return NaturalModel.load(self.niqe), ()
        good = collect([self.niqe], self.max_pixels)
        large = [each for each in good.pictures.values() if min(each.shape[1:]) >= NIQE_BLOCK]
        if len(large) < len(good.pictures):
            left_out = len(good.pictures) - len(large)
            good.remarks.append(f"{self.niqe}: {left_out} pictures are too small for NIQE, {NIQE_BLOCK} pixels a side")
        if not large:
            raise InputError(f"{self.niqe}: no picture here is large enough for NIQE, {NIQE_BLOCK} pixels a side")
        try:
            return NaturalModel.fit(large, NIQE_BLOCK), tuple(good.remarks)
        except InputError as error:
            raise InputError(f"{self.niqe}: {error}") from error
