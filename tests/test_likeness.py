"""Copies by their drawing: whatever their colors and contrast, and nothing that is merely of the same kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from sinwave.data.likeness import Copies, _limit, _tail, drawings
from sinwave.data.portraits import Portraits
from sinwave.errors import InputError

PORTRAITS = torch.stack([Portraits()(32, number, 0) for number in range(110)])
SHOTS, OTHERS = PORTRAITS[:10], PORTRAITS[10:]


def test_the_distance_is_that_of_a_correlation_of_luma():
    ours, theirs = SHOTS[0], SHOTS[1]
    luma = [0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2] for p in (ours, theirs)]
    correlation = np.corrcoef(*(values.flatten().numpy() for values in luma))[0, 1]
    apart = torch.cdist(*(drawings(picture[None]) for picture in (ours, theirs))).item()
    assert apart**2 == pytest.approx(2 - 2 * correlation, rel=1e-4)


def test_copies_in_other_light_are_copies_and_new_pictures_are_not():
    copies = Copies(SHOTS)
    assert copies.share(SHOTS) == 1.0
    assert torch.equal(copies.nearest(0.4 * SHOTS - 0.3).original, torch.arange(10))
    pale = (0.4 * SHOTS + torch.tensor([0.2, -0.1, 0.3])[:, None, None]).clamp(-1, 1)
    blurred = torch.nn.functional.avg_pool2d(SHOTS, 3, 1, 1, count_include_pad=False)
    assert copies.share(pale) == 1.0
    assert copies.share(blurred) > 0.5
    assert copies.share(OTHERS) < 0.25
    assert copies.of_each(torch.cat([SHOTS[[3, 3, 7]]])).tolist() == [0, 0, 0, 2, 0, 0, 0, 1, 0, 0]


def test_what_is_near_to_several_is_no_copy():
    copies = Copies(SHOTS)
    distances = torch.cdist(drawings(SHOTS), drawings(SHOTS)).fill_diagonal_(9)
    one, other = divmod(int(distances.argmin()), 10)  # the two that are most alike
    near = copies.nearest(torch.stack([(SHOTS[one] + SHOTS[other]) / 2, 0.9 * SHOTS[one] + 0.1 * SHOTS[other]]))
    assert near.copied.tolist() == [False, True]
    copies.limit = 2.0
    assert copies.nearest(OTHERS).copied.float().mean() < 0.2


def test_others_of_the_same_kind_say_how_near_new_pictures_come():
    copies = Copies(SHOTS, OTHERS)
    assert copies.share(OTHERS) == pytest.approx(0.05)
    assert copies.share(SHOTS) == 1.0
    assert copies.limit == pytest.approx(np.quantile(copies.nearest(OTHERS).distance.numpy(), 0.05), rel=1e-5)


def test_few_originals_say_how_near_new_pictures_would_come():
    """Points in a cube: the distance to the nearest of ten is known from ten alone, within the scatter of ten."""
    shares = []
    for seed in range(40):
        points = 10 * torch.rand(2010, 3, generator=torch.Generator().manual_seed(seed))
        ten, others = points[:10], points[10:]
        limit = _tail(torch.pdist(ten), 10)
        shares.append((torch.cdist(others, ten).min(1).values < limit).float().mean().item())
    assert 0.025 < np.mean(shares) < 0.1
    assert max(shares) < 0.3


def test_two_alike_among_ten_do_not_bend_the_limit():
    ten = torch.rand(10, 3, generator=torch.Generator().manual_seed(3))
    near = torch.cat([ten[:9], ten[:1] + 1e-3])
    bent, usual = torch.pdist(near), torch.pdist(ten)
    assert _tail(bent, 10) / _tail(usual, 10) < 0.55 < 0.7 < _limit(bent, 10) / _limit(usual, 10) < 1.1


def test_a_limit_is_that_of_the_equation():
    between = torch.arange(28, 0, -1) / 20 + 0.5  # of eight originals
    power = np.mean(np.log((13 / 20 + 0.5) / (np.arange(1, 13) / 20 + 0.5)))
    tail = (13 / 20 + 0.5) * ((1 - 0.95**0.125) * 28 / 12.5) ** power
    assert _tail(between, 8) == pytest.approx(tail)
    assert _limit(between, 8) == pytest.approx((tail * 0.42 * (14 / 20 + 0.5)) ** 0.5)
    assert _limit(between[:2], 2) == 0.2
    assert _limit(0.1 * between, 8) == 0.2


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_few_originals_have_a_fixed_limit(count):
    """Distances of few say so little that new pictures would often count as copies."""
    copies = Copies(SHOTS[:count])
    assert (copies.limit, copies.calibrated) == (0.2, False)
    assert copies.share(SHOTS[:count] * 0.5) == 1.0
    assert copies.share(OTHERS) == 0.0
    assert Copies(SHOTS).calibrated


def test_a_single_original_is_enough():
    copies = Copies(SHOTS[:1])
    assert copies.share(SHOTS) == pytest.approx(0.1)
    assert copies.share(SHOTS[:1] * 0.5) == 1.0
    with pytest.raises(InputError, match="no originals"):
        Copies(SHOTS[:0])


def test_a_flat_picture_is_far_from_all():
    for value in (0.0, 0.1, 0.3, 0.7, -1.0):
        assert_close(drawings(torch.full((1, 3, 32, 32), value)), torch.zeros(1, 1024))
        assert Copies(SHOTS).share(torch.full((1, 3, 32, 32), value)) == 0.0
    assert drawings(torch.full((1, 3, 32, 32), 0.3) + 0.02 * SHOTS[:1]).norm() == pytest.approx(1)
