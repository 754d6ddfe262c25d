"""Kinds of options: what people write and what programs give becomes a size, a place, a picture or a mask."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from sinwave.errors import InputError
from sinwave.images import read
from sinwave.option_kinds import Mask, Picture, Place, Region, Scale, Size, Source, check_size


def test_sizes_as_people_write_them() -> None:
    assert Size.accept("640x480") == (480, 640)
    assert Size.accept(" 640X480 ") == (480, 640)
    assert Size.accept((480, 640)) == Size.accept([480, 640]) == Size(480, 640)
    assert Scale.accept("1.5x1").of((100, 200)) == (100, 300)
    assert Scale.accept(2).of((100, 200)) == (200, 400)
    assert Place.accept("30+40") == Place(40, 30)
    assert Place.accept("-3-4") == Place(-4, -3)
    assert Region.accept("64x48+10+20") == Region(top=20, left=10, height=48, width=64)


WRONG = {
    Size: ["", "640", "x", "640x", "-1x5", "1e3x4", "640x480x3", "٣x٤", (1,), (1, 2, 3), (1.5, 2), (True, 3), 5, None],
    Scale: ["", "x", "nan", "inf", "-1", "1x", "1xnan", None, (1, 2)],
    Place: ["", "30", "30x40", "1+2+3", None, (1, 2)],
    Region: ["64x48", "0x5+1+1", "5x0+1+1", "a", "64x48-1+2", "", None, (1, 2, 3, 4)],
}


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in WRONG.items() for value in values])
def test_what_is_none_is_refused(kind: type, value: object) -> None:
    with pytest.raises(TypeError):
        kind.accept(value)


def test_a_scale_without_end_is_refused() -> None:
    with pytest.raises(InputError, match="must be finite"):
        Scale.accept("9" * 400)


@pytest.mark.parametrize("value", [Size(480, 640), Scale(1, 1.5), Scale(2, 2), Place(-4, 3), Region(20, 10, 48, 64)])
def test_words_and_back_is_the_identity(value: Size | Scale | Place | Region) -> None:
    assert type(value).accept(str(value)) == type(value).accept(value.to_json()) == value


def test_a_size_has_limits() -> None:
    check_size((16, 16), 256)
    with pytest.raises(InputError, match="too small: each side must have at least 16"):
        check_size((16, 15), 10**6)
    with pytest.raises(InputError, match="of 17 x 16 pixels is larger than the 256 pixels allowed"):
        check_size((16, 17), 256)


def test_a_picture_is_a_path_or_something_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "land.png"
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    named, held = Picture.accept(str(path)), Picture.accept(pixels)
    assert (named.path, named.name, str(named), named.to_json()) == (path, "land", str(path), str(path))
    assert (held.path, held.name) == (None, "picture")
    assert Picture.accept(named) is named
    assert named == Picture.accept(path) != Picture.accept(tmp_path / "other.png")
    assert hash(named) == hash(Picture.accept(path))
    assert held == Picture.accept(pixels) != Picture.accept(pixels.copy())
    assert Source.accept(path) != named
    assert isinstance(Source.accept(named), Source)
    assert torch.equal(named.read(10**6).pixels, held.read(10**6).pixels)
    assert named.sha256 != held.sha256 == Picture.accept(pixels.copy()).sha256
    for nothing in (None, "", 3, 1.5, True):
        with pytest.raises(TypeError):
            Picture.accept(nothing)
    with pytest.raises(InputError, match="in memory cannot be written as JSON"):
        held.to_json()
    with pytest.raises(InputError, match=r"absent\.png"):
        _ = Picture.accept(tmp_path / "absent.png").sha256
    with pytest.raises(InputError, match="more than the 300 allowed"):
        named.read(300)
    with pytest.raises(InputError, match="at least 21"):
        held.read(10**6, 21)


def test_a_mask_means_the_same_in_every_form(tmp_path: Path) -> None:
    bytes_of = np.zeros((12, 14), np.uint8)
    bytes_of[3:7, 2:9] = 255
    Image.fromarray(bytes_of).save(tmp_path / "mask.png")
    values = torch.from_numpy(bytes_of).float()[None, None] / 255
    forms = {
        "path": tmp_path / "mask.png",
        "bytes": (tmp_path / "mask.png").read_bytes(),
        "Pillow": Image.fromarray(bytes_of),
        "Pillow in color": Image.fromarray(bytes_of).convert("RGB"),
        "Pillow of bits": Image.fromarray(bytes_of).convert("1"),
        "array of bytes": bytes_of,
        "array of booleans": bytes_of > 0,
        "array of bytes that are 0 or 1": bytes_of // 255,
        "array of integers": bytes_of.astype(np.int64),
        "Picture": read(tmp_path / "mask.png", min_side=1),
        "array of shares": bytes_of / 255,
        "array (h, w, 1)": bytes_of[..., None],
        "tensor of bytes": torch.from_numpy(bytes_of),
        "tensor (h, w, 1)": values[0, 0, ..., None],
        "tensor of bytes that are 0 or 1": torch.from_numpy(bytes_of // 255),
        "tensor of booleans": torch.from_numpy(bytes_of > 0),
        "tensor (1, h, w)": values[0],
        "tensor (1, 1, h, w)": values,
    }
    for name, form in forms.items():
        assert torch.equal(Mask.accept(form).values((12, 14)), values), name
        assert torch.equal(Mask.accept(form).partial((12, 14)), values), name


def test_a_mask_of_another_size_is_stretched() -> None:
    hard = torch.zeros(12, 14)
    hard[2:6, 3:7] = 1
    large = torch.zeros(1, 1, 48, 56)
    large[..., 8:24, 12:28] = 1
    assert_close(Mask(hard).values((48, 56)), large)
    assert 0 < Mask(0.5 * hard).values((48, 56)).max() <= 0.5


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (np.zeros(5), "has the shape"),
        (np.zeros((4, 5, 3)), "has the shape"),
        (torch.zeros(2, 1, 4, 4), "has the shape"),
        (np.zeros((0, 4)), "has the shape"),
        (torch.full((4, 4), torch.nan), "NaN"),
        (np.array([["a", "b"]]), "a mask holds"),
        (np.zeros((4, 4), np.complex64), "a mask holds"),
        (object(), "not object"),
        ([[0, 1], [1]], "not list"),
        (torch.full((4, 4), -1.0), "black"),
    ],
)
def test_what_is_no_mask_is_one_sentence(value: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as raised:
        Mask.accept(value).partial((12, 14))
    assert "\n" not in str(raised.value)


def test_a_mask_leaves_something_and_takes_something() -> None:
    with pytest.raises(InputError, match="the mask is black"):
        Mask(np.zeros((4, 4))).partial((12, 14))
    with pytest.raises(InputError, match="the mask is white"):
        Mask(np.ones((4, 4))).partial((12, 14))
