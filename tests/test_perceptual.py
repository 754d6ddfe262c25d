"""LPIPS and ST-LPIPS against their definition in numpy, their gradients, and figures on them against loops."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from itertools import combinations

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from skimage import data
from torch import Tensor

from sinwave.errors import InputError
from sinwave.images import from_uint8
from sinwave.metrics.perceptual import diversity, memorization, perceptual_distance
from sinwave.pretrained.perceptual import (
    Lpips,
    PerceptualDistance,
    StLpips,
    alexnet,
    shift_tolerant_alexnet,
    shift_tolerant_vgg16,
    vgg16,
)
from sinwave.pretrained.published import ALEXNET, LPIPS_ALEX

# (number, stride, padding) of a convolution, "relu" if not right after it, "blur", "tap", or (side, stride) of a pool
ALEX_STEPS = [(0, 4, 2), "tap", (3, 2), (3, 1, 2), "tap", (3, 2), (6, 1, 1), "tap", (8, 1, 1), "tap", (10, 1, 1), "tap"]
VGG_STEPS = [
    *[(0, 1, 1), (2, 1, 1), "tap", (2, 2)],
    *[(5, 1, 1), (7, 1, 1), "tap", (2, 2)],
    *[(10, 1, 1), (12, 1, 1), (14, 1, 1), "tap", (2, 2)],
    *[(17, 1, 1), (19, 1, 1), (21, 1, 1), "tap", (2, 2)],
    *[(24, 1, 1), (26, 1, 1), (28, 1, 1), "tap"],
]
ST_ALEX_STEPS = [
    *[(0, 1, 2, "linear"), "blur", "relu", "tap", (3, 1), "blur", (5, 1, 2), "tap", (3, 1), "blur", (9, 1, 1), "tap"],
    *[(11, 1, 1), "tap", (13, 1, 1), "tap"],
]
ST_VGG_STEPS = [
    *[(0, 1, 1), (2, 1, 1), "tap", (2, 1), "blur"],
    *[(6, 1, 1), (8, 1, 1), "tap", (2, 1), "blur"],
    *[(12, 1, 1), (14, 1, 1), (16, 1, 1), "tap", (2, 1), "blur"],
    *[(20, 1, 1), (22, 1, 1), (24, 1, 1), "tap", (2, 1), "blur"],
    *[(28, 1, 1), (30, 1, 1), (32, 1, 1), "tap"],
]
NETWORKS = {
    "alex": (Lpips, alexnet, ALEX_STEPS),
    "vgg": (Lpips, vgg16, VGG_STEPS),
    "st_alex": (StLpips, shift_tolerant_alexnet, ST_ALEX_STEPS),
    "st_vgg": (StLpips, shift_tolerant_vgg16, ST_VGG_STEPS),
}
LEAST = {"alex": 31, "vgg": 16, "st_alex": 21, "st_vgg": 18}
BINOMIAL = np.outer([1, 2, 1], [1, 2, 1]) / 16
MEANS, DEVIATIONS = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])


@lru_cache
def lpips(network: str) -> PerceptualDistance:
    """Random weights that keep the size of what they are applied to."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        trunk = NETWORKS[network][1]()
    state = {}
    for name, value in trunk.state_dict().items():
        if name.endswith("filt"):
            state[name] = torch.from_numpy(BINOMIAL).float().expand(value.shape).contiguous()
            continue
        scale = (2 / value[0].numel()) ** 0.5 if value.ndim == 4 else 0.1
        state[name] = scale * torch.randn(value.shape, generator=generator)
    trunk.load_state_dict(state, assign=True)
    heads = tuple(torch.randn(c, generator=generator).clamp(min=0) for c in trunk.channels)
    return NETWORKS[network][0](trunk.eval().requires_grad_(False), heads)


def distance(a: Tensor, b: Tensor, network: str) -> float:
    return perceptual_distance(a, b, lpips(network))


def photograph(height: int, width: int, top: int = 60, left: int = 150) -> Tensor:
    picture = data.astronaut()[top : top + height, left : left + width]
    return torch.from_numpy(picture).movedim(2, 0).contiguous()


def noise(height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def convolved(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int, padding: int) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    windows = sliding_window_view(padded, weight.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    return np.tensordot(weight, windows, axes=([1, 2, 3], [0, 3, 4])) + bias[:, None, None]


def reference_taps(picture: Tensor, network: str) -> list[np.ndarray]:
    state = {name: value.double().numpy() for name, value in lpips(network).trunk.state_dict().items()}
    x = picture.double().numpy() / 255 * 2 - 1
    x = (x - MEANS[:, None, None]) / DEVIATIONS[:, None, None]
    taps = []
    for step in NETWORKS[network][2]:
        if step == "tap":
            taps.append(x)
        elif step == "relu":
            x = np.maximum(x, 0)
        elif step == "blur":
            padded = np.pad(x, ((0, 0), (2, 2), (2, 2)), mode="reflect")
            x = np.einsum("cyxij,ij->cyx", sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2], BINOMIAL)
        elif len(step) > 2:
            number, stride, padding, *linear = step
            weight, bias = state[f"features.{number}.weight"], state[f"features.{number}.bias"]
            x = convolved(x, weight, bias, stride, padding)
            x = x if linear else np.maximum(x, 0)
        else:
            side, stride = step
            x = sliding_window_view(x, (side, side), axis=(1, 2))[:, ::stride, ::stride].max((3, 4))
    return taps


def reference_distance(a: Tensor, b: Tensor, network: str) -> float:
    total = 0.0
    heads = lpips(network).heads
    for one, other, head in zip(reference_taps(a, network), reference_taps(b, network), heads, strict=True):
        one, other = (each / (np.sqrt((each**2).sum(0)) + 1e-10) for each in (one, other))
        total += ((one - other) ** 2 * head.double().numpy()[:, None, None]).sum(0).mean()
    return total


@pytest.mark.parametrize(
    ("network", "size"),
    [("alex", (47, 66)), ("alex", (31, 31)), ("vgg", (33, 40)), ("st_alex", (27, 32)), ("st_vgg", (19, 24))],
)
def test_it_is_the_published_formula(network, size):
    first, second = photograph(*size), photograph(*size, top=80, left=190)
    for a, b in ((first, second), (first, noise(*size)), (torch.zeros_like(first), second)):
        expected = reference_distance(a, b, network)
        assert expected > 0.1
        assert distance(a, b, network) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("network", "channels", "sizes"),
    [
        ("alex", [64, 192, 384, 256, 256], [(15, 23), (7, 11), (3, 5), (3, 5), (3, 5)]),
        ("vgg", [64, 128, 256, 512, 512], [(63, 95), (31, 47), (15, 23), (7, 11), (3, 5)]),
    ],
)
def test_there_are_five_taps(network, channels, sizes):
    taps = lpips(network).trunk(torch.zeros(2, 3, 63, 95))
    assert [tuple(tap.shape) for tap in taps] == [(2, c, *size) for c, size in zip(channels, sizes, strict=True)]
    assert list(lpips(network).trunk.channels) == channels


@pytest.mark.parametrize("network", NETWORKS)
def test_a_copy_is_at_distance_zero_and_the_order_does_not_matter(network):
    a, b = photograph(40, 44), noise(40, 44)
    assert distance(a, a.clone(), network) == 0
    assert distance(a, b, network) == distance(b, a, network) > 0


def test_a_gray_picture_stands_for_three_equal_channels():
    gray, other = photograph(40, 44)[:1], noise(40, 44)
    assert distance(gray, other, "alex") == distance(gray.expand(3, -1, -1), other, "alex")


def test_weights_from_files_measure_the_same(tmp_path):
    ours, unused = lpips("alex"), {"classifier.1.weight": torch.zeros(1).expand(4096, 9216)}
    torch.save(OrderedDict(ours.trunk.state_dict() | unused), tmp_path / ALEXNET.file)
    heads = {f"lin{index}.model.1.weight": head[None, :, None, None] for index, head in enumerate(ours.heads)}
    torch.save(OrderedDict(heads), tmp_path / LPIPS_ALEX.file)
    a, b = photograph(40, 44), noise(40, 44)
    assert perceptual_distance(a, b, Lpips.load("alex", tmp_path)) == perceptual_distance(a, b, ours)


def test_diversity_is_the_mean_over_all_pairs():
    samples = torch.stack([noise(31, 33, seed) // (seed + 1) for seed in range(6)])
    expected = np.mean([distance(a, b, "alex") for a, b in combinations(samples, 2)])
    assert diversity(samples, lpips("alex")) == pytest.approx(expected, rel=1e-5)
    assert diversity(iter(samples), lpips("alex")) == diversity(samples, lpips("alex"))
    assert diversity(samples[:1].expand(4, -1, -1, -1), lpips("alex")) == 0


def training_and_samples() -> tuple[list[Tensor], list[Tensor]]:
    """Four training pictures, and samples near the first (4), the second (1) and the fourth (2)."""
    training = [photograph(35, 34, top, left) for top, left in ((0, 0), (60, 150), (200, 100), (300, 300))]
    order = [0, 3, 0, 1, 0, 3, 0]
    samples = [(training[index].float() + seed + 1).clamp(0, 255).byte() for seed, index in enumerate(order)]
    return training, samples


def test_samples_are_compared_with_the_nearest_training_picture():
    training, samples = training_and_samples()
    expected = np.mean([min(distance(a, b, "alex") for b in training) for a in samples])
    assert memorization(samples, training, lpips("alex")).nearest == pytest.approx(expected, rel=1e-5)
    assert memorization(training[1:], training, lpips("alex")).nearest == 0


def test_intra_lpips_is_a_mean_over_pairs_then_over_clusters_that_have_a_pair():
    training, samples = training_and_samples()
    clusters: list[list[Tensor]] = [[] for _ in training]
    for sample in samples:
        clusters[int(np.argmin([distance(sample, other, "alex") for other in training]))].append(sample)
    means = [np.mean([distance(*pair, "alex") for pair in combinations(each, 2)]) for each in clusters if each[1:]]
    found = memorization(samples, training, lpips("alex"))
    assert found.members == tuple(map(len, clusters)) == (4, 1, 0, 2)
    assert found.within == pytest.approx(np.mean(means), rel=1e-4)
    assert memorization(training * 2, training, lpips("alex")).within == 0
    assert memorization(training, training, lpips("alex")).within is None


@pytest.mark.parametrize(("network", "least"), LEAST.items())
def test_too_small_pictures_are_named_and_no_others(network, least):
    picture, other = noise(50, 50), noise(50, 50, 1)
    assert distance(picture[:, :least, :least], other[:, :least, :least], network) > 0
    for height, width in ((least - 1, 50), (50, least - 1)):
        with pytest.raises(InputError, match=f"{width} x {height} is too small for the network: {least} a side"):
            distance(picture[:, :height, :width], other[:, :height, :width], network)
        with pytest.raises(InputError, match=f"{width} x {height} is too small for the network: {least} a side"):
            lpips(network).features(torch.zeros(1, 3, height, width))


def test_pictures_of_different_sizes_are_never_resized():
    measure, a, b = lpips("alex"), noise(40, 50), noise(50, 40)
    calls = [
        lambda: perceptual_distance(a, b, measure),
        lambda: diversity([a, b], measure),
        lambda: memorization([a], [b], measure),
    ]
    for call in calls:
        with pytest.raises(InputError, match=r"50 x 40 and 40 x 50|40 x 50 and 50 x 40"):
            call()


def test_what_cannot_be_measured_is_named():
    measure, picture = lpips("alex"), noise(40, 40)
    with pytest.raises(InputError, match="two samples are needed, not 1"):
        diversity([picture], measure)
    for samples, training, message in (([picture], [], "no training pictures"), ([], [picture], "no samples")):
        with pytest.raises(InputError, match=message):
            memorization(samples, training, measure)
    for wrong in (picture.float(), picture[:2], picture[None]):
        with pytest.raises(InputError, match="uint8 pictures"):
            perceptual_distance(wrong, wrong, measure)
    images = from_uint8(picture)[None]
    for wrong in (images.byte(), images[0], images[:, :2]):
        with pytest.raises(InputError, match=r"LPIPS takes float images \(b, 3, h, w\), not"):
            measure(wrong, wrong)
    with pytest.raises(InputError, match="batches of one shape"):
        measure(images, images.repeat(2, 1, 1, 1))
    with pytest.raises(InputError, match="alex, vgg, not 'squeeze'"):
        Lpips.load("squeeze")
    with pytest.raises(InputError, match="number 0 is not"):
        Lpips(measure.trunk, tuple(-head for head in measure.heads))


@pytest.mark.parametrize("network", NETWORKS)
def test_the_gradient_is_that_of_finite_differences_and_never_reaches_the_weights(network):
    side, step = LEAST[network] + 2, 1e-7
    double = lpips(network).to(torch.float64)
    assert lpips(network).trunk.features[0].weight.dtype == torch.float32  # a copy was converted
    a, b = (from_uint8(picture)[None].double() for picture in (photograph(side, side), noise(side, side)))
    for image in (a, b):
        image.requires_grad_()
    double(a, b).backward()
    generator = torch.Generator().manual_seed(0)
    for image in (a, b):
        assert image.grad is not None
        for _ in range(3):
            way = torch.randn(image.shape, generator=generator, dtype=torch.float64)
            ends = [[x + sign * step * way if x is image else x for x in (a, b)] for sign in (1, -1)]
            with torch.no_grad():
                slope = (double(*ends[0]) - double(*ends[1])) / (2 * step)
            assert (image.grad * way).sum().item() == pytest.approx(slope.item(), rel=1e-3)
    weights = [*double.trunk.parameters(), *double.trunk.buffers(), *double.heads]
    assert not any(tensor.requires_grad or tensor.grad is not None for tensor in weights)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_loss_over_a_batch_is_the_metric_of_each_pair(network):
    pairs = [(photograph(36, 40, top, 150), noise(36, 40, top)) for top in (60, 80, 100)]
    batches = (from_uint8(torch.stack(pictures)) for pictures in zip(*pairs, strict=True))
    expected = [distance(a, b, network) for a, b in pairs]
    assert lpips(network)(*batches).tolist() == pytest.approx(expected, rel=1e-5)
    (a, b), *_ = pairs
    assert lpips(network)(from_uint8(a)[None], from_uint8(b)[None]).item() == expected[0]


def test_equal_images_have_a_gradient_of_zero_and_no_nan():
    image = torch.zeros(1, 3, 40, 40, requires_grad=True)
    lpips("alex")(image, torch.zeros(1, 3, 40, 40)).backward()
    assert image.grad is not None
    assert not image.grad.any()
