"""A denoiser answers one question: which clean signal is expected behind a noisy one?

    D(x_t, t) = E[x_0 | x_t]

It is the minimizer of the mean squared error, and the only thing that sampling needs to know about the data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

from torch import Tensor

from sinwave.diffusion.process import Process, Scalar, anchor_term

__all__ = ["Denoiser", "GaussianDenoiser"]


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
