from itertools import product

import numpy as np
import pytest
import torch
from skimage import data
from torch.testing import assert_close

from sinwave.resize import resize
from sinwave.systems.wavelet.bands import Levels
from sinwave.systems.wavelet.patches import Overlap, PatchBank, principal_axes, strips, unfold, window

SIZES = [(12, 16), (13, 17)]


def photograph(size):
    pixels = torch.from_numpy(data.astronaut()).movedim(-1, 0)[None] / 127.5 - 1
    return resize(pixels[..., :250, 100:400].double(), size)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scale_of(image):
    return Levels(1).split(image)[0]


def around(bands, row, column, patch):
    """The patch at a position, by a loop: values with zeros outside, and the mask."""
    height, width = bands.shape[1:]
    values, mask = np.zeros((bands.shape[0], patch, patch)), np.zeros((patch, patch))
    for i, j in product(range(patch), repeat=2):
        y, x = row + i - patch // 2, column + j - patch // 2
        if 0 <= y < height and 0 <= x < width:
            values[:, i, j], mask[i, j] = bands[:, y, x], 1
    return values.ravel(), mask.ravel()


def by_cell(patches, patch):
    """Patches (n, c p p) as an overlap takes them, (n, p p c)."""
    return patches.reshape(len(patches), -1, patch**2).movedim(1, 2).flatten(1)


@pytest.mark.parametrize("patch", [1, 3, 5, 9])
def test_unfold_takes_the_patch_around_every_position(patch):
    bands = noise(1, 4, 5, 7)
    expected = [around(bands[0].numpy(), *position, patch)[0] for position in np.ndindex(5, 7)]
    np.testing.assert_array_equal(unfold(bands, patch), expected)


@pytest.mark.parametrize("size", SIZES)
def test_a_bank_holds_centered_patches_with_their_masks(size):
    scale = scale_of(photograph(size))
    bank = PatchBank.of(scale, 5, 10)
    centered = (scale.bands - scale.bands.mean((2, 3), keepdim=True))[0].numpy()
    height, width = centered.shape[1:]
    positions = list(np.ndindex(height, width))
    values, masks = zip(*(around(centered, *position, 5) for position in positions), strict=True)
    np.testing.assert_allclose(bank.patches, np.concatenate([values, masks], 1), atol=1e-12)
    np.testing.assert_array_equal(bank.masks, masks)
    np.testing.assert_array_equal(bank.position, 2 * np.array(positions))
    assert (bank.rows, bank.usable) == (height, None)


@pytest.mark.parametrize("shape", [(300, 20), (20, 20), (15, 40), (12000, 5)])
def test_principal_axes_are_those_of_the_singular_value_decomposition(shape):
    patches = noise(*shape) @ torch.diag(torch.linspace(0.1, 2, shape[1], dtype=torch.float64))
    if len(patches) > 8192:  # only a sample is looked at: every second one, so nothing is lost
        patches[1::2] = patches[::2]
    count = 6
    axes = principal_axes(patches, count)
    energy = np.linalg.svd(patches.numpy(), compute_uv=False)[:count] ** 2
    assert_close(axes.T @ axes, torch.eye(axes.shape[1], dtype=torch.float64))
    np.testing.assert_allclose((patches @ axes).square().sum(0), energy[: axes.shape[1]])


def test_a_flat_picture_has_axes_too():
    axes = principal_axes(torch.zeros(10, 30), 4)
    assert axes.shape[1] >= 1
    assert_close(axes.T @ axes, torch.eye(axes.shape[1]))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("shape", [(300, 20), (15, 40)])
def test_no_more_axes_are_taken_than_hold_a_share_of_the_energy(shape, share):
    patches = noise(*shape) @ torch.diag(torch.linspace(0.1, 2, shape[1], dtype=torch.float64))
    energy = np.linalg.svd(patches.numpy(), compute_uv=False) ** 2
    expected = 1 + int((energy.cumsum()[:-1] < share * energy.sum() * (1 - 1e-12)).sum())
    assert principal_axes(patches, 100, share).shape[1] == expected
    assert principal_axes(patches, 3, share).shape[1] == min(expected, 3)


def test_queries_of_the_picture_itself_are_its_keys():
    scale = scale_of(photograph((13, 17)))
    bank = PatchBank.of(scale, 5, 30)
    assert_close(bank.queries(scale.bands - bank.mean), bank.keys)
    assert_close(bank.keys, bank.patches[:, : 12 * 25] @ bank.axes)


@pytest.mark.parametrize("patch", [1, 3, 5, 7, 11])
@pytest.mark.parametrize("width", [0.05, 0.5, 3.0])
@pytest.mark.parametrize("size", [(8, 6), (7, 9), (1, 5)])
def test_the_average_of_the_patches_of_a_picture_is_the_picture(size, patch, width):
    bands = noise(1, 3, *size)
    patches = by_cell(unfold(torch.cat([bands, torch.ones_like(bands[:, :1])], 1), patch), patch)
    for most in (1, 2 * size[1], 1000):
        overlap = Overlap(size, 3, patch, width, bands)
        for first, last in strips(size, most):
            overlap.add(first, patches[first * size[1] : last * size[1]])
        assert_close(overlap.average(), bands)


@pytest.mark.parametrize("most", [5, 15, 20])
def test_patches_along_axes_are_added_as_the_patches_that_they_are(most):
    size, patch = (4, 5), 3
    axes, along, masks = noise(2 * patch**2, 7), noise(20, 7, seed=1), (noise(20, patch**2, seed=2) > 0).double()
    whole, short = (Overlap(size, 2, patch, 0.7, axes) for _ in range(2))
    for first, last in strips(size, most):
        rows = slice(first * 5, last * 5)
        whole.add(first, by_cell(torch.cat([along[rows] @ axes.T, masks[rows]], 1), patch))
        short.add_along(first, axes, along[rows], masks[rows])
    assert_close(short.average(), whole.average())


@pytest.mark.parametrize("patch", [1, 3, 5])
def test_patches_of_pixels_overlap_to_the_picture(patch):
    image = noise(1, 3, 9, 12)
    bank = PatchBank.of(scale_of(image), patch, 4, pixels=True)
    overlap = Overlap((5, 6), 3, patch, 0.7, image, cell=2)
    for first, last in strips((5, 6), 12):
        overlap.add(first, bank.patches[6 * first : 6 * last])
    assert_close(overlap.average()[..., :9, :], image)


@pytest.mark.parametrize("most", [5, 15, 20])
def test_every_patch_votes_with_its_window_where_its_mask_is(most):
    size, patch, width = (4, 5), 3, 0.7
    values, masks = noise(20, 2, 9), (noise(20, 9, seed=1) > 0).double()
    masks[:, 4] = 1
    overlap = Overlap(size, 2, patch, width, values)
    patches = by_cell(torch.cat([values * masks[:, None], masks[:, None]], 1).flatten(1), patch)
    for first, last in strips(size, most):
        overlap.add(first, patches[first * 5 : last * 5])

    total, weights = np.zeros((2, 4, 5)), np.zeros((4, 5))
    for index, (row, column) in enumerate(np.ndindex(*size)):
        for i, j in product(range(3), repeat=2):
            y, x = row + i - 1, column + j - 1
            if 0 <= y < 4 and 0 <= x < 5:
                vote = np.exp(-((i - 1) ** 2 + (j - 1) ** 2) / width**2 / 2) * masks[index, 3 * i + j].item()
                total[:, y, x] += vote * values[index, :, 3 * i + j].numpy()
                weights[y, x] += vote
    np.testing.assert_allclose(overlap.average()[0], total / weights)


@pytest.mark.parametrize("patch", [1, 3, 9])
def test_a_window_falls_from_one_in_the_middle_to_its_width_at_the_edge(patch):
    weights = window(patch, 0.6, torch.zeros(0)).reshape(patch, patch)
    assert weights[patch // 2, patch // 2] == 1
    assert_close(weights, weights.flip(0).T)
    if patch > 1:
        assert_close(weights[patch // 2, 0].item(), np.exp(-1 / 0.6**2 / 2), rtol=1e-5, atol=0)


@pytest.mark.parametrize("most", [1, 7, 8, 20, 1000])
def test_strips_cover_all_rows_in_order(most):
    pieces = strips((9, 4), most)
    assert [row for first, last in pieces for row in range(first, last)] == list(range(9))
    assert all((last - first) * 4 <= max(most, 4) for first, last in pieces)


@pytest.mark.parametrize("size", SIZES)
def test_shifted_banks_hold_the_patches_of_the_picture_moved_by_a_pixel(size):
    image, patch = photograph(size), 3
    bank = PatchBank.of(scale_of(image), patch, 10, shifted=True)
    held = with_their_mean(bank)
    for down, right in product((0, 1), repeat=2):
        height, width = (size[0] - down) // 2 * 2, (size[1] - right) // 2 * 2
        moved = image[..., down : down + height, right : right + width] if down or right else image
        there = PatchBank.of(scale_of(moved), patch, 10)
        position = there.position + torch.tensor([down, right])
        match = (bank.position[:, None] == position).all(2).nonzero()
        assert len(match) == len(position)
        assert_close(held[match[:, 0]], with_their_mean(there)[match[:, 1]])
    assert len(torch.unique(bank.position, dim=0)) == len(bank.position)


def with_their_mean(bank):
    values = bank.patches.reshape(len(bank.patches), -1, bank.patch**2)
    return torch.cat([values[:, :-1] + values[:, -1:] * bank.mean.flatten()[:, None], values[:, -1:]], 1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("patch", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_a_patch_is_usable_where_all_its_pixels_are_opaque(size, patch, seed):
    opaque = noise(*size, seed=seed) < (2.4 if patch == 3 else 1.5)
    opaque[-1, -1] = False
    bank = PatchBank.of(scale_of(photograph(size)), patch, 10, opaque=opaque, shifted=True)
    for (row, column), usable in zip(bank.position.tolist(), bank.usable.tolist(), strict=True):
        whole = row % 2 == column % 2 == 0
        rows, columns = pixels(row, patch, size[0], whole), pixels(column, patch, size[1], whole)
        assert usable == opaque.numpy()[rows, columns].all()
    assert 0 < bank.usable.sum() < len(bank.usable)


def pixels(center, patch, side, whole):
    """What a patch is made of along one side: pairs of pixels; the grid that is not shifted may end in a single one."""
    first = center % 2
    past = side if whole else first + (side - first) // 2 * 2
    return slice(max(center - patch // 2 * 2, first), min(center + patch // 2 * 2 + 2, past))


def test_only_usable_patches_are_kept():
    opaque = torch.ones(12, 16, dtype=torch.bool)
    opaque[3:5, 6:9] = False
    bank = PatchBank.of(scale_of(photograph((12, 16))), 3, 10, opaque=opaque)
    kept = bank.only_usable()
    assert kept.usable is None and kept.only_usable() is kept
    assert_close(kept.position, bank.position[bank.usable])
    assert_close(kept.keys, bank.keys[bank.usable])
    assert_close(kept.patches, bank.patches[bank.usable])


def test_what_is_transparent_changes_neither_the_mean_nor_the_axes():
    image = photograph((24, 24))
    opaque = torch.ones(24, 24, dtype=torch.bool)
    opaque[:, 16:] = False
    mean = scale_of(image).bands[..., :8].mean((2, 3), keepdim=True)
    image[..., 16:] = 100 * noise(1, 3, 24, 8)
    bank = PatchBank.of(scale_of(image), 3, 20, opaque=opaque).only_usable()
    assert_close(bank.mean, mean)
    energy = np.linalg.svd(bank.patches[:, :-9].numpy(), compute_uv=False)[:20] ** 2
    np.testing.assert_allclose(bank.keys.square().sum(0), energy)


@pytest.mark.parametrize("size", [(1, 20), (2, 20), (20, 1), (3, 3)])
def test_a_thin_picture_has_patches_too(size):
    bank = PatchBank.of(scale_of(photograph(size)), 3, 10, shifted=True)
    assert len(bank.keys) >= (size[0] + 1) // 2 * ((size[1] + 1) // 2)


@pytest.mark.parametrize("most", [1 << 31, 1000])
def test_the_nearest_patch_is_found_at_every_position_or_at_every_few(most, monkeypatch):
    """A picture is looked for in itself: each patch is its own nearest, and those in between move as they are."""
    monkeypatch.setattr("sinwave.systems.wavelet.patches._MOST_PAIRS", most)
    scale = scale_of(photograph((16, 22)))
    bank = PatchBank.of(scale, 3, 300)
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(11), indexing="ij")
    assert torch.equal(bank.nearest(scale.bands), torch.stack([rows, columns], 2))
    shifted = scale.bands.roll((0, 1), (2, 3))
    matches = bank.nearest(shifted)
    stride = 1 if most > 1000 else 3
    looked_for = matches[::stride, ::stride]
    queries = bank.queries(shifted - bank.mean).reshape(8, 11, -1)[::stride, ::stride]
    exact = torch.cdist(queries.flatten(0, 1), bank.keys).argmin(1)
    assert torch.equal(looked_for.flatten(0, 1), bank.position[exact] // 2)
