"""A picture's reduction: the projection on those that have it, and what 8 bits can hold."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import lsq_linear
from torch.testing import assert_close

from sinwave.images import from_uint8, to_uint8
from sinwave.reduction import Reduction
from sinwave.resize import resize


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(1, 3, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("sizes", [((8, 9), (16, 18)), ((7, 10), (11, 15)), ((5, 6), (40, 48)), ((6, 6), (6, 13))])
def test_the_nearest_is_reduced_to_the_small_one(sizes):
    small, large = noise(*sizes[0]), noise(*sizes[1], seed=1)
    assert_close(resize(Reduction(small).nearest(large), sizes[0]), small, atol=1e-9, rtol=0)


def test_it_is_a_projection():
    """Twice is once, and the way there is at right angles to what does not matter."""
    reduction = Reduction(noise(6, 7))
    first, second = (reduction.nearest(noise(13, 14, seed=seed)) for seed in (1, 2))
    assert_close(reduction.nearest(first), first)
    away = reduction.nearest(noise(13, 14, seed=1)) - noise(13, 14, seed=1)
    assert ((first - second) * away).sum().abs() < 1e-9


@given(
    small=st.tuples(st.integers(2, 12), st.integers(2, 12)),
    factors=st.tuples(st.floats(1, 5), st.floats(1, 5)),
    kind=st.sampled_from(["bicubic", "area", "lanczos"]),
    seed=st.integers(0, 10**6),
    share=st.floats(0, 1),
)
def test_whatever_it_is_given_it_comes_no_further_from_the_truth(small, factors, kind, seed, share):
    size = tuple(round(side * factor) for side, factor in zip(small, factors, strict=True))
    truth, answer = noise(*size, seed=seed), 3 * noise(*size, seed=seed + 1)
    nearest = Reduction(resize(truth, small, kind), kind).nearest(answer)
    moved = answer + share * (nearest - answer)
    assert (moved - truth).norm() <= (answer - truth).norm() * (1 + 1e-9)


def test_in_range_it_is_what_a_solver_of_bounded_least_squares_finds():
    """One line of pixels: scipy finds that the small one can be reached, and so do we."""
    line = torch.linspace(-0.9, 1, 7, dtype=torch.float64)[torch.tensor([0, 3, 1, 5, 2, 4, 6])].expand(1, 3, 2, 7)
    small = resize(resize(line, (4, 14), "bilinear").clamp(-1, 1), (2, 7))
    matrix = resize(torch.eye(14, dtype=torch.float64)[None, None], (7, 14))[0, 0].numpy()
    assert lsq_linear(matrix, small[0, 0, 0].numpy(), (-1, 1)).cost < 1e-12
    picture = Reduction(small).in_range(noise(4, 14, seed=3))
    assert picture.abs().max() <= 1
    assert_close(resize(picture, (2, 7)), small, atol=0.4 / 127.5, rtol=0)


def test_what_was_cut_off_need_not_be_matched():
    """White beside black: a reduction that overshoots is white too, so the enlargement need not be gray there."""
    rows, columns = torch.meshgrid(torch.arange(24), torch.arange(30), indexing="ij")
    disk = (rows - 11) ** 2 + (columns - 14) ** 2 < 70
    truth = (2.0 * disk - 1).expand(1, 3, -1, -1)
    small = from_uint8(to_uint8(resize(truth, (12, 15))))
    reduction = Reduction(small)
    assert resize(truth, (12, 15)).abs().max() > 1.05
    picture = reduction.in_range(reduction.nearest(resize(small, (24, 30))))
    assert (127.5 * reduction.misfit(from_uint8(to_uint8(picture)))).max() <= 1


@pytest.mark.parametrize("kind", ["bicubic", "area", "lanczos"])
@pytest.mark.parametrize(("large", "little"), [(512, 128), (640, 211), (450, 300), (140, 100), (101, 100), (60, 60)])
def test_the_pseudo_inverse_in_parts_is_the_dense_one(kind, large, little):
    matrix = resize(torch.eye(large, dtype=torch.float64)[None, None], (little, large), kind)[0, 0]
    expected = torch.linalg.pinv(matrix)
    identity = torch.eye(little, dtype=torch.float64)[None, None]
    reduction = Reduction(identity, kind)
    nothing = torch.zeros(1, 1, large, little, dtype=torch.float64)
    torch.testing.assert_close(reduction.nearest(nothing)[0, 0], expected, rtol=0, atol=2e-8)
