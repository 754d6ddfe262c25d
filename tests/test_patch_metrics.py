"""Patch figures against brute force, scipy's trees and transport, and what is known of shifts, noise and copies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.stats import wasserstein_distance
from torch import Tensor

from sinwave.errors import InputError
from sinwave.metrics import copies, patches
from sinwave.metrics.copies import NearestField
from sinwave.metrics.patches import (
    coherence,
    completeness,
    pixel_diversity,
    pixel_diversity_without_each,
    sliced_wasserstein,
)
from sinwave.metrics.pictures import laplacian
from sinwave.resize import blur, resize


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def photograph(height: int = 48, width: int = 56, seed: int = 0) -> Tensor:
    """Smooth and rough: noise blurred at three widths, with a gradient from top to bottom."""
    white = torch.randn(3, 3, height, width, generator=torch.Generator().manual_seed(seed))
    parts = sum(sigma * blur(white[i : i + 1], sigma) for i, sigma in enumerate((0.5, 2.0, 5.0)))
    ramp = torch.linspace(-0.5, 0.5, height)[:, None]
    return to_levels(0.4 * parts[0] + ramp)  # type: ignore[index]


def to_levels(values: Tensor) -> Tensor:
    return (127.5 * (values + 1)).round().clamp(0, 255).to(torch.uint8)


def blurred(picture: Tensor, sigma: float) -> Tensor:
    return blur(picture[None].float(), sigma)[0].round().to(torch.uint8)


def noisy(picture: Tensor, deviation: float) -> Tensor:
    grain = torch.randn(picture.shape, generator=torch.Generator().manual_seed(9))
    return (picture + deviation * grain).round().clamp(0, 255).to(torch.uint8)


def windows(picture: Tensor, patch: int, stride: int = 1) -> np.ndarray:
    """The patches as numpy cuts them, one a row."""
    views = np.lib.stride_tricks.sliding_window_view(picture.numpy().astype(np.float64), (patch, patch), axis=(1, 2))
    views = views[:, ::stride, ::stride].transpose(1, 2, 0, 3, 4)
    return views.reshape(*views.shape[:2], -1)


@given(
    size=st.tuples(st.integers(5, 19), st.integers(5, 19)),
    other=st.tuples(st.integers(5, 19), st.integers(5, 19)),
    channels=st.sampled_from([1, 3]),
    patch=st.integers(1, 5),
    stride=st.integers(1, 4),
)
@settings(max_examples=40, deadline=None)
def test_nearest_distances_are_those_of_a_tree(
    size: tuple[int, int], other: tuple[int, int], channels: int, patch: int, stride: int
) -> None:
    picture, source = noise(channels, *size), noise(channels, *other, seed=1)
    queries = windows(picture, patch, stride)
    tree = cKDTree(windows(source, patch).reshape(-1, channels * patch**2))
    expected = tree.query(queries)[0] ** 2 / (channels * patch**2)
    found = NearestField.of(picture, source, patch=patch, stride=stride).distance
    torch.testing.assert_close(found.double(), torch.from_numpy(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("elements", [1, 5000, 200_000])
def test_chunks_change_nothing(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = photograph(), photograph(40, 33, seed=1)
    nearest = NearestField.of(a, b, stride=2)
    transport = sliced_wasserstein(a, b, projections=20)
    monkeypatch.setattr(patches, "ELEMENTS", elements)
    monkeypatch.setattr(copies, "_TILE", elements)
    again = NearestField.of(a, b, stride=2)
    assert torch.equal(again.distance, nearest.distance)
    assert torch.equal(again.place, nearest.place)
    assert sliced_wasserstein(a, b, projections=20) == pytest.approx(transport, rel=1e-5)


def test_coherence_and_completeness_are_the_definition() -> None:
    sample, source = photograph(17, 20), photograph(16, 15, seed=1)
    a, b = (windows(each, 4).reshape(-1, 48) for each in (sample, source))
    differences = ((a[:, None] - b[None]) ** 2).mean(2)
    variance = source.numpy().var()
    assert coherence(sample, source, patch=4) == pytest.approx(differences.min(1).mean() / variance, rel=1e-5)
    assert completeness(sample, source, patch=4) == pytest.approx(differences.min(0).mean() / variance, rel=1e-5)


def test_a_picture_is_at_no_distance_from_itself() -> None:
    picture = photograph()
    assert coherence(picture, picture) == 0
    assert completeness(picture, picture) == 0
    assert sliced_wasserstein(picture, picture) == 0


def test_a_piece_is_coherent_but_not_complete_and_a_collage_the_reverse() -> None:
    source = photograph()
    piece = source[:, 5:30, 7:31]
    assert coherence(piece, source) == 0
    assert completeness(piece, source) > 0.01
    collage = torch.cat([source, photograph(seed=1)], 2)
    assert completeness(collage, source) == 0
    assert coherence(collage, source) > 0.01


def test_a_constant_offset_costs_its_square_over_the_variance() -> None:
    source = noise(3, 20, 24) // 4 + 20  # so large a patch of noise resembles no other but its own
    variance = source.double().var(correction=0).item()
    assert coherence(source + 5, source) == pytest.approx(25 / variance)


def test_contrast_changes_nothing() -> None:
    a, b = photograph() // 2, photograph(seed=1) // 2
    for figure in (coherence, completeness, sliced_wasserstein):
        assert figure(2 * a, 2 * b) == pytest.approx(figure(a, b), rel=1e-4)
    assert pixel_diversity(torch.stack([2 * a, 2 * b]), 2 * a) == pytest.approx(
        pixel_diversity(torch.stack([a, b]), a), rel=1e-4
    )


@pytest.mark.parametrize("damage", [blurred, noisy])
def test_every_distance_rises_with_the_damage(damage) -> None:  # type: ignore[no-untyped-def]
    source = photograph()
    for figure in (coherence, completeness, sliced_wasserstein):
        values = [figure(damage(source, amount), source) for amount in (0.5, 1.5, 4.0)]
        assert 0 < values[0] < values[1] < values[2]


def test_the_transport_sees_what_the_copies_do_not() -> None:
    """A texture that takes over: all patches of the sample exist in the source, but in other numbers."""
    dark, light = noise(3, 40, 40) // 3, 255 - noise(3, 40, 40, seed=1) // 3
    source, swapped = torch.cat([dark, light], 2), torch.cat([light, dark], 2)
    taken_over = torch.cat([dark, light[:, :, :10], dark[:, :, 10:]], 2)
    assert coherence(taken_over, source) < 0.1
    assert sliced_wasserstein(taken_over, source, patch=3) > 3 * sliced_wasserstein(swapped, source, patch=3)


def test_a_shift_of_the_whole_picture_changes_little() -> None:
    wide = photograph(60, 80)
    source, shifted, other = wide[:, :56, :72], wide[:, 2:58, 3:75], 255 - photograph(56, 72, seed=1)
    for figure in (coherence, completeness, sliced_wasserstein):
        assert figure(shifted, source) < 0.3 * figure(other, source)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_transport_is_that_of_scipy_for_any_numbers_of_values(n: int, m: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(3, n, generator=generator), 0.5 + 2 * torch.randn(3, m, generator=generator).round()
    expected = [wasserstein_distance(x.numpy(), y.numpy()) for x, y in zip(a, b, strict=True)]
    torch.testing.assert_close(
        patches._transport(a, b, patches._stairs(n, m)), torch.tensor(expected), rtol=1e-4, atol=1e-5, check_dtype=False
    )


def test_transport_between_normals_is_the_difference_of_means() -> None:
    a, b = torch.randn(2, 1, 20_000, generator=torch.Generator().manual_seed(0))
    assert patches._transport(a + 3, b, patches._stairs(a.shape[1], b.shape[1])).item() == pytest.approx(3, abs=0.05)


def test_one_scale_of_single_pixels_is_the_transport_between_gray_levels() -> None:
    a, b = noise(1, 12, 15), noise(1, 9, 11, seed=1) // 2
    expected = wasserstein_distance(a.flatten().numpy(), b.flatten().numpy()) / b.double().std(correction=0).item()
    assert sliced_wasserstein(a, b, patch=1, scales=1, projections=3) == pytest.approx(expected, rel=1e-5)


def test_a_brightness_offset_is_seen_on_the_coarsest_scale_only() -> None:
    """Of n scales one sees it, and projects an offset c of d values on a direction u: E|c sum(u)| = c sqrt(2 / pi)."""
    source = photograph() // 2 + 30
    coarse = laplacian(source[None].float(), 3)[-1]
    expected = 20 * math.sqrt(2 / math.pi) / coarse.std(correction=0).item() / 3
    assert sliced_wasserstein(source + 20, source, projections=2000) == pytest.approx(expected, rel=0.1)


def test_the_transport_is_symmetric_but_for_its_unit() -> None:
    a, b = photograph(), photograph(33, 47, seed=1)
    forth = sliced_wasserstein(a, b, scales=1) * b.double().std(correction=0).item()
    back = sliced_wasserstein(b, a, scales=1) * a.double().std(correction=0).item()
    assert forth == pytest.approx(back, rel=1e-4)


def test_the_same_seed_gives_the_same_directions() -> None:
    a, b = photograph(), photograph(seed=1)
    assert sliced_wasserstein(a, b, seed=3) == sliced_wasserstein(a, b, seed=3)
    assert sliced_wasserstein(a, b, seed=3) != sliced_wasserstein(a, b, seed=4)


def test_the_laplacian_pyramid_adds_up() -> None:
    picture = photograph(37, 43)[None].float()
    fine, middle, coarse = laplacian(picture, 3)
    assert coarse.shape[2:] == (10, 11)
    resized = resize(coarse, (middle.shape[2], middle.shape[3])) + middle
    torch.testing.assert_close(resize(resized, (37, 43)) + fine, picture, atol=1e-3, rtol=0)


def test_diversity_of_copies_is_zero_and_of_unrelated_pixels_one() -> None:
    source = noise(3, 24, 30)
    assert pixel_diversity(source.expand(4, -1, -1, -1), source) == 0
    shuffle = torch.Generator().manual_seed(0)
    shuffled = [source.flatten(1)[:, torch.randperm(24 * 30, generator=shuffle)].reshape(3, 24, 30) for _ in range(60)]
    assert pixel_diversity(torch.stack(shuffled), source) == pytest.approx(1, abs=0.03)


def test_diversity_is_the_definition() -> None:
    samples, source = noise(5, 3, 8, 9), noise(3, 10, 12, seed=1)
    spread = samples.numpy().astype(float).mean(1).std(0, ddof=1).mean()
    assert pixel_diversity(samples, source) == pytest.approx(spread / source.numpy().mean(0).std(), rel=1e-5)


@pytest.mark.parametrize(
    ("figure", "sample", "source", "message"),
    [
        (coherence, torch.zeros(3, 20, 20), noise(3, 20, 20), "float32"),
        (completeness, noise(1, 3, 20, 20), noise(3, 20, 20), "1, 3, 20, 20"),
        (coherence, noise(3, 6, 20), noise(3, 20, 20), "20 x 6"),
        (sliced_wasserstein, noise(3, 40, 40), noise(3, 27, 40), "28 a side"),
        (coherence, noise(3, 20, 20), torch.full((3, 20, 20), 7, dtype=torch.uint8), "one color"),
        (pixel_diversity, noise(1, 3, 20, 20), noise(3, 20, 20), "n >= 2"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_sentence(figure, sample, source, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        figure(sample, source)


def test_diversity_without_each_sample_is_that_of_the_others() -> None:
    samples, source = torch.stack([noise(3, 9, 8, seed=seed) for seed in range(5)]), photograph()
    samples[3] = samples[1]
    expected = [
        pixel_diversity(torch.cat([samples[:index], samples[index + 1 :]]), source) for index in range(len(samples))
    ]
    assert pixel_diversity_without_each(samples, source) == pytest.approx(expected, rel=1e-5)
    assert pixel_diversity_without_each(samples[1].expand(4, -1, -1, -1), source) == [0] * 4
