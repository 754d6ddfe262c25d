"""Copies by their drawing: whatever their colors and contrast, and nothing that is merely of the same kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from sinwave.data.likeness import Copies, drawings
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


def test_others_of_the_same_kind_say_how_near_new_pictures_come():
    copies = Copies(SHOTS, OTHERS)
    assert copies.share(OTHERS) == pytest.approx(0.05)
    assert copies.share(SHOTS) == 1.0
    assert copies.limit == pytest.approx(np.quantile(copies.nearest(OTHERS).distance.numpy(), 0.05), rel=1e-5)


def test_the_limit_of_originals_follows_from_their_distances():
    between = np.sort(torch.pdist(drawings(SHOTS)).numpy())
    limit = 0.6 * (between[22] * between[:3].mean()) ** 0.6  # the median and the least three of 45
    assert Copies(SHOTS).limit == pytest.approx(limit)
    alike = torch.cat([SHOTS[:1] + 0.01 * torch.rand(3, 32, 32), SHOTS])
    assert Copies(alike).limit == pytest.approx(Copies(SHOTS).limit, rel=0.3)  # two alike bend it a little


def test_the_limit_is_about_that_of_true_pictures_however_many_originals_there_are():
    many = torch.stack([Portraits()(32, number, 0) for number in range(400)])
    for count in (8, 10, 20, 40):
        ours, theirs = Copies(many[:count]), Copies(many[:count], many[count:])
        assert ours.limit == pytest.approx(theirs.limit, rel=0.25)
    assert Copies(SHOTS[:1] + 0.01 * SHOTS).limit == 0.2


def test_new_portraits_are_rarely_copies_of_ten():
    shares = [
        Copies(PORTRAITS[first:][:10]).share(torch.cat([PORTRAITS[:first], PORTRAITS[first + 10 :]]))
        for first in range(0, 110, 10)
    ]
    assert 0.005 < np.mean(shares) < 0.06
    assert max(shares) < 0.15


def test_more_is_within_more_limits():
    copies = Copies(SHOTS)
    shares = [copies.share(OTHERS, within) for within in (0.0, 1.0, 1.2, 9.0)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1] > 0.3) == (0.0, True)
    assert copies.share(SHOTS, 1.2) == 1.0


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
