"""Random numbers that depend on names, never on the order of the calls.

A seed and a path of names, ("picture", 17, "coarsest", "step", 3), are hashed into the seed of one draw:

    draw = N(0, I) from a generator seeded with fold(seed, *path)

So picture 17 is the same alone or in any batch, on any device, and after any resume.
"""

from __future__ import annotations

import json
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeAlias, final

import torch
from torch import Tensor

from sinwave.errors import InputError

__all__ = ["Key", "Noise", "NoiseBatch", "NoiseSource", "Orbit", "fold"]

Key: TypeAlias = int | str


def fold(seed: int, *path: Key) -> int:
    """Hash a seed and a path to 63 bits, the same on every platform and in every version of Python."""
    parts = [part if isinstance(part, str) else int(operator.index(part)) for part in (seed, *path)]
    # JSON keeps 1 apart from "1", and ("a", "b") apart from ("ab",).
    digest = blake2b(json.dumps(parts).encode("ascii"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Noise(ABC):
    """Standard normal noise: the same key gives the same numbers, another key gives independent ones."""

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of pictures in the batch; if above one, the first number of every shape."""

    @abstractmethod
    def child(self, *path: Key) -> Noise:
        """Return an independent source for a part of the work, such as one scale of a pyramid."""

    @abstractmethod
    def normal(self, shape: Sequence[int], *key: Key, like: Tensor | None = None) -> Tensor:
        """Draw `key` of this source, with the device and dtype of `like` (default: CPU, float32)."""


@final
@dataclass(frozen=True)
class NoiseSource(Noise):
    """Stream of noise for one picture: a draw is a pure function of (seed, path, key, shape)."""

    seed: int
    path: tuple[Key, ...] = ()

    @property
    def count(self) -> int:
        return 1

    def child(self, *path: Key) -> NoiseSource:
        return NoiseSource(self.seed, (*self.path, *path))

    def batch(self, pictures: Iterable[Key]) -> NoiseBatch:
        """Return the streams of several pictures that are drawn together: `noise.batch(range(16, 20))`."""
        return NoiseBatch(tuple(self.child(picture) for picture in pictures))

    def normal(self, shape: Sequence[int], *key: Key, like: Tensor | None = None) -> Tensor:
        generator = torch.Generator("cpu").manual_seed(fold(self.seed, *self.path, *key))
        # Always drawn on the CPU in float32: other devices and dtypes would give other numbers.
        noise = torch.randn(tuple(shape), generator=generator, dtype=torch.float32, device="cpu")
        return noise if like is None else noise.to(like.device, like.dtype)


@final
@dataclass(frozen=True)
class NoiseBatch(Noise):
    """Streams of a batch: row i is drawn from `sources[i]`, whatever else is in the batch."""

    sources: tuple[NoiseSource, ...]

    @property
    def count(self) -> int:
        return len(self.sources)

    def child(self, *path: Key) -> NoiseBatch:
        return NoiseBatch(tuple(source.child(*path) for source in self.sources))

    def normal(self, shape: Sequence[int], *key: Key, like: Tensor | None = None) -> Tensor:
        count, *rest = shape
        if count != len(self.sources):
            raise InputError(
                f"the batch has {count} pictures and {len(self.sources)} noise sources: one per picture is needed"
            )
        rows = [source.normal(rest, *key) for source in self.sources]
        noise = torch.stack(rows) if count > 1 else rows[0][None]
        return noise if like is None else noise.to(like.device, like.dtype)


@final
@dataclass(frozen=True)
class Orbit(Noise):
    """Point on a closed path through standard normal noise: draws change smoothly with `turn`, and 1 is the same as 0.

        cos(a) n_0 + sin(a) (cos(2 pi turn) n_1 + sin(2 pi turn) n_2)        sin(a) = amount

    Every point is N(0, I), and all are equally far from n_0, the draw of `source` itself.
    """

    source: Noise
    turn: float
    amount: float = 1.0

    @property
    def count(self) -> int:
        return self.source.count

    def child(self, *path: Key) -> Orbit:
        return Orbit(self.source.child(*path), self.turn, self.amount)

    def normal(self, shape: Sequence[int], *key: Key, like: Tensor | None = None) -> Tensor:
        angle = 2 * math.pi * (self.turn % 1)
        middle = self.source.normal(shape, *key, like=like)
        right, up = (self.source.child("orbit", axis).normal(shape, *key, like=like) for axis in range(2))
        away = math.cos(angle) * right + math.sin(angle) * up
        return math.sqrt(1 - self.amount**2) * middle + self.amount * away
