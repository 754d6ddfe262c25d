"""Pictures of dead leaves: their spectrum, scales, colors, edges, and that they are the same again."""

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch

from sinwave.data.dead_leaves import DeadLeaves, DeadLeavesBatches
from sinwave.data.palettes import natural_palette
from sinwave.errors import InputError
from sinwave.resize import resize
from sinwave.threads import threads

FLAT = DeadLeaves(plain=1, shading=0, blurred=0, softness=0)
"""Leaves of one color each, with sharp edges."""
INK = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def pictures(leaves, count, side, palette=None):
    return torch.stack([leaves(side, 7, 0, index, palette) for index in range(count)])


def steps(batch, lag):
    """Mean squared difference of pixels `lag` apart."""
    return sum((batch.narrow(dim, lag, batch.shape[dim] - lag) - batch.narrow(dim, 0, batch.shape[dim] - lag))
               .square().mean().item() for dim in (2, 3))  # fmt: skip


def test_the_power_falls_about_as_the_square_of_the_frequency():
    side = 128
    gray = DeadLeavesBatches(24, side, 0).at(0).mean(1).numpy()
    window = np.hanning(side + 1)[:-1]
    power = (np.abs(np.fft.fft2((gray - gray.mean((1, 2), keepdims=True)) * np.outer(window, window))) ** 2).mean(0)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side))
    rings = np.geomspace(3 / side, 0.35, 13)
    inside = [(frequency >= low) & (frequency < high) for low, high in pairwise(rings)]
    points = [(np.log(frequency[ring]).mean(), np.log(power[ring].mean())) for ring in inside]
    slope = np.polyfit(*np.transpose(points), 1)[0]
    assert -2.6 < slope < -1.6


def test_a_picture_twice_as_large_looks_the_same_in_half_its_size():
    small = pictures(DeadLeaves(plain=1, shading=0, blurred=0, softness=0, least=1, coarsest=1), 32, 64, INK)
    large = pictures(DeadLeaves(plain=1, shading=0, blurred=0, softness=0, least=2, coarsest=2), 32, 128, INK)
    half = resize(large, (64, 64), "area")
    for lag in (1, 2, 4, 8):
        assert steps(half, lag) == pytest.approx(steps(small, lag), rel=0.15)


def test_so_much_of_the_ground_is_seen_as_between_disks_of_a_poisson_process():
    """Corners far apart have one color if both are ground, which has the probability exp(-2 coverage area / pi)."""
    side, coverage = 24, 0.6
    leaves = DeadLeaves(
        plain=1, shading=0, blurred=0, softness=0, straight=0, least=8, coarsest=8, largest=0.35, coverage=coverage
    )
    batch = pictures(leaves, 500, side, INK)[:, 0]
    corners = [batch[:, row, column] for row in (0, -1) for column in (0, -1)]
    alike = [(one * other).mean().item() for one, other in combinations(corners, 2)]
    thin = (1 + 0.65) / 2  # half are disks, the others have half-axes of .3 to 1
    depth = np.linspace(0, 0.3, 1000)
    lobes = 2 / 3 + ((1 + depth**2 / 2) / (1 + depth) ** 2).mean() / 3  # area of r = (1 + depth cos) / (1 + depth)
    assert np.mean(alike) == pytest.approx(math.exp(-2 * coverage * thin * lobes), abs=0.08)


def test_the_leaves_leave_no_hole():
    gray = torch.full((1, 3), 0.5)
    for coverage in (0.0, 0.5, 4.0):
        leaves = DeadLeaves(plain=1, shading=0, blurred=1, coverage=coverage)
        assert (pictures(leaves, 4, 40, gray) - 0.5).abs().max() < 1e-5


def test_a_pixel_is_the_mean_of_sixteen_samples_of_leaves():
    batch = pictures(FLAT, 6, 48, INK)
    sixteenths = (batch + 1) * 8
    assert (sixteenths - sixteenths.round()).abs().max() < 1e-4
    assert len(sixteenths.round().unique()) == 17
    assert torch.equal(batch[:, 0], batch[:, 2])


def test_leaves_have_the_colors_of_the_palette():
    palette = torch.tensor([[-0.9, 0.1, 0.4], [0.3, 0.8, -0.2], [0.7, -0.6, 0.0]])
    pixels = pictures(FLAT, 4, 48, palette).movedim(1, 3).reshape(-1, 1, 3)
    equal = (pixels - palette).abs().amax(2) < 1e-5
    assert (equal.float().mean(0) > 0.1).all()
    assert equal.any(1).float().mean() > 0.5  # the others are of edges
    low, high = palette.amin(0), palette.amax(0)
    assert ((pixels >= low - 1e-5) & (pixels <= high + 1e-5)).all()


def test_without_leaves_there_is_the_ground():
    ground = DeadLeaves(plain=1, shading=0, blurred=0, coverage=0)(24, 0, 0, 0)
    assert (ground - ground[:, :1, :1]).abs().max() < 1e-5
    textured = DeadLeaves(plain=0, shading=0, blurred=0, coverage=0, contrast=1)
    assert pictures(textured, 4, 24).std((2, 3)).amax(1).min() > 0.01
    shaded = DeadLeaves(plain=1, shading=0.2, blurred=0, coverage=0, softness=0)
    for plane in pictures(shaded, 4, 24, torch.full((1, 3), -0.5)):
        assert max(plane.diff(n=2, dim=dim).abs().max() for dim in (1, 2)) < 1e-5 < plane.std()


def test_coarse_leaves_have_fewer_edges_than_fine_ones():
    fine, coarse = (
        pictures(DeadLeaves(plain=1, shading=0, blurred=0, softness=0, least=least, coarsest=least), 8, 64, INK)
        for least in (1.0, 8.0)
    )
    assert steps(fine, 1) > 2 * steps(coarse, 1)


def test_a_ground_out_of_focus_and_a_soft_lens_blur():
    sharp = steps(pictures(FLAT, 12, 64, INK), 1)
    ground = DeadLeaves(plain=1, shading=0, blurred=1, softness=0, defocus=8)
    soft = DeadLeaves(plain=1, shading=0, blurred=0, softness=3)
    assert steps(pictures(ground, 12, 64, INK), 1) < 0.9 * sharp
    assert steps(pictures(soft, 12, 64, INK), 1) < 0.6 * sharp


def test_most_straight_leaves_of_a_picture_lie_along_or_across_one_direction():
    straight, curved = (
        pictures(DeadLeaves(plain=1, shading=0, blurred=0, softness=0, least=6, straight=share), 32, 64, INK)[:, 0]
        for share in (1.0, 0.0)
    )

    def order(batch):
        """Strength of the commonest direction of edges, modulo a right angle: 0 if all are as common."""
        slope = torch.complex(batch.diff(dim=2)[:, :-1], batch.diff(dim=1)[:, :, :-1])
        power = slope.abs().square()
        return ((slope**4 / power.clamp(min=1e-6)).sum((1, 2)).abs() / power.sum((1, 2))).mean()

    assert order(straight) > 1.5 * order(curved)


def test_a_picture_depends_on_seed_step_and_index_alone():
    batches, again = (DeadLeavesBatches(3, 33, 5) for _ in range(2))
    forward, backward = [batches.at(step) for step in (0, 1, 2)], [again.at(step) for step in (2, 1, 0)]
    for here, there in zip(forward, reversed(backward), strict=True):
        assert torch.equal(here, there)
    assert torch.equal(DeadLeavesBatches(1, 33, 5).at(1)[0], forward[1][0])
    assert torch.equal(DeadLeaves()(33, 5, 2, 1), forward[2][1])
    different = torch.stack([*forward[0], *forward[1], *DeadLeavesBatches(3, 33, 6).at(0)]).flatten(1)
    assert len(different.unique(dim=0)) == 9


def test_the_number_of_threads_changes_nothing():
    with threads(1):
        one = DeadLeavesBatches(3, 192, 0).at(0)
    with threads(2):
        two = DeadLeavesBatches(3, 192, 0).at(0)
    assert torch.equal(one, two)


@pytest.mark.parametrize("side", [1, 2, 7, 33, 100, 150])
def test_pictures_of_any_side_are_in_range(side):
    batch = DeadLeavesBatches(2, side, 1).at(0)
    assert batch.shape == (2, 3, side, side) and batch.dtype == torch.float32
    glaring = pictures(DeadLeaves(contrast=1, shading=1), 2, side, torch.ones(1, 3))
    for picture in (*batch, *glaring):
        assert picture.isfinite().all() and picture.abs().max() <= 1


def test_each_picture_has_colors_of_its_own():
    one, other = ({tuple(color) for color in FLAT(48, 0, 0, index).flatten(1).T.tolist()} for index in (0, 1))
    assert len(one) > 10 and not one & other


def test_natural_colors_differ_in_light_more_than_in_hue():
    palettes = torch.stack([natural_palette(seed) for seed in range(64)]).double()
    assert palettes.shape == (64, 32, 3) and palettes.abs().max() <= 1
    assert torch.equal(natural_palette(3).double(), palettes[3])
    values, vectors = torch.linalg.eigh(torch.cov(palettes.flatten(0, 1).T))
    assert vectors[:, 2].sum().abs() / 3**0.5 > 0.97  # the gray axis
    assert values[2] / values.sum() > 0.75
    spread = (palettes.amax(2) - palettes.amin(2)).mean(1)
    assert spread.min() < 0.1 and spread.max() > 0.4  # gray scenes and vivid ones


def test_bad_numbers_are_refused():
    with pytest.raises(InputError, match="count is 0"):
        DeadLeavesBatches(0, 8, 0)
    with pytest.raises(InputError, match="side is 0"):
        DeadLeaves()(0, 0, 0, 0)
    with pytest.raises(InputError, match="coarsest is 2: it must be at least as much as least, 3"):
        DeadLeaves(least=3, coarsest=2)
    with pytest.raises(InputError, match="contrast must be between 0 and 1, not 2"):
        DeadLeaves(contrast=2)
    for palette in (torch.zeros(3), torch.zeros(4, 4), torch.zeros(0, 3), torch.full((2, 3), 255.0)):
        with pytest.raises(InputError, match=r"the palette is .*colors in"):
            DeadLeaves()(8, 0, 0, 0, palette)
