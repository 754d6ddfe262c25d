"""PSNR and SSIM of luma against scikit-image's, and what is known of them."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from skimage import color, data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from sinwave.errors import InputError
from sinwave.metrics.fidelity import luma, psnr_y, ssim_y


def photograph() -> Tensor:
    return torch.from_numpy(data.astronaut()[40:140, 150:271]).movedim(2, 0).contiguous()


def noisy(picture: Tensor, sigma: float) -> Tensor:
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    return (picture + sigma * noise).round().clamp(0, 255).byte()


def reference_luma(picture: Tensor) -> np.ndarray:
    return color.rgb2ycbcr(picture.numpy(), channel_axis=0)[0]


def test_luma_is_that_of_the_standard():
    np.testing.assert_allclose(luma(photograph()), reference_luma(photograph()), atol=1e-10)
    black, white = (torch.full((3, 1, 1), value, dtype=torch.uint8) for value in (0, 255))
    assert luma(black).item() == 16
    assert luma(white).item() == pytest.approx(235)


def test_a_gray_picture_has_the_luma_of_three_equal_channels():
    gray = photograph()[:1]
    assert torch.equal(luma(gray), luma(gray.expand(3, -1, -1)))


@pytest.mark.parametrize("sigma", [1, 10, 60])
def test_both_agree_with_an_independent_implementation(sigma):
    truth = photograph()
    picture = noisy(truth, sigma)
    a, b = reference_luma(picture), reference_luma(truth)
    assert psnr_y(picture, truth) == pytest.approx(peak_signal_noise_ratio(b, a, data_range=255), abs=1e-9)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    expected = structural_similarity(np.round(b), np.round(a), **options)
    assert ssim_y(picture, truth) == pytest.approx(expected, abs=1e-9)


def test_a_copy_scores_the_bound():
    truth = photograph()
    assert psnr_y(truth, truth) == math.inf
    assert ssim_y(truth, truth) == pytest.approx(1)


def test_more_noise_scores_less():
    truth = photograph()
    for metric in (psnr_y, ssim_y):
        scores = [metric(noisy(truth, sigma), truth) for sigma in (2, 4, 8, 16, 32)]
        assert all(more > less for more, less in pairwise(scores))


def test_one_level_everywhere_is_48_decibels_below_the_peak():
    truth = torch.full((3, 12, 12), 100, dtype=torch.uint8)
    step = 219 / 255
    assert psnr_y(truth + 1, truth) == pytest.approx(20 * math.log10(255 / step))


@pytest.mark.parametrize("metric", [psnr_y, ssim_y])
def test_nothing_is_resized(metric):
    with pytest.raises(InputError, match="121 x 100 and 120 x 100 cannot be compared"):
        metric(photograph(), photograph()[..., :-1])


def test_what_cannot_be_measured_is_named():
    with pytest.raises(InputError, match="too small for the windows"):
        ssim_y(photograph()[:, :10], photograph()[:, :10])
    with pytest.raises(InputError, match="uint8 picture"):
        luma(photograph().float())
    with pytest.raises(InputError, match="uint8 picture"):
        luma(photograph()[:2])
