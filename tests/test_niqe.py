"""NIQE against slow independent code, closed forms, and what is known of it."""

from __future__ import annotations

import io
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter
from scipy.special import gamma
from scipy.stats import gennorm
from skimage import color, data
from torch import Tensor
from torch.testing import assert_close

from sinwave.errors import InputError
from sinwave.metrics.niqe import NaturalModel, asymmetric_fit, block_features, contrast_normalized, gray, niqe

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")


def photograph(name: str = "astronaut") -> Tensor:
    return torch.from_numpy(getattr(data, name)()).movedim(2, 0).contiguous()


def texture(height: int, width: int, sigma: float = 40, seed: int = 0) -> Tensor:
    noise = torch.randn(1, height, width, generator=torch.Generator().manual_seed(seed))
    return (128 + sigma * noise).round().clamp(0, 255).byte()


def drawn_model(block: int, rank: int = 36) -> NaturalModel:
    generator = torch.Generator().manual_seed(0)
    mean, mixing = (torch.randn(*size, generator=generator, dtype=torch.float64) for size in ((36,), (rank, 36)))
    return NaturalModel(mean, mixing.T @ mixing, block)


# The law of the coefficients


@pytest.mark.parametrize("alpha", [0.8, 1.0, 2.0, 5.0])
@pytest.mark.parametrize(("left", "right"), [(1.0, 1.0), (0.3, 1.2), (20.0, 5.0)])
def test_a_drawn_asymmetric_law_is_found_again(alpha, left, right):
    generator = np.random.default_rng(0)
    size = np.abs(gennorm.rvs(alpha, size=400_000, random_state=generator))
    negative = generator.random(size.size) < left / (left + right)
    values = torch.from_numpy(np.where(negative, -left * size, right * size))
    found = [parameter.item() for parameter in asymmetric_fit(values[None])]
    assert found == pytest.approx([alpha, left, right], rel=0.03)


@pytest.mark.parametrize(
    ("alpha", "left", "right"), [(0.8, 1.0, 1.0), (1.0, 2.0, 0.5), (2.0, 0.7, 3.0), (3.3, 1.0, 9.0)]
)
def test_the_quantiles_of_a_law_have_its_parameters_to_the_step_of_the_table(alpha, left, right):
    sizes = [gennorm.ppf(0.5 + (np.arange(n) + 0.5) / (2 * n), alpha) for n in (int(3e4 * left), int(3e4 * right))]
    values = torch.from_numpy(np.concatenate([-left * sizes[0], right * sizes[1]]))
    found = [parameter.item() for parameter in asymmetric_fit(values[None])]
    assert found == pytest.approx([alpha, left, right], rel=1e-3)


def test_rows_are_fitted_apart_and_scale():
    rows = torch.randn(3, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows[1] = 7 * rows[0]
    alpha, left, right = asymmetric_fit(rows)
    assert alpha[0] == alpha[1] != alpha[2]
    assert_close(torch.stack([left[1], right[1]]), 7 * torch.stack([left[0], right[0]]))
    mirrored = asymmetric_fit(-rows)
    assert_close(mirrored, (alpha, right, left))


def test_a_side_without_values_has_no_width_and_zeros_have_no_law():
    alpha, left, right = asymmetric_fit(torch.tensor([[1.0, 2, 3, 0], [0, 0, 0, 0]], dtype=torch.float64))
    assert left[0] == 0 < right[0]
    assert torch.stack([alpha, left, right])[:, 0].isfinite().all()
    assert torch.stack([alpha, left, right])[:, 1].isnan().all()


# The features


def test_gray_is_luma_on_the_full_range_in_whole_levels():
    picture = photograph("coffee")
    found = gray(picture).numpy()
    assert np.abs(found - 255 * color.rgb2yiq(picture.numpy(), channel_axis=0)[0]).max() < 0.52
    np.testing.assert_array_equal(found, np.round(found))
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    assert torch.equal(gray(levels.expand(3, -1, -1)), levels[0].double())
    assert torch.equal(gray(levels), levels[0].double())


def reference_normalized(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, square = (gaussian_filter(each, 7 / 6, radius=3, mode="nearest") for each in (plane, plane**2))
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    return (plane - mean) / (deviation + 1), deviation


def test_contrast_is_normalized_as_scipy_would():
    plane = gray(photograph("chelsea"))
    for found, expected in zip(contrast_normalized(plane), reference_normalized(plane.numpy()), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)  # a root of rounding errors where the picture is flat


def reference_fit(values: np.ndarray) -> tuple[float, float, float]:
    left, right = (np.sqrt(np.mean(side**2)) for side in (values[values < 0], values[values > 0]))
    ratio = left / right
    moment = np.mean(np.abs(values)) ** 2 / np.mean(values**2) * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    alphas = np.arange(0.2, 10.0005, 0.001)
    alpha = alphas[np.argmin((gamma(2 / alphas) ** 2 / gamma(1 / alphas) / gamma(3 / alphas) - moment) ** 2)]
    return alpha, *(side * np.sqrt(gamma(1 / alpha) / gamma(3 / alpha)) for side in (left, right))


def reference_statistics(block: np.ndarray) -> list[float]:
    alpha, left, right = reference_fit(block)
    features = [alpha, (left + right) / 2]
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        alpha, left, right = reference_fit(block * np.roll(np.roll(block, down, 0), across, 1))
        features += [alpha, (right - left) * gamma(2 / alpha) / gamma(1 / alpha), left, right]
    return features


def reference_halved(plane: np.ndarray) -> np.ndarray:
    """Keys' cubic at twice its width, at 1/4, 3/4, 5/4 and 7/4 of a coarse pixel to both sides, between mirrors."""
    taps = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
    for _ in range(2):
        padded = np.pad(plane, ((3, 3), (0, 0)), mode="symmetric")
        plane = (sliding_window_view(padded, 8, axis=0)[::2] @ taps).T
    return plane


def reference_features(plane: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = (side // block for side in plane.shape)
    plane = plane[: rows * block, : columns * block]
    (full, deviation), (half, _) = reference_normalized(plane), reference_normalized(reference_halved(plane))
    features, sharpness = [], []
    for row, column in product(range(rows), range(columns)):
        here, there = (
            (slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side))
            for side in (block, block // 2)
        )
        features.append(reference_statistics(full[here]) + reference_statistics(half[there]))
        sharpness.append(deviation[here].mean())
    return np.array(features), np.array(sharpness)


@pytest.mark.parametrize(("block", "height", "width"), [(16, 70, 85), (48, 150, 99)])
def test_features_agree_with_slow_code(block, height, width):
    picture = photograph()[:, 60 : 60 + height, 180 : 180 + width]
    expected, sharpness = reference_features(gray(picture).numpy(), block)
    found = block_features(picture, block)
    assert found[0].shape == (height // block * (width // block), 36)
    np.testing.assert_allclose(found[0], expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found[1], sharpness, rtol=1e-6)


def test_many_blocks_are_what_few_are():
    picture = texture(32, 16 * 90)
    features, _ = block_features(picture, 16)
    assert features.shape == (180, 36)
    some, _ = block_features(picture[..., : 16 * 40], 16)
    assert_close(features[:38], some[:38])  # the last one has another neighbor


def test_turning_a_picture_only_exchanges_neighbors():
    picture = photograph()[:, 60:156, 180:276]
    features = block_features(picture, 48)[0].view(2, 2, 2, 18)
    first, across, down, diagonal, other = torch.split(features, [2, 4, 4, 4, 4], 3)
    turned = block_features(picture.mT, 48)[0].view(2, 2, 2, 18)
    assert_close(turned, torch.cat([first, down, across, diagonal, other], 3).transpose(0, 1))
    mirrored = block_features(picture.flip(2), 48)[0].view(2, 2, 2, 18)
    assert_close(mirrored, torch.cat([first, across, down, other, diagonal], 3).flip(1))


@pytest.mark.parametrize("level", [0, 1, 77, 255])
def test_a_flat_picture_has_no_features(level):
    features, sharpness = block_features(torch.full((3, 48, 64), level, dtype=torch.uint8), 16)
    assert features.isnan().any(1).all()
    assert_close(sharpness, torch.zeros(12, dtype=torch.float64), atol=1e-5, rtol=0)


# The model and the distance


@pytest.mark.parametrize("rank", [36, 5])
def test_the_distance_agrees_with_numpy(rank):
    picture = photograph()[:, 60:160, 180:340]
    model = drawn_model(16, rank)
    features, _ = reference_features(gray(picture).numpy(), 16)
    common = (model.covariance.numpy() + np.cov(features, rowvar=False)) / 2
    step = features.mean(0) - model.mean.numpy()
    assert niqe(picture, model) == pytest.approx(np.sqrt(step @ np.linalg.solve(common, step)), rel=1e-5)


def test_two_blocks_measure_only_where_something_varies():
    picture, model = photograph()[:, 100:148, 200:296], drawn_model(48, 3)
    features, _ = reference_features(gray(picture).numpy(), 48)
    spans = np.concatenate([model.covariance.numpy(), np.diff(features, axis=0)])
    axes = np.linalg.svd(spans)[2][:4]  # of the three directions of the model and the one of the picture
    common = axes @ (model.covariance.numpy() + np.cov(features, rowvar=False)) @ axes.T / 2
    step = axes @ (features.mean(0) - model.mean.numpy())
    assert niqe(picture, model) == pytest.approx(np.sqrt(step @ np.linalg.solve(common, step)), rel=1e-5)


def test_flat_blocks_count_for_nothing():
    picture, model = photograph()[:, 60:160, 180:340].clone(), drawn_model(16)
    picture[:, :, 77:] = 255
    features, _ = block_features(picture, 16)
    kept = features[features.isfinite().all(1)].numpy()
    assert len(kept) == 6 * 5
    common = (model.covariance.numpy() + np.cov(kept, rowvar=False)) / 2
    step = kept.mean(0) - model.mean.numpy()
    assert niqe(picture, model) == pytest.approx(np.sqrt(step @ np.linalg.solve(common, step)), rel=1e-6)


def test_what_the_model_was_fitted_to_is_at_distance_zero():
    picture = texture(128, 160)
    assert niqe(picture, NaturalModel.fit([picture], 16)) == pytest.approx(0, abs=1e-6)


def test_a_model_is_that_of_the_sharp_blocks_of_each_picture():
    strong, faint = texture(96, 128), texture(96, 64, sigma=8, seed=1)
    strong[..., 64:] = 128 + (strong[..., 64:].float() - 128).div(3).round()
    model = NaturalModel.fit([strong, faint], 16)
    features = block_features(strong, 16)[0].view(6, 8, 36)[:, :4].flatten(0, 1)
    chosen = torch.cat([features, block_features(faint, 16)[0]])
    assert_close(model.mean, chosen.mean(0))
    assert_close(model.covariance, torch.cov(chosen.T))
    assert model.block == 16


def test_the_file_that_circulates_is_read(tmp_path):
    model, path = drawn_model(96), tmp_path / "niqe_pris_params.npz"
    arrays = {"mu_pris_param": model.mean[None].numpy(), "cov_pris_param": np.asfortranarray(model.covariance.numpy())}
    np.savez(path, gaussian_window=np.ones((7, 7)), **arrays)
    loaded = NaturalModel.load(path)
    assert torch.equal(loaded.mean, model.mean)
    assert torch.equal(loaded.covariance, model.covariance)
    assert loaded.block == 96
    picture = photograph()[:, :192, :192]
    assert niqe(picture, loaded) == niqe(picture, model)


# What the figure is for


@pytest.fixture(scope="module")
def models() -> dict[str, NaturalModel]:
    """For each photograph a model of the others, cut up: a block is sharp by the sharpest one nearby."""
    crops = {
        name: [
            crop for row in photograph(name).split(144, 1) for crop in row.split(144, 2) if crop[0].numel() == 144**2
        ]
        for name in PHOTOGRAPHS
    }
    others = {name: [crop for each in crops if each != name for crop in crops[each]] for name in crops}
    return {name: NaturalModel.fit(others[name], 48) for name in crops}


def blurred(picture: Tensor, sigma: float) -> Tensor:
    image = Image.fromarray(picture.movedim(0, 2).numpy()).filter(ImageFilter.GaussianBlur(sigma))
    return torch.from_numpy(np.array(image)).movedim(2, 0)


def noisy(picture: Tensor, sigma: float) -> Tensor:
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    return (picture + sigma * noise).round().clamp(0, 255).byte()


def compressed(picture: Tensor, quality: int) -> Tensor:
    file = io.BytesIO()
    Image.fromarray(picture.movedim(0, 2).numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).movedim(2, 0)


@pytest.mark.parametrize(
    ("damage", "strengths"),
    [(blurred, (1, 2, 3, 4, 6)), (noisy, (5, 10, 20, 40, 80)), (compressed, (75, 50, 30, 15, 5))],
)
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_more_damage_is_less_natural(models, name, damage, strengths):
    picture = photograph(name)
    figures = [niqe(each, models[name]) for each in [picture, *(damage(picture, strength) for strength in strengths)]]
    assert all(less < more for less, more in pairwise(figures)), figures


# What cannot be measured


@pytest.mark.parametrize("bad", [torch.zeros(3, 96, 96), torch.zeros(2, 96, 96).byte(), torch.zeros(96, 96).byte()])
def test_only_pictures_are_measured(bad):
    with pytest.raises(InputError, match="uint8 picture"):
        niqe(bad, drawn_model(48))


@pytest.mark.parametrize(("height", "width"), [(95, 400), (400, 95), (0, 0)])
def test_a_picture_smaller_than_a_block_is_named(height, width):
    with pytest.raises(InputError, match=f"{width} x {height} is too small .* 96 x 96"):
        niqe(texture(height, width), drawn_model(96))


def test_one_block_has_no_covariance():
    with pytest.raises(InputError, match=r"191 x 100 with 1 blocks of 96 x 96 .* at least 2"):
        niqe(texture(100, 191), drawn_model(96))
    with pytest.raises(InputError, match="0 blocks of 16 x 16 that are not flat"):
        niqe(torch.zeros(3, 99, 99, dtype=torch.uint8), drawn_model(16))


@pytest.mark.parametrize("block", [0, 14, 33])
def test_odd_and_tiny_blocks_are_refused(block):
    for use in (drawn_model, lambda block: NaturalModel.fit([texture(99, 99)], block)):
        with pytest.raises(InputError, match=f"even number of pixels, 16 or more, not {block}"):
            use(block)


@pytest.mark.parametrize("pictures", [[], [texture(96, 96)], [torch.full((1, 200, 200), 77, dtype=torch.uint8)]])
def test_a_model_needs_more_blocks_than_features(pictures):
    with pytest.raises(InputError, match=r"(0|36) sharp blocks of 16 x 16, .* more than 36"):
        NaturalModel.fit(pictures, 16)
    with pytest.raises(InputError, match="0 sharp blocks of 96 x 96"):
        NaturalModel.fit([])


def test_a_model_is_a_mean_and_a_covariance():
    good = drawn_model(96)
    with pytest.raises(InputError, match=r"not \(1, 36\), \(36, 36\)"):
        NaturalModel(good.mean[None], good.covariance)
    with pytest.raises(InputError, match="NaN"):
        NaturalModel(good.mean, good.covariance / 0)


def test_files_that_are_no_model_are_named(tmp_path):
    with pytest.raises(InputError, match=r"model\.MAT: a MATLAB file is not read; .*numpy\.savez"):
        NaturalModel.load(tmp_path / "model.MAT")
    with pytest.raises(InputError, match=r"absent\.npz: cannot be read \(No such file"):
        NaturalModel.load(tmp_path / "absent.npz")
    with pytest.raises(InputError, match="cannot be read"):
        NaturalModel.load(tmp_path)
    contents = {
        "empty.npz": b"",
        "text.npz": b"neither an archive nor an array",
        "cut.npz": saved(np.savez, mu_pris_param=np.ones(36), cov_pris_param=np.eye(36))[:-99],
        "other.npz": saved(np.savez, mean=np.ones(36)),
        "array.npz": saved(np.save, np.ones(36)),
        "objects.npz": saved(np.savez, mu_pris_param=np.array([{}]), cov_pris_param=np.eye(36)),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: this is not an .npz file of the arrays mu_pris_param and cov"):
            NaturalModel.load(tmp_path / name)
    (tmp_path / "small.npz").write_bytes(saved(np.savez, mu_pris_param=np.ones(18), cov_pris_param=np.eye(18)))
    with pytest.raises(InputError, match=r"not \(18,\), \(18, 18\)"):
        NaturalModel.load(tmp_path / "small.npz")


def saved(save, *arrays, **named) -> bytes:
    file = io.BytesIO()
    save(file, *arrays, **named)
    return file.getvalue()
