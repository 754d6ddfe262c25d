"""What is copied, against what was pasted."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from skimage import data
from torch import Tensor

from sinwave.errors import InputError
from sinwave.images import from_uint8, to_uint8
from sinwave.metrics import copies
from sinwave.metrics.copies import copy_report, stride_for
from sinwave.rng import NoiseSource
from sinwave.systems.wavelet.closed_form import closed_form_model


def photograph(height: int = 144, width: int = 192) -> Tensor:
    return torch.from_numpy(data.astronaut()[60 : 60 + height, 100 : 100 + width]).movedim(2, 0).contiguous()


def noise(height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def test_a_copy_is_all_copied_at_one_offset():
    source = photograph()
    report = copy_report(source, source)
    assert report.area == 1
    assert report.entropy < 0.01  # a few dark patches occur twice
    moved = copy_report(source[:, 20:120, 31:], source)
    assert moved.area == 1
    assert moved.entropy < 0.01


def test_fresh_noise_is_no_copy():
    report = copy_report(noise(90, 110), photograph())
    assert report.area == 0
    assert not report.mask.any()


@pytest.mark.parametrize(("tolerance", "level"), [(0, 0), (3, 3), (5, 4)])
def test_the_mask_is_what_was_pasted(tolerance, level):
    source, sample = noise(100, 120), noise(80, 130, seed=1)
    pasted = torch.zeros(80, 130, dtype=torch.bool)
    for (top, left), (y, x), (height, width) in (((3, 5), (50, 60), (30, 24)), ((41, 70), (0, 10), (39, 60))):
        part = source[:, y : y + height, x : x + width].short() + level
        # Beyond 255 there is nothing to differ by.
        sample[:, top : top + height, left : left + width] = part.clamp(max=255).byte()
        pasted[top : top + height, left : left + width] = True
    sample[:, 20:30, 100:110] = source[:, 20:30, 10:20]  # too small to count
    report = copy_report(sample, source, tolerance=tolerance)
    assert (report.mask != pasted).double().mean() < 1e-3  # a neighbor of noise may be equal by chance
    assert report.area == pytest.approx(pasted.double().mean().item(), abs=1e-3)
    if level:
        assert copy_report(sample, source, tolerance=level - 1).area == 0


@pytest.mark.parametrize("place", [*product((20, 21, 22, 23), (40, 42))], ids=str)
def test_the_smallest_square_is_found_wherever_it_lies(place):
    source, sample, (top, left) = noise(60, 70), noise(60, 80, seed=1), place
    sample[:, top : top + 15, left : left + 15] = source[:, 7:22, 30:45]
    assert copy_report(sample, source, side=15, tolerance=0).mask.sum() == 15**2


@pytest.mark.parametrize("place", [*product((20, 22, 25), (40, 43, 47))], ids=str)
def test_large_pictures_are_searched_more_coarsely_and_their_squares_are_found(place, monkeypatch):
    monkeypatch.setattr(copies, "_PAIRS", 1)
    source, sample, (top, left) = noise(60, 70), noise(60, 80, seed=1), place
    assert stride_for(sample, source) == 8
    sample[:, top : top + 23, left : left + 23] = source[:, 7:30, 30:53]
    assert copy_report(sample, source, side=23, tolerance=0).mask.sum() == 23**2
    with pytest.raises(InputError, match="at least 23 are needed"):
        copy_report(sample, source, side=22)


@pytest.mark.parametrize(("side", "stride"), [(200, 4), (400, 4), (500, 6), (4000, 8)])
def test_the_stride_grows_with_the_pictures(side, stride):
    picture = torch.empty(3, side, side, device="meta")
    assert stride_for(picture, picture) == stride


def test_shuffled_blocks_are_copied_at_as_many_offsets():
    source = photograph()
    blocks = [source[:, y : y + 48, x : x + 48] for y, x in product(range(0, 144, 48), range(0, 192, 48))]
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0)).tolist()
    rows = [torch.cat([blocks[index] for index in order[first : first + 4]], 2) for first in (0, 4, 8)]
    report = copy_report(torch.cat(rows, 1), source)
    assert report.area > 0.95
    assert 0 < report.entropy < 0.6


@pytest.mark.slow
def test_a_new_composition_is_copied_less_than_a_variation():
    image = from_uint8(photograph(96, 128))[None]
    model = closed_form_model(image)
    little, much = (
        copy_report(to_uint8(model.generate(model.size, NoiseSource(0), variation=variation)[0]), photograph(96, 128))
        for variation in (0.2, 1.0)
    )
    assert little.area > much.area + 0.2
    assert little.entropy < much.entropy


def test_the_offsets_of_noise_scatter():
    source = photograph(60, 60)
    report = copy_report(noise(40, 40), source)
    assert 0.5 < report.entropy <= 1


def test_a_sample_of_another_size_may_be_smaller_than_the_square():
    source = photograph()
    assert copy_report(source[:, :20, :30], source).area == 0
    assert copy_report(source[:, :20, :30], source, side=20).area == 1


def test_what_cannot_be_compared_is_named():
    with pytest.raises(InputError, match="too small to tell a copy"):
        copy_report(photograph(), photograph(), side=14)
    with pytest.raises(InputError, match="3 and of 1 channels"):
        copy_report(photograph(), photograph()[:1])
