"""The Frechet distance of patches against scipy on all patches at once, and what it must and must not see."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from skimage import data
from torch import Tensor
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.metrics import frechet as module
from sinwave.metrics.frechet import patch_frechet
from sinwave.resize import blur


def photograph(top: int = 0) -> Tensor:
    return torch.from_numpy(data.astronaut()[top : top + 120, 100:260]).movedim(2, 0).contiguous()


def changed(picture: Tensor, sigma: float = 0.0, noise: float = 0.0) -> Tensor:
    drawn = noise * torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    return (blur(picture[None].float(), sigma)[0] + drawn).round().clamp(0, 255).byte()


def test_one_scale_is_the_distance_of_all_patches_at_once(monkeypatch):
    monkeypatch.setattr(module, "ELEMENTS", 1 << 12)  # a row at a time
    a, b = photograph(0), photograph(150)
    moments = []
    for picture in (a, b):
        patches = functional.unfold(picture[None].double(), 3)[0].T.numpy()
        moments.append((patches.mean(0), np.cov(patches, rowvar=False)))
    (mean_a, cov_a), (mean_b, cov_b) = moments
    way = mean_a - mean_b
    expected = (way @ way + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real)) / np.trace(cov_b)
    assert patch_frechet(a, b, patch=3, scales=1) == pytest.approx(expected, rel=1e-6)


def test_a_copy_is_at_distance_zero_and_so_nearly_is_a_mirror_of_a_symmetric_texture():
    assert patch_frechet(photograph(), photograph()) == pytest.approx(0, abs=1e-9)
    noise = torch.randint(0, 256, (3, 120, 160), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert patch_frechet(noise.flip(2), noise) < 0.05


@pytest.mark.parametrize("change", ["sigma", "noise"])
def test_more_blur_and_more_noise_are_farther(change):
    strengths = {"sigma": (0.4, 0.8, 1.2, 2, 3), "noise": (2, 5, 10, 20, 40)}[change]
    distances = [patch_frechet(changed(photograph(), **{change: each}), photograph()) for each in strengths]
    assert all(less < more for less, more in pairwise(distances))


def test_too_small_a_picture_is_named():
    with pytest.raises(InputError, match="too small for its patches: 28 a side"):
        patch_frechet(photograph()[:, :27], photograph())
