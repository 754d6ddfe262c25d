"""Faithfulness of a restored picture to the true one, on luma, as papers on super-resolution measure it.

    psnr_y            10 log10( 255^2 / mean (Y_a - Y_b)^2 )                                             inf for a copy
    ssim_y            mean of (2 m_a m_b + c1) (2 s_ab + c2) / ((m_a^2 + m_b^2 + c1) (s_a^2 + s_b^2 + c2))
    lr_consistency    psnr_y of the picture, reduced, and the low-resolution one that it was made from

Y is the luma of BT.601 in its limited range, 16 to 235. No border is cropped. The conventions that published figures
rest on: PSNR takes Y as it is, SSIM takes it rounded to whole levels.

Pictures are uint8 (c, h, w) of three channels, or of one that stands for three.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.metrics.pictures import size_of, weighted
from sinwave.resize import resize

__all__ = ["lr_consistency", "luma", "psnr_y", "ssim_y"]

_WEIGHTS = (65.481, 128.553, 24.966)
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def luma(picture: Tensor) -> Tensor:
    """Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255 in float64: (3 or 1, h, w) -> (h, w)."""
    return 16 + weighted(picture, _WEIGHTS) / 255


def psnr_y(picture: Tensor, truth: Tensor) -> float:
    """The peak signal-to-noise ratio of luma in dB."""
    _check(picture, truth)
    error = (luma(picture) - luma(truth)).square().mean().item()
    return 10 * math.log10(255**2 / error) if error else math.inf


def ssim_y(picture: Tensor, truth: Tensor) -> float:
    """The structural similarity of rounded luma, over all windows of 11 x 11 that are inside, Gaussian with sigma 1.5.

    (Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.)
    """
    _check(picture, truth)
    if min(picture.shape[1:]) < _WINDOW:
        raise InputError(
            f"a picture of {size_of(picture.shape)} is too small for the windows of SSIM: {_WINDOW} a side"
        )
    a, b = luma(picture).round(), luma(truth).round()
    mean_a, mean_b, square_a, square_b, product = _windows(torch.stack([a, b, a * a, b * b, a * b]))
    spread = (square_a - mean_a**2) + (square_b - mean_b**2)
    covariance = product - mean_a * mean_b
    alike = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
    similarity: Tensor = alike / ((mean_a**2 + mean_b**2 + _C1) * (spread + _C2))
    return similarity.mean().item()


def lr_consistency(picture: Tensor, low: Tensor) -> float:
    """Agreement of a restored picture, reduced by bicubic resampling, with the low-resolution one, in dB.

    A restored picture may add to what was seen, but should not change it. Where `low` was made by another reduction,
    as by a camera, the true picture itself scores no better than that allows.
    """
    size = (low.shape[-2], low.shape[-1])
    if picture.shape[-2] < size[0] or picture.shape[-1] < size[1]:
        ours, theirs = size_of(picture.shape), size_of(low.shape)
        raise InputError(f"a restored picture of {ours} is smaller than the low-resolution one, {theirs}")
    reduced = resize(picture[None].cpu().double(), size)[0].round().clamp(0, 255).byte()
    return psnr_y(reduced, low)


def _windows(planes: Tensor) -> Tensor:
    """The weighted mean of each plane (n, h, w) in each window that is inside: (n, h - 10, w - 10)."""
    offsets = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    kernel = torch.softmax(-0.5 * (offsets / _SIGMA) ** 2, 0)
    means = functional.conv2d(planes[:, None], kernel.view(1, 1, -1, 1))
    return functional.conv2d(means, kernel.view(1, 1, 1, -1))[:, 0]


def _check(picture: Tensor, truth: Tensor) -> None:
    if picture.shape[-2:] != truth.shape[-2:]:
        raise InputError(
            f"pictures of {size_of(picture.shape)} and {size_of(truth.shape)} cannot be compared: nothing is resized"
        )
