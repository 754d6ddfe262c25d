import numpy as np
import pytest
import pywt
import torch
from torch.testing import assert_close

from sinwave.errors import InputError
from sinwave.systems.wavelet.bands import Bands, Levels, grid
from sinwave.wavelets import pack

SIZES = [(16, 24), (17, 23), (1, 30), (13, 1), (2, 3)]
PROGRESSIONS = [Levels(1), Levels(3), Levels(2, "db2"), Bands(), Bands(filter="sym3")]


def noise(size, channels=3):
    generator = torch.Generator().manual_seed(size[0] * 100 + size[1])
    return torch.rand(1, channels, *size, generator=generator, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("progression", PROGRESSIONS, ids=str)
def test_going_up_is_the_inverse_of_going_down(progression, size):
    image = noise(size)
    scales = progression.split(image)
    assert_close(scales[-1].picture, image)
    for scale, scale_size in zip(scales, progression.sizes(size), strict=True):
        assert scale.picture.shape[2:] == scale_size
        assert scale.bands.shape[2:] == grid(scale_size)
        assert_close(progression.picture(scale.bands, scale_size), scale.picture)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("progression", PROGRESSIONS, ids=str)
def test_the_inherited_channels_of_a_scale_come_from_the_coarser_one(progression, size):
    scales, sizes = progression.split(noise(size)), progression.sizes(size)
    assert scales[0].inherited == 0
    for coarser, coarser_size, finer in zip(scales, sizes, scales[1:], strict=False):
        low = progression.inherited(coarser.bands, coarser_size)
        assert finer.inherited == low.shape[1] < finer.bands.shape[1]
        assert_close(finer.bands[:, : finer.inherited], low)


@pytest.mark.parametrize("size", [(32, 40), (33, 47)])
def test_levels_are_those_of_pywavelets(size):
    image = noise(size, channels=1)
    expected = image[0, 0].numpy()
    for scale in reversed(Levels(3, "db3").split(image)):
        low, details = pywt.dwt2(expected, "db3", mode="periodization")
        np.testing.assert_allclose(scale.bands[0], np.stack([low, *details]), atol=1e-12)
        expected = low / 2


def test_pictures_of_all_haar_levels_have_the_range_of_the_picture():
    image = noise((37, 50)).sign()
    for scale in Levels(4).split(image):
        assert scale.picture.abs().max() <= 1
    for scale in (*Levels(4).split(torch.full_like(image, 0.7)), *Bands().split(torch.full_like(image, 0.7))):
        assert_close(scale.picture, torch.full_like(scale.picture, 0.7))


def test_the_scales_of_bands_add_one_band_at_a_time():
    image = noise((14, 18))
    for count, scale in enumerate(Bands().split(image), 1):
        assert_close(pack(scale.picture)[:, : 3 * count], pack(image)[:, : 3 * count])
        assert pack(scale.picture)[:, 3 * count :].abs().amax(()) < 1e-12 if count < 4 else True


@pytest.mark.parametrize("progression", [Levels(1), Levels(1, "db2"), Bands(), Bands(filter="db2")], ids=str)
def test_a_shifted_scale_has_the_bands_of_the_picture_moved(progression):
    image = noise((16, 19))
    for scale, moved in zip(progression.split(image), progression.split(image[:, :, 1:15, 1:19]), strict=True):
        assert_close(scale.shifted(1, 1), moved.bands)


def test_half_a_picture_rounds_up_and_no_level_is_refused():
    assert grid((7, 10)) == (4, 5)
    assert Levels(3).sizes((37, 50)) == ((10, 13), (19, 25), (37, 50))
    with pytest.raises(InputError, match="levels is 0"):
        Levels(0)
