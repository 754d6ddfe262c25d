"""Networks as denoisers: the scalings around them, and the loss that trains them.

A time is a number, or a tensor (b, 1, 1, 1) with one for each sample. The denoiser that samples is the denoiser that
trains: a network's `loss` is its error in what it answers, so a training writes no scaling a second time.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.diffusion.process import Process, Scalar
from sinwave.diffusion.sample import Denoiser

__all__ = ["FromNoise", "Network", "Preconditioned", "Scalings", "TrainableDenoiser", "scalings", "signals"]

Network: TypeAlias = Callable[[Tensor, Scalar], Tensor]
"""`network(x, log ratio) -> (b, c, h, w)`, the ratio of noise to signal a number or (b, 1, 1, 1): what is trained."""


class TrainableDenoiser(Denoiser):
    """A denoiser with a network inside, and the loss by which that is trained."""

    @final
    def loss(
        self, clean: Tensor, t: Scalar, noise: Tensor, anchor: Tensor | None = None, *, weight: Tensor | None = None
    ) -> Tensor:
        """The mean error of each sample (b,) at its time, over all numbers or by their `weight` (b, c, h, w).

        Channels that follow their anchor are noised as if they equaled it.
        """
        error = self.error(clean, t, noise, anchor)
        if weight is None:
            return error.mean((1, 2, 3))
        return (error * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp(min=1)

    @abstractmethod
    def error(self, clean: Tensor, t: Scalar, noise: Tensor, anchor: Tensor | None) -> Tensor:
        """The error of each number that the network answers, (b, c, h, w)."""


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
class Preconditioned(TrainableDenoiser):
    """A network with EDM's scalings, which answers x_0 band by band; its loss is | F - target |^2.

    mean, deviation   (c, 1, 1) or (b, c, h, w), of the data
    follows           how many leading channels the anchor equals but for its faults, so that they keep their whole
                      signal, a (1 - gamma) + a gamma, while the others fade; an integer, or (b, 1, 1, 1)
    """

    network: Network
    process: Process
    mean: Tensor
    deviation: Tensor
    follows: int | Tensor = 0

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        signal, noise = signals(self.process, t, x_t.shape[1], self.follows, like=x_t)
        scale = scalings(signal, noise, self.deviation)
        shift = _shift(self.process, t, anchor, self.follows, like=x_t)
        z = (x_t if shift is None else x_t - shift) - signal * self.mean
        answer = self.network(scale.into * z, log_ratio(self.process, t, like=x_t))
        return torch.addcmul(self.mean + scale.skip * z, scale.out, answer)

    def error(self, clean: Tensor, t: Scalar, noise: Tensor, anchor: Tensor | None) -> Tensor:
        """| F(into z) - (x_0 - mean - skip z) / out |^2; z holds nothing of the anchor."""
        signal, level = signals(self.process, t, clean.shape[1], self.follows, like=clean)
        scale = scalings(signal, level, self.deviation)
        z = signal * clean + level * noise - signal * self.mean
        answer = self.network(scale.into * z, log_ratio(self.process, t, like=clean))
        target = (clean - self.mean - scale.skip * z) / scale.out
        return (answer - target).square()


def signals(
    process: Process, t: Scalar, channels: int, follows: int | Tensor, *, like: Tensor
) -> tuple[Tensor, Scalar]:
    """The signal of each channel, (c, 1, 1), and the noise, where leading channels follow an anchor like themselves.

    Times of samples give a signal (b, c, 1, 1) and a noise (b, 1, 1, 1).
    """
    signal, anchor, noise = process.at(t)
    leading = torch.arange(channels, device=like.device)[:, None, None] < follows
    whole, fading = (torch.as_tensor(a, dtype=like.dtype, device=like.device) for a in (signal + anchor, signal))
    return torch.where(leading, whole, fading), noise.to(like) if isinstance(noise, Tensor) else noise


def log_ratio(process: Process, t: Scalar, *, like: Tensor) -> Scalar:
    """The logarithm of noise over the whole signal, a network's clock: the same for every process.

    A number for a number, and (b, 1, 1, 1) in the precision of `like` for the times of samples.
    """
    signal, anchor, noise = process.at(t)
    if isinstance(t, Tensor) and t.ndim > 0:
        level, whole = (torch.as_tensor(a, dtype=like.dtype, device=like.device) for a in (noise, signal + anchor))
        return (level / whole).log()
    return math.log(float(noise) / (float(signal) + float(anchor)))


def _shift(process: Process, t: Scalar, anchor: Tensor | None, follows: int | Tensor, *, like: Tensor) -> Tensor | None:
    """The term anchor(t) y of x_t in the channels that do not follow y; y may lack further channels, and is 0 there."""
    if anchor is None or (isinstance(follows, int) and anchor.shape[1] <= follows):
        return None
    coefficient = torch.as_tensor(process.at(t).anchor, dtype=like.dtype, device=like.device)
    leading = torch.arange(anchor.shape[1], device=like.device)[:, None, None] < follows
    term = (coefficient * anchor).masked_fill(leading, 0.0)
    return functional.pad(term, (0, 0, 0, 0, 0, like.shape[1] - anchor.shape[1]))


@final
@dataclass(frozen=True, eq=False)
class FromNoise(TrainableDenoiser):
    """A network that answers the noise in x_t, as in DDPM; the clean signal follows from the process, and is clipped.

    Its loss is | F - noise |. `low` and `high` (1, c, 1, 1) are the range of the data, needed where there is nearly no
    signal to divide by; `follows` is that of `Preconditioned`.
    """

    network: Network
    process: Process
    low: Tensor
    high: Tensor
    follows: int | Tensor = 0

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        noise = self.network(x_t, log_ratio(self.process, t, like=x_t))
        return self.process.clean_in(x_t, t, noise, anchor).clamp(self.low, self.high)

    def error(self, clean: Tensor, t: Scalar, noise: Tensor, anchor: Tensor | None) -> Tensor:
        signal, level = signals(self.process, t, clean.shape[1], self.follows, like=clean)
        x_t, shift = signal * clean + level * noise, _shift(self.process, t, anchor, self.follows, like=clean)
        x_t = x_t if shift is None else x_t + shift
        return (self.network(x_t, log_ratio(self.process, t, like=clean)) - noise).abs()
