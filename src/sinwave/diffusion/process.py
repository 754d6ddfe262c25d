"""A process blurs a clean signal into noise, perhaps on its way to an anchor.

Every system of this package is one Gaussian process between a clean signal x_0, an optional anchor y and noise eps:

    x_t = signal(t) x_0 + anchor(t) y + noise(t) eps,        eps ~ N(0, I)

| process              | signal        | anchor | noise             | t            |
|----------------------|---------------|--------|-------------------|--------------|
| `Flow`               | 1 - t         | 0      | t                 | [0, 1]       |
| `VariancePreserving` | sqrt(abar)    | 0      | sqrt(1 - abar)    | [0, 1]       |
| `VarianceExploding`  | 1             | 0      | t                 | [0, infinity)|
| `ResidualShift`      | 1 - eta       | eta    | kappa sqrt(eta)   | [0, 1]       |
| `Anchored`           | (1 - gamma) a | gamma a| c, of another     | its          |

The clean end is t = 0. A process that was published with T discrete steps has its step k at t = k / T, exactly, and
is interpolated between them. A time is a float, which gives floats, or a tensor that broadcasts over `(b, c, h, w)`,
which gives tensors. A process may also give each band its own coefficients, as tensors `(1, c, 1, 1)`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise
from operator import mul
from typing import NamedTuple, TypeAlias, final

import torch
from torch import Tensor

from sinwave.errors import InputError

__all__ = [
    "Anchored",
    "Coefficients",
    "Flow",
    "Process",
    "ResidualShift",
    "Scalar",
    "VarianceExploding",
    "VariancePreserving",
    "anchor_term",
]

Scalar: TypeAlias = float | Tensor


class Coefficients(NamedTuple):
    """The weights of x_0, y and eps in x_t; a number, or a tensor that broadcasts over `(b, c, h, w)`."""

    signal: Scalar
    anchor: Scalar
    noise: Scalar


class Process(ABC):
    """x_t = signal(t) x_0 + anchor(t) y + noise(t) eps."""

    @abstractmethod
    def at(self, t: Scalar) -> Coefficients:
        """The coefficients at time t."""

    @final
    def diffuse(self, clean: Tensor, t: Scalar, noise: Tensor, anchor: Tensor | None = None) -> Tensor:
        """x_t, from x_0 and eps."""
        a = self.at(t)
        return _plus(a.signal * clean + a.noise * noise, a.anchor, anchor)

    @final
    def noise_in(self, x_t: Tensor, t: Scalar, clean: Tensor, anchor: Tensor | None = None) -> Tensor:
        """The eps that leads from x_0 to x_t; t must not be a time without noise."""
        a = self.at(t)
        return _plus(x_t - a.signal * clean, -a.anchor, anchor) / a.noise

    @final
    def clean_in(self, x_t: Tensor, t: Scalar, noise: Tensor, anchor: Tensor | None = None) -> Tensor:
        """The x_0 from which eps leads to x_t; t must not be a time without signal."""
        a = self.at(t)
        return _plus(x_t - a.noise * noise, -a.anchor, anchor) / a.signal

    @final
    def carry(self, s: Scalar, t: Scalar) -> Scalar:
        """The r of the Markov chain x_t = r x_s + shift (y - x_0) + fresh noise, for s < t.

        A clean signal that equals its anchor is not shifted but only scaled, by signal + anchor. Therefore

            r = (signal(t) + anchor(t)) / (signal(s) + anchor(s)),

        which is the usual signal(t) / signal(s) without an anchor, and 1 for the residual shift.
        """
        a, b = self.at(s), self.at(t)
        return (b.signal + b.anchor) / (a.signal + a.anchor)


@final
@dataclass(frozen=True)
class Flow(Process):
    """The straight line between signal and noise (rectified flow: Liu et al., 2023): signal 1 - t, noise t."""

    def at(self, t: Scalar) -> Coefficients:
        return Coefficients(1 - t, 0.0, t)


@final
@dataclass(frozen=True)
class VarianceExploding(Process):
    """Noise is added and the signal is left alone (Karras et al., 2022): time is the noise level sigma itself."""

    def at(self, t: Scalar) -> Coefficients:
        return Coefficients(1.0, 0.0, t)


@final
@dataclass(frozen=True)
class VariancePreserving(Process):
    """signal^2 + noise^2 = 1 (Ho et al., 2020), given as abar_k = signal(k / T)^2 at k = 0 .. T, with abar_0 = 1.

    Between the steps the angle of (signal, noise) is interpolated, so that the variance is preserved there too.
    """

    alphas_cumprod: tuple[float, ...]

    def __post_init__(self) -> None:
        table = self.alphas_cumprod
        if len(table) < 2 or table[0] != 1 or table[-1] < 0 or any(a <= b for a, b in pairwise(table)):
            raise InputError(f"alphas_cumprod is {_brief(table)}: it must start with 1 and fall, to no less than 0")

    @classmethod
    def from_betas(cls, betas: Iterable[float]) -> VariancePreserving:
        """abar_k = prod_{i <= k} (1 - beta_i), for the variances beta_1 .. beta_T of the steps."""
        return cls(tuple(accumulate((1 - beta for beta in betas), mul, initial=1.0)))

    @classmethod
    def linear(cls, steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> VariancePreserving:
        """Betas that rise linearly (Ho et al., 2020)."""
        return cls.from_betas(_line(first, last, steps))

    @classmethod
    def scaled_linear(cls, steps: int = 1000, first: float = 0.00085, last: float = 0.012) -> VariancePreserving:
        """Betas whose square root rises linearly (latent diffusion: Rombach et al., 2022)."""
        return cls.from_betas(root**2 for root in _line(math.sqrt(first), math.sqrt(last), steps))

    @classmethod
    def cosine(cls, steps: int = 1000, offset: float = 0.008, largest: float = 0.999) -> VariancePreserving:
        """abar(u) ~ cos^2(pi/2 (u + offset) / (1 + offset)), betas of at most `largest` (Nichol & Dhariwal, 2021)."""
        curve = [math.cos(math.pi / 2 * (u + offset) / (1 + offset)) ** 2 for u in _line(0.0, 1.0, steps + 1)]
        return cls.from_betas(min(1 - b / a, largest) for a, b in pairwise(curve))

    def at(self, t: Scalar) -> Coefficients:
        angle = _interpolate(self._angles, t)
        if isinstance(angle, Tensor):
            return Coefficients(angle.cos(), 0.0, angle.sin())
        return Coefficients(math.cos(angle), 0.0, math.sin(angle))

    @cached_property
    def _angles(self) -> tuple[float, ...]:
        return tuple(math.atan2(math.sqrt(1 - a), math.sqrt(a)) for a in self.alphas_cumprod)


@final
@dataclass(frozen=True)
class ResidualShift(Process):
    """The signal moves to its degraded version y while noise is added (ResShift: Yue et al., 2023).

        x_t = x_0 + eta (y - x_0) + kappa sqrt(eta) eps

    The table holds sqrt(eta) at t = k / T for k = 0 .. T, with eta_0 = 0; between the steps sqrt(eta) is interpolated.
    """

    sqrt_eta: tuple[float, ...]
    kappa: float = 2.0

    def __post_init__(self) -> None:
        table = self.sqrt_eta
        if len(table) < 2 or table[0] != 0 or table[-1] > 1 or any(a >= b for a, b in pairwise(table)):
            raise InputError(f"sqrt_eta is {_brief(table)}: it must start with 0 and rise, to no more than 1")
        if not self.kappa > 0:
            raise InputError(f"kappa is {self.kappa}: it must be positive")

    @classmethod
    def geometric(
        cls, steps: int = 15, kappa: float = 2.0, power: float = 0.3, min_noise: float = 0.04, last: float = 0.99
    ) -> ResidualShift:
        """The published schedule; versions 1 and 2 have these defaults, version 3 has `steps=4, min_noise=0.2`.

        sqrt(eta_k) = first^(1 - u_k) last^(u_k),    u_k = ((k - 1) / (T - 1))^power,
        first = min(min_noise / kappa, min_noise)
        """
        if steps < 2:
            raise InputError(f"steps is {steps}: it must be 2 or more")
        first = min(min_noise / kappa, min_noise)
        exponents = (u**power for u in _line(0.0, 1.0, steps))
        return cls((0.0, *(first ** (1 - u) * last**u for u in exponents)), kappa)

    def at(self, t: Scalar) -> Coefficients:
        root = _interpolate(self.sqrt_eta, t)
        return Coefficients(1 - root**2, root**2, self.kappa * root)


@final
@dataclass(frozen=True)
class Anchored(Process):
    """Noise is added by another process, and the signal is drawn to an anchor (the thesis's mix, section 3.1).

        x_t = a(t) [(1 - gamma(t)) x_0 + gamma(t) y] + c(t) eps,      gamma(t) = strongest min(t / start, 1)

    gamma rises with the time from 0 to `strongest`, which it has at `start`, where a walk begins: so the anchor decides
    at first, and the end of the walk may correct it.
    """

    base: Process
    start: float
    strongest: float = 0.55

    def __post_init__(self) -> None:
        if not self.start > 0 or not 0 <= self.strongest < 1:
            raise InputError(
                f"start is {self.start} and strongest {self.strongest}: a positive time and a part of 1 are needed"
            )

    def gamma(self, t: Scalar) -> Scalar:
        """The weight of the anchor in the clean mixture."""
        share = t / self.start
        return self.strongest * (share.clamp(max=1) if isinstance(share, Tensor) else min(share, 1.0))

    def at(self, t: Scalar) -> Coefficients:
        a, gamma = self.base.at(t), self.gamma(t)
        return Coefficients(a.signal * (1 - gamma), a.anchor + a.signal * gamma, a.noise)


def _plus(term: Tensor, coefficient: Scalar, anchor: Tensor | None) -> Tensor:
    """`term` with the anchor's, which may know the leading channels only and is 0 in the others."""
    if anchor is None or anchor.shape[1] == term.shape[1]:
        return term + anchor_term(coefficient, anchor)
    leading = term[:, : anchor.shape[1]] + anchor_term(coefficient, anchor)
    return torch.cat([leading, term[:, anchor.shape[1] :]], 1)


def anchor_term(coefficient: Scalar, anchor: Tensor | None) -> Scalar:
    """The term anchor(t) y, which is 0 for a process without an anchor."""
    if not isinstance(coefficient, Tensor) and coefficient == 0:
        return 0.0
    if anchor is None:
        raise InputError("the anchor is None: this process moves towards an anchor, so a tensor is needed")
    return coefficient * anchor


def _interpolate(table: tuple[float, ...], t: Scalar) -> Scalar:
    """The piecewise linear function with the value table[k] at t = k / T."""
    last = len(table) - 1
    position = t * last
    if isinstance(position, Tensor):
        values = _on_device(table, position.dtype, position.device)
        lower = position.floor().clamp(0, last - 1).long()
        return torch.lerp(values[lower], values[lower + 1], position - lower)
    below = min(max(math.floor(position), 0), last - 1)
    part = position - below
    return (1 - part) * table[below] + part * table[below + 1]


@lru_cache(maxsize=64)
def _on_device(table: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The table as a tensor, copied to a device once."""
    return torch.tensor(table, dtype=dtype, device=device)


def _line(first: float, last: float, count: int) -> list[float]:
    return torch.linspace(first, last, count, dtype=torch.float64).tolist()


def _brief(table: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in table[:8]) + (", ..)" if len(table) > 8 else ")")
