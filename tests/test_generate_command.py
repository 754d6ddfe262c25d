"""`sinwave generate` as a user runs it: what it writes, says and refuses."""

import io
import json
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sinwave.cli import main
from sinwave.errors import InputError, OutputError
from sinwave.images import probe, read, read_text, sheet, to_uint8
from sinwave.images.writing import MAX_SIDE
from sinwave.option_kinds import Source
from sinwave.systems.table import estimate
from sinwave.tasks.base.machine import device_memory
from sinwave.tasks.base.run import Output, Run, Written
from sinwave.tasks.base.task import open_source
from sinwave.tasks.generate import Generate

SMALL = (28, 23)


def landscape(width: int = SMALL[0], height: int = SMALL[1]) -> Image.Image:
    """A sky, a ground and some things on it."""
    y, x = np.mgrid[:height, :width]
    ground = y > height * 0.6 + 3 * np.sin(x / 5)
    tree = (abs(x % 13 - 6) < 2) & (y > height * 0.4)
    red = np.where(ground, 90 + 5 * (x % 3), np.where(tree, 40, 120 + y))
    green = np.where(ground, 140 - y % 7, np.where(tree, 90, 160 + y))
    blue = np.where(ground, 50, np.where(tree, 30, 230))
    return Image.fromarray(np.stack([red, green, blue], 2).astype(np.uint8))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "land.png"
    landscape().save(path)
    return path


def test_it_writes_pictures_and_a_sheet_and_says_so(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "out"
    assert main(["generate", str(picture), "-n", "3", "-o", str(out), "--json", "--seed", "5"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result) == {"files", "sheet", "seed", "seconds", "peak_memory_mb"}
    assert result["files"] == [str(out / f"land-{index:04d}.png") for index in range(3)]
    assert result["seed"] == 5
    assert result["seconds"] > 0
    for file in result["files"]:
        assert probe(file).size == (SMALL[1], SMALL[0])
    assert sorted(path.name for path in out.iterdir()) == [
        "land-0000.png",
        "land-0001.png",
        "land-0002.png",
        "land-sheet.png",
    ]
    assert probe(result["sheet"]).size[1] > 2 * SMALL[0]


def test_a_single_result_may_have_a_name(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "new.jpg"
    arguments = ["generate", str(picture), "-n", "1", "-o", str(out), "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["files"] == [str(out)]
    assert probe(out).format == "JPEG"
    assert sorted(path.name for path in out.parent.iterdir()) == ["new-sheet.png", "new.jpg"]
    written = out.stat().st_mtime_ns
    assert main(arguments) == 0
    assert out.stat().st_mtime_ns == written
    assert main([*arguments, "--seed", "1"]) == 2
    assert "another file of that name exists" in capsys.readouterr().err
    (tmp_path / "folder.png").mkdir()
    assert main(["generate", str(picture), "-n", "1", "-o", str(tmp_path / "folder.png")]) == 0
    assert (tmp_path / "folder.png" / "land-0000.png").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-o", "new.png"], "new.png names a single result, and there are 8: name a folder, or add -n 1"),
        (["-n", "1", "-o", "new.gif"], "new.gif: the name of this result ends in .png or .jpg or"),
        (["-n", "1", "-o", "new.bmp"], "new.bmp: the name of this result ends in .png or .jpg or"),
        (["-n", "1", "-o", "new.png", "land.png"], "new.png names a single result: name a folder"),
        (["-n", "1", "-o", "land.png", "--overwrite"], "land.png: this is read here, and the result would replace it"),
    ],
)
def test_a_name_that_does_not_fit_is_refused(
    picture: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(picture.parent)
    before = picture.read_bytes()
    assert main(["generate", str(picture), *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert [path.name for path in picture.parent.iterdir()] == ["land.png"]
    assert picture.read_bytes() == before


def test_the_table_for_people(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["generate", str(picture), "-n", "2", "-o", str(tmp_path), "--size", "50x20"]) == 0
    printed = capsys.readouterr()
    assert "2 of 50 x 20 pixels" in printed.out
    assert "land-sheet.png" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ([], SMALL),
        (["--size", "51x37"], (51, 37)),
        (["--size", "16x90"], (16, 90)),
        (["--scale", "1.5x1"], (42, 23)),
        (["--scale", "2"], (56, 46)),
        (["--scale", ".75x2"], (21, 46)),
    ],
)
@pytest.mark.parametrize("variation", ["0", "0.6", "1"])
def test_sizes(picture: Path, tmp_path: Path, arguments: list[str], size: tuple[int, int], variation: str) -> None:
    out = tmp_path / "out"
    assert main(["generate", str(picture), "-n", "1", "-o", str(out), "--variation", variation, *arguments]) == 0
    height, width = probe(out / "land-0000.png").size
    assert (width, height) == size


def test_the_kth_picture_does_not_depend_on_how_many_there_are(picture: Path, tmp_path: Path) -> None:
    for count in (1, 3):
        assert main(["generate", str(picture), "-n", str(count), "-o", str(tmp_path / str(count))]) == 0
    first = [(tmp_path / str(count) / "land-0000.png").read_bytes() for count in (1, 3)]
    assert first[0] == first[1]
    assert first[1] != (tmp_path / "3" / "land-0001.png").read_bytes()


def test_threads_change_nothing_that_can_be_seen(picture: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            arguments = ["-n", "1", "--variation", "1", "-o", str(tmp_path / str(threads)), "--threads", str(threads)]
            assert main(["generate", str(picture), *arguments]) == 0
            assert torch.get_num_threads() == before
    finally:
        torch.set_num_threads(before)
    one, two = (read(tmp_path / str(threads) / "land-0000.png").pixels for threads in (1, 2))
    assert (one - two).square().mean() < 4 * 10**-4.0


def test_variation_0_is_the_picture(picture: Path, tmp_path: Path) -> None:
    assert main(["generate", str(picture), "-n", "1", "-o", str(tmp_path), "--variation", "0"]) == 0
    error = (read(picture).pixels - read(tmp_path / "land-0000.png").pixels).square().mean()
    assert error < 4 * 10**-4.0


def test_every_output_says_how_it_was_made(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--size", "29x23", "--variation", "0.6", "--seed", "3"]
    assert main(["generate", str(picture), "-n", "2", "-o", str(tmp_path), "-q", *options]) == 0
    text = read_text(tmp_path / "land-0001.png")
    assert text["sinwave:command"] == "sinwave generate land.png --size 29x23 --variation 0.6 --seed 3"
    assert text["sinwave:picture"] == "1"
    capsys.readouterr()
    assert main(["info", str(tmp_path / "land-0001.png"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == text


def test_running_again_goes_on_and_never_overwrites(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["generate", str(picture), "-o", str(out), "-q"]
    assert main([*command, "-n", "2"]) == 0
    stamps = [(out / f"land-000{index}.png").stat().st_mtime_ns for index in range(2)]
    (out / "land-0001.png").unlink()
    assert main([*command, "-n", "3"]) == 0
    assert (out / "land-0000.png").stat().st_mtime_ns == stamps[0]
    assert (out / "land-0002.png").exists()
    capsys.readouterr()
    assert main([*command, "-n", "3", "--seed", "1"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "-n", "3", "--seed", "1", "--overwrite"]) == 0
    assert read_text(out / "land-0000.png")["sinwave:seed"] == "1"


def test_ctrl_c_keeps_what_is_finished(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sinwave", "generate", str(picture), "-n", "2000", "-o", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (out / "land-0001.png").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error == "sinwave: interrupted\n"
    names = sorted(path.name for path in out.iterdir())
    assert "land-0001.png" in names  # others may have been finished or not: several are drawn at once
    assert all(name.endswith(".png") for name in names)
    for name in names:
        assert read(out / name).size == (SMALL[1], SMALL[0])


def test_gray_stays_gray_and_transparency_is_not_learned(tmp_path: Path) -> None:
    gray = tmp_path / "gray.png"
    landscape().convert("L").save(gray)
    assert main(["generate", str(gray), "-n", "1", "-o", str(tmp_path), "-q"]) == 0
    assert probe(tmp_path / "gray-0000.png").mode == "L"

    pixels = np.array(landscape(32, 28).convert("RGBA"))
    pixels[:12, :10] = (255, 0, 255, 0)
    hole = tmp_path / "hole.png"
    Image.fromarray(pixels).save(hole)
    assert main(["generate", str(hole), "-n", "2", "-o", str(tmp_path), "-q", "--variation", "1"]) == 0
    for index in range(2):
        drawn = to_uint8(read(tmp_path / f"hole-000{index}.png").pixels).int()
        assert probe(tmp_path / f"hole-000{index}.png").mode == "RGB"
        assert not ((drawn[0] > 200) & (drawn[1] < 60) & (drawn[2] > 200)).any()


def test_the_color_profile_is_kept(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = tmp_path / "managed.png"
    landscape().save(source, icc_profile=profile)
    assert main(["generate", str(source), "-n", "1", "-o", str(tmp_path), "-q"]) == 0
    with Image.open(tmp_path / "managed-0000.png") as image:
        assert image.info["icc_profile"] == profile


def test_an_animation_gives_its_first_frame_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "moving.gif"
    landscape().save(source, save_all=True, append_images=[landscape().rotate(180)])
    assert main(["generate", str(source), "-n", "1", "-o", str(tmp_path)]) == 0
    assert "2 frames, using the first" in capsys.readouterr().err


def test_the_estimate_grows_linearly() -> None:
    once, twice = estimate((200, 300), (2000, 1000)), estimate((200, 300), (2000, 2000))
    nothing = estimate((200, 300), (0, 0))
    assert twice.picture - nothing.picture == pytest.approx(2 * (once.picture - nothing.picture))


@pytest.mark.parametrize(("device", "place"), [("cpu", "this machine"), ("cuda:1", "the device cuda:1")])
def test_the_memory_of_the_device_itself_is_what_counts(
    device: str, place: str, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large machine with a small device, and the other way round."""
    asked, memory = [], {"cpu": 3 * 10**9, "cuda": 3 * 10**9}

    def look_up(device: torch.device) -> int:
        asked.append(device)
        return memory[device.type]

    monkeypatch.setattr("sinwave.tasks.base.machine.device_memory", look_up)
    opened, chosen = open_source(Source.accept(picture), "auto", 10**9), torch.device(device)
    opened.check_memory((23, 28), chosen)
    needed = opened.loaded.memory("closed-form", (4000, 6000))
    assert needed > 3e9
    memory["cpu" if device == "cuda:1" else "cuda"] = 10**15
    with pytest.raises(InputError, match=rf"needs about {needed / 1e9:.0f} GB of memory, and {place} has 3"):
        opened.check_memory((4000, 6000), chosen)
    with pytest.raises(InputError, match="of memory"):
        opened.check_memory((1000, 1000), chosen, frames=1000)
    memory[chosen.type] = 10**15
    opened.check_memory((4000, 6000), chosen)
    assert set(asked) == {chosen}


def test_an_accelerator_is_asked_for_its_own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1, {0: 8, 1: 24}[device.index]))
    assert device_memory(torch.device("cuda", 1)) == 24
    there = device_memory(torch.device("cpu"))
    assert there is None or there > 10**8
    assert device_memory(torch.device("meta")) is None


def test_a_long_result_is_kept_when_the_command_comes_again(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that no source may be as long as."""
    command = ["generate", str(picture), "--size", "1040x20", "-o", str(tmp_path / "out"), "-q"]
    assert main([*command, "-n", "1"]) == 0
    result = tmp_path / "out" / "land-0000.png"
    before = result.stat().st_mtime_ns
    assert main([*command, "-n", "1"]) == 0
    assert result.stat().st_mtime_ns == before
    assert probe(result).size == (20, 1040)
    capsys.readouterr()
    assert "50 times" in refused(capsys, ["generate", str(result), "-o", str(tmp_path / "out")])


def test_a_sheet_of_many_tall_pictures_is_always_possible() -> None:
    """Results that are drawn already are not lost for their sheet."""
    for size, count, inputs in (((600, 24), 32, 0), ((4096, 200), 18, 2), ((20, 400), 47, 100)):
        picture = torch.zeros(3, 1, 1).expand(3, *size)
        overview = sheet(picture, [picture] * count, inputs={f"source {n}": picture for n in range(inputs)})
        assert max(overview.shape) <= MAX_SIDE


def test_a_sheet_that_leaves_results_off_says_so(
    picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinwave.tasks.base.run.ON_SHEET", 2)
    for count, notes in ((2, ()), (3, ("the sheet shows the first 2 of 3 results",))):
        assert run(picture, tmp_path, count=count, variation=0.0).notes == notes


def test_the_task_in_python(picture: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, float, float]] = []
    task = Run(Generate(source=Source.accept(picture), variation=1.0), Output(count=2, output=tmp_path / "out"))
    result = task.run(lambda label, done, total: seen.append((label, done, total)))
    assert [file.exists() for file in result.files] == [True, True]
    done = [share for _, share, _ in seen]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(2)
    assert seen[-1][0].startswith("picture 2 of 2, ")
    with pytest.raises(OutputError):
        run(picture, tmp_path / "out", count=1, seed=9)


def run(picture: Path, out: Path, *, count: int = 1, seed: int = 0, **options: Any) -> Written:
    return Run(Generate(source=Source.accept(picture), **options), Output(count=count, seed=seed, output=out)).run()


def png(width: int, height: int) -> bytes:
    """A PNG header that promises a size, with no pixels behind it."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def flipped(data: bytes, at: float) -> bytes:
    place = int(len(data) * at)
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


WHOLE = encoded(landscape(), "PNG")
HOSTILE_FILES: dict[str, bytes] = {
    "empty.png": b"",
    "one-byte.png": b"\x89",
    "text.png": b"this is no picture\n" * 20,
    "zeros.jpg": bytes(4096),
    "noise.bmp": np.random.default_rng(0).bytes(4096),
    "program.png": b"\x7fELF" + bytes(200),
    "page.html": b"<html><body>no picture</body></html>",
    "vector.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"/>',
    "document.pdf": b"%PDF-1.4\n%%EOF\n",
    "postscript.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n",
    "cut.png": WHOLE[: len(WHOLE) // 2],
    "cut-tail.png": WHOLE[:-20],
    "header-only.png": WHOLE[:33],
    "flipped.png": flipped(WHOLE, 0.5),
    "cut.jpg": encoded(landscape(), "JPEG")[:300],
    "cut.gif": encoded(landscape(), "GIF")[:100],
    "cut.tif": encoded(landscape(), "TIFF")[:200],
    "cut.webp": encoded(landscape(), "WEBP")[:100],
    "bomb.png": png(100_000, 100_000),
    "long-bomb.png": png(2_000_000_000, 1),
    "tiny.png": encoded(landscape(15, 40), "PNG"),
    "pixel.png": encoded(landscape(1, 1), "PNG"),
    "line.png": encoded(landscape(16 * 60, 16), "PNG"),
    "invisible.png": encoded(Image.new("RGBA", (40, 40)), "PNG"),
    "almost-invisible.png": encoded(
        Image.fromarray(np.eye(40, dtype=np.uint8)[..., None] * np.full(4, 255, np.uint8)), "PNG"
    ),
}


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """The one line that a command is refused with."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("sinwave: ")
    assert printed.err.count("\n") == 1
    assert "Traceback" not in printed.err
    assert "internal error" not in printed.err
    return printed.err


@pytest.mark.parametrize("name", HOSTILE_FILES)
def test_hostile_files(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    path.write_bytes(HOSTILE_FILES[name])
    out = tmp_path / "out"
    assert name in refused(capsys, ["generate", str(path), "-o", str(out)]) or name == "almost-invisible.png"
    assert not out.exists()


def _file_in_the_way(folder: Path) -> list[str]:
    (folder / "way").write_text("")
    return ["-o", str(folder / "way")]


def _folder_below_a_file(folder: Path) -> list[str]:
    (folder / "way").write_text("")
    return ["-o", str(folder / "way" / "deeper")]


def _another_file(folder: Path) -> list[str]:
    (folder / "land-0001.png").write_bytes(WHOLE)
    return ["-o", str(folder)]


def _folder_for_a_picture(folder: Path) -> list[str]:
    (folder / "land-0000.png").mkdir()
    return ["-o", str(folder)]


HOSTILE_ARGUMENTS: dict[str, list[str] | Callable[[Path], list[str]]] = {
    "NaN variation": ["--variation", "nan"],
    "infinite variation": ["--variation", "inf"],
    "negative variation": ["--variation", "-0.1"],
    "variation above 1": ["--variation", "1.01"],
    "variation in words": ["--variation", "much"],
    "no pictures": ["-n", "0"],
    "negative number": ["-n", "-3"],
    "half a picture": ["-n", "1.5"],
    "too many": ["-n", "99999999999999999999"],
    "size 0": ["--size", "0x0"],
    "size below the least": ["--size", "40x15"],
    "absurd size": ["--size", "100000x100000"],
    "absurd digits": ["--size", "9" * 500 + "x1"],
    "negative size": ["--size", "-40x40"],
    "size without height": ["--size", "40"],
    "size in words": ["--size", "large"],
    "scale 0": ["--scale", "0"],
    "NaN scale": ["--scale", "nan"],
    "absurd scale": ["--scale", "1e9"],
    "huge scale": ["--scale", "99999"],
    "size and scale": ["--size", "40x40", "--scale", "2"],
    "negative seed": ["--seed", "-1"],
    "seed beyond 63 bits": ["--seed", str(2**63)],
    "seed in words": ["--seed", "lucky"],
    "no such device": ["--device", "abacus"],
    "device that is not here": ["--device", "cuda:99"],
    "unknown dtype": ["--dtype", "float8"],
    "no threads": ["--threads", "0"],
    "unknown option": ["--varation", "1"],
    "option without value": ["--seed"],
    "tiny limit": ["--max-pixels", "256"],
    "NUL in the folder": ["-o", "a\0b"],
    "folder with too long a name": ["-o", "x" * 5000],
    "file in the way": _file_in_the_way,
    "folder below a file": _folder_below_a_file,
    "another file of that name": _another_file,
    "folder of that name": _folder_for_a_picture,
}


@pytest.mark.parametrize("name", HOSTILE_ARGUMENTS)
def test_hostile_arguments(name: str, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = HOSTILE_ARGUMENTS[name]
    extra = arguments(tmp_path) if callable(arguments) else arguments
    place = [] if "-o" in extra else ["-o", str(tmp_path / "out")]
    before = sorted(tmp_path.rglob("*"))
    refused(capsys, ["generate", str(picture), *place, *extra])
    assert [path for path in sorted(tmp_path.rglob("*")) if path not in before and path.name != "out"] == []


@pytest.mark.parametrize("source", ["absent.png", ".", "", "a\0b.png", "n" * 5000 + ".png", "/dev/null"])
def test_sources_that_are_no_files(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(capsys, ["generate", source, "-o", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the full disk of Linux")
def test_a_full_disk_for_the_result_itself(picture: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sinwave", "generate", str(picture), "-n", "1", "-o", str(tmp_path / "out")]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "no space left" in ended.stderr.lower()


def test_no_room_for_a_picture(picture: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    assert resource  # a limit on the size of files stands for the full disk: both make a write fail in the middle
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from sinwave.cli import main; import torch;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300)); sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, "generate", str(picture), "-n", "1", "-o", str(tmp_path / "out")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "cannot be written" in ended.stderr
    assert list((tmp_path / "out").iterdir()) == []
