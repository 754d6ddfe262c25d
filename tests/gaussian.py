"""The denoiser of data that is independent and Gaussian: exact, so it is the yardstick of processes and samplers."""

from dataclasses import dataclass
from typing import final

from sinwave.diffusion.process import Process, Scalar, anchor_term
from sinwave.diffusion.sample import Denoiser


@final
@dataclass(frozen=True)
class GaussianDenoiser(Denoiser):
    """The exact denoiser of independent Gaussian data, x_0 ~ N(mean, variance).

    With a, b, c the coefficients of the process at t,

        E[x_0 | x_t] = mean + a variance / (a^2 variance + c^2) (x_t - b y - a mean).

    Everything about sampling can be computed by hand for it.
    """

    process: Process
    mean: Scalar
    variance: Scalar

    def __call__(self, x_t, t, *, anchor=None, condition=None):
        a, b, c = self.process.at(t)
        gain = a * self.variance / (a**2 * self.variance + c**2)
        return self.mean + gain * (x_t - anchor_term(b, anchor) - a * self.mean)
