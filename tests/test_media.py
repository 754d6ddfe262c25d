"""Enlarged pictures keep their depth, EXIF data, profile, soft alpha, frames and names."""

import io
import struct
import weakref
import zlib

import numpy as np
import pytest
import tifffile
import torch
from PIL import ExifTags, Image, ImageCms, ImageSequence
from skimage import data
from test_images import png

import sinwave
from sinwave.cli import main
from sinwave.images import Movie, encode_movie, movie, probe, read, read_any, to_uint8, write
from sinwave.option_kinds import Source
from sinwave.reduction import Reduction
from sinwave.tasks.base.sources import Place, named

TAG = ExifTags.Base
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def photograph(height: int = 32, width: int = 40) -> np.ndarray:
    """Reduced by means of 8 x 8, so that it has values between the gray levels: float (h, w, 3) in [0, 255]."""
    part = data.astronaut()[: 8 * height, 80 : 80 + 8 * width].astype(float)
    return 20 + 0.85 * part.reshape(height, 8, width, 8, 3).mean((1, 3))


def eight_bit(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(values).astype(np.uint8))


def upscale(*words: object) -> int:
    return main(["upscale", *map(str, words), "--factor", "2"])


# -------------------- 16 bits


def levels(image: torch.Tensor) -> np.ndarray:
    return np.rint((image.double().permute(1, 2, 0).numpy() + 1) * 32767.5)


def unfiltered(file: bytes) -> np.ndarray:
    """Read a PNG of words from the specification: one filter byte a row, and Paeth."""
    place, parts, header = 8, b"", ()
    while place < len(file):
        (length,), name = struct.unpack_from(">I", file, place), file[place + 4 : place + 8]
        body = file[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", file, place + 8 + length) == (zlib.crc32(name + body),)
        header = struct.unpack(">IIBBBBB", body) if name == b"IHDR" else header
        parts, place = parts + body * (name == b"IDAT"), place + 12 + length
    width, height, bits, color = header[:4]
    step = 2 * {0: 1, 2: 3, 4: 2, 6: 4}[color]
    assert bits == 16
    rows, before = zlib.decompress(parts), bytearray(step * (width + 1))
    table = []
    for start in range(0, len(rows), step * width + 1):
        assert rows[start] == 4
        row = bytearray(step) + bytearray(rows[start + 1 : start + 1 + step * width])
        for index in range(step, len(row)):
            a, b, c = row[index - step], before[index], before[index - step]
            estimate = a + b - c
            row[index] = (row[index] + min((a, b, c), key=lambda near, middle=estimate: abs(middle - near))) % 256
        before = row
        table.append(row[step:])
    return np.frombuffer(b"".join(table), ">u2").reshape(height, width, -1)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_words_are_written_as_they_are_and_read_back(tmp_path, suffix, channels):
    words = np.random.default_rng(0).integers(0, 65536, (300, 7, channels)).astype(np.uint16)
    shown = np.repeat(words[..., :1], 3, 2) if channels < 3 else words[..., :3]
    image = torch.from_numpy(
        np.concatenate([shown, words[..., 3:] if channels > 2 else words[..., 1:]], 2) / 32767.5 - 1
    )
    path = tmp_path / f"words{suffix}"
    write(path, image.permute(2, 0, 1).float(), gray=channels < 3, depth=16, text={"Title": "words"})
    there = unfiltered(path.read_bytes()) if suffix == ".png" else tifffile.imread(path).reshape(300, 7, -1)
    # Pillow reads no TIFF of 16-bit gray with alpha.
    np.testing.assert_array_equal(there, words[..., [0, 0, 0, 1]] if (suffix, channels) == (".tif", 2) else words)
    assert probe(path).text == {"Title": "words"}
    picture = read(path, min_side=1)
    np.testing.assert_array_equal(levels(picture.layers)[..., 0], words[..., 0])
    assert picture.depth == 16 and picture.gray == (channels < 3)


def test_a_16_bit_picture_is_enlarged_with_16_bits_and_agrees_far_better_than_half_a_gray_level(tmp_path, capsys):
    words = np.rint(photograph() * 257).astype(np.uint16)
    (tmp_path / "deep.png").write_bytes(png(words, 2))
    eight_bit(photograph()).save(tmp_path / "flat.png")
    assert upscale(tmp_path / "deep.png", tmp_path / "flat.png", "-o", tmp_path) == 0
    assert "8-bit" not in capsys.readouterr().err
    small = torch.from_numpy(words / 32767.5 - 1).permute(2, 0, 1)[None]
    large = torch.from_numpy(unfiltered((tmp_path / "deep-upscale.png").read_bytes()) / 32767.5 - 1).permute(2, 0, 1)
    assert 127.5 * Reduction(small).misfit(large[None]).max() < 0.02
    flat = read(tmp_path / "flat-upscale.png")
    assert flat.depth == 8 and 127.5 * Reduction(small).misfit(flat.pixels[None].double()).max() > 0.2
    sinwave.open(tmp_path / "deep.png").upscale(2).save(tmp_path / "python.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "python.tif"), levels(large))
    sinwave.open(tmp_path / "deep.png").extend(left=8).save(tmp_path / "wide.png")
    assert probe(tmp_path / "wide.png").depth == 8


def test_words_in_planes_are_read_right_or_refused(tmp_path, capsys):
    words = np.rint(photograph() * 257).astype(np.uint16)
    for name, compression in (("raw", None), ("deflated", "zlib")):
        planes = words.transpose(2, 0, 1)
        tifffile.imwrite(
            tmp_path / f"{name}.tif", planes, photometric="rgb", planarconfig="separate", compression=compression
        )
    assert upscale(tmp_path / "raw.tif") == 2
    assert "bits in planes is not supported" in capsys.readouterr().err
    picture = read(tmp_path / "deflated.tif")
    assert picture.notes == ("16-bit colors: read with 8 bits",)
    np.testing.assert_array_equal(to_uint8(picture.pixels).numpy(), planes >> 8)


# -------------------- EXIF data and profiles


def exif_data() -> bytes:
    """EXIF data of a camera that was held sideways, with a thumbnail behind them."""
    exif = Image.Exif()
    exif[TAG.Make], exif[TAG.Copyright], exif[TAG.ImageDescription] = "Brand", "nobody", "a caption"
    exif[TAG.Orientation] = 6
    exif[ExifTags.IFD.Exif] = {
        TAG.DateTimeOriginal: "2024:05:06 07:08:09",
        TAG.ExifImageWidth: 40,
        TAG.ExifImageHeight: 32,
        TAG.MakerNote: b"at an offset",
    }
    exif[ExifTags.IFD.GPSInfo] = {1: "N", 2: (48.0, 51.0, 29.5)}
    block = bytearray(exif.tobytes())
    assert block[6:10] == b"MM\0*"
    (count,) = struct.unpack_from(">H", block, 14)
    struct.pack_into(">I", block, 16 + 12 * count, len(block) - 6)  # the next directory
    directory = struct.pack(">HHHIIHHIII", 2, 0x201, 4, 1, len(block) - 6 + 30, 0x202, 4, 1, 5, 0)
    return bytes(block) + directory + b"THUMB"


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png", ".tif"])
def test_exif_data_stay_but_for_what_would_be_untrue(tmp_path, suffix):
    picture, raw = eight_bit(photograph(24, 28)), exif_data()
    assert b"THUMB" in raw and Image.Exif().get_ifd(ExifTags.IFD.IFD1) == {}
    picture.save(tmp_path / f"photo{suffix}", exif=raw)
    assert upscale(tmp_path / f"photo{suffix}", "-o", tmp_path) == 0
    sinwave.open(tmp_path / f"photo{suffix}").upscale(2).save(tmp_path / f"python{suffix}")
    assert main(["generate", str(tmp_path / f"photo{suffix}"), "-n", "1", "-o", str(tmp_path / "new"), "-q"]) == 0
    for name in ("photo-upscale.png", f"python{suffix}"):
        data = (tmp_path / name).read_bytes()
        with Image.open(io.BytesIO(data)) as large:
            exif = large.getexif()
            assert large.size == (48, 56) and exif.get(TAG.Orientation, 1) == 1
            assert (exif[TAG.Make], exif[TAG.Copyright]) == ("Brand", "nobody")
            assert "a caption" in exif[TAG.ImageDescription]
            assert exif.get_ifd(ExifTags.IFD.Exif) == {
                TAG.DateTimeOriginal: "2024:05:06 07:08:09",
                TAG.ExifImageWidth: 48,
                TAG.ExifImageHeight: 56,
            }
            assert exif.get_ifd(ExifTags.IFD.GPSInfo) == {1: "N", 2: (48.0, 51.0, 29.5)}
        assert b"THUMB" not in data and read(tmp_path / name).size == (56, 48)
    with Image.open(tmp_path / "new/photo-0000.png") as new:
        assert not new.getexif()
    sinwave.open(tmp_path / f"photo{suffix}").extend(left=8).save(tmp_path / "wide.jpg")
    with Image.open(tmp_path / "wide.jpg") as wide:
        assert set(wide.getexif()) == {TAG.ImageDescription} and "a caption" not in wide.getexif()[TAG.ImageDescription]


def test_damaged_exif_data_cost_a_remark_and_not_the_picture(tmp_path, capsys):
    eight_bit(photograph()).save(tmp_path / "photo.png", exif=b"Exif\0\0no directory at all")
    assert main(["upscale", str(tmp_path / "photo.png"), "--factor", "2", "-o", str(tmp_path)]) == 0
    assert "the EXIF data are damaged and are left out" in capsys.readouterr().err


def test_a_profile_of_colors_stays_with_a_gray_picture_and_with_a_palette(tmp_path):
    gray = eight_bit(photograph()).convert("L")
    pictures = {"gray": gray.convert("RGB"), "palette": eight_bit(photograph()).quantize(64)}
    for name, picture in pictures.items():
        picture.save(tmp_path / f"{name}.png", icc_profile=SRGB)
        assert upscale(tmp_path / f"{name}.png", "-o", tmp_path) == 0
        with Image.open(tmp_path / f"{name}-upscale.png") as large:
            assert large.mode == "RGB" and large.info["icc_profile"] == SRGB
            channels = np.asarray(large)
            assert (channels == channels[..., :1]).all() == (name == "gray")
    gray.save(tmp_path / "plain.png", icc_profile=SRGB)
    assert read(tmp_path / "plain.png").icc is None


# -------------------- alpha


def test_soft_alpha_and_the_colors_below_it_are_enlarged_from_file_to_file_and_in_python(tmp_path, capsys):
    alpha = np.rint(np.linspace(0, 255, 40))[None].repeat(32, 0)
    eight_bit(np.dstack([photograph(), alpha])).save(tmp_path / "soft.png")
    assert upscale(tmp_path / "soft.png", "-o", tmp_path) == 0
    assert "transparent" not in capsys.readouterr().err
    sinwave.open(tmp_path / "soft.png").upscale(2).save(tmp_path / "python.png")
    large, again = (np.asarray(Image.open(tmp_path / name)) for name in ("soft-upscale.png", "python.png"))
    np.testing.assert_array_equal(large, again)
    ramp = large[30, 4:-4, 3].astype(int)
    assert (np.diff(ramp) >= 0).all() and abs(ramp - (np.arange(4, 76) - 0.5) / 2 * 255 / 39).max() < 1.5
    light = torch.from_numpy(photograph() / 127.5 - 1).permute(2, 0, 1)[None]
    faint = Reduction(light).misfit(read_any(large).soft[None, :3].double())[..., 4:18]
    assert 127.5 * faint.max() < 2, "colors where alpha is less than one half"


# -------------------- animations


def clip(kind: str, tmp_path, **options: object):
    """A square that jumps over a photograph; two frames are the same."""
    frames = [eight_bit(photograph()) for _ in range(4)]
    for number, frame in zip((0, 1, 3, 5), frames, strict=True):
        frame.paste((230, 40, 30), (4 + 4 * number, 8, 12 + 4 * number, 16))
    path = tmp_path / f"clip.{kind}"
    options = {"loop": 3, "duration": [100, 40, 70, 500], **({"lossless": True} if kind == "webp" else {}), **options}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    return path, frames


@pytest.mark.parametrize(("kind", "result"), [("gif", "gif"), ("webp", "webp"), ("png", "webp")])
def test_an_animation_keeps_its_frames_their_times_and_its_loops(tmp_path, capsys, kind, result):
    path, frames = clip(kind, tmp_path)
    assert upscale(path, "-o", tmp_path) == 0
    assert "using the first" not in capsys.readouterr().err
    with Image.open(tmp_path / f"clip-upscale.{result}") as large:
        assert (large.size, large.n_frames, large.info["loop"]) == ((80, 64), 4, 3)
        drawn, times = [], []
        for frame in ImageSequence.Iterator(large):
            drawn.append(np.asarray(frame.convert("RGB")).astype(int))
            times.append(frame.info["duration"])
    assert times == [100, 40, 70, 500]
    assert probe(tmp_path / f"clip-upscale.{result}").text["sinwave:command"].startswith("sinwave upscale clip")
    for pixels, frame in zip(drawn, frames, strict=True):
        alone = sinwave.open(frame).upscale(2)
        off = np.abs(pixels - np.asarray(alone).astype(int))
        assert off.max() <= 1 if kind != "gif" else off.mean() < 6
    before = (tmp_path / f"clip-upscale.{result}").stat().st_mtime_ns
    assert upscale(path, "-o", tmp_path) == 0
    assert (tmp_path / f"clip-upscale.{result}").stat().st_mtime_ns == before
    assert sinwave.open(path).upscale(2).notes == ("animated: 4 frames, using the first",)


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_what_stands_still_does_not_flicker(tmp_path, kind):
    still = eight_bit(photograph(24, 28)).quantize(64) if kind == "gif" else eight_bit(photograph(24, 28))
    other = still.copy()
    other.paste(0, (20, 16, 26, 22))
    options = {"lossless": True} if kind == "webp" else {}
    still.save(tmp_path / f"a.{kind}", save_all=True, append_images=[other, still.copy()], duration=100, **options)
    assert upscale(tmp_path / f"a.{kind}", "--model", "patches", "--seed", "4", "-o", tmp_path) == 0
    with Image.open(tmp_path / f"a-upscale.{kind}") as large:
        first, second, third = (np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(large))
    np.testing.assert_array_equal(first, third)
    assert (first != second).any()


def test_a_transparent_gif_stays_transparent_where_it_is_and_may_have_an_empty_frame(tmp_path):
    frames, noise = [np.zeros((32, 40, 4)) for _ in range(3)], np.random.default_rng(0)
    for number in (0, 2):  # of more than 256 colors, with a nearly black square
        frames[number][4:24, 4:36] = np.concatenate([noise.uniform(40, 255, (20, 32, 3)), np.full((20, 32, 1), 255)], 2)
        frames[number][8:20, 8 + 4 * number : 20 + 4 * number, :3] = 4
    first, *others = map(eight_bit, frames)
    first.save(tmp_path / "a.gif", save_all=True, append_images=others, duration=[50, 90, 60], disposal=2)
    assert upscale(tmp_path / "a.gif", "-o", tmp_path) == 0
    with Image.open(tmp_path / "a-upscale.gif") as large:
        assert "loop" not in large.info
        drawn = [np.asarray(frame.convert("RGBA")) for frame in ImageSequence.Iterator(large)]
    for pixels, frame in zip(drawn, frames, strict=True):
        np.testing.assert_array_equal(pixels[..., 3], frame[..., 3].repeat(2, 0).repeat(2, 1))
    assert (drawn[0][20:36, 20:36, :3] < 25).all()


def test_black_is_not_taken_for_the_color_of_what_is_transparent(tmp_path):
    sample = np.random.default_rng(0).integers(40, 256, (1, 5000, 3)).astype(np.uint8)
    source = Movie(tmp_path / "x.gif", ".gif", (50, 50), None, True, False, sample, None)
    black = torch.cat([torch.full((3, 20, 24), -1.0), torch.ones(1, 20, 24)])
    data = encode_movie(tmp_path / "x.gif", source, iter([black, black]), {}, None, b"")
    with Image.open(io.BytesIO(data)) as drawn:
        assert (np.asarray(drawn.convert("RGBA"))[..., 3] == 255).all()


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_one_frame_at_a_time_is_in_memory(tmp_path, kind):
    path, frames = clip(kind, tmp_path)
    source, alive = movie(path, max_pixels=10**6, min_side=16), []

    def draw():
        for number in range(len(frames)):
            assert not any(reference() is not None for reference in alive)
            frame = torch.full((3, 32, 40), number / 4)
            alive.append(weakref.ref(frame))
            yield frame
            del frame

    assert encode_movie(tmp_path / f"x.{kind}", source, draw(), {}, None, b"")
    assert len(alive) == 4


def test_a_damaged_animation_and_one_too_large_for_its_kind_are_refused(tmp_path, capsys):
    path, _ = clip("webp", tmp_path)
    large = ["upscale", str(path), "--size", "40x512", "--max-pixels", "100000000", "-o", str(tmp_path), "-q"]
    assert main(large) == 0
    path.write_bytes(path.read_bytes()[:-40])
    assert upscale(path, "-o", tmp_path / "out") == 2
    assert "clip.webp: damaged" in capsys.readouterr().err
    with pytest.raises(sinwave.InputError, match="at most 16383 pixels a side, not 20 x 16384"):
        movie(clip("webp", tmp_path)[0], max_pixels=10**6, min_side=16).check((16384, 20))


# -------------------- names and earlier results


def test_sources_of_one_name_get_names_of_their_own_whatever_their_order(tmp_path):
    paths = ["a/x.png", "b/x.jpg", "b/x.png", "c/X.png", "c/x-jpg.png", "c/y.png"]
    places = [Place(Source.accept(tmp_path / path), tmp_path, "") for path in paths]
    expected = ["x", "x-b", "x-png", "X-c", "x-jpg", "y"]  # x-jpg is a name of its own
    for order in (range(6), range(5, -1, -1), (3, 4, 5, 0, 1, 2)):
        names = [place.name for place in named([places[index] for index in order])]
        assert names == [expected[index] for index in order]
    assert [place.name for place in named(places[:2])] == ["x", "x-jpg"]
    assert [place.name for place in named([places[0], places[2], places[0]])] == ["x", "x-png", "x"]


def test_a_folder_with_x_png_and_x_jpg_gives_both_and_its_own_results_are_no_sources(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("x.png", "x.jpg", "y.png"):
        eight_bit(photograph(16, 24)).save(name)
    assert upscale(".") == 0
    files = {"x-upscale.png", "x-png-upscale.png", "y-upscale.png"}
    assert {path.name for path in tmp_path.glob("*upscale*")} == files
    assert read("x-upscale.png").size == (32, 48)
    capsys.readouterr()
    assert main(["upscale", ".", "--factor", "2"]) == 0
    assert {path.name for path in tmp_path.glob("*upscale*")} == files
    captured = capsys.readouterr()
    assert captured.err.count("3 pictures are left out, results of sinwave upscale") == 1
    for path in tmp_path.glob("[xy].*"):
        path.unlink()
    assert upscale(".") == 2
    assert upscale("y-upscale.png", "-o", "twice") == 0
