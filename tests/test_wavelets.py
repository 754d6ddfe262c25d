import sys
from typing import NamedTuple

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sinwave.errors import InputError
from sinwave.wavelets import pack, unpack

FILTERS = ["haar", "db1", "db2", "db3", "db7", "sym4", "coif1", "coif3"]
sizes = st.tuples(st.integers(1, 17), st.integers(1, 17))


def picture(size, channels=2, batch=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(size[0] * 100 + size[1])
    return torch.randn(batch, channels, *size, generator=generator, dtype=dtype)


class Bands(NamedTuple):
    """The detail of one level."""

    horizontal: torch.Tensor
    vertical: torch.Tensor
    diagonal: torch.Tensor


class Pyramid(NamedTuple):
    """A low band and its details, coarsest level first, with the sizes that they rebuild."""

    lowpass: torch.Tensor
    details: tuple[Bands, ...]
    sizes: tuple[tuple[int, int], ...]
    filter: str


def analyze(image, filter="haar", levels=1):
    """Pack the low band again and again."""
    lowpass, details, sizes = image, [], []
    for _ in range(levels):
        sizes.insert(0, tuple(lowpass.shape[-2:]))
        lowpass, *detail = pack(lowpass, filter).chunk(4, dim=1)
        details.insert(0, Bands(*detail))
    return Pyramid(lowpass, tuple(details), tuple(sizes), filter)


def synthesize(pyramid):
    image = pyramid.lowpass
    for detail, size in zip(pyramid.details, pyramid.sizes, strict=True):
        image = unpack(torch.cat([image, *detail], dim=1), size, pyramid.filter)
    return image


@settings(max_examples=60, deadline=None)
@given(sizes, st.sampled_from(FILTERS), st.integers(0, 4))
def test_synthesis_undoes_analysis(size, filter, levels):
    image = picture(size)
    rebuilt = synthesize(analyze(image, filter, levels))
    torch.testing.assert_close(rebuilt, image, rtol=0, atol=1e-10)


@settings(max_examples=60, deadline=None)
@given(sizes, st.sampled_from(FILTERS), st.integers(1, 3))
@pytest.mark.filterwarnings("ignore:Level value of:UserWarning")
def test_analysis_equals_pywavelets(size, filter, levels):
    image = picture(size)
    pyramid = analyze(image, filter, levels)
    lowpass, *details = pywt.wavedec2(image.numpy(), filter, mode="periodization", level=levels)
    np.testing.assert_allclose(pyramid.lowpass.numpy(), lowpass, atol=1e-10)
    for ours, theirs in zip(pyramid.details, details, strict=True):
        for band, expected in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(band.numpy(), expected, atol=1e-10)


def test_bands_are_named_after_the_edges_that_they_show():
    stripes = torch.tensor([1.0, -1.0]).repeat(4)
    flat = torch.zeros(1, 1, 4, 4)
    along_rows = analyze(stripes.reshape(1, 1, 8, 1).expand(1, 1, 8, 8)).details[0]
    assert torch.equal(along_rows.horizontal, flat + 2)
    assert torch.equal(along_rows.vertical, flat)
    along_columns = analyze(stripes.reshape(1, 1, 1, 8).expand(1, 1, 8, 8)).details[0]
    assert torch.equal(along_columns.vertical, flat + 2)
    assert torch.equal(along_columns.diagonal, flat)


def test_a_pyramid_starts_with_its_coarsest_level_and_remembers_sizes():
    pyramid = analyze(picture((13, 6)), levels=3)
    assert pyramid.sizes == ((4, 2), (7, 3), (13, 6))
    assert [tuple(detail.diagonal.shape[-2:]) for detail in pyramid.details] == [(2, 1), (4, 2), (7, 3)]
    assert pyramid.lowpass.shape[-2:] == (2, 1)


@pytest.mark.parametrize("filter", FILTERS)
def test_energy_is_preserved_at_even_sizes(filter):
    image = picture((16, 24))
    pyramid = analyze(image, filter, 3)
    energy = sum(band.square().sum() for band in (pyramid.lowpass, *(b for d in pyramid.details for b in d)))
    torch.testing.assert_close(energy, image.square().sum())


@pytest.mark.parametrize("filter", FILTERS)
def test_the_adjoint_is_the_inverse_at_even_sizes(filter):
    image = picture((6, 10)).requires_grad_()
    bands = torch.randn(2, 8, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (pack(image, filter) * bands).sum().backward()
    torch.testing.assert_close(image.grad, unpack(bands, (6, 10), filter), rtol=0, atol=1e-10)


@pytest.mark.parametrize("filter", ["haar", "db3"])
@pytest.mark.parametrize("size", [(4, 6), (3, 5)])
def test_gradients(filter, size):
    image = picture(size, channels=1, batch=1).requires_grad_()
    bands = pack(image, filter).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pack(x, filter), image)
    assert torch.autograd.gradcheck(lambda x: unpack(x, size, filter), bands)
    assert torch.autograd.gradcheck(lambda x: synthesize(analyze(x, filter, 2)), image)


@pytest.mark.parametrize("filter", ["haar", "sym4"])
def test_pack_stacks_the_bands_of_one_level(filter):
    image = picture((7, 10), channels=3)
    pyramid = analyze(image, filter)
    bands = pack(image, filter)
    assert torch.equal(bands, torch.cat([pyramid.lowpass, *pyramid.details[0]], dim=1))
    assert torch.equal(unpack(bands, (7, 10), filter), synthesize(pyramid))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize("filter", ["haar", "db2"])
def test_dtypes_are_kept(filter, dtype, tolerance):
    image = picture((9, 12), dtype=torch.float32).to(dtype)
    bands = pack(image, filter)
    assert bands.dtype == dtype
    torch.testing.assert_close(bands.double(), pack(image.double(), filter), rtol=0, atol=tolerance)
    torch.testing.assert_close(unpack(bands, (9, 12), filter), image, rtol=0, atol=tolerance)


def test_views_are_transformed_like_their_copies():
    image = picture((8, 10)).permute(0, 1, 3, 2)[..., 1::2]
    for filter in ("haar", "db2"):
        assert torch.equal(pack(image, filter), pack(image.contiguous(), filter))
    bands = picture((4, 5), channels=8).to(memory_format=torch.channels_last)
    assert torch.equal(unpack(bands, (8, 10)), unpack(bands.contiguous(), (8, 10)))


def test_inputs_are_not_written_to():
    image = picture((8, 8))
    before = image.clone()
    bands = pack(image)
    packed = bands.clone()
    unpack(bands, (8, 8)).zero_()
    assert torch.equal(image, before)
    assert torch.equal(bands, packed)


def test_a_changed_band_changes_the_picture():
    pyramid = analyze(picture((8, 8)), "db2")
    silent = Bands(*(torch.zeros_like(band) for band in pyramid.details[0]))
    smooth = synthesize(Pyramid(pyramid.lowpass, (silent,), pyramid.sizes, "db2"))
    torch.testing.assert_close(analyze(smooth, "db2").lowpass, pyramid.lowpass)
    torch.testing.assert_close(analyze(smooth, "db2").details[0].diagonal, silent.diagonal)


@pytest.mark.parametrize("filter", ["bior2.2", "dmey", "gaus1", "LH", ""])
def test_filters_that_are_not_orthogonal_are_refused(filter):
    with pytest.raises(InputError, match=rf"the wavelet filter is '{filter}': it must be haar"):
        pack(torch.zeros(1, 1, 4, 4), filter)


@pytest.mark.parametrize("name", ["haar", "db1", "db38", "sym2", "sym20", "coif1", "coif17"])
def test_the_message_names_filters_that_exist(name):
    assert pywt.Wavelet(name).orthogonal
    assert not {"db39", "sym21", "coif18"} & set(pywt.wavelist())


def test_haar_does_without_pywavelets(monkeypatch):
    monkeypatch.setitem(sys.modules, "pywt", None)
    assert pack(torch.zeros(1, 1, 4, 4), "haar").shape == (1, 4, 2, 2)
    with pytest.raises(ModuleNotFoundError, match="pywt"):
        pack(torch.zeros(1, 1, 4, 4), "db37")


@pytest.mark.parametrize(
    "image", [torch.zeros(1, 1, 4, 4, dtype=torch.uint8), torch.zeros(1, 4, 4), torch.zeros(1, 1, 0, 4)]
)
def test_what_is_no_picture_is_refused(image):
    with pytest.raises(InputError, match="floating point of shape"):
        analyze(image)


def test_bands_must_fit_the_size():
    with pytest.raises(InputError, match=r"for a picture of 9 x 8: the shape must be \(b, 4 c, 5, 4\)"):
        unpack(torch.zeros(1, 4, 4, 4), (9, 8))
    with pytest.raises(InputError, match="shape must be"):
        unpack(torch.zeros(1, 6, 4, 4), (8, 8))
