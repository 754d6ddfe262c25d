"""The Frechet distance against scipy's matrix root, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor
from torch.testing import assert_close

from sinwave.errors import InputError
from sinwave.metrics.frechet import Gaussian, frechet_distance


def features(count: int, dimension: int, seed: int, rank: int | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(rank or dimension, dimension, generator=generator, dtype=torch.float64)
    drawn = torch.randn(count, rank or dimension, generator=generator, dtype=torch.float64)
    return drawn @ mixing + torch.randn(dimension, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("count", "dimension"), [(500, 1), (300, 8), (2000, 64)])
def test_it_agrees_with_the_general_matrix_root(count, dimension):
    a, b = features(count, dimension, 0), features(count + 7, dimension, 1)
    means = a.numpy().mean(0) - b.numpy().mean(0)
    covariances = [np.atleast_2d(np.cov(each.numpy(), rowvar=False)) for each in (a, b)]
    expected = means @ means + np.trace(
        covariances[0] + covariances[1] - 2 * sqrtm(covariances[0] @ covariances[1]).real
    )
    assert frechet_distance(Gaussian.of(a), Gaussian.of(b)) == pytest.approx(expected, rel=1e-6)


def test_covariances_that_share_their_axes_have_a_closed_form():
    a, b = (torch.randn(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in (0, 1))
    deviations = [torch.arange(1.0, 7, dtype=torch.float64), torch.linspace(3, 0, 6, dtype=torch.float64)]
    ours = (Gaussian(11, mean, 10 * each.square().diag()) for mean, each in zip((a, b), deviations, strict=True))
    expected = (a - b).square().sum() + (deviations[0] - deviations[1]).square().sum()
    assert frechet_distance(*ours) == pytest.approx(expected.item())


@pytest.mark.parametrize("rank", [3, 20])
def test_equal_sets_are_at_distance_zero_and_moved_ones_at_the_square_of_the_way(rank):
    some = features(50, 20, 0, rank)
    assert frechet_distance(Gaussian.of(some), Gaussian.of(some)) == pytest.approx(0, abs=1e-6)
    moved = Gaussian.of(some + 0.5)
    assert frechet_distance(Gaussian.of(some), moved) == pytest.approx(20 * 0.25, rel=1e-6)


def test_it_is_symmetric():
    a, b = Gaussian.of(features(90, 12, 0)), Gaussian.of(features(40, 12, 1))
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_parts_may_be_added():
    some = features(100, 5, 0) + 1e6  # far from zero, where sums of squares would lose their digits
    whole, parts = Gaussian.of(some), Gaussian.of(some[:1]) + Gaussian.of(some[1:40]) + Gaussian.of(some[40:])
    assert parts.count == 100
    assert_close(parts.mean, whole.mean)
    assert_close(parts.covariance, torch.cov(some.T), rtol=1e-7, atol=1e-7)


def test_what_cannot_be_measured_is_named():
    with pytest.raises(InputError, match="at least two"):
        frechet_distance(Gaussian.of(torch.zeros(1, 3)), Gaussian.of(torch.zeros(2, 3)))
    with pytest.raises(InputError, match="3 and of 4 numbers"):
        frechet_distance(Gaussian.of(torch.zeros(2, 3)), Gaussian.of(torch.zeros(2, 4)))
    with pytest.raises(InputError, match=r"\(n, d\)"):
        Gaussian.of(torch.zeros(0, 3))
