import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from skimage import data
from torch.testing import assert_close

from sinwave.diffusion.process import Flow, VarianceExploding
from sinwave.errors import InputError
from sinwave.resize import resize
from sinwave.rng import NoiseSource
from sinwave.systems.contracts import VerticalSpan
from sinwave.systems.wavelet import exact, propagate
from sinwave.systems.wavelet.bands import Levels
from sinwave.systems.wavelet.closed_form import ClosedForm, ClosedFormOptions
from sinwave.systems.wavelet.exact import FORBIDDEN, NO_LAYOUT, ExactDenoiser, Focus, Layout
from sinwave.systems.wavelet.model import Following
from sinwave.systems.wavelet.options import levels_for
from sinwave.systems.wavelet.patches import Overlap, PatchBank, unfold, window
from sinwave.systems.wavelet.propagate import PropagatedDenoiser, children, neighbors
from sinwave.wavelets import pack, unpack

ALL = 10**6  # axes: as many as there are
FREE = replace(NO_LAYOUT, row_beyond=0, column_beyond=0)
ODD = Layout(2.0, 0.3, 1.0, 0.1, height=40.0, reach=0.45)


def exactly(*arguments, **options):
    """Make the exact closed form of one walk."""
    denoiser = ExactDenoiser(*arguments, **options)
    return Following(denoiser, denoiser.start)


def propagated(process, bank, source, candidates, window):
    """Make the propagated closed form of one walk, which begins with candidates."""
    denoiser = PropagatedDenoiser(process, bank, source, window)
    return Following(denoiser, denoiser.start(candidates))


def scale_of(size, top=0):
    """The only scale of a small photograph."""
    pixels = torch.from_numpy(data.astronaut()).movedim(-1, 0)[None] / 127.5 - 1
    return Levels(1).split(resize(pixels[..., top : top + 250, 100:400].double(), size))[0]


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def average(patches, masks, size, patch, width):
    """The overlap of patches (n, c, p, p) and their masks (n, p, p), voting with a Gaussian window, by loops."""
    weights = window(patch, width, torch.zeros(0, dtype=torch.float64)).reshape(patch, patch).numpy()
    total, count = np.zeros((patches.shape[1], *size)), np.zeros(size)
    for index, (row, column) in enumerate(np.ndindex(*size)):
        for i, j in product(range(patch), repeat=2):
            y, x = row + i - patch // 2, column + j - patch // 2
            if 0 <= y < size[0] and 0 <= x < size[1]:
                total[:, y, x] += weights[i, j] * patches[index, :, i, j]
                count[y, x] += weights[i, j] * masks[index, i, j]
    return total / count


class Reference:
    """The formula of the exact denoiser, patch by patch, in numpy."""

    def __init__(self, bank, size, layout, horizon, balance, width):
        patch = self.patch = bank.patch
        self.size, self.balance, self.width = size, balance, width
        self.values = bank.patches[:, : -(patch**2)].reshape(len(bank.patches), -1, patch, patch).numpy()
        self.masks = bank.masks.reshape(-1, patch, patch).numpy()
        self.mean, self.prices = bank.mean.numpy(), np.zeros(len(self.masks))
        ones = torch.ones(1, 1, *size, dtype=torch.float64)
        self.query_masks = unfold(ones, patch).reshape(-1, patch, patch).numpy()
        span = bank.position[:, 0].numpy() // 2 / (bank.rows - 1)
        self.borders = np.zeros((len(self.query_masks), len(self.masks)))
        for q, (row, _) in enumerate(np.ndindex(*size)):
            for axis, cut, beyond in (
                (1, layout.row_cut, layout.row_beyond),
                (0, layout.column_cut, layout.column_beyond),
            ):
                here, there = self.query_masks[q].any(axis), self.masks.any(axis + 1)
                self.borders[q] += cut * (~here & there).sum(1) + beyond * (here & ~there).sum(1)
            distance = abs((row / (size[0] - 1)) ** horizon - span)
            self.borders[q] += layout.height * distance**2 + FORBIDDEN * np.maximum(distance - layout.reach, 0)

    def __call__(self, x_t, signal, sigma):
        queries = unfold(x_t - signal * torch.from_numpy(self.mean), self.patch)
        queries = queries.reshape(len(self.query_masks), -1, self.patch, self.patch).numpy()
        logits = -self.borders - self.prices
        for q, (query, mask) in enumerate(zip(queries, self.query_masks, strict=True)):
            logits[q] -= np.square(query - signal * mask * self.values).sum((1, 2, 3)) / (2 * sigma**2)
        weights = np.exp(logits - logits.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        fair = len(weights) / len(self.masks)
        self.prices = self.prices + self.balance * np.log(weights.sum(0) / fair + 0.01)
        means = np.tensordot(weights, self.values, 1), np.tensordot(weights, self.masks, 1)
        return average(*means, self.size, self.patch, self.width) + self.mean[0], weights


@pytest.mark.parametrize(
    ("layout", "horizon"),
    [(Layout(), 1.0), (Layout(), 0.6), (ODD, 1.7), (NO_LAYOUT, 1.0)],
    ids=["usual", "moved", "odd", "none"],
)
@pytest.mark.parametrize("balance", [0.0, 1.0])
def test_the_exact_denoiser_is_its_formula(layout, horizon, balance):
    bank, size = PatchBank.of(scale_of((14, 17)), 5, ALL, shifted=True), (6, 9)
    focus = Focus(math.inf, bank, 0.5)
    denoiser = exactly(Flow(), [focus], size, layout=layout, horizon=horizon, balance=balance)
    reference = Reference(bank, size, layout, horizon, balance, 0.5)
    x_0 = scale_of((12, 18), top=100).bands
    for t in (0.97, 0.9, 0.5):  # the second and third with prices
        x_t = (1 - t) * x_0 + t * noise(*x_0.shape, seed=int(100 * t))
        expected, weights = reference(x_t, 1 - t, t)
        np.testing.assert_allclose(denoiser(x_t, t)[0], expected, atol=1e-9)
        best = bank.position[weights.argmax(1)]
        assert_close(denoiser.state.matches, best.reshape(*size, 2))
        assert np.square(weights).sum(1).min() < 0.5 or t < 0.9  # it is no mere nearest neighbor


def test_the_signal_of_the_process_counts():
    bank, size = PatchBank.of(scale_of((14, 17)), 3, ALL), (6, 9)
    x_0 = scale_of((12, 18), top=100).bands
    expected, _ = Reference(bank, size, Layout(), 1.0, 0.0, 1.0)(x_0, 1.0, 2.5)
    found = exactly(VarianceExploding(), [Focus(math.inf, bank, 1.0)], size, balance=0.0)(x_0, 2.5)
    np.testing.assert_allclose(found[0], expected, atol=1e-9)


def test_blocks_of_queries_change_nothing(monkeypatch):
    size, x_t = (6, 9), noise(1, 12, 6, 9)
    bank, pixels = (PatchBank.of(scale_of((14, 18)), 5, 20, pixels=pixels) for pixels in (False, True))
    candidates = torch.randint(0, 7, (*size, 9, 2), generator=torch.Generator().manual_seed(0))

    def estimates():
        walked = [exactly(Flow(), [Focus(math.inf, bank, 0.5)], size)]
        walked.append(propagated(Flow(), pixels, (7, 9), candidates, 0.5))
        return [result for each in walked for result in (each(x_t, 0.9), each(x_t, 0.8), each.state.matches)]

    whole = estimates()
    for module in (exact, propagate):
        monkeypatch.setattr(module, "_ROWS", 20)
    for one, other in zip(estimates(), whole, strict=True):
        assert_close(one, other)


def test_the_focus_is_the_last_one_that_the_noise_allows():
    scale, size, x_t = scale_of((14, 18)), (7, 9), noise(1, 12, 7, 9)
    large, small = (Focus(ratio, PatchBank.of(scale, patch, 20), 0.5) for ratio, patch in ((math.inf, 7), (0.5, 3)))
    for ratio, focus in ((0.6, large), (0.4, small)):
        t = ratio / (1 + ratio)
        assert_close(exactly(Flow(), [large, small], size)(x_t, t), exactly(Flow(), [focus], size)(x_t, t))
    both, first = exactly(Flow(), [large, small], size), exactly(Flow(), [large], size)
    assert_close(both(x_t, 1.0), first(x_t, 1.0))


@pytest.mark.parametrize("size", [(14, 18), (15, 17)])
def test_the_picture_itself_with_little_noise_is_found_again(size):
    scale = scale_of(size)
    bank = PatchBank.of(scale, 5, ALL, shifted=True)
    grid = scale.bands.shape[2:]
    denoiser = exactly(Flow(), [Focus(math.inf, bank, 0.5)], grid)
    x_t = 0.99 * scale.bands + 0.01 * noise(*scale.bands.shape)
    assert_close(denoiser(x_t, 0.01), scale.bands, atol=1e-6, rtol=0)
    assert_close(denoiser.state.matches, 2 * torch.cartesian_prod(*map(torch.arange, grid)).reshape(*grid, 2))


def test_no_signal_at_all_gives_the_mean_patch():
    bank, size = PatchBank.of(scale_of((14, 18)), 5, ALL, shifted=True), (6, 9)
    denoiser = exactly(Flow(), [Focus(math.inf, bank, 0.5)], size, layout=FREE, balance=0.0)
    overlap = Overlap(size, 12, 5, 0.5, bank.keys)
    overlap.add(0, bank.patches.mean(0).reshape(13, 25).T.flatten().expand(54, -1))
    assert_close(denoiser(100 * noise(1, 12, *size), 1.0), overlap.average() + bank.mean)


@pytest.mark.parametrize("horizon", [0.5, 1.0, 2.0])
def test_nothing_moves_far_up_or_down_and_no_side_border_comes_inside(horizon):
    """Whatever is asked for while the layout is decided: here another picture, upside down."""
    scale, size = scale_of((40, 56)), (24, 30)
    bank = PatchBank.of(scale, 5, ALL)
    x_t = scale_of((48, 60), top=60).bands.flip(2)
    denoiser = exactly(VarianceExploding(), [Focus(math.inf, bank, 0.5)], size, horizon=horizon, balance=0.0)
    denoiser(x_t, 1.0)
    rows, columns = (denoiser.state.matches // 2).unbind(2)
    span = (torch.arange(24)[:, None] / 23) ** horizon
    distance = (rows / 19 - span).abs()
    assert distance.max() <= 0.2 + 1 / 19  # a row
    assert distance.max() > 0.15  # it did try
    for inside, edge in ((columns, torch.arange(30)), (27 - columns, 29 - torch.arange(30))):
        assert (inside[:, 2:-2] >= edge[2:-2].clamp(max=2)).all()
    free = exactly(VarianceExploding(), [Focus(math.inf, bank, 0.5)], size, layout=NO_LAYOUT, balance=0.0)
    free(x_t, 1.0)
    assert (free.state.matches[..., 0] / 38 - span).abs().max() > 0.5


def test_without_a_layout_no_border_comes_inside():
    bank, size = PatchBank.of(scale_of((40, 56)), 5, ALL), (24, 30)
    x_t, inside = scale_of((48, 60), top=60).bands.flip(2), (slice(2, -2), slice(2, -2))
    for layout, allowed in ((NO_LAYOUT, False), (FREE, True)):
        denoiser = exactly(VarianceExploding(), [Focus(math.inf, bank, 0.5)], size, layout=layout, balance=0.0)
        denoiser(x_t, 1.0)
        row, column = (denoiser.state.matches[inside] // 2).unbind(2)
        at_border = (row < 2) | (row > 17) | (column < 2) | (column > 25)
        assert bool(at_border.any()) == allowed


@pytest.mark.parametrize("seed", range(2))
def test_the_propagated_denoiser_is_the_softmax_over_its_candidates(seed):
    scale = scale_of((14, 18))
    bank, source, size = PatchBank.of(scale, 3, ALL, pixels=True), (7, 9), (5, 8)
    generator = torch.Generator().manual_seed(seed)
    candidates = torch.randint(-1, 10, (*size, 9, 2), generator=generator)  # some off the grid: pulled to its edge
    candidates[:, :, 3] = candidates[:, :, 7]  # repeated ones count once
    truth = scale.bands[:, :, 2 : 2 + size[0], 1 : 1 + size[1]]
    candidates[:, :, 5] = torch.cartesian_prod(torch.arange(2, 7), torch.arange(1, 9)).reshape(*size, 2)
    denoiser = propagated(Flow(), bank, source, candidates, 0.5)
    for t in (0.9, 0.7):
        x_t = (1 - t) * truth + t * noise(*truth.shape, seed=seed)
        expected, best = over_candidates(scale, source, candidates, x_t, t)
        np.testing.assert_allclose(denoiser(x_t, t)[0], expected, atol=1e-9)
        assert_close(denoiser.state.matches, 2 * best)
        candidates = neighbors(best)


def over_candidates(scale, source, candidates, x_t, t):
    """The softmax over the different candidates of each position, joined in pixels, and the best of them, by loops."""
    size, bank = tuple(candidates.shape[:2]), PatchBank.of(scale, 3, ALL)
    queries, keys = unfold(x_t - (1 - t) * bank.mean, 3).numpy(), bank.patches[:, :-9].numpy()
    picture, inside = (np.pad(each, [(0, 0), (2, 2), (2, 2)]) for each in (scale.picture[0], np.ones((1, 14, 18))))
    total, count, best = (
        np.zeros((3, 2 * size[0] + 4, 2 * size[1] + 4)),
        np.zeros((1, 2 * size[0] + 4, 2 * size[1] + 4)),
        [],
    )
    line = np.exp(-((np.linspace(-1, 1, 6) / 0.5) ** 2) / 2)
    for index, (query, some) in enumerate(zip(queries, candidates.flatten(0, 1).numpy(), strict=True)):
        different = sorted({(min(max(y, 0), source[0] - 1), min(max(x, 0), source[1] - 1)) for y, x in some})
        near = keys[[y * source[1] + x for y, x in different]]
        logits = -np.square(query - (1 - t) * near).sum(1) / (2 * t**2)
        weights = np.exp(logits - logits.max())
        row, column = (2 * each for each in divmod(index, size[1]))
        for weight, (y, x) in zip(weights / weights.sum(), different, strict=True):
            votes = weight * line[:, None] * line
            for sums, values in ((total, picture), (count, inside)):
                sums[:, row : row + 6, column : column + 6] += votes * values[:, 2 * y : 2 * y + 6, 2 * x : 2 * x + 6]
        best.append(different[weights.argmax()])
    image = torch.from_numpy((total / count.clip(1e-300))[None, :, 2:-2, 2:-2])
    return pack(image)[0], torch.tensor(best).reshape(*size, 2)


def identity(size):
    return torch.cartesian_prod(*map(torch.arange, size)).reshape(*size, 2)


@pytest.mark.parametrize("size", [(14, 18), (15, 17), (2, 9)])
def test_a_copy_of_the_identity_is_the_picture(size):
    scale = scale_of(size)
    bank, grid = PatchBank.of(scale, 5, 4, pixels=True), tuple(scale.bands.shape[2:])
    denoiser = propagated(Flow(), bank, grid, neighbors(identity(grid)), 0.5)
    assert_close(PropagatedDenoiser(Flow(), bank, grid, 0.5).copy(denoiser.state), scale.bands)
    assert_close(denoiser.state.matches, 2 * identity(grid))
    assert_close(denoiser(noise(*scale.bands.shape), 1.0), scale.bands)  # all candidates are one, whatever the noise


@pytest.mark.parametrize("filter", ["haar", "db3"])
def test_a_seam_has_no_steps_of_two_pixels(filter):
    """Two flat halves are joined: every pixel of the seam is lighter than the one before, fastest in the middle."""
    picture = torch.zeros(1, 3, 24, 48, dtype=torch.float64)
    picture[..., 24:] = 1
    scale, source = Levels(1, filter).split(picture)[0], (12, 24)
    bank = PatchBank.of(scale, 5, 4, pixels=True)
    # Seven columns of the dark half, and then nine of the light one, none near the edge between them.
    columns = torch.tensor([*range(2, 9), *range(15, 24)])
    matches = torch.stack(torch.meshgrid(torch.arange(12), columns, indexing="ij"), 2)
    denoiser = propagated(Flow(), bank, source, matches[:, :, None].expand(-1, -1, 9, -1), 0.5)
    estimate = denoiser(torch.zeros(1, 12, 12, 16, dtype=torch.float64), 0.5)  # each has one candidate nine times
    rise = unpack(estimate, (24, 32), filter)[0, 0, 12].diff()
    assert_close(rise.sum(), torch.ones_like(rise[0]))
    seam = rise[9:18]
    assert_close(seam.sum(), torch.ones_like(rise[0]))
    assert (seam[:5].diff() > 0).all()
    assert_close(seam.flip(0), seam)


@pytest.mark.parametrize("size", [(4, 6), (1, 5), (1, 1)])
@pytest.mark.parametrize("step", [1, 2])
def test_neighbors_follow_their_matches(size, step):
    matches = torch.randint(0, 50, (*size, 2), generator=torch.Generator().manual_seed(0))
    found = neighbors(matches, step)
    for row, column in np.ndindex(*size):
        for index, (down, right) in enumerate(product((-1, 0, 1), repeat=2)):
            y, x = min(max(row + down, 0), size[0] - 1), min(max(column + right, 0), size[1] - 1)
            expected = matches[y, x] - step * torch.tensor([y - row, x - column])
            assert_close(found[row, column, index], expected)


@pytest.mark.parametrize("size", [(8, 12), (7, 11), (1, 12)])
def test_children_stand_where_their_parents_match_does(size):
    parents = ((size[0] + 1) // 2, (size[1] + 1) // 2)
    matches = torch.randint(0, 50, (*parents, 2), generator=torch.Generator().manual_seed(0))
    found, around = children(matches, size, 2), neighbors(matches, 2)
    assert found.shape == (*size, 9, 2)
    for row, column in np.ndindex(*size):
        expected = around[row // 2, column // 2] + torch.tensor([row % 2, column % 2])
        assert_close(found[row, column], expected)
    assert_close(children(2 * identity(parents), size, 2), identity(size)[:, :, None].expand(-1, -1, 9, -1))


def test_children_on_the_same_grid_are_the_neighbors():
    matches = torch.randint(0, 50, (4, 6, 2), generator=torch.Generator().manual_seed(0))
    assert_close(children(matches, (4, 6), 1), neighbors(matches // 2))


@pytest.mark.parametrize("seed", range(3))
def test_candidates_that_touch_transparency_become_the_nearest_usable_ones(seed):
    opaque = torch.ones(20, 24, dtype=torch.bool)
    opaque[torch.randint(0, 20, (5,), generator=torch.Generator().manual_seed(seed)), 3::7] = False
    scale, source = scale_of((20, 24)), (10, 12)
    bank = PatchBank.of(scale, 3, 10, opaque=opaque, pixels=True)
    assert not bank.usable.all()
    denoiser = propagated(Flow(), bank, source, identity(source)[:, :, None].expand(-1, -1, 9, -1), 0.5)
    usable = bank.usable.reshape(source).numpy()
    allowed = np.argwhere(usable)
    for position, match in zip(np.ndindex(*source), (denoiser.state.matches // 2).flatten(0, 1).numpy(), strict=True):
        assert usable[tuple(match)]
        assert np.abs(match - position).max() == np.abs(allowed - position).max(1).min()


def test_only_an_opaque_part_as_large_as_a_patch_can_be_learned_from():
    progression, options = Levels(2), ClosedFormOptions()
    scales = progression.split(scale_of((48, 48)).picture)
    opaque = torch.zeros(48, 48, dtype=torch.bool)
    opaque[:12, :12] = True  # 3 x 3 positions of the coarsest scale in its corner: what a patch of 5 x 5 needs there
    prior = ClosedForm(scales, progression, opaque, options)
    assert prior.foci[0].bank.position.tolist()[0] == [0, 0]
    with pytest.raises(InputError, match="too small"):
        ClosedForm(scales, progression, opaque, replace(options, fine_patches=(31, 31)))
    opaque[8:] = False
    with pytest.raises(InputError, match="too small"):
        ClosedForm(scales, progression, opaque, options)


@pytest.mark.parametrize(("side", "layout", "detail"), [(16, 3, 3), (20, 5, 5), (34, 9, 7), (44, 11, 7), (60, 11, 7)])
def test_a_small_picture_has_at_least_as_many_places_for_a_patch_as_it_is_wide(side, layout, detail):
    progression = Levels(1)
    prior = ClosedForm(progression.split(scale_of((side, 64)).picture), progression, None, ClosedFormOptions())
    assert [focus.bank.patch for focus in prior.foci] == [layout, detail]
    assert side // 2 - layout + 1 >= layout


@pytest.mark.parametrize("size", [(48, 44), (45, 47)])
def test_a_coarse_patch_is_learned_from_where_all_that_it_stands_for_is_opaque(size):
    progression, options = Levels(3), ClosedFormOptions(layout_patch=1, detail_patch=1, fine_patches=(1, 1))
    opaque = noise(*size) < 2.4
    prior = ClosedForm(progression.split(scale_of(size).picture), progression, opaque, options)
    found = {tuple(position) for position in prior.foci[0].bank.position.tolist() if not any(i % 2 for i in position)}
    blocks = product(range(0, size[0], 8), range(0, size[1], 8))
    assert found == {(y // 4, x // 4) for y, x in blocks if opaque[y : y + 8, x : x + 8].all()}
    assert 0 < len(found) < 30


def test_a_finer_scale_starts_from_the_copy_of_its_matches():
    progression = Levels(2)
    scales = progression.split(scale_of((47, 50)).picture)
    descent = ClosedForm(scales, progression, None, ClosedFormOptions()).begin(
        NoiseSource(0), 1.0, span=VerticalSpan(), given=False
    )
    coarsest = descent.stage(0, tuple(scales[0].bands.shape[2:]), None)
    coarsest.denoiser(scales[0].bands, 0.001)  # finds the picture itself
    known = noise(1, 3, *scales[1].bands.shape[2:])
    guess = descent.stage(1, tuple(scales[1].bands.shape[2:]), known).guess
    assert_close(guess[:, :3], known)
    assert_close(guess[:, 3:], scales[1].bands[:, 3:])


@pytest.mark.parametrize("size", [(16, 16), (48, 48), (190, 250), (1024, 768), (16, 30000), (250, 4096)])
def test_the_coarsest_scale_is_small_but_not_too_small(size):
    levels = levels_for(size)
    height, width = (side / 2**levels for side in size)
    assert levels >= 1
    assert height * width <= 4096
    assert min(height, width) <= 24 * math.sqrt(2)
    if levels > 1 and max(size) < 4 * min(size):
        assert min(height, width) >= 24 / math.sqrt(2)


def test_a_flat_picture_is_learned_from_too():
    flat = torch.zeros(1, 3, 40, 40)
    scales = Levels(2).split(flat)
    prior = ClosedForm(scales, Levels(2), None, ClosedFormOptions())
    stage = prior.begin(NoiseSource(0), 1.0, span=VerticalSpan(), given=False).stage(0, (10, 10), None)
    assert_close(
        stage.denoiser(torch.randn(1, 12, 10, 10, generator=torch.Generator().manual_seed(0)), 0.5), scales[0].bands
    )
