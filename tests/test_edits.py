"""Edits: what they promise of pixels, and the pieces that they are made of."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from drawing import drawn as draw
from scipy import stats
from skimage import data
from torch.testing import assert_close

from sinwave.errors import InputError
from sinwave.images import Picture
from sinwave.option_kinds import Mask, Region
from sinwave.option_kinds import Place as At
from sinwave.resize import resize
from sinwave.rng import NoiseSource
from sinwave.systems.contracts import VerticalSpan
from sinwave.systems.wavelet.bands import Levels
from sinwave.systems.wavelet.closed_form import closed_form_model
from sinwave.tasks.base.canvas import (
    Canvas,
    _continued,
    all_of,
    feathered,
    keeping,
    mirrored,
    pasted,
    pinned,
    redraw,
    resembling,
    wrapped,
)
from sinwave.tasks.base.palette import few_colors, recolored, repainted
from sinwave.tasks.edit import Edit
from sinwave.tasks.extend import Extend
from sinwave.tasks.harmonize import Harmonize
from sinwave.tasks.inpaint import Inpaint
from sinwave.tasks.paint import Paint
from sinwave.tasks.place import Place
from sinwave.tasks.restyle import Restyle
from sinwave.tasks.retarget import Retarget
from sinwave.tasks.tile import Tile

NOISE = NoiseSource(3)


def photograph(name="astronaut", height=48, width=56):
    pixels = torch.from_numpy(np.asarray(getattr(data, name)()))
    pixels = pixels[..., None].expand(-1, -1, 3) if pixels.ndim == 2 else pixels
    pixels = pixels.movedim(-1, 0)[None] / 127.5 - 1
    return resize(pixels[..., :250, 100:400], (height, width)).clamp(-1, 1)


def window(top, left, height, width, size=(48, 56)):
    mask = torch.zeros(1, 1, *size)
    mask[..., top : top + height, left : left + width] = 1
    return mask


@pytest.fixture(scope="module")
def source():
    return photograph()


@pytest.fixture(scope="module")
def model(source):
    return closed_form_model(source, progression=Levels(2))


def test_without_strength_nothing_changes(model, source):
    other, mask = photograph("coffee"), window(10, 10, 20, 20)
    assert torch.equal(draw(Harmonize, source, model, composite=other, mask=mask, strength=0.0), other)
    assert torch.equal(draw(Edit, source, model, edited=other, mask=mask, strength=0.0), other)
    assert torch.equal(draw(Inpaint, other, model, mask=mask, strength=0.0), other)
    assert torch.equal(draw(Paint, source, model, drawing=other, strength=0.0), other)
    assert torch.equal(draw(Restyle, source, model, content=other, strength=0.0, palette=0.0), other)
    assert torch.equal(draw(Extend, other, model), other)
    assert torch.equal(draw(Retarget, other, model, size=(48, 56)), other)


def test_what_may_not_change_is_the_same_to_the_bit(model, source):
    other, mask, keep = photograph("coffee"), window(14, 20, 12, 14), window(0, 0, 48, 26)
    edits = (
        (Harmonize, source, {"composite": other, "feather": 6}, 6),
        (Edit, source, {"edited": other, "feather": 4}, 4),
        (Inpaint, other, {}, 0),
    )
    for edit, known, options, reach in edits:
        near = feathered(mask, reach) > 0
        drawn = draw(edit, known, model, NOISE, mask=mask, **options)
        assert torch.equal(drawn[~near.expand_as(drawn)], other[~near.expand_as(drawn)])
        assert not torch.equal(drawn, other)
        kept = draw(edit, known, model, NOISE, mask=mask, keep=keep, **options)
        assert torch.equal(kept[..., :26], other[..., :26])
        assert not torch.equal(kept[..., 26:], other[..., 26:])


def test_an_extended_picture_holds_the_picture(model, source):
    margins = {"left": 9, "right": 14, "top": 5, "bottom": 2}
    drawn = draw(Extend, source, model, NOISE, **margins)
    assert drawn.shape == (1, 3, 55, 79)
    assert torch.equal(drawn[..., 5:53, 9:65], source)
    assert drawn[..., 65:].std() > 0.1


def test_pinned_regions_are_where_they_are_wanted(model, source):
    region, places = Region(8, 12, 16, 20), [At(4, 2), At(24, 50)]
    drawn = draw(Place, source, model, NOISE, region=region, at=tuple(places), size=(44, 80))
    for place in places:
        there = drawn[..., place.top : place.top + 16, place.left : place.left + 20]
        assert torch.equal(there, source[..., 8:24, 12:32])
    assert drawn.shape == (1, 3, 44, 80)


def test_a_place_outside_is_refused(source):
    with pytest.raises(InputError, match="beyond the picture of 56 x 48"):
        pinned(source, Region(40, 0, 16, 20), [At(0, 0)], (48, 56))
    with pytest.raises(InputError, match="beyond the new picture of 40 x 30"):
        pinned(source, Region(0, 0, 16, 20), [At(20, 0)], (30, 40))


def gradients(picture, dim):
    return (picture[0].mean(0).diff(dim=dim)).flatten()


def test_the_seam_of_a_tile_is_like_its_inside():
    """Two samples of differences of neighbors, across the border and inside: none of the seeds tells them apart."""
    texture = photograph("gravel", 48, 48)
    model = closed_form_model(texture, progression=Levels(2))
    seams, insides = [], []
    for seed in range(6):
        tile = draw(Tile, texture, model, NoiseSource(seed))
        assert tile.shape == texture.shape
        gray = tile[0].mean(0)
        seams += [gray[0] - gray[-1], gray[:, 0] - gray[:, -1]]
        insides += [gray.diff(dim=0).flatten(), gray.diff(dim=1).flatten()]
    seam, inside = torch.cat(seams).numpy(), torch.cat(insides).numpy()
    assert stats.ks_2samp(seam, inside).pvalue > 0.01
    gray = texture[0].mean(0)
    before = torch.cat([gray[0] - gray[-1], gray[:, 0] - gray[:, -1]]).numpy()
    assert stats.ks_2samp(before, inside).pvalue < 0.01  # the texture itself is told apart


@pytest.mark.parametrize(("axes", "rows", "columns"), [("x", False, True), ("y", True, False)])
def test_a_tile_along_one_axis_keeps_the_ends_of_the_other(axes, rows, columns):
    texture = photograph("gravel", 40, 48)
    tile = draw(Tile, texture, closed_form_model(texture, progression=Levels(2)), NOISE, axes=axes)
    assert torch.equal(tile[..., 15:25, 15:33], texture[..., 15:25, 15:33])
    assert torch.equal(tile[..., :2, 15:33], texture[..., :2, 15:33]) == (not rows)
    assert torch.equal(tile[..., 15:25, :2], texture[..., 15:25, :2]) == (not columns)


def test_a_larger_tile_is_as_large_as_wanted():
    texture = photograph("gravel", 32, 40)
    model = closed_form_model(texture, progression=Levels(2))
    assert draw(Tile, texture, model, NOISE, size=(51, 66)).shape == (1, 3, 51, 66)
    assert draw(Tile, texture, model, NOISE, size=(25, 30)).shape == (1, 3, 25, 30)


def test_retargeting_goes_by_small_steps(model, source):
    retarget = Retarget(source=Picture(source[0]), size=(100, 300), stretch=1.2)
    sizes = retarget.sizes((100, 100), (100, 300))
    assert sizes[-1] == (100, 300)
    widths = [100, *(width for _, width in sizes)]
    assert all(1 < after / before < 1.21 for before, after in pairwise(widths))
    assert retarget.sizes((48, 56), (48, 56)) == []
    assert draw(Retarget, source, model, NOISE, size=(40, 90), stretch=2.0).shape == (1, 3, 40, 90)


def test_what_is_avoided_never_appears():
    source = photograph()
    source[..., 18:30, 20:34] = torch.tensor([1.0, -1.0, -1.0])[:, None, None]
    opaque = torch.ones(48, 56, dtype=torch.bool)
    opaque[18:30, 20:34] = False
    drawn = []
    for seen in (None, opaque):
        model = closed_form_model(source, opaque=seen, progression=Levels(2))
        pictures = [model.generate((48, 56), NOISE.child(seed)) for seed in range(4)]
        drawn.append(torch.cat([*pictures, draw(Inpaint, source, model, NOISE, mask=window(18, 20, 12, 14))]))
    red = [(pictures[:, 0] - pictures[:, 1] > 1.6).float().mean().item() for pictures in drawn]
    assert red[0] > 0.005
    assert red[1] == 0


def test_a_hole_is_filled_with_what_belongs_there():
    """Stripes go on through it."""
    stripes = torch.sin(torch.arange(64) / 64 * 2 * torch.pi * 8)[:, None].expand(3, 64, 64)[None].clone()
    hole = window(20, 24, 16, 16, (64, 64))
    model = closed_form_model(stripes, opaque=hole[0, 0] == 0, progression=Levels(2))
    drawn = draw(Inpaint, stripes * (1 - hole), model, NOISE, mask=hole)
    inside = hole.expand_as(drawn) > 0
    assert (drawn - stripes)[inside].square().mean().sqrt() < 0.1 * stripes.std()


def test_a_feather_is_one_inside_and_ends_where_it_is_told():
    mask = window(20, 24, 4, 6)
    assert torch.equal(feathered(mask, 0), mask)
    for pixels in (4, 8, 13):
        soft = feathered(mask, pixels)
        assert torch.equal(soft[mask > 0], torch.ones(24))
        rows, columns = (soft[0, 0] > 0).nonzero().unbind(1)
        assert rows.min() >= 20 - pixels
        assert columns.max() <= 29 + pixels
        line = soft[0, 0, 22, 30:]
        assert (line.diff() <= 1e-6).all()
        assert ((line > 0.05) & (line < 0.95)).any()


def test_a_mask_of_another_size_is_stretched():
    hard = Mask(window(2, 3, 4, 4, (12, 14))).values((48, 56))
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    assert_close(hard, window(8, 12, 16, 16))
    assert 0 < Mask(0.5 * window(2, 3, 4, 4, (12, 14))).values((48, 56)).max() <= 0.5


def test_lines_are_continued_as_numpy_does():
    line = np.arange(7)
    assert np.array_equal(mirrored(7, 5, 6), np.pad(line, (5, 6), "symmetric"))
    assert np.array_equal(mirrored(7, 20, 30), np.pad(line, (20, 30), "symmetric"))
    assert np.array_equal(mirrored(7, 0, -3), line[:4])
    assert np.array_equal(wrapped(11, 2) - 2, np.pad(line, 2, "wrap"))


def test_what_is_known_is_carried_on():
    values = torch.randn(1, 3, 13, 18, generator=torch.Generator().manual_seed(0))
    weight = 1 - window(4, 5, 6, 7, (13, 18)).expand(-1, 3, -1, -1)
    for fade in (0.0, 0.5, 1.0):
        filled = _continued(values, weight, fade)
        assert_close(filled[weight > 0], values[weight > 0])
        assert (filled[weight == 0].abs().max() > 0) == (fade > 0)
        assert filled.abs().max() <= values.abs().max()
    assert_close(_continued(torch.full_like(values, 0.7), weight, 1.0), torch.full_like(values, 0.7))


def test_constraints_hold_at_every_scale_and_compose(model, source):
    change = window(10, 12, 20, 24)
    keep, alike = keeping(model, source, change), resembling(model, source, 0, 1.0)
    for index, view in enumerate(model.scales(source)):
        free, estimate = model.scales(change.expand(-1, 3, -1, -1))[index], torch.zeros_like(view)
        assert torch.equal(keep(index)(estimate)[free == 0], view[free == 0])
        low = resize(alike(index)(estimate) - view, tuple(model.scales(source)[0].shape[2:]), "area")
        assert low.std() < 0.1 * view.std()
        both = all_of(alike, keep)(index)(estimate)
        assert torch.equal(both, keep(index)(alike(index)(estimate)))
    assert all_of(lambda index: None)(0) is None
    assert resembling(model, source, 1, 1.0)(0) is None


def test_a_model_of_one_scale_redraws_too():
    source = photograph(height=32, width=32)
    model = closed_form_model(source, progression=Levels(1))
    drawn = draw(Harmonize, source, model, NOISE, composite=source.flip(3), mask=window(8, 8, 10, 10, (32, 32)))
    assert drawn.shape == source.shape
    assert torch.isfinite(drawn).all()


def test_a_canvas_and_a_mask_of_other_sizes_are_told_apart(source):
    with pytest.raises(InputError, match="of 56 x 48 must have its size, not 14 x 12"):
        Canvas(source, torch.ones(1, 1, 12, 14))


def test_the_first_scale_decides_what_stays(model, source):
    """Later ones leave more of a foreign picture."""
    other = photograph("coffee")
    off = [(redraw(model, Canvas(other), 0.5, NOISE, first=first) - other).square().mean() for first in (0, 1)]
    assert off[1] < 0.8 * off[0]
    with pytest.raises(InputError, match="this model has 2"):
        model.refine(source, 0.5, NOISE, first=2)


def test_a_known_layout_is_kept_where_it_belongs(source):
    """The upper half of a picture that is drawn at its own span is made of its upper half."""
    ramp = torch.linspace(-1, 1, 48)[:, None].expand(1, 3, 48, 56) + 0.05 * source
    model = closed_form_model(ramp, progression=Levels(2))
    blank = torch.zeros(1, 3, 24, 56)
    upper, lower = (model.refine(blank, 1.0, NOISE, span=VerticalSpan(*span)).mean() for span in ((0, 0.5), (0.5, 1)))
    assert upper < -0.2
    assert lower > 0.2


def test_colors_are_those_of_the_palette():
    picture, palette = photograph("coffee"), photograph("chelsea", 40, 44)
    colored = recolored(picture, palette)
    assert_close(colored.mean((2, 3)), palette.mean((2, 3)), atol=0.02, rtol=0)
    covariances = [torch.cov(pixels[0].flatten(1)) for pixels in (colored, palette)]
    assert_close(*covariances, atol=0.02, rtol=0)
    assert torch.equal(recolored(picture, palette, 0.0), picture)
    assert_close(recolored(picture, picture), picture, atol=1e-4, rtol=0)


class Single(torch.Tensor):
    """A tensor on a device that has no float64."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        result = super().__torch_function__(func, types, args, kwargs or {})
        if func is torch.Tensor.cpu:
            return result.as_subclass(torch.Tensor)
        if isinstance(result, cls) and result.dtype == torch.float64:
            raise TypeError("Cannot convert a tensor to float64 dtype as the device doesn't support float64")
        return result


def test_colors_are_exchanged_on_a_device_without_float64():
    picture, palette = photograph("coffee"), photograph("chelsea", 40, 44)
    with pytest.raises(TypeError):
        picture.as_subclass(Single).double()
    colored = recolored(picture.as_subclass(Single), palette.as_subclass(Single))
    assert isinstance(colored, Single)
    assert torch.equal(colored.as_subclass(torch.Tensor), recolored(picture, palette))


def test_few_colors_are_the_centers_of_their_pixels():
    picture = photograph("coffee")
    centers, nearest = few_colors(picture, 5)
    assert centers.shape == (5, 3)
    for index, center in enumerate(centers):
        assert_close(picture[0][:, nearest == index].mean(1), center, atol=1e-3, rtol=0)
    assert len(repainted(photograph("chelsea"), picture, 5)[0].flatten(1).unique(dim=1).T) <= 5


def test_a_cut_out_is_pasted_where_it_is_wanted(source):
    opaque = torch.zeros(10, 8, dtype=torch.bool)
    opaque[2:8, 2:6] = True
    thing = Picture(torch.ones(3, 10, 8), opaque)
    composite, mask = pasted(source, thing, 1.0, At(24, 20))
    assert torch.equal(mask, window(21, 18, 6, 4))
    assert torch.equal(composite[mask.expand_as(composite) > 0], torch.ones(72))
    assert torch.equal(composite[mask.expand_as(composite) == 0], source[mask.expand_as(composite) == 0])
    double, large = pasted(source, thing, 2.0, None)
    assert large.sum() > 3 * mask.sum()
    cut, part = pasted(source, thing, 1.0, At(0, 0))
    assert cut.shape == source.shape
    assert 0 < part.sum() < mask.sum()
    assert double.shape == source.shape
    with pytest.raises(InputError, match="outside of the picture"):
        pasted(source, thing, 1.0, At(-40, 0))
    with pytest.raises(InputError, match="no transparency"):
        pasted(source, Picture(torch.ones(3, 10, 8)), 1.0, None)
