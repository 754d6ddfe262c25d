"""Internal learning: pairs as hard as the real one, and a network that is worth its seconds."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from skimage import data
from torch.testing import assert_close

from sinwave.images import from_uint8, to_uint8
from sinwave.metrics.fidelity import psnr_y
from sinwave.nn.residual import ResidualNetwork
from sinwave.reduction import Reduction
from sinwave.resize import blur, resize
from sinwave.rng import NoiseSource
from sinwave.systems.contracts import SuperResolver
from sinwave.systems.zero_shot.enlarger import Enlarger, _by_rows, turns
from sinwave.systems.zero_shot.recipe import Pair, expected_loss, guessed, pairs, turned, turned_back


def photograph(name: str, size: tuple[int, int]) -> torch.Tensor:
    pixels = torch.from_numpy(np.asarray(getattr(data, name)())).movedim(-1, 0)[None, :3] / 127.5 - 1
    return resize(pixels, size).clamp(-1, 1)


def eight_bits(picture: torch.Tensor) -> torch.Tensor:
    return from_uint8(to_uint8(picture))


@pytest.mark.parametrize("way", range(8))
def test_turning_back_is_the_inverse(way):
    picture = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    assert torch.equal(turned_back(turned(picture, way), way), picture)


def test_there_are_eight_ways():
    corner = torch.arange(4.0).reshape(1, 1, 2, 2)
    assert len({tuple(turned(corner, way).flatten().tolist()) for way in range(8)}) == 8


@pytest.mark.parametrize(("factor", "count"), [(1, 0), (1.5, 1), (2, 1), (2.1, 2), (4, 2), (8, 3)])
def test_no_turn_enlarges_more_than_twice(factor, count):
    sizes = turns((40, 60), (round(40 * factor), round(60 * factor)))
    assert len(sizes) == count
    for before, after in pairwise([(40, 60), *sizes]):
        assert all(b <= 2 * a + 1 for a, b in zip(before, after, strict=True))


def test_a_blurred_picture_gives_blurred_pairs():
    """What is missing of a blurred picture is little, and no truth is sharper than that; a sharp one stays sharp."""
    sharp = photograph("astronaut", (96, 96))
    soft = blur(sharp, 0.7)
    for picture in (sharp, soft, blur(sharp, 2.0)):
        most = expected_loss(picture, 2.0)
        assert all(pair.lost <= most for pair in pairs(picture, 2.0))
    assert expected_loss(soft, 2.0) < 0.5 * Pair.of(soft, 2.0).lost
    whole, half = (Pair.of(resize(soft, (side, side)), 2.0).lost for side in (96, 48))
    assert expected_loss(soft, 2.0) == pytest.approx(whole**2 / half)


def test_weights_are_from_the_noise_alone():
    state = torch.random.get_rng_state()
    networks = [ResidualNetwork(4, 8, 2, NoiseSource(0).normal) for _ in range(2)]
    assert torch.equal(torch.random.get_rng_state(), state)
    for mine, other in zip(*(network.parameters() for network in networks), strict=True):
        assert torch.equal(mine, other)
    assert networks[0].blocks[0].weight.std().item() == pytest.approx((2 / 72) ** 0.5, rel=0.1)
    assert not any(parameter.any() for parameter in networks[0].tail.parameters())


def test_strips_are_the_whole():
    network = ResidualNetwork(4, 8, 2, NoiseSource(0).normal)
    torch.nn.init.normal_(network.tail.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    bands = torch.randn(1, 4, 600, 7, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_close(_by_rows(network, bands), network(bands), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_it_learns_to_enlarge():
    """Nearer to the truth than what is known without learning, which is nearer than bicubic; and consistent."""
    truth = photograph("astronaut", (112, 112))
    small = eight_bits(resize(truth, (56, 56)))
    enlarger, reports = Enlarger(), []
    assert isinstance(enlarger, SuperResolver)
    with torch.inference_mode():
        large = enlarger.upscale(small, (112, 112), NoiseSource(1), on_step=reports.append)
        again = Enlarger().upscale(small, (112, 112), NoiseSource(1))
    assert torch.equal(large, again)
    assert [tuple(report[:4]) for report in reports] == [*((0, 2, step, 200) for step in range(1, 201)), (1, 2, 1, 1)]
    assert torch.equal(reports[0].estimate(), small)
    assert torch.equal(reports[-1].estimate(), large)
    candidates = [resize(small, (112, 112)), guessed(small, (112, 112)), large]
    bicubic, consistent, learned = (psnr_y(to_uint8(each[0]), to_uint8(truth[0])) for each in candidates)
    assert consistent > bicubic + 0.4
    assert learned > consistent + 0.4
    assert (127.5 * Reduction(small).misfit(eight_bits(large))).max() <= 1


def test_the_same_size_is_the_same_picture():
    small = photograph("astronaut", (32, 40))
    assert Enlarger().upscale(small, (32, 40), NoiseSource(0)) is small
