"""A denoiser answers one question: which clean signal is expected behind a noisy one?

    D(x_t, t) = E[x_0 | x_t]

It is the minimizer of the mean squared error, and the only thing that sampling needs to know about the data.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, final

import torch
from torch import Tensor

from sinwave.diffusion.process import Process, Scalar, anchor_term

__all__ = [
    "Denoiser",
    "FromNoise",
    "GaussianDenoiser",
    "Network",
    "Preconditioned",
    "Scalings",
    "log_ratio",
    "scalings",
    "signals",
]

Network: TypeAlias = Callable[[Tensor, float], Tensor]
"""`network(x, log ratio) -> (b, c, h, w)`, where ratio is that of noise to signal: what was trained, with no theory."""


class Denoiser(ABC):
    """E[x_0 | x_t]: a trained network, a closed form, or another denoiser with something added."""

    @abstractmethod
    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """The estimate of x_0, of the shape of x_t `(b, c, h, w)`.

        `anchor` is the y of the process; `condition` is what else is known, in a form that the denoiser defines.
        """


@final
@dataclass(frozen=True)
class GaussianDenoiser(Denoiser):
    """The exact denoiser of independent Gaussian data, x_0 ~ N(mean, variance).

    With a, b, c the coefficients of the process at t,

        E[x_0 | x_t] = mean + a variance / (a^2 variance + c^2) (x_t - b y - a mean).

    Everything about sampling can be computed by hand for it, so it is the yardstick of the samplers.
    """

    process: Process
    mean: Scalar
    variance: Scalar

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """The posterior mean."""
        a, b, c = self.process.at(t)
        gain = a * self.variance / (a**2 * self.variance + c**2)
        return self.mean + gain * (x_t - anchor_term(b, anchor) - a * self.mean)


class Scalings(NamedTuple):
    """x_0 = mean + skip z + out F(into z) for z = x_t - signal mean, so that F sees and answers numbers of size 1."""

    skip: Tensor
    out: Tensor
    into: Tensor


def scalings(signal: Scalar, noise: Scalar, deviation: Tensor) -> Scalings:
    """The scalings of a band whose data has this deviation d (Karras et al., 2022, table 1, for any signal a).

        v = a^2 d^2 + c^2,      skip = a d^2 / v,      out = c d / sqrt(v),      into = 1 / sqrt(v)

    skip z is the best linear estimate and out^2 its mean squared error, so a network that answers 0 is right about all
    that is Gaussian, and every noise level and every band has the same weight in the mean of (F - target)^2.
    """
    variance = signal**2 * deviation**2 + noise**2
    root = variance**0.5
    return Scalings(signal * deviation**2 / variance, noise * deviation / root, 1 / root)


@final
@dataclass(frozen=True, eq=False)
class Preconditioned(Denoiser):
    """A network with EDM's scalings, which answers x_0 band by band.

    mean, deviation   (c, 1, 1), of the data
    follows           how many leading channels the anchor equals but for its faults, so that they keep their whole
                      signal, a (1 - gamma) + a gamma; the others fade
    """

    network: Network
    process: Process
    mean: Tensor
    deviation: Tensor
    follows: int = 0

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """The estimate of x_0."""
        signal, noise = signals(self.process, t, x_t.shape[1], self.follows, like=x_t)
        scale = scalings(signal, noise, self.deviation)
        z = x_t - signal * self.mean
        answer = self.network(scale.into * z, log_ratio(self.process, t))
        return torch.addcmul(self.mean + scale.skip * z, scale.out, answer)


def signals(process: Process, t: Scalar, channels: int, follows: int, *, like: Tensor) -> tuple[Tensor, Scalar]:
    """The signal of each channel, (c, 1, 1), and the noise, where leading channels follow an anchor like themselves."""
    signal, anchor, noise = process.at(t)
    leading = torch.arange(channels, device=like.device)[:, None, None] < follows
    whole = torch.as_tensor(signal + anchor, dtype=like.dtype, device=like.device)
    return torch.where(leading, whole, torch.as_tensor(signal, dtype=like.dtype, device=like.device)), noise


def log_ratio(process: Process, t: Scalar) -> float:
    """The logarithm of noise over the whole signal, a network's clock: the same for every process."""
    signal, anchor, noise = (float(each) for each in process.at(t))
    return math.log(noise / (signal + anchor))


@final
@dataclass(frozen=True, eq=False)
class FromNoise(Denoiser):
    """A network that answers the noise in x_t, as in DDPM; the clean signal follows from the process, and is clipped.

    `low` and `high` (1, c, 1, 1) are the range of the data. It is needed where there is nearly no signal to divide by.
    """

    network: Network
    process: Process
    low: Tensor
    high: Tensor

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """The estimate of x_0."""
        noise = self.network(x_t, log_ratio(self.process, t))
        return self.process.clean_in(x_t, t, noise, anchor).clamp(self.low, self.high)
