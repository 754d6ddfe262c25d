from __future__ import annotations

import hashlib
import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms

from sinwave.errors import InputError, OutputError, SinwaveError
from sinwave.images import Picture, from_uint8, probe, read, read_any, read_text, sheet, to_uint8, write
from sinwave.images.writing import MAX_SIDE

# -------------------- pictures to read


def colors(height: int = 20, width: int = 24, channels: int = 3, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return values[..., 0] if channels == 1 else values


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def put(folder: Path, data: bytes, name: str = "picture") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(samples: np.ndarray, color_type: int, *, extra: bytes = b"", size: tuple[int, int] | None = None) -> bytes:
    """A PNG of 8 or 16 bits a sample, written from the specification."""
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(samples.dtype.newbyteorder(">")).tobytes() for row in samples)
    claimed = size or (height, width)
    header = struct.pack(">IIBBBBB", claimed[1], claimed[0], 8 * samples.dtype.itemsize, color_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(samples: np.ndarray, sample_format: int) -> bytes:
    """An uncompressed little-endian TIFF of any sample type, written from the specification."""
    height, width = samples.shape[:2]
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    data = samples.astype(samples.dtype.newbyteorder("<")).tobytes()
    blob_start = 8 + len(data)

    def short(*values: int) -> tuple[int, int, bytes]:
        return 3, len(values), struct.pack(f"<{len(values)}H", *values)

    def long(value: int) -> tuple[int, int, bytes]:
        return 4, 1, struct.pack("<I", value)

    tags = {
        256: long(width),
        257: long(height),
        258: short(*[8 * samples.dtype.itemsize] * channels),
        259: short(1),
        262: short(1 if channels == 1 else 2),
        273: long(8),
        277: short(channels),
        278: long(height),
        279: long(len(data)),
        339: short(*[sample_format] * channels),
    }
    if channels == 4:
        tags[338] = short(2)
    blobs, entries = b"", b""
    for tag, (kind, count, value) in sorted(tags.items()):
        if len(value) > 4:
            value, blobs = struct.pack("<I", blob_start + len(blobs)), blobs + value
        entries += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", blob_start + len(blobs)) + data + blobs + directory


def unit(pixels: torch.Tensor) -> np.ndarray:
    return (pixels[0].double().numpy() + 1) / 2


def as_float(values: np.ndarray) -> torch.Tensor:
    return from_uint8(torch.from_numpy(values.copy()).permute(2, 0, 1))


# -------------------- uint8 <-> float


def test_all_256_values_survive_the_round_trip() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    floats = from_uint8(values)
    assert floats[0] == -1 and floats[255] == 1
    assert torch.equal(to_uint8(floats), values)


def test_to_uint8_takes_the_nearest_level_and_clamps() -> None:
    levels = torch.linspace(-1.2, 1.2, 5001, dtype=torch.float64)
    expected = np.abs(levels.numpy()[:, None] - (np.arange(256) / 127.5 - 1)).argmin(1)
    assert np.array_equal(to_uint8(levels).numpy(), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_black_and_white(dtype: torch.dtype) -> None:
    assert to_uint8(torch.tensor([-1.0, 0.5, 1.0], dtype=dtype)).tolist() == [0, 191, 255]


def test_converters_refuse_the_wrong_type_and_values_that_are_no_numbers() -> None:
    for wrong in (torch.zeros(2, dtype=torch.uint8), torch.tensor([float("nan")]), torch.tensor([float("inf")])):
        with pytest.raises(InputError):
            to_uint8(wrong)
    with pytest.raises(InputError, match="float32"):
        from_uint8(torch.zeros(2))


# -------------------- pictures as users have them


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("BMP", {}),
        ("PPM", {}),
    ],
)
def test_lossless_files_are_read_exactly(tmp_path: Path, kind: str, options: dict[str, object]) -> None:
    values = colors()
    path = put(tmp_path, saved(Image.fromarray(values), kind, **options))
    picture = read(path)
    assert torch.equal(picture.pixels, as_float(values))
    assert (picture.size, picture.opaque, picture.gray, picture.notes) == ((20, 24), None, False, ())
    assert picture.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert probe(path).format == kind


def test_jpeg_is_what_pillow_decodes(tmp_path: Path) -> None:
    path = put(tmp_path, saved(Image.fromarray(colors()), "JPEG"))
    with Image.open(path) as reference:
        assert torch.equal(read(path).pixels, as_float(np.array(reference)))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P"])
def test_gray_pictures_are_known_as_gray(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(colors(channels=1)).convert(mode)
    picture = read(put(tmp_path, saved(image, "PNG")))
    assert picture.gray and picture.opaque is None
    assert torch.equal(picture.pixels, as_float(np.array(image.convert("RGB"))))


def test_gray_colors_in_an_rgb_file_are_gray_too(tmp_path: Path) -> None:
    gray = np.repeat(colors(channels=1)[..., None], 3, axis=2)
    assert read(put(tmp_path, saved(Image.fromarray(gray), "PNG"))).gray
    gray[3, 4, 0] ^= 1
    assert not read(put(tmp_path, saved(Image.fromarray(gray), "PNG"))).gray


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_exif_orientation_is_applied_and_size_is_as_seen(tmp_path: Path, kind: str, turn: int) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24] = 255  # the light is at the top left
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[turn]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    path = put(tmp_path, saved(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif.tobytes()))
    picture = read(path)
    assert picture.size == probe(path).size == (32, 48)
    assert (picture.pixels - as_float(upright)).abs().mean() < 0.02


def test_a_tiff_of_several_turned_pages_gives_the_first_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    values = colors()
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(values, 1)))
    pages = saved(turned, "TIFF", save_all=True, append_images=[turned] * 2, exif=exif)
    path = put(tmp_path, pages)
    picture = read(path)
    assert torch.equal(picture.pixels, as_float(values))
    assert probe(path).size == picture.size == (20, 24)
    assert picture.notes == ("3 pages, using the first",)


def test_a_damaged_exif_block_does_not_cost_the_picture(tmp_path: Path) -> None:
    values = colors()
    path = put(tmp_path, png(values, 2, extra=chunk(b"eXIf", b"MM\0*\0\0\0\x08")))
    assert torch.equal(read(path).pixels, as_float(values))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_transparent_areas_are_marked_and_filled_with_the_mean_color(tmp_path: Path, kind: str) -> None:
    values = colors(channels=4)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    path = put(tmp_path, saved(Image.fromarray(values), kind, **options))
    picture = read(path)
    opaque = torch.from_numpy(values[..., 3] / 255 >= 0.5)
    assert picture.opaque is not None and torch.equal(picture.opaque, opaque)
    exact = as_float(values[..., :3])
    assert torch.equal(picture.pixels[:, opaque], exact[:, opaque])
    fill = exact[:, opaque].mean(1, keepdim=True)
    torch.testing.assert_close(picture.pixels[:, ~opaque], fill.expand(-1, int((~opaque).sum())))
    assert "transparent" in picture.notes[0]
    assert probe(path).has_alpha


def test_half_transparent_counts_as_opaque_from_one_half_on(tmp_path: Path) -> None:
    values = colors(channels=4)
    values[..., 3] = 127
    values[:10, :, 3] = 128
    picture = read(put(tmp_path, saved(Image.fromarray(values), "PNG")))
    assert picture.opaque is not None
    assert picture.opaque[:10].all() and not picture.opaque[10:].any()


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_the_transparent_color_of_a_palette(tmp_path: Path, kind: str) -> None:
    index = np.tile(np.arange(24, dtype=np.uint8) % 3, (20, 1))
    image = Image.fromarray(index, "L").convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture = read(put(tmp_path, saved(image, kind, transparency=1)))
    assert picture.opaque is not None
    assert torch.equal(picture.opaque, torch.from_numpy(index != 1))
    assert torch.equal(picture.pixels[:, 0, 0], torch.tensor([1.0, -1.0, -1.0]))


def test_the_transparent_shade_of_a_16_bit_gray_png(tmp_path: Path) -> None:
    values = np.full((20, 24), 500, np.uint16)
    values[:5] = 40000
    picture = read(put(tmp_path, png(values, 0, extra=chunk(b"tRNS", struct.pack(">H", 40000)))))
    assert picture.opaque is not None and torch.equal(picture.opaque, torch.from_numpy(values == 500))


def cmyk_profile() -> bytes:
    """A CMYK profile (ICC.1:2001) for a press that prints only its black: L = 100 (1 - K), whatever the other inks."""
    lightness = np.zeros((2, 2, 2, 2, 3), ">u2")
    lightness[..., 0, 0] = 0xFF00
    lightness[..., 1:] = 0x8000
    identity = np.array([0, 65535], ">u2").tobytes()
    matrix = np.eye(3, dtype=">i4").tobytes().replace(b"\0\0\0\1", b"\0\1\0\0")
    table = b"mft2" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + struct.pack(">HH", 2, 2)
    table += identity * 4 + lightness.tobytes() + identity * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"A2B0": table, b"wtpt": white, b"cprt": b"text" + bytes(4) + b"none\0\0\0\0"}
    place, index, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        index += name + struct.pack(">II", place + len(body), len(data))
        body += data
    total = struct.pack(">I", place + len(body))
    header = total + bytes(4) + b"\x02\x40\0\0prtrCMYKLab " + bytes(12) + b"acsp" + bytes(28)
    header += struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + index + body


DAMAGED_PROFILE = b"\0" * 16 + b"CMYK" + b"\0" * 108


@pytest.mark.parametrize("options", [{}, {"icc_profile": DAMAGED_PROFILE}], ids=["plain", "damaged profile"])
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_srgb(tmp_path: Path, kind: str, options: dict[str, bytes]) -> None:
    ink = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    picture = read(put(tmp_path, saved(ink, kind, **options)))
    assert (picture.pixels[:, 5, 5] - torch.tensor([1.0, -1.0, -1.0])).abs().max() < 0.02
    assert picture.notes == ("CMYK converted to sRGB",) and picture.icc is None


def test_cmyk_goes_through_its_own_profile(tmp_path: Path) -> None:
    ink = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    picture = read(put(tmp_path, saved(ink, "TIFF", icc_profile=cmyk_profile())))
    assert picture.pixels.min() > 0.98, "white paper, since this press prints no yellow and no magenta"


DEEP: dict[str, tuple[Callable[[np.ndarray], bytes], np.ndarray, Callable[[np.ndarray], np.ndarray]]] = {
    "16-bit PNG": (lambda v: png(v, 0), np.arange(480, dtype=np.uint16) * 136, lambda v: v / 65535),
    "16-bit TIFF": (lambda v: tiff(v, 1), np.arange(480, dtype=np.uint16) * 136, lambda v: v / 65535),
    "16-bit PGM": (
        lambda v: b"P5 24 20 65535\n" + v.astype(">u2").tobytes(),
        np.arange(480) * 136,
        lambda v: v / 65535,
    ),
    "10-bit PGM": (lambda v: b"P5 24 20 1023\n" + v.astype(">u2").tobytes(), np.arange(480) * 2, lambda v: v / 1023),
    "unit float TIFF": (lambda v: tiff(v, 3), np.linspace(0, 1, 480, dtype=np.float32), lambda v: v),
    "byte float TIFF": (lambda v: tiff(v, 3), np.linspace(0, 250, 480, dtype=np.float32), lambda v: v / 255),
    "word float TIFF": (lambda v: tiff(v, 3), np.linspace(0, 60000, 480, dtype=np.float32), lambda v: v / 65535),
    "signed TIFF": (lambda v: tiff(v, 2), np.arange(-100, 380, dtype=np.int16), lambda v: (v + 100) / 479),
    "32-bit TIFF": (lambda v: tiff(v, 2), np.arange(480, dtype=np.int32) * 70000, lambda v: v / (479 * 70000)),
    "flat float TIFF": (lambda v: tiff(v, 3), np.full(480, -3, np.float32), lambda v: np.full(v.shape, 0.5)),
}


@pytest.mark.parametrize("case", DEEP)
def test_gray_of_more_than_8_bits_keeps_them(tmp_path: Path, case: str) -> None:
    encode, values, expected = DEEP[case]
    values = values.reshape(20, 24)
    picture = read(put(tmp_path, encode(values)))
    assert picture.gray and "outputs are 8-bit" in picture.notes[0]
    np.testing.assert_allclose(unit(picture.pixels), expected(values.astype(float)), atol=1.5e-5)
    stretched = case in ("signed TIFF", "32-bit TIFF", "flat float TIFF")
    assert any("stretched" in note for note in picture.notes) == stretched


@pytest.mark.parametrize(
    ("kind", "channels"), [("PNG", 2), ("PNG", 3), ("PNG", 4), ("TIFF", 3), ("TIFF", 4), ("PPM", 3)]
)
def test_16_bit_colors_keep_them_except_in_a_ppm_which_says_so(tmp_path: Path, kind: str, channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (20, 24, channels)).astype(np.uint16)
    values[..., [1] if channels == 2 else slice(3, None)] = 65535
    data = {
        "PNG": lambda: png(values, {2: 4, 3: 2, 4: 6}[channels]),
        "TIFF": lambda: tiff(values, 1),
        "PPM": lambda: b"P6 24 20 65535\n" + values.astype(">u2").tobytes(),
    }[kind]()
    path = put(tmp_path, data)
    picture = read(path)
    assert probe(path).depth == 16
    exact = values[..., :1] if channels == 2 else values[..., :3]
    difference = picture.pixels.double() - torch.from_numpy(exact / 32767.5 - 1).permute(2, 0, 1)
    if kind == "PPM":
        assert picture.notes == ("16-bit colors: read with 8 bits",) and picture.depth == 8
        assert difference.abs().max() < 2 / 255
    else:
        assert picture.notes == ("16-bit: outputs are 8-bit",) and picture.depth == 16
        assert 32767.5 * difference.abs().max() < 0.01


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_used(tmp_path: Path, kind: str) -> None:
    shades = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    frames = [Image.new("RGB", (24, 20), shade) for shade in shades]
    options = {"lossless": True} if kind == "WEBP" else {}
    path = put(tmp_path, saved(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    picture = read(path)
    assert picture.notes == ("animated: 3 frames, using the first",)
    assert to_uint8(picture.pixels[:, 3, 3]).tolist() == [250, 0, 0]
    assert probe(path).frames == 3


def test_a_profile_is_kept_where_outputs_can_carry_it(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert read(put(tmp_path, saved(Image.fromarray(colors()), "PNG", icc_profile=profile))).icc == profile
    assert read(put(tmp_path, saved(Image.fromarray(colors(channels=1)), "PNG", icc_profile=profile))).icc is None


def test_a_picture_is_recognized_by_its_bytes_not_its_name(tmp_path: Path) -> None:
    path = put(tmp_path, saved(Image.fromarray(colors()), "PNG"), "holiday.jpg")
    assert (probe(path).format, read(path).name) == ("PNG", "holiday")


# -------------------- files that are refused


def truncated(kind: str, part: float) -> bytes:
    data = saved(Image.fromarray(colors(64, 64)), kind)
    return data[: int(len(data) * part)]


def with_flipped_byte(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :]


PNG_BYTES = saved(Image.fromarray(colors(64, 64)), "PNG")
FLAT_PNG = saved(Image.new("RGB", (64, 64)), "PNG")
NAN = np.full((20, 24), 0.5, np.float32)
NAN[3, 3] = np.nan
SIGNALING = NAN.copy()
SIGNALING.view(np.uint32)[3, 3] = 0x7FA00000
ENDLESS = np.where(np.isnan(NAN), np.inf, NAN).astype(np.float32)

HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "text": (b"dear reader", "not a picture"),
    "nothing but zeros": (bytes(1000), "not a picture"),
    "one byte": (b"B", "not a picture"),
    "PDF": (b"%PDF-1.7\n", "not a picture"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n", "not a picture"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "not a picture"),
    "PNG signature alone": (b"\x89PNG\r\n\x1a\n", "damaged"),
    "JPEG signature alone": (b"\xff\xd8\xff\xe0", "damaged"),
    "TIFF signature alone": (b"II*\0\x08\0\0\0", "damaged"),
    "WebP signature alone": (b"RIFF\0\0\0\0WEBP", "damaged"),
    "GIF signature alone": (b"GIF89a", "damaged"),
    "BMP signature alone": (b"BM", "damaged"),
    "PPM signature alone": (b"P6\n", "damaged"),
    **{
        f"{kind} cut at {part:.0%}": (truncated(kind, part), "damaged|truncated")
        for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
        for part in (0.3, 0.6, 0.98)
    },
    "PNG without its end chunk": (FLAT_PNG[:-12], "damaged"),
    "PNG cut after the last row": (FLAT_PNG[:-16], "damaged"),
    "PNG with a wrong checksum": (with_flipped_byte(PNG_BYTES, len(PNG_BYTES) - 14), "damaged"),
    "PNG with altered pixels": (with_flipped_byte(PNG_BYTES, 2000), "damaged"),
    "PNG with an altered header": (with_flipped_byte(PNG_BYTES, 18), "damaged"),
    "JPEG without its end": (truncated("JPEG", 1)[:-2], "damaged"),
    "PNG bomb": (png(colors(), 2, size=(60000, 60000)), "60000 x 60000"),
    "PNG bomb between Pillow's limits": (png(colors(), 2, size=(12000, 12000)), "100,000,000"),
    "GIF bomb": (
        b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b",\0\0\0\0\x10\0\x10\0\0\x08\x01\0\0;",
        "65535 x 65535",
    ),
    "PPM bomb": (b"P6 99999 99999 255\n", "99999 x 99999"),
    "too small": (saved(Image.fromarray(colors(15, 40)), "PNG"), "40 x 15.*at least 16"),
    "too long": (saved(Image.new("L", (900, 16)), "PNG"), "900 x 16.*50 times"),
    "fully transparent": (saved(Image.new("RGBA", (32, 32), (9, 9, 9, 100)), "PNG"), "fully transparent"),
    "NaN": (tiff(NAN, 3), "NaN"),
    "signaling NaN": (tiff(SIGNALING, 3), "NaN"),
    "infinity": (tiff(ENDLESS, 3), "infinite"),
    "float RGB TIFF": (tiff(np.zeros((20, 24, 3), np.float32), 3), "unsupported"),
    "huge text chunk": (png(colors(), 2, extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 26)))), "damaged"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_in_one_sentence_that_names_it(tmp_path: Path, case: str) -> None:
    data, message = HOSTILE[case]
    path = put(tmp_path, data, "hostile.png")
    with pytest.raises(InputError, match=message) as raised:
        read(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("case", HOSTILE)
def test_probe_answers_or_refuses_but_never_breaks(tmp_path: Path, case: str) -> None:
    path = put(tmp_path, HOSTILE[case][0])
    try:
        assert min(probe(path).size) >= 1
    except InputError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "PPM"])
def test_probe_decodes_no_pixels(tmp_path: Path, kind: str) -> None:
    path = put(tmp_path, truncated(kind, 0.6))  # which only a decoder notices
    assert probe(path).size == (64, 64)


@pytest.mark.parametrize("seed", range(60))
def test_a_few_wrong_bytes_end_in_a_picture_or_in_an_input_error(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")[seed % 6]
    data = bytearray(saved(Image.fromarray(colors(32, 32)), kind))
    for place in rng.integers(0, min(len(data), 400), 3):
        data[place] = rng.integers(256)
    with suppress(InputError):
        assert read(put(tmp_path, bytes(data))).pixels.isfinite().all()


def test_paths_that_are_no_picture_files(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path, message in {
        tmp_path / "absent.png": "no such file",
        tmp_path: "folder",
        tmp_path / "absent" / "a.png": "no such file",
        put(tmp_path, b"x") / "a.png": "opened",
        tmp_path / ("n" * 300): "opened",
        tmp_path / "nul\0byte": "not a file name",
        loop: "opened",
    }.items():
        with pytest.raises(InputError, match=message):
            read(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_pipes_and_devices_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(InputError, match="device or a pipe"):
            read(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = put(tmp_path, PNG_BYTES)
    path.chmod(0)
    with pytest.raises(InputError, match="permission"):
        read(path)


def test_limits_can_be_chosen(tmp_path: Path) -> None:
    path = put(tmp_path, saved(Image.fromarray(colors(10, 12)), "PNG"))
    assert read(path, min_side=10).size == (10, 12)
    with pytest.raises(InputError, match="119 allowed"):
        read(path, min_side=10, max_pixels=119)


def test_reading_changes_no_setting_of_pillow(tmp_path: Path) -> None:
    from PIL import ImageFile

    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    read(put(tmp_path, PNG_BYTES))
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def test_probe_imports_no_torch(tmp_path: Path) -> None:
    path = put(tmp_path, PNG_BYTES)
    code = "import sys; from sinwave.images import probe; print(probe(sys.argv[1]).size, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "(64, 64) False\n"), done.stderr


def test_all_errors_are_one_tree() -> None:
    assert issubclass(InputError, SinwaveError) and issubclass(InputError, ValueError)
    assert issubclass(OutputError, SinwaveError) and issubclass(OutputError, OSError)


# -------------------- writing

IMAGE = as_float(colors())
TEXT = {"sinwave": '{"command": "sinwave sample", "seed": 7}', "Title": "Grüße \u2603"}


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".webp", ".tif", ".tiff"])
@pytest.mark.parametrize("channels", [3, 4])
def test_what_is_written_is_read_back_exactly(tmp_path: Path, suffix: str, channels: int) -> None:
    values = colors(channels=channels)
    path = tmp_path / f"out{suffix}"
    write(path, as_float(values), text=TEXT)
    picture = read(path)
    opaque = torch.from_numpy(values[..., 3] >= 128) if channels == 4 else torch.ones(20, 24, dtype=torch.bool)
    assert torch.equal(picture.pixels[:, opaque], as_float(values[..., :3])[:, opaque])
    assert read_text(path) == TEXT
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_jpeg_keeps_text_and_nearly_the_picture(tmp_path: Path) -> None:
    smooth = torch.linspace(-1, 1, 64).expand(3, 48, 64)
    write(tmp_path / "out.jpg", smooth, text=TEXT)
    assert read_text(tmp_path / "out.jpg") == TEXT
    assert (read(tmp_path / "out.jpg").pixels - smooth).abs().max() < 0.05


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_no_text_is_no_text(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"out{suffix}", IMAGE)
    assert read_text(tmp_path / f"out{suffix}") == {}


@pytest.mark.parametrize("words", ["a cat", "{", "[" * 50_000])
def test_the_description_of_another_program_is_read_as_it_is(tmp_path: Path, words: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = words
    path = put(tmp_path, saved(Image.fromarray(colors()), "JPEG", exif=exif))
    assert read_text(path) == {"ImageDescription": words}


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_profile_and_gray_outputs(tmp_path: Path, suffix: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    color, gray = tmp_path / f"color{suffix}", tmp_path / f"gray{suffix}"
    write(color, IMAGE, icc=profile)
    write(gray, IMAGE[:1].expand(3, -1, -1), icc=profile, gray=True)
    assert read(color).icc == profile
    assert read(gray).gray and read(gray).icc is None
    assert probe(gray).mode == ("RGB" if suffix == ".webp" else "L")
    if suffix != ".jpg":
        assert torch.equal(read(gray).pixels[0], IMAGE[0])


def test_the_same_picture_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write(tmp_path / name, IMAGE, text=TEXT)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_file_is_overwritten_only_on_demand(tmp_path: Path) -> None:
    path = put(tmp_path, b"precious", "out.png")
    with pytest.raises(OutputError, match="exists already"):
        write(path, IMAGE)
    assert path.read_bytes() == b"precious"
    write(path, IMAGE, overwrite=True)
    assert torch.equal(read(path).pixels, IMAGE)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.png"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX file modes")
def test_a_new_file_has_the_permissions_that_the_umask_asks_for(tmp_path: Path) -> None:
    write(tmp_path / "out.png", IMAGE)
    ordinary = put(tmp_path, b"x", "ordinary")
    assert (tmp_path / "out.png").stat().st_mode == ordinary.stat().st_mode


UNWRITABLE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no folder": (lambda folder: folder / "absent" / "out.png", "does not exist"),
    "the folder is a file": (lambda folder: put(folder, b"x") / "out.png", "is a file"),
    "the file is a folder": (lambda folder: folder / "folder.png", "this is a folder"),
    "the name is too long": (lambda folder: folder / ("n" * 300 + ".png"), "too long|cannot be written"),
    "no name at all": (lambda folder: folder / "nul\0.png", "not a file name|null"),
}


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("case", UNWRITABLE)
def test_a_failing_write_says_why_and_leaves_nothing(tmp_path: Path, case: str, overwrite: bool) -> None:
    (tmp_path / "folder.png").mkdir()
    where, message = UNWRITABLE[case]
    path = where(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match=message) as raised:
        write(path, IMAGE, overwrite=overwrite)
    assert "\n" not in str(raised.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def full_disk() -> Iterator[None]:
    """A limit on the size of files stands for a full disk: the write itself fails in the same way."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_disk_that_fills_up_leaves_the_old_file_whole(tmp_path: Path, full_disk: None, overwrite: bool) -> None:
    old = put(tmp_path, b"old", "old.png")
    with pytest.raises(OutputError, match="cannot be written"):
        write(old if overwrite else tmp_path / "new.png", IMAGE, overwrite=overwrite)
    assert list(tmp_path.iterdir()) == [old] and old.read_bytes() == b"old"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        write(tmp_path / "out.png", IMAGE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out.png")
    with pytest.raises(OutputError, match="device or a pipe"):
        write(tmp_path / "out.png", IMAGE, overwrite=True)
    assert (tmp_path / "out.png").is_fifo()


@pytest.mark.parametrize(
    ("name", "image", "options", "message"),
    [
        ("out.gif", IMAGE, {}, "ends in one of"),
        ("out", IMAGE, {}, "ends in one of"),
        ("out.png", IMAGE[None], {}, "shape"),
        ("out.png", IMAGE[:1], {}, "shape"),
        ("out.png", IMAGE[:, :0], {}, "shape"),
        ("out.png", torch.zeros(3, 8, 8, dtype=torch.uint8), {}, "uint8"),
        ("out.png", IMAGE / 0, {}, "NaN or infinite"),
        ("out.jpg", torch.zeros(4, 8, 8), {}, "transparency"),
        ("out.png", IMAGE, {"text": {"": "x"}}, "name of a text"),
        ("out.png", IMAGE, {"text": {"k" * 80: "x"}}, "name of a text"),
    ],
)
def test_what_cannot_be_a_picture_is_refused(tmp_path: Path, name, image, options, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        write(tmp_path / name, image, **options)
    assert not list(tmp_path.iterdir())


def test_a_picture_beyond_the_limits_of_the_format(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be encoded"):
        write(tmp_path / "out.webp", torch.zeros(3, 1, 20000))
    assert not list(tmp_path.iterdir())


# -------------------- contact sheet


def contains(sheet_pixels: torch.Tensor, picture: torch.Tensor) -> bool:
    """Whether the very pixels of `picture` stand somewhere on the sheet."""
    values, wanted = to_uint8(sheet_pixels), to_uint8(picture)
    h, w = wanted.shape[1:]
    corners = (values[:, : values.shape[1] - h + 1, : values.shape[2] - w + 1] == wanted[:, :1, :1]).all(0)
    return any(torch.equal(values[:, y : y + h, x : x + w], wanted) for y, x in corners.nonzero().tolist())


@pytest.mark.parametrize("count", [0, 1, 2, 5, 8, 11])
def test_a_sheet_shows_every_picture_pixel_for_pixel(count: int) -> None:
    source = as_float(colors(50, 60))
    samples = [as_float(colors(50, 60, seed=i + 1)) for i in range(count)]
    result = sheet(source, samples)
    assert all(contains(result, picture) for picture in (source, *samples))
    assert result.min() >= -1 and result.max() <= 1


@pytest.mark.parametrize(("height", "times"), [(16, 6), (49, 1)])
def test_small_pictures_are_repeated_so_that_one_sees_them(height: int, times: int) -> None:
    pictures = [as_float(colors(height, 20, seed=i)) for i in range(3)]
    result = sheet(pictures[0], pictures[1:])
    for picture in pictures:
        assert contains(result, picture.repeat_interleave(times, 1).repeat_interleave(times, 2))
    assert max(sheet(None, [pictures[0]] * 2000).shape) <= MAX_SIDE


def test_a_sheet_takes_a_batch_and_pictures_of_mixed_sizes() -> None:
    source = as_float(colors(40, 60))
    assert torch.equal(sheet(source, torch.stack([source] * 3)), sheet(source, [source] * 3))
    mixed = [as_float(colors(*size, seed=9)) for size in ((80, 60), (40, 150), (16, 16))]
    result = sheet(source, mixed)
    assert all(contains(result, picture) for picture in (source, *mixed))


def test_panoramas_stand_in_one_column_and_columns_can_be_chosen() -> None:
    panorama = torch.zeros(3, 50, 250)
    assert sheet(panorama, [panorama] * 30).shape[2] < 2 * 250
    square = torch.zeros(3, 64, 64)
    wide, tall = sheet(square, [square] * 5, columns=6), sheet(square, [square] * 5, columns=1)
    assert wide.shape[2] > 6 * 64 and tall.shape[2] < 2 * 64
    assert sheet(square, [square], columns=9).shape == sheet(square, [square], columns=2).shape


@pytest.mark.parametrize(
    ("size", "count"), [((1200, 1200), 7), ((64, 3000), 3), ((1500, 64), 70), ((48, 48), 400), ((100, 120), 599)]
)
def test_a_sheet_is_never_larger_than_its_limit(size: tuple[int, int], count: int) -> None:
    picture = torch.zeros(3, 1, 1).expand(3, *size)
    assert max(sheet(picture, [picture] * count).shape) <= MAX_SIDE


def test_a_sheet_refuses_what_it_cannot_show() -> None:
    picture = torch.zeros(3, 32, 32)
    with pytest.raises(InputError, match="too many"):
        sheet(picture, picture.expand(20000, -1, -1, -1))
    with pytest.raises(InputError, match="column"):
        sheet(picture, [picture], columns=0)
    with pytest.raises(InputError, match="shape"):
        sheet(picture, [picture[:1]])


def test_a_picture_knows_its_size() -> None:
    assert Picture(torch.zeros(3, 20, 30)).size == (20, 30)


# -------------------- pictures that are no files


def same(a: Picture, b: Picture) -> bool:
    masks = a.opaque is b.opaque or (a.opaque is not None and b.opaque is not None and torch.equal(a.opaque, b.opaque))
    return masks and torch.equal(a.pixels, b.pixels) and (a.gray, a.notes) == (b.gray, b.notes)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_holds_the_same_values_is_the_same_picture(tmp_path: Path, channels: int) -> None:
    values = colors(channels=channels)
    data = saved(Image.fromarray(values), "PNG")
    path = put(tmp_path, data)
    expected = read(path)
    assert expected.gray == (channels == 1)
    assert (expected.opaque is not None) == (channels == 4)
    for file in (path, str(path), data, bytearray(data), memoryview(data)):
        picture = read_any(file)
        assert same(picture, expected)
        assert picture.sha256 == hashlib.sha256(data).hexdigest()
        assert picture.path == (path if isinstance(file, str | Path) else None)
    hashes = set()
    with Image.open(path) as opened:
        for value in (opened, Image.fromarray(values), values, values.reshape(20, 24, channels)[:, ::-1][:, ::-1]):
            picture = read_any(value)
            assert same(picture, expected)
            assert picture.path is None
            hashes.add(picture.sha256)
    assert len(hashes) == 1
    assert read_any(expected) is expected
    assert read_any(255 - values).sha256 not in hashes


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint16, ">u2", np.float32, np.float64])
def test_arrays_of_more_than_8_bits_keep_them(channels: int, dtype: object) -> None:
    shares = np.random.default_rng(0).random((20, 24, channels))
    shares[0, 0], shares[0, 1] = 0, 1
    deep = np.dtype(dtype).kind == "u"
    array = (np.rint(shares * 65535) if deep else shares).astype(dtype)
    picture = read_any(array[..., 0] if channels == 1 else array)
    expected = array.astype(np.float64) / (65535 if deep else 1)
    opaque = expected[..., 3] >= 0.5 if channels == 4 else np.full((20, 24), True)
    found = (picture.pixels.double().numpy() + 1) / 2
    for plane in range(3):
        assert np.allclose(found[plane][opaque], expected[..., min(plane, channels - 1)][opaque], atol=1e-6)
    assert (picture.opaque is None) == (channels < 4)
    assert f"{8 * np.dtype(dtype).itemsize}-bit: outputs are 8-bit" in picture.notes


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 3])
def test_tensors_are_pictures_with_and_without_a_batch_of_one(channels: int, dtype: torch.dtype) -> None:
    values = torch.from_numpy(colors(channels=channels).reshape(20, 24, channels)).permute(2, 0, 1).contiguous()
    tensor = values if dtype == torch.uint8 else from_uint8(values).to(dtype).requires_grad_()
    expected = from_uint8(values) if dtype == torch.uint8 else tensor.detach().float()
    for value in (tensor, tensor[None]):
        picture = read_any(value)
        assert torch.equal(picture.pixels, expected.expand(3, -1, -1))
        assert picture.gray == (channels == 1)
        assert not picture.pixels.requires_grad
        assert picture.pixels.data_ptr() != tensor.data_ptr()  # what happens to the tensor later is not seen here
        assert picture.opaque is None


def test_a_pillow_picture_is_turned_upright_and_converted() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    with Image.open(io.BytesIO(saved(Image.fromarray(colors()), "PNG", exif=exif))) as opened:
        assert read_any(opened).size == (24, 20)
    indexed = Image.fromarray(colors()).quantize(8)
    assert torch.equal(read_any(indexed).pixels, as_float(np.array(indexed.convert("RGB"))))
    deep = Image.fromarray(np.full((20, 20), 65535, np.uint16))
    assert read_any(deep).pixels.min() == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "a path, bytes, a Pillow picture, an array or a tensor, not int"),
        (None, "an array or a tensor, not NoneType"),
        ([[0, 1]], "an array or a tensor, not list"),
        (b"no picture at all", "bytes: this is not a picture of a known kind"),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), "bytes: damaged"),
        (np.zeros((20, 20, 2), np.uint8), "the shape (h, w) or (h, w, 1, 3 or 4), not (20, 20, 2)"),
        (np.zeros((1, 20, 20, 3), np.uint8), "not (1, 20, 20, 3)"),
        (np.zeros((20, 20), np.int32), "uint8, uint16, or float in [0, 1], not int32"),
        (np.zeros((20, 20), bool), "not bool"),
        (np.zeros((20, 20), complex), "not complex128"),
        (np.array([["a"] * 20] * 20), "uint8, uint16, or float in [0, 1], not"),
        (np.full((20, 20), 200.0), "the array: floats are in [0, 1], and its values go from 200 to 200"),
        (np.full((20, 20), -0.5), "go from -0.5 to -0.5"),
        (np.full((20, 20), np.nan), "the array: the picture holds NaN or infinite values"),
        (np.zeros((20, 8), np.uint8), "the array: the picture has 8 x 20 pixels, and each side must have at least 16"),
        (np.zeros((0, 20), np.uint8), "the array: the picture has 20 x 0 pixels"),
        (np.zeros((16, 900), np.uint8), "the longer side may be at most 50 times the shorter"),
        (np.zeros((100, 1000), np.uint8), "more than the 50,000 allowed"),
        (np.zeros((20, 20, 4), np.uint8), "the array: the picture is fully transparent"),
        (torch.zeros(20, 20), "(3 or 1, h, w) or (1, 3 or 1, h, w), not (20, 20)"),
        (torch.zeros(20, 20, 3), "not (20, 20, 3)"),
        (torch.zeros(2, 3, 20, 20), "not (2, 3, 20, 20)"),
        (torch.zeros(3, 20, 20, dtype=torch.int64), "uint8, or float in [-1, 1], not torch.int64"),
        (torch.full((3, 20, 20), 255.0), "the tensor: floats are in [-1, 1], and its values go from 255 to 255"),
        (torch.full((3, 20, 20), torch.inf), "the tensor: the picture holds NaN or infinite values"),
        (torch.zeros(3, 20, 8), "the tensor: the picture has 8 x 20 pixels"),
        (Image.new("RGB", (8, 20)), "the Pillow picture: the picture has 8 x 20 pixels"),
        (Image.new("RGB", (0, 20)), "the Pillow picture: the picture has 0 x 20 pixels"),
        (Image.new("RGBA", (20, 20)), "the Pillow picture: the picture is fully transparent"),
        (Picture(torch.zeros(3, 20, 8)), "the picture: the picture has 8 x 20 pixels"),
    ],
)
def test_every_wrong_picture_is_refused_in_one_sentence(value: object, message: str) -> None:
    with pytest.raises(InputError) as error:
        read_any(value, max_pixels=50_000)
    sentence = str(error.value)
    assert message in sentence
    assert "\n" not in sentence


def test_a_closed_or_damaged_pillow_picture_is_refused_in_one_sentence(tmp_path: Path) -> None:
    data = saved(Image.fromarray(colors(200, 200)), "PNG")
    closed = Image.open(put(tmp_path, data))
    closed.close()
    cut = Image.open(io.BytesIO(data[: len(data) // 2]))
    for picture in (closed, cut):
        with pytest.raises(InputError, match="the Pillow picture: damaged, truncated or unsupported"):
            read_any(picture)
