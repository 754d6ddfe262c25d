import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from skimage import data
from torch.testing import assert_close

from sinwave.errors import InputError
from sinwave.resize import resize
from sinwave.rng import NoiseSource
from sinwave.systems.contracts import VerticalSpan
from sinwave.systems.wavelet.bands import Bands, Levels
from sinwave.systems.wavelet.closed_form import ClosedForm, ClosedFormOptions, closed_form_model
from sinwave.systems.wavelet.model import RatioSchedule, drawn_to

NOISE = NoiseSource(7)


def photograph(height, width, dtype=torch.float32):
    pixels = torch.from_numpy(data.astronaut()).movedim(-1, 0)[None] / 127.5 - 1
    return resize(pixels[..., :250, 100:400], (height, width)).clamp(-1, 1).to(dtype)


def decibels(image, other):
    return -10 * math.log10((image - other).square().mean().item() / 4 + 1e-20)


@pytest.fixture(scope="module")
def model():
    return closed_form_model(photograph(48, 56), progression=Levels(2))


@pytest.mark.parametrize(
    ("size", "progression"),
    [
        ((17, 16), None),
        ((24, 31), None),
        ((33, 45), Levels(1)),
        ((49, 63), Levels(2)),
        ((64, 51), Levels(3)),
        ((30, 37), Bands()),
        ((40, 48), Levels(2, "db2")),
        ((29, 32), Bands(filter="sym3")),
    ],
    ids=str,
)
def test_without_variation_the_picture_comes_back(size, progression):
    image = photograph(*size)
    model = closed_form_model(image, progression=progression)
    assert model.size == size
    assert decibels(model.generate(size, NOISE, variation=0.0), image) > 40
    assert decibels(model.refine(image, 0.0, NOISE), image) > 40


@pytest.mark.parametrize("size", [(48, 56), (49, 57), (31, 20), (60, 73), (20, 101), (5, 3), (1, 1)])
@pytest.mark.parametrize("variation", [0.5, 1.0])
def test_every_size_is_returned_as_it_was_asked_for(model, size, variation):
    image = model.generate(size, NOISE, variation=variation)
    assert image.shape == (1, 3, *size)
    assert image.isfinite().all()
    assert image.abs().max() < 1.2


def test_a_picture_is_refined_at_its_own_size(model):
    image = photograph(61, 43)
    assert model.refine(image, 0.4, NOISE).shape == image.shape


def test_a_picture_of_the_users_keeps_its_own_layout():
    """The picture upside down is made of patches far from their places, and yet of nothing new if it repeats itself."""
    image = photograph(48, 56)
    both = torch.cat([image, image.flip(2)], 2)  # 96 x 56, of which the lower half is the upper one upside down
    model = closed_form_model(both, progression=Levels(2))
    swapped = torch.cat([image.flip(2), image], 2)
    assert decibels(model.refine(swapped, 0.05, NOISE), swapped) > 22
    assert decibels(model.refine(both, 0.0, NOISE), both) > 40


def test_the_same_seed_and_picture_give_the_same_bytes(model):
    def draw(noise, variation):
        return model.generate((48, 56), noise, variation=variation)

    source = NoiseSource(3).child("picture", 5)
    for variation in (0.6, 1.0):
        assert torch.equal(draw(source, variation), draw(source, variation))
    for other in (NoiseSource(3).child("picture", 6), NoiseSource(4).child("picture", 5)):
        assert decibels(draw(source, 1.0), draw(other, 1.0)) < 30


@pytest.mark.slow
def test_samples_differ_more_with_more_variation():
    model, spreads = closed_form_model(photograph(64, 72), progression=Levels(2)), []
    for variation in (0.2, 0.5, 1.0):
        samples = [model.generate((64, 72), NOISE.child(index), variation=variation) for index in range(3)]
        spreads.append(torch.cat(samples).std(0).mean().item())
    assert all(less < 0.8 * more for less, more in pairwise([1e-3, *spreads]))


@pytest.mark.parametrize("progression", [Levels(2), Bands()], ids=str)
def test_constraints_are_obeyed_to_the_letter(progression):
    """A window of another picture is pinned at every scale, in blocks that all levels share."""
    size, window = (48, 56), (slice(None), slice(None), slice(16, 32), slice(8, 40))
    model = closed_form_model(photograph(*size), progression=progression)
    other = photograph(*size).flip(3)
    views, seen = model.scales(other), []
    assert_close(views[-1], other)

    def constrain(index):
        cells = [size[axis] // views[index].shape[axis + 2] for axis in (0, 1)]
        parts = (slice(part.start // cell, part.stop // cell) for part, cell in zip(window[2:], cells, strict=True))
        inside = (..., *parts)

        def pin(picture):
            assert picture.shape == views[index].shape
            seen.append(index)
            picture = picture.clone()
            picture[inside] = views[index][inside]
            return picture

        return pin

    image = model.generate(size, NOISE, constrain=constrain)
    assert_close(image[window], other[window], atol=1e-5, rtol=0)
    assert decibels(image, other) < 30
    assert set(seen) == set(range(len(views)))


def test_a_constraint_sees_what_was_drawn_to_the_coarser_scale(model):
    seen = []
    model.generate((48, 56), NOISE, constrain=lambda index: lambda picture: seen.append((index, picture)) or picture)
    coarse = [picture for index, picture in seen if index == 0][-1]
    fine = next(picture for index, picture in seen if index == 1)
    assert_close(model.scales(fine)[0], coarse)


def test_a_scale_may_be_without_a_constraint(model):
    free = model.generate((48, 56), NOISE)
    assert torch.equal(model.generate((48, 56), NOISE, constrain=lambda index: None), free)
    only_fine = model.generate(
        (48, 56), NOISE, constrain=lambda index: (lambda picture: 0 * picture) if index else None
    )
    assert only_fine.abs().max() == 0


@pytest.mark.parametrize(("variation", "first"), [(1.0, 30), (0.5, 23), (0.0, 1)])
def test_all_steps_are_reported_in_order(model, variation, first):
    reports = []
    model.generate((48, 56), NOISE, variation=variation, on_step=reports.append)
    steps = [(0, 2, step, first) for step in range(1, first + 1)] + [(1, 2, step, 8) for step in range(1, 9)]
    assert [tuple(report[:4]) for report in reports] == steps


def test_a_picture_that_is_taken_up_later_has_as_many_parts(model):
    reports = []
    model.refine(photograph(48, 56), 0.5, NOISE, first=1, on_step=reports.append)
    assert {tuple(report[:2]) for report in reports} == {(1, 2)}


def test_the_estimate_is_the_constrained_one_of_its_scale_and_the_last_is_the_picture(model):
    reports, estimates = [], []
    size = (37, 61)

    def constrain(index):
        return lambda picture: torch.cat([torch.full_like(picture[:, :1], 0.25 + index / 2), picture[:, 1:]], 1)

    def on_step(report):
        reports.append(report)
        estimates.append(report.estimate())

    drawn = model.generate(size, NOISE, constrain=constrain, on_step=on_step)
    sizes = [scale.shape for scale in model.scales(drawn)]
    for report, estimate in zip(reports, estimates, strict=True):
        assert estimate.shape == sizes[report.part]
        assert estimate.abs().max() <= 1
        assert_close(estimate[:, 0], torch.full_like(estimate[:, 0], 0.25 + report.part / 2), atol=1e-4, rtol=0)
    assert_close(estimates[-1], drawn.clamp(-1, 1))
    assert torch.equal(model.generate(size, NOISE, constrain=constrain), drawn)  # to look changes nothing
    assert all(torch.equal(report.estimate(), then) for report, then in zip(reports, estimates, strict=True))


def test_an_estimate_that_nobody_asks_for_is_not_computed(model, monkeypatch):
    pictures, picture = [], Levels.picture

    def counted(progression, bands, size):
        pictures.append(size)
        return picture(progression, bands, size)

    monkeypatch.setattr(Levels, "picture", counted)
    reports = []
    model.generate((48, 56), NOISE)
    needed = pictures.copy()
    model.generate((48, 56), NOISE, on_step=reports.append)
    assert pictures == 2 * needed
    reports[0].estimate()
    assert pictures == [*2 * needed, (24, 28)]


@pytest.mark.parametrize("variation", [0.0, 0.5, 1.0])
def test_what_is_transparent_is_never_drawn(variation):
    """The picture is gray, and what hides in its transparent parts is magenta: no pixel may have a hue."""
    size = (64, 72)
    image = photograph(*size).mean(1, keepdim=True).expand(-1, 3, -1, -1).clone()
    opaque = torch.ones(size, dtype=torch.bool)
    opaque[:13, :29] = opaque[41:44, 60:63] = opaque[57:, 50:] = False
    image[:, :, ~opaque] = torch.tensor([1.0, -1.0, 1.0])[:, None]
    model = closed_form_model(image, opaque=opaque, progression=Levels(2))
    for index in range(2):
        sample = model.generate((56, 60), NOISE.child(index), variation=variation)
        assert (sample - sample.mean(1, keepdim=True)).abs().max() < 1e-4


def test_too_small_an_opaque_part_is_refused():
    opaque = torch.zeros(48, 48, dtype=torch.bool)
    opaque[20:28, 20:28] = True
    with pytest.raises(InputError, match="too small"):
        closed_form_model(photograph(48, 48), opaque=opaque)


def test_the_bands_progression_draws_new_pictures():
    image = photograph(32, 36)
    model = closed_form_model(image, progression=Bands())
    samples = [model.generate((30, 41), NOISE.child(index)) for index in range(2)]
    assert decibels(*samples) < 30
    assert all(sample.std() > image.std() / 2 for sample in samples)


def test_double_precision_is_kept_and_agrees_with_single():
    single, double = (
        closed_form_model(photograph(48, 56, dtype), progression=Levels(2)) for dtype in (torch.float32, torch.float64)
    )
    image = double.generate((50, 61), NOISE, variation=1.0)
    assert image.dtype == torch.float64
    found = single.refine(photograph(48, 56), 0.1, NOISE)
    assert decibels(found.double(), double.refine(photograph(48, 56, torch.float64), 0.1, NOISE)) > 60


def test_a_gray_picture_stays_gray():
    gray = photograph(48, 56).mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous()
    sample = closed_form_model(gray, progression=Levels(2)).generate((52, 60), NOISE)
    assert (sample - sample.mean(1, keepdim=True)).abs().max() < 1e-5


def test_a_flat_picture_stays_flat():
    for color in (0.0, 0.3):
        sample = closed_form_model(torch.full((1, 3, 40, 40), color), progression=Levels(2)).generate((44, 41), NOISE)
        assert_close(sample, torch.full_like(sample, color), atol=1e-5, rtol=0)


@pytest.mark.parametrize("variation", [-0.1, 1.1, math.nan, math.inf])
def test_variation_has_a_range(model, variation):
    with pytest.raises(InputError, match="between 0 and 1"):
        model.generate((48, 56), NOISE, variation=variation)
    with pytest.raises(InputError, match="between 0 and 1"):
        model.refine(photograph(48, 56), variation, NOISE)


def test_the_coarser_scale_is_followed_at_the_start_and_left_at_the_end():
    schedule = RatioSchedule(steps=6, high=2.0, low=0.05)
    known, clean = torch.randn(2, 1, 9, 4, 5, generator=torch.Generator().manual_seed(0))
    known = known[:, :3]
    constrain, times = drawn_to(known, schedule), schedule.times[:-1]
    mixed = [constrain(clean, t) for t in times]
    assert_close(mixed[0][:, :3], known)
    assert_close(mixed[-1], clean)
    for index, each in enumerate(mixed):
        assert torch.equal(each[:, 3:], clean[:, 3:])
        assert_close(each[:, :3], clean[:, :3] + (1 - index / 5) * (known - clean[:, :3]))


def test_a_walk_at_less_strength_is_the_end_of_the_whole_walk():
    schedule = RatioSchedule(steps=24, high=12.8, low=0.1, middle=2.0)
    assert schedule.starting_at(1.0) == schedule
    for strength in (0.1, 0.3, 0.7, 0.95):
        part = schedule.starting_at(strength)
        first, last = (t / (1 - t) for t in (part.times[0], part.times[-2]))
        assert_close(first**2 / (first**2 + 2.0**2), strength)
        assert_close(last, 0.1)
        assert part.steps == round(24 * math.log(first / 0.1) / math.log(128))
    nothing = schedule.starting_at(0.0)
    assert_close(nothing.times, (0.1 / 1.1, 0.0))
    assert nothing.descent(nothing.times[0]) == 0
    assert nothing.starting_at(0.5) == nothing  # a walk at one ratio has no part


def test_the_walk_of_the_coarsest_scale_is_that_of_the_options():
    reports = []
    options = replace(ClosedFormOptions(), coarsest=RatioSchedule(5, 9.0, 0.1), finer=RatioSchedule(2, 1.0, 0.1))
    model = closed_form_model(photograph(48, 56), progression=Levels(2), options=options)

    model.generate((48, 56), NOISE, on_step=reports.append)
    assert [report[2:4] for report in reports] == [*((step, 5) for step in range(1, 6)), (1, 2), (2, 2)]
    scales = Levels(2).split(photograph(48, 56))
    descent = ClosedForm(scales, Levels(2), None, options).begin(NOISE, 1.0, span=VerticalSpan(), given=False)
    coarsest = descent.stage(0, (12, 14), None)
    coarsest.denoiser(scales[0].bands, 0.1)  # finds matches for the next
    assert coarsest.schedule == options.coarsest
    assert descent.stage(1, (24, 28), Levels(2).inherited(scales[0].bands, (24, 28))).schedule == options.finer
