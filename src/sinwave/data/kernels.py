"""Kernels of blurs, and pictures convolved with them.

With q = (u, v) S^-1 (u, v)^T, S the covariance matrix of a blur, and r = |(u, v)|, a kernel at (u, v) is, up to a
factor,

    Gaussian exp(-q / 2)    generalized exp(-q^beta / 2)    plateau 1 / (1 + q^beta)    sinc w J_1(w r) / (2 pi r)

(Wang, Xie, Dong and Shan, "Real-ESRGAN", ICCV Workshops 2021.) Kernels are (size, size), of an odd size and the sum 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sinwave.errors import InputError

__all__ = ["check_sizes", "convolved", "gaussian_kernel", "plateau_kernel", "sinc_kernel"]


def gaussian_kernel(size: int, sigmas: tuple[float, float], turn: float = 0.0, beta: float = 1.0) -> Tensor:
    """Kernel exp(-q^beta / 2), with the deviations along and across a line turned by `turn`."""
    return _normalized(torch.exp(-(_distance(size, sigmas, turn) ** beta) / 2))


def plateau_kernel(size: int, sigmas: tuple[float, float], turn: float = 0.0, beta: float = 1.0) -> Tensor:
    """Kernel 1 / (1 + q^beta)."""
    return _normalized(1 / (1 + _distance(size, sigmas, turn) ** beta))


def sinc_kernel(size: int, cutoff: float) -> Tensor:
    """Low-pass w J_1(w r) / (2 pi r): it keeps frequencies up to w radians a pixel."""
    r = torch.hypot(*_grid(size))
    wave = cutoff * torch.special.bessel_j1(cutoff * r) / (2 * math.pi * r)
    return _normalized(torch.where(r == 0, cutoff**2 / (4 * math.pi), wave))


def convolved(picture: Tensor, kernel: Tensor) -> Tensor:
    """The picture (c, h, w) convolved with a kernel; the border is a mirror, without the edge pixel once more."""
    k, (height, width) = len(kernel), picture.shape[1:]
    rows, columns = (_mirrored(length, k // 2) for length in (height, width))
    padded = picture.index_select(1, rows).index_select(2, columns).numpy()
    # The first k - 1 rows and columns are those that a cyclic convolution spoils; sides that 32 divides are fast. With
    # torch's transforms and convolutions some bits would depend on the number of threads.
    sides = [-(-side // 32) * 32 for side in padded.shape[1:]]
    wave = np.fft.rfft2(padded, s=sides) * np.fft.rfft2(kernel.numpy(), s=sides)
    result = torch.from_numpy(np.fft.irfft2(wave, s=sides)).float()
    return result[:, k - 1 : k - 1 + height, k - 1 : k - 1 + width]


def check_sizes(name: str, sizes: Sequence[int]) -> None:
    if not sizes or any(size < 1 or size % 2 == 0 for size in sizes):
        raise InputError(f"{name} is {sizes}: sizes of kernels must be odd")


def _grid(size: int) -> tuple[Tensor, Tensor]:
    """Offsets x (1, size) and y (size, 1) from the middle of a kernel."""
    check_sizes("the size of a kernel", (size,))
    offsets = torch.arange(size, dtype=torch.float64) - size // 2
    return offsets[None], offsets[:, None]


def _distance(size: int, sigmas: tuple[float, float], turn: float) -> Tensor:
    """q, the squared distance from the middle in deviations."""
    x, y = _grid(size)
    along, across = math.cos(turn) * x + math.sin(turn) * y, math.cos(turn) * y - math.sin(turn) * x
    return (along / sigmas[0]) ** 2 + (across / sigmas[1]) ** 2


def _normalized(kernel: Tensor) -> Tensor:
    return (kernel / kernel.sum()).float()


def _mirrored(length: int, radius: int) -> Tensor:
    """Indices of the samples at -radius .. length + radius - 1, reflected as often as needed."""
    period = max(1, 2 * (length - 1))
    index = torch.arange(-radius, length + radius) % period
    return torch.minimum(index, period - index) if length > 1 else index
