"""Degradations: kernels and noise beside formulas of numpy and scipy, and how often a step is drawn."""

import io
import math
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, special
from torch import Generator

from sinwave.data.damage import Blur, GaussianNoise, Jpeg, PoissonNoise, Rescale, Sinc
from sinwave.data.degrade import REAL_ESRGAN, RESSHIFT, Degradation, Range, Stage, degrade
from sinwave.data.kernels import gaussian_kernel, plateau_kernel, sinc_kernel
from sinwave.errors import InputError
from sinwave.rng import NoiseSource, fold
from sinwave.threads import threads

DRAWS = 3000
BOTH = pytest.mark.parametrize("degradation", [RESSHIFT, REAL_ESRGAN], ids=["ResShift", "Real-ESRGAN"])


def generator(seed=0):
    return Generator().manual_seed(seed)


def photo(height, width):
    """Noise with large and small structures, in [-1, 1]."""
    noise = NoiseSource(0).normal((3, height, width)).numpy()
    smooth = ndimage.gaussian_filter(noise, (0, 3, 3), mode="wrap")
    return torch.from_numpy(0.3 * smooth / smooth.std() + 0.1 * noise).clamp(-1, 1)


def distance(size, sigmas, turn):
    """Squared distance q by the covariance matrix."""
    offsets = np.arange(size) - (size - 1) / 2
    points = np.stack(np.meshgrid(offsets, offsets), -1)
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    covariance = axes @ np.diag(np.square(sigmas)) @ axes.T
    return np.einsum("yxi,ij,yxj->yx", points, np.linalg.inv(covariance), points)


@pytest.mark.parametrize("size", [1, 3, 7, 21])
@pytest.mark.parametrize(("sigmas", "turn"), [((1.3, 1.3), 0.0), ((0.4, 2.5), 0.7), ((3.0, 0.2), -2.9)])
@pytest.mark.parametrize("beta", [0.5, 1.0, 2.7])
def test_kernels_are_those_of_the_covariance_matrix(size, sigmas, turn, beta):
    q = distance(size, sigmas, turn)
    for kernel, expected in (
        (gaussian_kernel(size, sigmas, turn, beta), np.exp(-0.5 * q**beta)),
        (plateau_kernel(size, sigmas, turn, beta), 1 / (q**beta + 1)),
    ):
        np.testing.assert_allclose(kernel.numpy(), expected / expected.sum(), atol=1e-7)
        assert kernel.sum().item() == pytest.approx(1, abs=1e-6)
        assert torch.allclose(kernel, kernel.flip(0, 1), atol=1e-7)
        if sigmas[0] == sigmas[1]:
            assert torch.allclose(kernel, kernel.T, atol=1e-7) and torch.allclose(kernel, kernel.flip(0), atol=1e-7)


def test_a_turn_by_a_right_angle_turns_the_kernel():
    for kernel in (gaussian_kernel, plateau_kernel):
        lying, standing = kernel(9, (2.0, 0.7), 0.3, 1.4), kernel(9, (2.0, 0.7), 0.3 + math.pi / 2, 1.4)
        assert torch.allclose(lying.rot90(-1), standing, atol=1e-7)
        assert not torch.allclose(lying, standing, atol=1e-3)
    flat = gaussian_kernel(15, (3.0, 0.5))
    assert flat[7].sum() > 0.5 > flat[:, 7].sum()  # the first deviation is along x


@pytest.mark.parametrize("size", [3, 7, 21])
@pytest.mark.parametrize("cutoff", [math.pi / 5, 1.9, math.pi])
def test_a_sinc_kernel_is_that_of_bessel(size, cutoff):
    y, x = np.mgrid[:size, :size] - size // 2
    r = np.hypot(x, y)
    middle = size // 2
    r[middle, middle] = 1
    expected = cutoff * special.j1(cutoff * r) / (2 * np.pi * r)
    expected[middle, middle] = cutoff**2 / (4 * np.pi)
    kernel = sinc_kernel(size, cutoff)
    np.testing.assert_allclose(kernel.numpy(), expected / expected.sum(), atol=1e-6)
    assert kernel.sum().item() == pytest.approx(1, abs=1e-6)
    assert torch.equal(kernel, kernel.T) and torch.equal(kernel, kernel.flip(0))


def test_a_sinc_kernel_keeps_what_is_below_its_cutoff_and_nothing_above():
    response = torch.fft.rfft2(sinc_kernel(201, 1.5).double(), s=(400, 400)).abs()
    radius = 2 * math.pi * torch.hypot(torch.fft.fftfreq(400)[:, None], torch.fft.rfftfreq(400)[None])
    assert (response[radius < 1.3] - 1).abs().max() < 0.05
    assert response[radius > 1.7].max() < 0.05


@pytest.mark.parametrize("shape", [(23, 31), (40, 9), (4, 50), (2, 3), (1, 1)])
@pytest.mark.parametrize(
    "step",
    [
        Blur("anisotropic", 21, (2.5, 0.8), 0.4, 1.0),
        Blur("plateau isotropic", 5, (1.0, 1.0), 0.0, 1.5),
        Sinc(15, 1.2),
    ],
)
def test_a_blur_is_a_convolution_with_mirrored_borders(shape, step):
    picture = torch.rand((3, *shape), generator=generator())
    expected = [ndimage.convolve(plane, step.kernel.numpy(), mode="mirror") for plane in picture.numpy()]
    np.testing.assert_allclose(step(picture, shape, generator()).numpy(), expected, atol=2e-6)


def test_the_kind_of_a_blur_chooses_its_kernel():
    for kind, expected in (("generalized isotropic", gaussian_kernel), ("plateau isotropic", plateau_kernel)):
        assert torch.equal(Blur(kind, 9, (1.0, 2.0), 0.1, 1.7).kernel, expected(9, (1.0, 2.0), 0.1, 1.7))
    assert torch.equal(Sinc(9, 1.3).kernel, sinc_kernel(9, 1.3))


def test_resizing_is_not_antialiased_but_for_area():
    picture = torch.rand((3, 16, 24), generator=generator())
    blocks = picture.unflatten(1, (4, 4)).unflatten(3, (6, 4))  # (c, 4, y, 6, x)
    quarter = Rescale(0.25, "area", False)(picture, (1, 1), generator())
    assert torch.allclose(quarter, blocks.mean((2, 4)), atol=1e-6)
    middle = Rescale(1, "bilinear", True)(picture, (4, 6), generator())
    assert torch.allclose(middle, blocks[:, :, 1:3, :, 1:3].mean((2, 4)), atol=1e-6)
    weights = torch.tensor([-3.0, 19.0, 19.0, -3.0]) / 32  # Keys' cubic with a = -3/4 at half a pixel
    cubic = torch.einsum("cyixj,i,j->cyx", blocks, weights, weights)
    assert torch.allclose(Rescale(0.25, "bicubic", False)(picture, (1, 1), generator()), cubic, atol=1e-6)


def test_a_scale_is_that_of_the_picture_or_of_the_target():
    picture = torch.rand((3, 20, 30), generator=generator())
    for mode in ("area", "bilinear", "bicubic"):
        assert Rescale(1.25, mode, False)(picture, (7, 9), generator()).shape == (3, 25, 37)
        assert Rescale(0.5, mode, True)(picture, (7, 9), generator()).shape == (3, 3, 4)
        assert Rescale(0.01, mode, False)(picture, (7, 9), generator()).shape == (3, 1, 1)
        assert torch.equal(Rescale(1, mode, False)(picture, (7, 9), generator()), picture)


@pytest.mark.parametrize("sigma", [1.0, 12.0, 30.0])
def test_gaussian_noise_has_the_deviation_that_was_asked_for(sigma):
    flat = torch.full((3, 128, 128), 0.5)
    noise = 255 * (GaussianNoise(sigma, False)(flat, (1, 1), generator(1)) - flat)
    assert noise.std().item() == pytest.approx(sigma, rel=0.02)
    assert torch.corrcoef(noise.flatten(1)).triu(1).abs().max() < 0.04
    gray = 255 * (GaussianNoise(sigma, True)(flat, (1, 1), generator(1)) - flat)
    assert gray.std().item() == pytest.approx(sigma, rel=0.03)
    assert torch.equal(gray[0], gray[1]) and torch.equal(gray[0], gray[2])


@pytest.mark.parametrize("scale", [0.05, 0.5, 1.5])
def test_the_variance_of_poisson_noise_is_proportional_to_the_value(scale):
    values = (0.25, 0.4, 0.55)
    flat = torch.tensor(values)[:, None, None].expand(3, 160, 160)
    noise = PoissonNoise(scale, False)(flat, (1, 1), generator(2)) - flat
    for value, variance in zip(values, noise.var((1, 2)).tolist(), strict=True):
        assert variance == pytest.approx(scale**2 * value / 256, rel=0.04)
    assert noise.mean((1, 2)).abs().max() < 4 * scale * (0.55 / 256 / 160**2) ** 0.5
    gray = PoissonNoise(scale, True)(flat, (1, 1), generator(2)) - flat
    luminance = 0.2989 * values[0] + 0.587 * values[1] + 0.114 * values[2]
    assert torch.allclose(gray[0], gray[2], atol=1e-6)
    assert gray.var().item() == pytest.approx(scale**2 * luminance / 256, rel=0.04)


def test_noise_stays_between_black_and_white():
    for step in (GaussianNoise(30, False), PoissonNoise(3, False), PoissonNoise(3, True)):
        for value in (0.0, 1.0, -0.2, 1.2):  # a resize or a sinc overshoots
            noisy = step(torch.full((3, 32, 32), value), (1, 1), generator())
            assert noisy.min() >= 0 and noisy.max() <= 1
    assert torch.equal(PoissonNoise(3, False)(torch.zeros(3, 8, 8), (1, 1), generator()), torch.zeros(3, 8, 8))


def test_a_jpeg_is_that_of_pillow_and_better_with_more_quality():
    levels = ((photo(37, 41) + 1) * 127.5).round()
    errors = []
    for quality in (30, 60, 95):
        file = io.BytesIO()
        Image.fromarray(levels.byte().movedim(0, 2).numpy()).save(file, "JPEG", quality=quality, subsampling=2)
        expected = np.asarray(Image.open(file)).transpose(2, 0, 1) / 255
        result = Jpeg(quality)(levels / 255, (1, 1), generator())
        np.testing.assert_allclose(result.numpy(), expected, atol=1e-6)
        errors.append((result - levels / 255).square().mean().item())
    assert all(worse > better for worse, better in pairwise(errors))


def is_about(count, total, share):
    """Whether a count is within four and a half deviations of the binomial distribution."""
    return abs(count - total * share) <= 4.5 * math.sqrt(total * share * (1 - share)) + 1e-9


@cache
def drawn(degradation):
    source = generator(5)
    return [degradation.draw(source) for _ in range(DRAWS)]


def split(steps):
    """The steps of the first stage, of the second (perhaps none), and of the finish."""
    first = next(index for index, step in enumerate(steps) if isinstance(step, Jpeg))
    fit = max(index for index, step in enumerate(steps) if isinstance(step, Rescale))
    start = fit - 1 if isinstance(steps[fit - 1], Jpeg) and fit - 1 > first else fit
    return steps[: first + 1], steps[first + 1 : start], steps[start:]


@BOTH
def test_the_steps_of_a_stage_are_drawn_as_often_as_published(degradation):
    parts = [split(steps) for steps in drawn(degradation)]
    seconds = [second for _, second, _ in parts if second]
    assert is_about(len(seconds), DRAWS, degradation.second_share)
    for stages, blur, ways, low, high, sigma, gaussian, poisson in (
        ([first[:-1] for first, _, _ in parts], 1, (0.2, 0.7, 0.1), 0.15, 1.5, 3, (1, 30), (0.05, 3)),
        (seconds, 0.8, (0.3, 0.4, 0.3), 0.3, 1.2, 1.5, (1, 25), (0.05, 2.5)),
    ):
        total, steps = len(stages), [step for stage in stages for step in stage]
        blurs = [step for step in steps if isinstance(step, (Blur, Sinc))]
        assert is_about(len(blurs), total, blur)
        assert is_about(sum(isinstance(step, Sinc) for step in blurs), len(blurs), 0.1)
        kernels = [step for step in blurs if isinstance(step, Blur)]
        assert all(0.2 <= s <= sigma for step in kernels for s in step.sigmas)
        assert max(step.sigmas[0] for step in kernels) > 0.9 * sigma
        scales = [step for step in steps if isinstance(step, Rescale)]
        for count, share in zip(
            (sum(step.scale > 1 for step in scales), sum(step.scale < 1 for step in scales),
             sum(step.scale == 1 for step in scales)), ways, strict=True,
        ):  # fmt: skip
            assert is_about(count, total, share)
        assert low <= min(step.scale for step in scales) < 1.1 * low
        assert high >= max(step.scale for step in scales) > 0.97 * high
        assert {step.of_target for step in scales} == {stages is seconds}
        for mode in ("area", "bilinear", "bicubic"):
            assert is_about(sum(step.mode == mode for step in scales), total, 1 / 3)
        noises = {kind: [step for step in steps if isinstance(step, kind)] for kind in (GaussianNoise, PoissonNoise)}
        assert is_about(len(noises[GaussianNoise]), total, 0.5)
        assert len(noises[GaussianNoise]) + len(noises[PoissonNoise]) == total
        for kind in noises:
            assert is_about(sum(step.gray for step in noises[kind]), len(noises[kind]), 0.4)
        for values, limits in (
            ([step.sigma for step in noises[GaussianNoise]], gaussian),
            ([step.scale for step in noises[PoissonNoise]], poisson),
        ):
            assert limits[0] <= min(values) and max(values) <= limits[1]
            assert np.mean(values) == pytest.approx(sum(limits) / 2, rel=0.06)


@BOTH
def test_the_kinds_and_sizes_of_kernels_are_drawn_as_often_as_published(degradation):
    parts = [split(steps) for steps in drawn(degradation)]
    wide = range(7, 22, 2)
    sizes = (range(3, 20, 2), range(3, 14, 2)) if degradation is RESSHIFT else (wide, wide)
    for number in (0, 1):
        blurs = [step for part in parts for step in part[number] if isinstance(step, (Blur, Sinc))]
        for size in sizes[number]:
            assert is_about(sum(step.size == size for step in blurs), len(blurs), 1 / len(sizes[number]))
        kernels = [step for step in blurs if isinstance(step, Blur)]
        for kind, share in {
            "isotropic": 0.45,
            "anisotropic": 0.25,
            "generalized isotropic": 0.12,
            "generalized anisotropic": 0.03,
            "plateau isotropic": 0.12,
            "plateau anisotropic": 0.03,
        }.items():
            same = [step for step in kernels if step.kind == kind]
            assert is_about(len(same), len(kernels), share)
            round_ = not kind.endswith("anisotropic")
            assert all((step.sigmas[0] == step.sigmas[1], step.turn == 0) == (round_, round_) for step in same)
            low, high = {"g": (0.5, 4), "p": (1, 2)}.get(kind[0], (1, 1))
            assert all(low <= step.beta <= high for step in same)
            below = sum(step.beta <= 1 for step in same)
            assert is_about(below, len(same), 0.5) if high > 1 else below == len(same)
        for sinc in (step for step in blurs if isinstance(step, Sinc)):
            assert math.pi / (3 if sinc.size < 13 else 5) <= sinc.cutoff <= math.pi


@BOTH
def test_the_finish_is_in_random_order_and_rings_in_four_of_five(degradation):
    finishes = [split(steps)[2] for steps in drawn(degradation)]
    assert is_about(sum(isinstance(finish[0], Jpeg) for finish in finishes), DRAWS, 0.5)
    sincs = [step for finish in finishes for step in finish if isinstance(step, Sinc)]
    assert is_about(len(sincs), DRAWS, 0.8)
    assert {sinc.size for sinc in sincs} == set(degradation.ringing_sizes)
    assert min(sinc.cutoff for sinc in sincs) >= math.pi / 3
    for finish in finishes:
        order = [type(step) for step in finish if not isinstance(step, Sinc)]
        assert order in ([Jpeg, Rescale], [Rescale, Jpeg])
        where = next(index for index, step in enumerate(finish) if isinstance(step, Rescale))
        assert (finish[where].scale, finish[where].of_target) == (1, True)
        assert all(isinstance(finish[where + 1], Sinc) for step in finish if isinstance(step, Sinc))


@BOTH
def test_the_quality_of_a_jpeg_is_any_from_30_to_95(degradation):
    qualities = [step.quality for steps in drawn(degradation) for step in steps if isinstance(step, Jpeg)]
    assert len(qualities) == 2 * DRAWS
    assert set(qualities) == set(range(30, 96))
    assert np.mean(qualities) == pytest.approx(62.5, abs=1.2)


def test_the_two_published_ones_differ_in_kernels_and_the_second_stage():
    assert (RESSHIFT.ringing_sizes, REAL_ESRGAN.ringing_sizes) == (tuple(range(3, 14, 2)), tuple(range(7, 22, 2)))
    assert (RESSHIFT.second_share, REAL_ESRGAN.second_share) == (0.5, 1)
    second = {len([step for step in steps if isinstance(step, Rescale)]) for steps in drawn(REAL_ESRGAN)[:200]}
    assert second == {3}


@BOTH
@pytest.mark.parametrize(
    ("before", "after"),
    [((33, 47), (33, 47)), ((64, 48), (32, 24)), ((51, 63), (17, 21)), ((64, 64), (16, 16)), ((54, 81), (20, 30)),
     ((9, 7), (36, 28)), ((5, 200), (1, 1)), ((1, 1), (3, 2))],
)  # fmt: skip
def test_a_degraded_picture_has_any_size_and_8_bits(degradation, before, after):
    for index in range(12):
        result = degrade(photo(*before), after, (3, 1, index), degradation)
        assert result.shape == (3, *after) and result.dtype == torch.float32
        assert result.abs().max() <= 1
        levels = (result + 1) * 127.5
        assert (levels - levels.round()).abs().max() < 1e-4


def test_a_degradation_depends_on_seed_step_and_index_alone():
    picture = photo(48, 40)
    places = [(seed, step, index) for seed in (0, 1) for step in (0, 1) for index in (0, 1)]
    forward = [degrade(picture, (12, 10), place) for place in places]
    backward = [degrade(picture, (12, 10), place) for place in reversed(places)]
    assert all(torch.equal(here, there) for here, there in zip(forward, reversed(backward), strict=True))
    assert len(torch.stack(forward).flatten(1).unique(dim=0)) == len(places)
    source = generator(fold(1, "degrade", 0, 1))
    assert torch.equal(degrade(picture, (12, 10), source), forward[places.index((1, 0, 1))])
    assert not torch.equal(degrade(picture, (12, 10), source), forward[places.index((1, 0, 1))])


def test_the_number_of_threads_changes_nothing():
    steps = [Sinc(7, 1.5), *(Rescale(1.3, mode, False) for mode in ("area", "bilinear", "bicubic"))]
    for shape in ((200, 200), (151, 14), (376, 5)):
        picture = photo(*shape)
        with threads(1):
            one = [step(picture, shape, generator()) for step in steps] + [degrade(picture, (50, 50), (0, 0, 0))]
        with threads(2):
            two = [step(picture, shape, generator()) for step in steps] + [degrade(picture, (50, 50), (0, 0, 0))]
        assert all(torch.equal(here, there) for here, there in zip(one, two, strict=True))


def test_a_degraded_picture_is_the_picture_in_its_place():
    picture = photo(128, 128)
    small = picture.unflatten(1, (32, 4)).unflatten(3, (32, 4)).mean((2, 4))
    mean = torch.stack([degrade(picture, (32, 32), (0, 0, index), RESSHIFT) for index in range(60)]).mean(0)
    misfit = {
        (y, x): (mean - small.roll((y, x), (1, 2)))[:, 2:-2, 2:-2].square().mean().item()
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
    }
    assert min(misfit, key=misfit.__getitem__) == (0, 0)
    for one, other in (((0, 1), (0, -1)), ((1, 0), (-1, 0))):
        assert misfit[one] == pytest.approx(misfit[other], rel=0.3)
    assert (mean - small).mean().abs() < 0.03


def test_a_degradation_without_noise_is_the_chain_of_its_steps():
    quiet = Stage(
        sizes=(5,),
        sigma=Range(1, 1),
        up_down_keep=(0, 0, 1),
        scale=Range(1, 1),
        gaussian=Range(1e-9, 1e-9),
        poisson=Range(1, 1),
        sinc_share=0,
        kinds=(1, 0, 0, 0, 0, 0),
        gaussian_share=1,
    )
    chain = Degradation(
        first=quiet, second=quiet, second_share=1, ringing_sizes=(3,), ringing_share=0, quality=(100, 100)
    )
    picture = photo(40, 40)
    blurred = picture.numpy()
    for _ in range(2):
        kernel = gaussian_kernel(5, (1, 1)).numpy()
        blurred = np.stack([ndimage.convolve(plane, kernel, mode="mirror") for plane in blurred])
    result = degrade(picture, (40, 40), (0, 0, 0), chain)
    luminance = np.array([0.2989, 0.587, 0.114])[:, None, None]  # which a JPEG keeps at full size
    assert np.abs((luminance * (result.numpy() - blurred)).sum(0)).max() < 4 / 127.5


def test_what_cannot_be_degraded_is_refused():
    with pytest.raises(
        InputError, match=r"picture to degrade is torch.uint8 \(3, 8, 8\): it must be float \(3, h, w\)"
    ):
        degrade(torch.zeros(3, 8, 8, dtype=torch.uint8), (2, 2), (0, 0, 0))
    with pytest.raises(InputError, match=r"picture to degrade is torch.float32 \(1, 3, 8, 8\)"):
        degrade(torch.zeros(1, 3, 8, 8), (2, 2), (0, 0, 0))
    with pytest.raises(InputError, match="the size is 0 x 2: it must be at least 1 x 1"):
        degrade(torch.zeros(3, 8, 8), (0, 2), (0, 0, 0))
    with pytest.raises(InputError, match=r"the size of a kernel is \(4,\): sizes of kernels must be odd"):
        sinc_kernel(4, 1.0)


def test_bad_numbers_are_refused():
    numbers = {"sizes": (3,), "sigma": Range(1, 2), "up_down_keep": (1, 1, 1), "scale": Range(0.5, 2)}
    numbers |= {"gaussian": Range(1, 2), "poisson": Range(1, 2)}
    stage = Stage(**numbers)
    for bad, sentence in (
        ({"sizes": (3, 4)}, "sizes is .*must be odd"),
        ({"sigma": Range(2, 1)}, "sigma is 2 to 1: it must be a range of numbers above 0"),
        ({"gray_share": 1.5}, "the share of gray is 1.5: it must be between 0 and 1"),
        ({"kinds": (1.0,)}, "kinds has 1 shares: there are 6"),
        ({"up_down_keep": (0, 0, 0)}, "up down keep"),
    ):
        with pytest.raises(InputError, match=sentence):
            Stage(**{**numbers, **bad})
    for bad, sentence in (
        ({"quality": (95, 30)}, r"quality is \(95, 30\)"),
        ({"second_share": -1}, "the share of second is -1"),
        ({"ringing_sizes": ()}, "ringing sizes is .*must be odd"),
    ):
        with pytest.raises(InputError, match=sentence):
            Degradation(**{**{"first": stage, "second": stage, "second_share": 1, "ringing_sizes": (3,)}, **bad})
