"""The loss of error maps against numpy, its gradients, what it sees and does not see, and what it refuses."""

from __future__ import annotations

import math
import sys
from collections import OrderedDict
from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sinwave.errors import InputError, MissingError
from sinwave.pretrained.perceptual import Lpips, StLpips, Trunk, alexnet, shift_tolerant_alexnet
from sinwave.pretrained.published import ALEXNET, LPIPS_ALEX, ST_LPIPS_ALEX, ST_LPIPS_VGG, VGG16
from sinwave.resize import resize
from sinwave.rng import NoiseSource
from sinwave.systems.residual_sr.error_maps import ErrorMapLoss, ErrorMaps, error_map

BANDS = ErrorMaps(distance="bands")
# Options that the loss itself depends on, one by one, where a perceptual distance compares.
VARIATIONS = [
    {"scales": (1.0, 0.5, 0.25, 0.2)},
    {"weights": (0.4, 0.3, 0.2, 0.2)},
    {"mask": "literal"},
    {"gamma": 0.5},
    {"filter": "db2"},
    {"channels": "color"},
    {"transform": "undecimated"},
    {"normalized": False},
    {"resampling": "area"},
]


def filled(trunk: Trunk, seed: int = 0) -> Trunk:
    """Random weights that keep the size of what they are applied to."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in trunk.state_dict().items():
        if not name.endswith("filt"):
            scale = (2 / value[0].numel()) ** 0.5 if value.ndim == 4 else 0.1
            value.copy_(scale * torch.randn(value.shape, generator=generator))
    return trunk.eval().requires_grad_(False)


def heads(trunk: Trunk) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.rand(c, generator=generator) for c in trunk.channels)


@lru_cache
def tiny(least: int = 2) -> Lpips:
    """LPIPS on two layers, in float64."""
    first = [nn.Conv2d(3, 5, 3, padding=1), nn.ReLU()]
    second = [nn.MaxPool2d(2), nn.Conv2d(5, 7, 3, padding=1), nn.ReLU()]
    trunk = filled(Trunk([first, second], least))
    return Lpips(trunk, heads(trunk)).to(torch.float64)


def loss(**options) -> ErrorMapLoss:
    chosen = ErrorMaps(**options)
    return ErrorMapLoss(chosen, None if chosen.distance == "bands" else tiny())


def pictures(count=2, height=24, width=40, seed=0) -> tuple[Tensor, Tensor]:
    """Smooth targets, and results that are off by noise of a strength that differs from place to place."""
    noise = NoiseSource(seed).normal((2, count, 3, height, width)).double()
    target = noise[0].cumsum(2).cumsum(3)
    target = target / target.abs().amax()
    ramp = torch.linspace(0.02, 0.3, width, dtype=torch.float64)
    return target + ramp * noise[1], target


def noisy(side=16, seed=5) -> tuple[Tensor, Tensor]:
    a, b = NoiseSource(seed).normal((2, 1, 3, side, side)).double() / 3
    return a.requires_grad_(), b


# The same in numpy.


def haar(x):
    """Lowpass, horizontal, vertical, diagonal of (..., h, w) of even size, by the four pixels of every block."""
    blocks = x.reshape(*x.shape[:-2], x.shape[-2] // 2, 2, x.shape[-1] // 2, 2)
    signs = [np.outer(rows, columns) / 2 for columns in ([1, 1], [1, -1]) for rows in ([1, 1], [1, -1])]
    return [np.einsum("...yixj,ij->...yx", blocks, sign) for sign in signs]


def cubic(x):
    x = np.abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.select([x <= 1, x <= 2], [near, far], 0.0)


def reduced(x, factor, kind):
    if kind == "area":
        return x.reshape(*x.shape[:2], x.shape[2] // factor, factor, x.shape[3] // factor, factor).mean((3, 5))
    matrices = []
    for n in x.shape[2:]:
        centers = (np.arange(n // factor) + 0.5) * factor - 0.5
        weights = cubic((np.arange(n) - centers[:, None]) / factor)
        matrices.append(weights / weights.sum(1, keepdims=True))
    return np.einsum("yi,bcij,xj->bcyx", matrices[0], x, matrices[1])


def expected_map(a, b):
    """One map for all colors, normalized: (b, 1, h, w)."""
    even = [(0, 0), (0, 0), *((0, n % 2) for n in a.shape[2:])]
    details = np.stack(haar(np.pad(a - b, even, mode="edge"))[1:])
    errors = np.abs(details).mean((0, 2)).repeat(2, 1).repeat(2, 2)[:, None, : a.shape[2], : a.shape[3]]
    return errors / errors.max((1, 2, 3), keepdims=True)


def expected_loss(result, target, kind="bicubic", literal=False, gamma=1.0):
    total = 0.0
    for factor, weight in ((1, 0.4), (2, 0.3), (4, 0.2), (8, 0.1)):
        a, b = (reduced(x.numpy(), factor, kind) for x in (result, target))
        mask = expected_map(a, b) if literal else 1 + gamma * expected_map(a, b)
        total += weight * tiny()(torch.from_numpy(a * mask), torch.from_numpy(b * mask)).mean().item()
    return total


def expected_band_loss(result, target, gamma=1.0, weights=(0.4, 0.3, 0.2, 0.1)):
    total, low = 0.0, (result - target).numpy()

    def rho(x):
        return np.sqrt(x**2 + 1e-6) - 1e-3

    for weight in weights:
        low, *details = haar(low)
        total += weight * np.mean([(1 + gamma * np.abs(x)) * rho(x) for x in details])
    return total + weights[-1] * rho(low).mean()


@pytest.mark.parametrize("kind", ["bicubic", "area"])
@pytest.mark.parametrize("mask", [{}, {"gamma": 3.0}, {"mask": "literal"}], ids=["default", "gamma", "literal"])
def test_the_loss_is_that_of_an_independent_computation(kind, mask):
    result, target = pictures()
    expected = expected_loss(result, target, kind, "mask" in mask, mask.get("gamma", 1.0))
    assert loss(resampling=kind, **mask)(result, target).item() == pytest.approx(expected, rel=1e-10)
    assert expected > 0.01


def test_the_loss_of_bands_is_that_of_an_independent_computation():
    result, target = pictures(height=32, width=48)
    assert loss(distance="bands")(result, target).item() == pytest.approx(expected_band_loss(result, target), rel=1e-12)
    few = {"scales": (1.0, 0.5), "weights": (0.7, 0.2), "gamma": 4.0}
    expected = expected_band_loss(result, target, 4.0, (0.7, 0.2))
    assert loss(distance="bands", **few)(result, target).item() == pytest.approx(expected, rel=1e-12)


def test_what_the_paper_says_and_what_it_leaves_open_are_the_defaults():
    options = ErrorMaps()
    assert (options.scales, options.weights) == ((1, 1 / 2, 1 / 4, 1 / 8), (0.4, 0.3, 0.2, 0.1))
    assert (options.distance, options.filter, options.resampling) == ("lpips-vgg", "haar", "bicubic")
    assert (options.training, options.mask, options.target) == ("joins", "emphasis", "truth")
    assert (options.channels, options.transform, options.normalized) == ("one", "decimated", True)
    assert not options.gradient


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_a_constant_is_invisible_to_the_literal_mask_and_to_no_other(precision):
    _, target = (image.to(precision) for image in pictures())
    measure = tiny().to(precision)
    for constant in (0.25, 0.1234):
        literal, default = (
            ErrorMapLoss(ErrorMaps(mask=mask), measure)(target + constant, target).item()
            for mask in ("literal", "emphasis")
        )
        assert literal < 1e-9 < 1e-3 < default
        assert ErrorMapLoss(BANDS)(target + constant, target).item() > 0.01


@pytest.mark.parametrize("options", [{}, {"distance": "bands"}, *VARIATIONS], ids=str)
def test_equal_pictures_cost_nothing_and_have_no_gradient(options):
    _, target = pictures()
    result = target.clone().requires_grad_()
    value = loss(**options)(result, target)
    value.backward()
    assert value.item() == 0
    assert not result.grad.any()


@pytest.mark.parametrize("options", VARIATIONS, ids=str)
def test_every_option_changes_the_loss(options):
    batch = pictures()
    default, changed = (loss(**chosen)(*batch).item() for chosen in ({}, options))
    assert abs(changed / default - 1) > 1e-3


@pytest.mark.parametrize("options", [{"weights": (0.4, 0.3, 0.2, 0.2)}, {"gamma": 0.5}, {"filter": "sym4"}], ids=str)
def test_every_option_that_bands_have_changes_their_loss(options):
    batch = pictures()
    default, changed = (loss(distance="bands", **chosen)(*batch).item() for chosen in ({}, options))
    assert abs(changed / default - 1) > 1e-3


@pytest.mark.parametrize("distance", ["lpips-vgg", "bands"])
def test_the_loss_is_linear_in_the_weights_of_the_scales(distance):
    batch = pictures()
    alone = [loss(distance=distance, weights=tuple(np.eye(4)[k].tolist()))(*batch).item() for k in range(4)]
    assert all(value > 0 for value in alone)
    mixed = loss(distance=distance, weights=(0.1, 0.0, 2.0, 0.5))(*batch).item()
    assert mixed == pytest.approx(0.1 * alone[0] + 2 * alone[2] + 0.5 * alone[3], rel=1e-12)


@pytest.mark.parametrize("distance", ["lpips-vgg", "bands"])
def test_the_loss_of_a_batch_is_the_mean_of_its_pictures(distance):
    result, target = pictures(count=3)
    single = [loss(distance=distance)(result[[k]], target[[k]]).item() for k in range(3)]
    batch = loss(distance=distance)(result, target)
    assert batch.shape == ()
    assert batch.item() == pytest.approx(np.mean(single), rel=1e-12)


sizes = st.tuples(st.integers(1, 2), st.integers(16, 29), st.integers(16, 29))


@settings(max_examples=25, deadline=None)
@given(sizes, st.sampled_from([{}, {"distance": "bands"}, *VARIATIONS]), st.integers(0, 99), st.floats(0, 3))
def test_the_loss_is_never_negative_at_any_size(size, options, seed, strength):
    result, target = pictures(*size, seed=seed)
    value = loss(**options)(target + strength * (result - target), target).item()
    assert math.isfinite(value)
    assert value >= 0


# The map.

MAPS = [{}, {"channels": "color"}, {"transform": "undecimated"}, {"channels": "color", "transform": "undecimated"}]


@pytest.mark.parametrize(
    "band", [(1, 1, -1, -1), (1, -1, 1, -1), (1, -1, -1, 1)], ids=["horizontal", "vertical", "diag"]
)
def test_the_map_of_one_coefficient_is_its_block(band):
    _, target = pictures(count=1)
    result = target.clone()
    result[0, 1, 10:12, 24:26] += 0.2 * torch.tensor(band).reshape(2, 2)
    (errors,) = error_map(result, target, ErrorMaps())
    expected = torch.zeros(1, 24, 40, dtype=torch.float64)
    expected[0, 10:12, 24:26] = 1
    torch.testing.assert_close(errors, expected)
    (raw,) = error_map(result, target, ErrorMaps(normalized=False))
    torch.testing.assert_close(raw, expected * 0.4 / 9)  # one of three bands, one of three colors
    (colors,) = error_map(result, target, ErrorMaps(channels="color"))
    torch.testing.assert_close(colors, expected * torch.eye(3, dtype=torch.float64)[1][:, None, None])


def test_the_undecimated_map_moves_with_the_picture_and_the_decimated_one_does_not():
    difference = torch.zeros(1, 3, 24, 40, dtype=torch.float64)
    difference[..., 8:14, 9:21] = pictures(count=1, height=6, width=12)[0]
    nothing = torch.zeros_like(difference)
    for transform in ("decimated", "undecimated"):
        options = ErrorMaps(transform=transform)
        errors = error_map(difference, nothing, options)
        for shift in ((0, 1), (1, 0), (3, -5), (2, 4)):
            moved = error_map(difference.roll(shift, (2, 3)), nothing, options)
            even = not any(distance % 2 for distance in shift)
            assert torch.allclose(moved, errors.roll(shift, (2, 3))) == (even or transform == "undecimated")


def test_the_undecimated_map_is_the_mean_of_what_the_four_blocks_around_a_pixel_say():
    difference = pictures(count=1, height=7, width=9)[0]
    errors = error_map(difference, torch.zeros_like(difference), ErrorMaps(transform="undecimated", normalized=False))
    padded = np.pad(difference.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    expected = np.zeros((7, 9))
    for y in range(7):
        for x in range(9):
            blocks = [padded[0, :, y + i : y + i + 2, x + j : x + j + 2] for i in (0, 1) for j in (0, 1)]
            expected[y, x] = np.mean([np.abs(haar(block)[1:]) for block in blocks])
    np.testing.assert_allclose(errors[0, 0], expected, rtol=1e-12)


@pytest.mark.parametrize("options", MAPS, ids=str)
@pytest.mark.parametrize("size", [(24, 40), (7, 9)])
def test_a_map_is_divided_by_the_maximum_of_its_picture(options, size):
    result, target = pictures(3, *size)
    raw, errors = (error_map(result, target, ErrorMaps(normalized=n, **options)) for n in (False, True))
    assert errors.shape == (3, 3 if "channels" in options else 1, *size)
    assert errors.amax((1, 2, 3)).tolist() == [1, 1, 1]
    assert errors.min() >= 0
    for k in range(3):
        torch.testing.assert_close(errors[k] * raw[k].max(), raw[k])


def test_rounding_errors_are_not_blown_up_to_a_map():
    target = pictures()[1].float()
    errors = error_map(target + 0.1234, target, ErrorMaps())
    assert errors.max() < 1e-3


@pytest.mark.parametrize(("scale", "size"), [(0.9, (22, 36)), (0.35, (8, 14)), (0.31, (7, 12))])
def test_a_scale_is_the_loss_of_pictures_reduced_to_the_nearest_whole_size(scale, size):
    batch = pictures()
    small = [resize(image, size) for image in batch]
    expected = loss(scales=(1.0,), weights=(0.5,))(*small).item()
    assert loss(scales=(scale,), weights=(0.5,))(*batch).item() == pytest.approx(expected, rel=1e-12)


# Gradients.


@pytest.mark.parametrize("options", [{"gamma": 0.0}, {"gradient": True}, {"gradient": True, "filter": "db2"}], ids=str)
def test_the_gradient_of_bands_is_that_of_finite_differences(options):
    result, target = noisy()
    small = loss(distance="bands", **options)
    assert torch.autograd.gradcheck(lambda image: small(image, target), (result,), fast_mode=True)
    assert torch.autograd.gradcheck(
        lambda image: small(result, image), (target.clone().requires_grad_(),), fast_mode=True
    )


@pytest.mark.parametrize(
    "options", [{}, {"channels": "color"}, {"transform": "undecimated"}, {"mask": "literal"}], ids=str
)
def test_the_gradient_through_the_map_is_that_of_finite_differences(options):
    result, target = noisy(24)
    through = loss(gradient=True, **options)
    assert torch.autograd.gradcheck(lambda image: through(image, target), (result,), fast_mode=True)


@pytest.mark.parametrize(
    "options", [{}, {"channels": "color"}, {"transform": "undecimated"}, {"mask": "literal"}], ids=str
)
def test_a_map_without_gradient_is_a_constant(options):
    result, target = noisy()
    chosen = {"scales": (1.0,), "weights": (2.0,), **options}
    mask = error_map(result, target, ErrorMaps(**chosen))
    assert not mask.requires_grad
    mask = mask if "mask" in options else 1 + mask
    (expected,) = torch.autograd.grad(2 * tiny()(result * mask, target * mask).mean(), result)
    (detached,) = torch.autograd.grad(loss(**chosen)(result, target), result)
    (through,) = torch.autograd.grad(loss(gradient=True, **chosen)(result, target), result)
    torch.testing.assert_close(detached, expected)
    assert (through - expected).norm() > 0.01 * expected.norm()
    assert loss(gradient=True, **chosen)(result, target) == loss(**chosen)(result, target)


def test_the_weights_of_bands_are_constants_where_no_gradient_flows_through_them():
    result, target = noisy(2)
    (slope,) = torch.autograd.grad(loss(distance="bands", scales=(1.0,), weights=(1.0,))(result, target), result)
    low, *details = (torch.from_numpy(band) for band in haar((result - target).detach().numpy()))

    def rate(x):
        return x / (x.square() + 1e-6).sqrt()

    parts = [rate(low) / 3, *((1 + x.abs()) * rate(x) / 9 for x in details)]  # means over 3 and over 9 numbers
    signs = torch.tensor([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]) / 2
    expected = sum(part * sign.reshape(2, 2) for part, sign in zip(parts, signs, strict=True))
    torch.testing.assert_close(slope, expected)


def test_two_threads_compute_what_one_does():
    result, target = (image.float() for image in pictures(height=128, width=160))
    values = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            for options in ({}, {"transform": "undecimated"}, {"distance": "bands"}):
                image = result.clone().requires_grad_()
                value = loss(**options).to(torch.float32)(image, target)
                value.backward()
                values.append((value.item(), image.grad))
        finally:
            torch.set_num_threads(1)
    for one, two in zip(values[:3], values[3:], strict=True):
        assert two[0] == pytest.approx(one[0], rel=1e-6)
        assert (two[1] - one[1]).norm() <= 1e-5 * one[1].norm()


# Networks and their files.


@pytest.fixture
def no_weights_of_the_user(tmp_path, monkeypatch):
    for name in ("TORCH_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    monkeypatch.delenv("SINWAVE_WEIGHTS", raising=False)
    monkeypatch.setitem(sys.modules, ST_LPIPS_ALEX.package.module, None)  # is not found by find_spec


@pytest.mark.usefixtures("no_weights_of_the_user")
@pytest.mark.parametrize(
    ("distance", "weights"),
    [
        ("lpips-vgg", VGG16),
        ("lpips-alex", ALEXNET),
        ("st-lpips-vgg", ST_LPIPS_VGG),
        ("st-lpips-alex", ST_LPIPS_ALEX),
    ],
)
def test_a_missing_file_stops_at_once_and_is_named(distance, weights, tmp_path):
    with pytest.raises(MissingError, match=weights.file):
        ErrorMapLoss.load(ErrorMaps(distance=distance), tmp_path)


@pytest.mark.usefixtures("no_weights_of_the_user")
def test_bands_need_no_file(tmp_path):
    assert ErrorMapLoss.load(BANDS, tmp_path).measure is None


def stored_heads(trunk: Trunk) -> dict[str, Tensor]:
    return {f"lin{index}.model.1.weight": head[None, :, None, None] for index, head in enumerate(heads(trunk))}


@pytest.mark.usefixtures("no_weights_of_the_user")
def test_networks_come_from_files_and_are_frozen(tmp_path):
    trunk = filled(alexnet())
    torch.save(OrderedDict(trunk.state_dict()), tmp_path / ALEXNET.file)
    torch.save(OrderedDict(stored_heads(trunk)), tmp_path / LPIPS_ALEX.file)
    options = ErrorMaps(distance="lpips-alex")
    loaded, direct = ErrorMapLoss.load(options, tmp_path), ErrorMapLoss(options, Lpips(trunk, heads(trunk)))
    assert loaded.least == 248
    result, target = (image.float() for image in pictures(1, 248, 256))
    image = result.requires_grad_()
    value = loaded(image, target)
    assert value.item() == direct(image, target).item() > 0
    value.backward()
    assert image.grad.any()
    assert not any(weight.requires_grad or weight.grad is not None for weight in loaded.measure.trunk.parameters())
    with pytest.raises(InputError, match=r"256 x 247 are too small for LPIPS at 0\.125: 248 pixels a side are needed"):
        loaded(result[..., :247, :], target[..., :247, :])


@pytest.mark.usefixtures("no_weights_of_the_user")
def test_shift_tolerant_networks_come_from_their_file(tmp_path):
    trunk = filled(shift_tolerant_alexnet())
    layers = {"slice1.0": 0, "slice1.1": 1, "slice2.4": 4, "slice2.5": 5, "slice3.8": 8, "slice3.9": 9}
    layers |= {"slice4.11": 11, "slice5.13": 13}
    content = stored_heads(trunk)
    for name, number in layers.items():
        for part, value in trunk.features[number].state_dict().items():
            content[f"net.{name}.{part}"] = value
    content["scaling_layer.shift"] = torch.tensor([-0.030, -0.088, -0.188])[None, :, None, None]
    content["scaling_layer.scale"] = torch.tensor([0.458, 0.448, 0.450])[None, :, None, None]
    torch.save(OrderedDict(content), tmp_path / ST_LPIPS_ALEX.file)
    options = ErrorMaps(distance="st-lpips-alex", scales=(1.0, 0.5), weights=(1.0, 1.0))
    loaded = ErrorMapLoss.load(options, tmp_path)
    batch = [image.float() for image in pictures(1, 42, 44)]
    assert loaded(*batch).item() == ErrorMapLoss(options, StLpips(trunk, heads(trunk)))(*batch).item() > 0
    assert not any(weight.requires_grad for weight in loaded.measure.trunk.parameters())


def test_a_loss_moves_with_its_network():
    moved = loss().to(torch.float32)
    assert moved.measure.heads[0].dtype == torch.float32
    result, target = pictures()
    assert moved(result.float(), target.float()).item() == pytest.approx(loss()(result, target).item(), rel=1e-4)
    assert ErrorMapLoss(BANDS).to(torch.float32).measure is None


@pytest.mark.usefixtures("no_weights_of_the_user")
def test_the_literal_mask_is_remarked_upon_before_anything_is_loaded(tmp_path):
    remarks = []
    for options in ({"mask": "literal", "training": "alone"}, {"mask": "literal"}, {"training": "alone"}, {}):
        with pytest.raises(MissingError):
            ErrorMapLoss.load(ErrorMaps(**options), tmp_path, remarks.append)
    blind = "the mask is literal: a result that is the target plus a constant costs nothing"
    assert remarks == [f"{blind}, and there is no other loss", f"{blind} in the error maps"]


# Refusals.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": (1.0, 0.5)}, "2 scales and 4 weights"),
        ({"scales": (), "weights": ()}, "0 scales and 0 weights"),
        ({"scales": (1.0, 0.5, 0.25, 0.0)}, "scales must be between 0.01 and 1, not 0.0"),
        ({"weights": (0.4, 0.3, 0.2, -0.1)}, "weights must be at least 0, not -0.1"),
        ({"gamma": -1.0}, "gamma must be at least 0, not -1.0"),
        ({"gamma": math.nan}, "gamma must be at least 0, not nan"),
        ({"filter": "bior2.2"}, "the wavelet filter is 'bior2.2'"),
        ({"distance": "lpips"}, "distance must be one of lpips-vgg, lpips-alex"),
        ({"resampling": "lanczos"}, "resampling must be one of bicubic, area, not 'lanczos'"),
        ({"mask": "literal", "gamma": 2.0}, "gamma 2.0 has no effect with the literal mask"),
        ({"training": "alone", "balance": 2.0}, "balance 2.0 has no effect with a training by this loss alone"),
        ({"distance": "bands", "scales": (1.0, 0.5, 0.25, 0.2)}, "scales must be 1, 0.5, 0.25, ... with the distance"),
        ({"distance": "bands", "mask": "literal"}, "mask 'literal' has no effect with the distance bands"),
        ({"distance": "bands", "channels": "color"}, "channels 'color' has no effect with the distance bands"),
        ({"distance": "bands", "transform": "undecimated"}, "transform 'undecimated' has no effect"),
        ({"distance": "bands", "normalized": False}, "normalized False has no effect with the distance bands"),
        ({"distance": "bands", "resampling": "area"}, "resampling 'area' has no effect with the distance bands"),
    ],
    ids=str,
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(InputError) as error:
        ErrorMaps(**options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("distance", ["lpips-vgg", "bands"])
def test_batches_that_cannot_be_compared_are_refused(distance):
    result, target = pictures()
    compare = loss(distance=distance)
    for wrong in (result[0], result[:, :1], result[:0], (result * 99).byte()):
        for pair in ((wrong, wrong), (result, wrong), (wrong, target)):
            with pytest.raises(InputError, match=r"float pictures \(b, 3, h, w\), not of torch"):
                compare(*pair)
    for wrong in (target[:1], target[..., :-1, :]):
        with pytest.raises(InputError, match=r"batches of one shape, not \(2, 3, 24, 40\) and"):
            compare(result, wrong)


@pytest.mark.parametrize(("scale", "side"), [(0.5, 14), (1 / 3, 21), (0.3, 24), (1.0, 7)])
def test_the_smallest_crop_is_just_large_enough_for_the_network(scale, side):
    options = ErrorMaps(scales=(scale,), weights=(1.0,))
    compare = ErrorMapLoss(options, tiny(least=7))
    assert compare.least == side
    result, target = pictures(1, side, side)
    assert compare(result, target).item() > 0
    for crop in ((..., slice(1, None)), (..., slice(1, None), slice(None))):
        with pytest.raises(InputError, match=f"{side} pixels a side are needed"):
            compare(result[crop], target[crop])


def test_a_network_that_the_options_do_not_name_or_that_would_be_trained_is_refused():
    with pytest.raises(InputError, match="the distance is lpips-vgg, and bands is given"):
        ErrorMapLoss(ErrorMaps())
    for distance in ("bands", "st-lpips-vgg"):
        with pytest.raises(InputError, match=f"the distance is {distance}, and LPIPS is given"):
            ErrorMapLoss(ErrorMaps(distance=distance), tiny())
    trunk = filled(Trunk([[nn.Conv2d(3, 4, 3)]], 3))
    trunk.features[0].weight.requires_grad_()
    with pytest.raises(InputError, match="the network of LPIPS would be trained: it must be frozen"):
        ErrorMapLoss(ErrorMaps(), Lpips(trunk, heads(trunk)))
