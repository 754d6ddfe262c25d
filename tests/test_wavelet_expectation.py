"""Prior mean and deviation of details given the coarser scale: closed forms, and a law that is recovered."""

from dataclasses import replace

import pytest
import torch

from sinwave.diffusion.denoise import Preconditioned
from sinwave.rng import NoiseSource
from sinwave.systems.wavelet.expectation import LEAST, LOOK, Expectation, activity, fitted
from sinwave.systems.wavelet.material import Material
from sinwave.systems.wavelet.options import FAST


def normal(*key, shape):
    return NoiseSource(5).normal(shape, *key)


def test_activity_is_the_variance_of_the_neighbors():
    low, nothing = normal("low", shape=(2, 3, 6, 7)), torch.zeros(2, 1, 6, 7)
    variance = activity(low, nothing)
    neighbors = low[:, :, 1:4, 2:5].flatten(2)
    expected = neighbors.var(2, correction=0).sum(1) + (LEAST / 2) ** 2
    torch.testing.assert_close(variance[:, 0, 2, 3], expected)
    corner = low[:, :, :2, :2].flatten(2).var(2, correction=0).sum(1) + (LEAST / 2) ** 2
    torch.testing.assert_close(variance[:, 0, 0, 0], corner)
    flat = activity(torch.full((1, 3, 4, 4), 0.7), nothing[:1, :, :4, :4])
    torch.testing.assert_close(flat, torch.full_like(flat, (LEAST / 2) ** 2), atol=1e-6, rtol=0)


def test_what_is_outside_says_nothing():
    low, outside = normal("low", shape=(1, 3, 6, 8)), torch.zeros(1, 1, 6, 8)
    outside[..., 5:] = 1
    inner = activity(low[..., :5], outside[..., :5])
    torch.testing.assert_close(activity(low, outside)[..., :5], inner)
    other = torch.where(outside > 0, low + 9, low)
    torch.testing.assert_close(activity(other, outside)[..., :5], inner)


def test_a_power_law_is_recovered():
    active = normal("active", shape=(40_000,)).exp()
    offset, slope = torch.tensor([-2.0, -1.0, -3.0]), torch.tensor([0.8, 0.0, 1.2])
    deviation = ((offset[:, None] + slope[:, None] * active.log()) / 2).exp()
    line = fitted(active.double(), (deviation * normal("detail", shape=(3, 40_000))).double())
    torch.testing.assert_close(line[0].float(), offset, atol=0.1, rtol=0)
    torch.testing.assert_close(line[1].float(), slope, atol=0.08, rtol=0)


def test_where_all_is_alike_there_is_one_deviation():
    details = normal("detail", shape=(2, 500)).double() * torch.tensor([[0.3], [2.0]])
    offset, slope = fitted(torch.ones(500).double(), details)
    torch.testing.assert_close(offset, details.square().mean(1).log())
    assert not slope.any()


@pytest.fixture
def material():
    """A picture whose left half is flat and whose right half is noise at every scale."""
    image = normal("picture", shape=(1, 3, 64, 96)) / 3
    image[..., :48] = 0.4
    return Material([image.clamp(-1, 1)], replace(FAST, levels=2).pyramid, crop=16)


def test_a_flat_place_is_expected_to_be_flat(material):
    configuration = replace(FAST, levels=2)
    expectation = Expectation.of(material.statistics, configuration)
    low = torch.full((1, 3, 16, 16), 0.8)
    low[..., 8:] += normal("low", shape=(1, 3, 16, 8)) / 3
    mean, deviation = expectation(torch.tensor([1]), low, torch.zeros(1, 1, 16, 16))
    torch.testing.assert_close(mean[:, :3], low)
    torch.testing.assert_close(deviation[:, :3], torch.full_like(low, configuration.fault / 3**0.5))
    assert deviation[:, 3:, :, : 8 - LOOK].max() < 0.25 * deviation[:, 3:, :, 8 + LOOK :].mean()
    # A network that has learned nothing already removes nearly all noise there.
    process = configuration.process(1)
    t = configuration.schedule(1).times[0]
    denoiser = Preconditioned(lambda x, ratio: torch.zeros_like(x), process, mean, deviation, follows=3)
    noisy = process.diffuse(
        torch.cat([low, torch.zeros(1, 9, 16, 16)], 1), t, normal("noise", shape=(1, 12, 16, 16)), low
    )
    left = denoiser(noisy, t, anchor=low)[:, 3:, :, : 8 - LOOK]
    assert left.std() < 0.05


def test_the_coarsest_scale_and_the_unguided_have_one_deviation(material):
    scale, nothing = torch.tensor([0]), torch.zeros(1, 1, 4, 4)
    statistics = material.statistics
    for guided, channels in ((True, 3), (False, 0)):
        expectation = Expectation.of(statistics, replace(FAST, levels=2, guided=guided))
        mean, deviation = expectation(scale, torch.zeros(1, channels, 4, 4), nothing)
        torch.testing.assert_close(mean[0, :, 0, 0], statistics.mean[0])
        torch.testing.assert_close(deviation[0, :, 2, 1], statistics.deviation[0], rtol=1e-3, atol=1e-4)
