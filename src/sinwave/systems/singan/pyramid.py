"""The sizes of the scales, coarsest first.

With S the shorter side of the picture and a nominal factor f,

    scales     N = ceil(log_f(least / S)) + 1
    factor     r = (least / S)^(1 / (N - 1)), solved anew so that the shorter side of the coarsest is exactly `least`
    size n     r^e(n) of the picture,      e(n) = N - 1 - n

Trained together, fewer scales are enough, and more of them are coarse: with M = N - 1 all but the finest, where e = 0,
have e(n) = (M - 1) ln(M - n) / ln M + 1.
"""

from __future__ import annotations

import math

from sinwave.wavelets import Size

__all__ = ["concurrent_sizes", "published_sizes", "reduced"]


def published_sizes(size: Size, *, least: int = 25, factor: float = 0.75) -> tuple[Size, ...]:
    """The scales of a picture (h, w), each larger than the one before by nearly the same factor."""
    count = _count(size, least, factor)
    return _sizes(size, least, [count - 1 - index for index in range(count)])


def concurrent_sizes(size: Size, *, count: int = 6, least: int = 25, factor: float = 0.75) -> tuple[Size, ...]:
    """At most `count` scales, which lie the denser the coarser they are."""
    last = min(count, _count(size, least, factor)) - 1
    steepness = (last - 1) / math.log(last) if last > 1 else 0.0
    return _sizes(size, least, [*(steepness * math.log(last - n) + 1 for n in range(last)), 0.0])


def reduced(size: Size, most: int | None) -> Size:
    """The size of a picture whose longer side is to be at most so many pixels."""
    share = 1.0 if most is None else min(1.0, most / max(size))
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def _count(size: Size, least: int, factor: float) -> int:
    # A picture that is a power of the factor must not have a scale more by rounding.
    return max(0, math.ceil(math.log(least / min(size), factor) - 1e-9)) + 1


def _sizes(size: Size, least: int, exponents: list[float]) -> tuple[Size, ...]:
    """`exponents` from the coarsest, the largest, to 0."""
    ratio = (least / min(size)) ** (1 / exponents[0]) if exponents[0] else 1.0
    return tuple((round(size[0] * ratio**e), round(size[1] * ratio**e)) for e in exponents)
