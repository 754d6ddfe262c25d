"""Inception against its blocks written out one by one, and the distances on its features against numpy and scipy."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from skimage import data
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from sinwave.errors import InputError
from sinwave.metrics.inception import fid, inception_features, kid, load_inception, sifid
from sinwave.pretrained.inception import Inception
from sinwave.pretrained.published import INCEPTION


@lru_cache
def network() -> Inception:
    """Random weights that keep the size of what they are applied to."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        module = Inception()
    state = {}
    for name, value in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        draw = torch.randn(value.shape, generator=generator)
        if value.ndim == 4:
            state[name] = draw * (2 / value[0].numel()) ** 0.5
        else:
            state[name] = (draw / 4).exp() if name.endswith(("bn.weight", "running_var")) else draw / 10
    module.load_state_dict(state, assign=True)
    return module.eval().requires_grad_(False)


def photograph(height: int, width: int, top: int = 40, left: int = 150) -> Tensor:
    picture = data.astronaut()[top : top + height, left : left + width]
    return torch.from_numpy(picture).movedim(2, 0).contiguous()


def layer(x: Tensor, name: str, stride: int = 1, padding: tuple[int, int] | int = 0) -> Tensor:
    state = {key: value.double() for key, value in network().state_dict().items() if key.startswith(f"{name}.")}
    x = functional.conv2d(x, state[f"{name}.conv.weight"], stride=stride, padding=padding)
    mean, variance, scale, shift = (
        state[f"{name}.bn.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return functional.relu((x - mean) / (variance + 0.001).sqrt() * scale + shift)


def average(x: Tensor) -> Tensor:
    """Over the neighbors that there are: 4 in a corner, 6 at an edge, 9 inside."""
    kernel = x.new_ones(x.shape[1], 1, 3, 3)
    total, count = (functional.conv2d(each, kernel, padding=1, groups=x.shape[1]) for each in (x, torch.ones_like(x)))
    return total / count


def fine(x: Tensor, name: str) -> Tensor:
    five = layer(layer(x, f"{name}.branch5x5_1"), f"{name}.branch5x5_2", padding=2)
    double = layer(layer(x, f"{name}.branch3x3dbl_1"), f"{name}.branch3x3dbl_2", padding=1)
    double = layer(double, f"{name}.branch3x3dbl_3", padding=1)
    return torch.cat([layer(x, f"{name}.branch1x1"), five, double, layer(average(x), f"{name}.branch_pool")], 1)


def long(x: Tensor, name: str) -> Tensor:
    row, column = (0, 3), (3, 0)
    seven = layer(layer(x, f"{name}.branch7x7_1"), f"{name}.branch7x7_2", padding=row)
    seven = layer(seven, f"{name}.branch7x7_3", padding=column)
    double = layer(layer(x, f"{name}.branch7x7dbl_1"), f"{name}.branch7x7dbl_2", padding=column)
    double = layer(double, f"{name}.branch7x7dbl_3", padding=row)
    double = layer(double, f"{name}.branch7x7dbl_4", padding=column)
    double = layer(double, f"{name}.branch7x7dbl_5", padding=row)
    return torch.cat([layer(x, f"{name}.branch1x1"), seven, double, layer(average(x), f"{name}.branch_pool")], 1)


def wide(x: Tensor, name: str, pooled: Tensor) -> Tensor:
    three = layer(x, f"{name}.branch3x3_1")
    double = layer(layer(x, f"{name}.branch3x3dbl_1"), f"{name}.branch3x3dbl_2", padding=1)
    parts = [
        layer(x, f"{name}.branch1x1"),
        layer(three, f"{name}.branch3x3_2a", padding=(0, 1)),
        layer(three, f"{name}.branch3x3_2b", padding=(1, 0)),
        layer(double, f"{name}.branch3x3dbl_3a", padding=(0, 1)),
        layer(double, f"{name}.branch3x3dbl_3b", padding=(1, 0)),
        layer(pooled, f"{name}.branch_pool"),
    ]
    return torch.cat(parts, 1)


def reference_places(x: Tensor) -> Tensor:
    return layer(layer(layer(x, "Conv2d_1a_3x3", stride=2), "Conv2d_2a_3x3"), "Conv2d_2b_3x3", padding=1)


def reference_features(x: Tensor) -> Tensor:
    x = functional.max_pool2d(reference_places(x), 3, 2)
    x = functional.max_pool2d(layer(layer(x, "Conv2d_3b_1x1"), "Conv2d_4a_3x3"), 3, 2)
    x = fine(fine(fine(x, "Mixed_5b"), "Mixed_5c"), "Mixed_5d")
    double = layer(layer(x, "Mixed_6a.branch3x3dbl_1"), "Mixed_6a.branch3x3dbl_2", padding=1)
    double = layer(double, "Mixed_6a.branch3x3dbl_3", stride=2)
    x = torch.cat([layer(x, "Mixed_6a.branch3x3", stride=2), double, functional.max_pool2d(x, 3, 2)], 1)
    x = long(long(long(long(x, "Mixed_6b"), "Mixed_6c"), "Mixed_6d"), "Mixed_6e")
    three = layer(layer(x, "Mixed_7a.branch3x3_1"), "Mixed_7a.branch3x3_2", stride=2)
    seven = layer(layer(x, "Mixed_7a.branch7x7x3_1"), "Mixed_7a.branch7x7x3_2", padding=(0, 3))
    seven = layer(layer(seven, "Mixed_7a.branch7x7x3_3", padding=(3, 0)), "Mixed_7a.branch7x7x3_4", stride=2)
    x = torch.cat([three, seven, functional.max_pool2d(x, 3, 2)], 1)
    x = wide(x, "Mixed_7b", average(x))
    x = wide(x, "Mixed_7c", functional.max_pool2d(x, 3, 1, 1))
    return x.mean((2, 3))


@pytest.mark.parametrize("size", [(75, 75), (171, 139)])
def test_the_network_is_its_blocks(size):
    image = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = reference_features(image.double()), network()(image)
    assert found.shape == (2, 2048)
    assert expected.std() > 0.01
    assert_close(found.double(), expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


@pytest.mark.parametrize("size", [(9, 9), (64, 51)])
def test_sifid_looks_at_64_channels_before_the_first_pool(size):
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    found = network().places(image)
    assert found.shape == (1, 64, *((side - 3) // 2 - 1 for side in size))
    assert_close(found.double(), reference_places(image.double()), rtol=1e-4, atol=1e-4)


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    covariances = [np.cov(each, rowvar=False) for each in (a, b)]
    way = a.mean(0) - b.mean(0)
    return way @ way + np.trace(covariances[0] + covariances[1] - 2 * sqrtm(covariances[0] @ covariances[1]).real)


def test_sifid_is_the_distance_between_places():
    sample, source = photograph(60, 70), photograph(75, 64, top=200, left=250)
    sets = [reference_places(each[None].double() / 127.5 - 1)[0].flatten(1).T.numpy() for each in (sample, source)]
    assert sifid(sample, source, network()) == pytest.approx(frechet(*sets), rel=1e-4)
    assert sifid(source, sample, network()) == pytest.approx(frechet(*sets), rel=1e-4)
    assert sifid(source, source, network()) == pytest.approx(0, abs=1e-6)


def test_features_are_those_of_the_resized_picture():
    pictures = [photograph(120, 90), photograph(400, 350)[:1]]
    found = inception_features(pictures, network())
    assert found.shape == (2, 2048)
    for picture, features in zip(pictures, found, strict=True):
        image = picture.expand(3, -1, -1)[None].float() / 255
        image = functional.interpolate(image, size=(299, 299), mode="bilinear", align_corners=False)
        assert_close(features, network()(2 * image - 1)[0], rtol=1e-3, atol=1e-3)


def features(count: int, dimension: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dimension, dimension, generator=generator)
    return torch.randn(count, dimension, generator=generator) @ mixing / dimension**0.5 + seed / 10


def test_fid_agrees_with_the_general_matrix_root():
    a, b = features(300, 24, 0), features(200, 24, 1)
    assert fid(a, b) == pytest.approx(frechet(a.double().numpy(), b.double().numpy()), rel=1e-6)


def discrepancy(a: np.ndarray, b: np.ndarray) -> float:
    """Pair by pair, over different ones within a set."""

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (x @ y / len(x) + 1) ** 3

    within = [np.mean([kernel(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j]) for s in (a, b)]
    return sum(within) - 2 * np.mean([kernel(x, y) for x in a for y in b])


def test_kid_of_whole_sets_is_the_unbiased_discrepancy():
    a, b = features(20, 7, 0), features(20, 7, 3)
    mean, deviation = kid(a, b, subsets=3, size=20)
    assert mean == pytest.approx(discrepancy(a.double().numpy(), b.double().numpy()), rel=1e-9)
    assert deviation == pytest.approx(0, abs=1e-9)


def test_kid_draws_subsets_of_each_set_on_its_own():
    a, b = features(3, 4, 0), features(3, 4, 3)
    pairs = [[0, 1], [0, 2], [1, 2]]
    possible = [discrepancy(a[i].double().numpy(), b[j].double().numpy()) for i, j in product(pairs, pairs)]
    found = [kid(a, b, subsets=1, size=2, seed=seed)[0] for seed in range(60)]
    drawn = {int(np.argmin(np.abs(np.array(possible) - value))) for value in found}
    assert all(min(abs(value - each) for each in possible) < 1e-9 for value in found)
    assert len(drawn) == len(possible) == 9


def test_kid_is_a_mean_over_subsets_of_different_features():
    a, b = features(30, 7, 0), features(26, 7, 3)
    whole = discrepancy(a.double().numpy(), b.double().numpy())
    mean, deviation = kid(a, b, subsets=400, size=9)
    assert mean == pytest.approx(whole, abs=4 * deviation / 400**0.5)  # unbiased, whatever the size
    assert deviation > 0
    assert kid(a, b, subsets=4, size=9) == kid(a, b, subsets=4, size=9)
    assert kid(a, b, subsets=4, size=9) != kid(a, b, subsets=4, size=9, seed=1)


def test_weights_from_a_file_measure_the_same(tmp_path):
    classifier = {"fc.weight": torch.zeros(1).expand(1008, 2048), "fc.bias": torch.zeros(1008)}
    torch.save(network().state_dict() | classifier, tmp_path / INCEPTION.file)
    sample, source = photograph(60, 70), photograph(75, 64)
    assert sifid(sample, source, load_inception(tmp_path)) == sifid(sample, source, network())


def test_what_cannot_be_measured_is_named():
    picture = photograph(20, 30)
    with pytest.raises(InputError, match="8 x 30 is too small for the network: 9 a side"):
        sifid(picture, picture.mT[:, :, :8], network())
    with pytest.raises(InputError, match="uint8 pictures"):
        inception_features([picture.float()], network())
    with pytest.raises(InputError, match="no pictures"):
        inception_features([], network())
    with pytest.raises(InputError, match=r"\(3, 4\) and \(3, 5\)"):
        kid(torch.zeros(3, 4), torch.zeros(3, 5))
    for options in ({"size": 4}, {"size": 1}, {"subsets": 0, "size": 3}, {}):
        with pytest.raises(InputError, match="1 subset or more of 2 to 3 of these features, not"):
            kid(torch.zeros(3, 4), torch.zeros(5, 4), **options)
