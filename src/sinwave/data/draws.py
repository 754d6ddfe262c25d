"""Random numbers of one picture, as arrays, in the order in which they are asked for."""

from __future__ import annotations

import math
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["Array", "Draws", "Whole"]

Array: TypeAlias = npt.NDArray[np.floating[Any]]
Whole: TypeAlias = npt.NDArray[np.integer[Any]]


@final
class Draws:
    """A stream of numbers; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Array:
        unit: Array = torch.rand(shape, generator=self._generator).numpy()
        return low + (high - low) * unit

    def log_uniform(self, low: float, high: float, *shape: int) -> Array:
        return np.exp(self.uniform(math.log(low), math.log(high), *shape))

    def normal(self, *shape: int) -> Array:
        return torch.randn(shape, generator=self._generator).numpy()

    def below(self, limit: int, *shape: int) -> Whole:
        return torch.randint(limit, shape, generator=self._generator).numpy()

    def poisson(self, mean: float) -> int:
        return int(torch.poisson(torch.tensor(mean, dtype=torch.float64), generator=self._generator))

    def happens(self, share: float) -> bool:
        return bool(self.uniform(0, 1) < share)
