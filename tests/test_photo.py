"""The Python face: chains of edits without files in between, in every form that people have pictures in."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sinwave
from sinwave.cli import main
from sinwave.errors import InputError
from sinwave.images import read, read_text, to_uint8
from sinwave.option_kinds import Source
from sinwave.systems.contracts import Computing
from sinwave.tasks import task_of
from sinwave.tasks.base.machine import Hardware
from sinwave.tasks.base.run import Output, Run
from sinwave.tasks.generate import Generate
from sinwave.threads import threads


def scene(width: int = 28, height: int = 24) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    ground = y > height * 0.6 + 3 * np.sin(x / 5)
    red = np.where(ground, 90 + 5 * (x % 3), 120 + y)
    green = np.where(ground, 140 - y % 7, 160 + y)
    return np.stack([red, green, np.where(ground, 50, 230)], 2).astype(np.uint8)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(scene()).save("land.png")
    return tmp_path


def test_a_chain_is_what_it_says(place: Path):
    photo = sinwave.open("land.png").extend(left=8, right=2).upscale(1.5).save("wide.png")
    assert photo.size == (36, 57)
    assert photo.steps == ("extend", "upscale")
    assert torch.equal(to_uint8(read("wide.png").pixels), to_uint8(photo.picture.pixels))
    assert read_text("wide.png")["sinwave:steps"] == "extend upscale"
    assert photo.to_pillow().size == (57, 36)


def test_the_first_edit_is_that_of_the_command(place: Path):
    assert main(["extend", "land.png", "--left", "8", "--seed", "5", "-o", "out", "-q"]) == 0
    mine = sinwave.open("land.png", seed=5).extend(left=8)
    assert torch.equal(to_uint8(mine.picture.pixels), to_uint8(read("out/land-extend-0000.png").pixels))


def test_every_edit_is_there(place: Path):
    photo, other = sinwave.open("land.png"), scene()[::-1].copy()
    mask = np.zeros((24, 28), np.uint8)
    mask[5:10, 10:16] = 255
    results = [
        photo.harmonize(other, mask),
        photo.harmonize(object=np.dstack([other[:10, :12], 255 * np.eye(10, 12, dtype=np.uint8)]), at="10+15"),
        photo.edit(Image.fromarray(other), torch.from_numpy(mask / 255.0), keep=mask),
        photo.paint("land.png", colors=4),
        photo.inpaint(mask),
        photo.retarget("30x20"),
        photo.tile(axes="x"),
        photo.place("8x6+2+15", ["1+1", "15+10"], (20, 30)),
        photo.restyle(other, avoid=mask),
        photo.blend(photo.extend(top=8), weights=(1.0, 2.0)),
        photo.upscale(2),
        photo.restore(),
        photo.extend(left=8, keep=np.ones((24, 36), np.uint8)),
    ]
    sizes = [(24, 28)] * 5 + [(20, 30), (24, 28), (20, 30), (24, 28), (24, 28), (48, 56), (24, 28), (24, 36)]
    assert [result.size for result in results] == sizes
    assert all(result.picture.pixels.isfinite().all() for result in results)
    inside = torch.from_numpy(mask > 0)
    assert torch.equal(results[4].picture.pixels[:, ~inside], photo.picture.pixels[:, ~inside])
    frames = photo.animate(frames=2, fps=4, avoid=mask).save("loop.gif")
    assert read_text("loop.gif")["sinwave:steps"] == "animate"
    assert frames.frames.shape == (3, 3, 24, 28)
    assert frames.fps == 4


def test_what_is_wrong_is_said(place: Path):
    photo = sinwave.open("land.png")
    with pytest.raises(InputError, match=r"extend has no option 'lef'; it has .*left, right"):
        photo.extend(lef=3)
    with pytest.raises(InputError, match="left must be between 0 and 100000, not -3"):
        photo.extend(left=-3)
    with pytest.raises(InputError, match="factor must be between 1 and 16, not 0"):
        photo.upscale(0)
    with pytest.raises(InputError, match="retarget has no option 'keep'"):
        photo.retarget((40, 40), keep=np.ones((4, 4)))
    with pytest.raises(InputError, match="shape"):
        photo.paint(np.zeros((4, 4, 2)))
    with pytest.raises(InputError, match="nothing is left"):
        photo.extend(left=2, avoid=np.full((4, 4), 255, np.uint8))
    with pytest.raises(InputError, match="engine must be one of auto, closed-form, network, hybrid, not 'netwrok'"):
        photo.extend(left=2, engine="netwrok")
    with pytest.raises(InputError, match="animate has no option 'n'"):
        photo.animate(frames=2, n=2)
    with pytest.raises(InputError, match="n must be 1 or more, not 0"):
        photo.extend(left=2, n=0)
    with pytest.raises(InputError, match="upscale has no option 'engine'"):
        photo.upscale(2, engine="network")
    with pytest.raises(InputError, match="model must be small, zero-shot, patches or a model file, and 'smal' is none"):
        photo.upscale(2, model="smal")
    with pytest.raises(InputError, match="the engine hybrid needs a model file"):
        photo.extend(left=8, engine="hybrid")
    with pytest.raises(InputError, match="the mask is black"):
        photo.inpaint(np.zeros((24, 28), np.uint8))
    with pytest.raises(InputError, match="larger than the 100,000,000 pixels allowed"):
        photo.extend(left=100_000, right=100_000, top=100_000)
    with pytest.raises(InputError, match="must have at least 16"):
        photo.paint(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError, match="no such file"):
        sinwave.open("nothing.png")


def test_opening_is_all_that_loads_torch():
    code = "import sys, sinwave; sinwave.open; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_results_have_numbers_and_each_is_that_of_the_command(place: Path):
    assert main(["generate", "land.png", "-n", "2", "--seed", "5", "-o", "out", "-q"]) == 0
    photos = sinwave.open("land.png", seed=5).generate(2)
    for index, photo in enumerate(photos):
        assert torch.equal(to_uint8(photo.picture.pixels), to_uint8(read(f"out/land-{index:04d}.png").pixels))
    extended = sinwave.open("land.png").extend(left=8, n=2)
    assert len(extended.results) == 2
    assert extended.results[0].results == (extended.results[0],)
    assert torch.equal(extended.pixels, extended.results[0].pixels)
    assert not torch.equal(extended.pixels, extended.results[1].pixels)
    assert torch.equal(extended.pixels, sinwave.open("land.png").extend(left=8).pixels)


def test_a_photo_shows_itself(place: Path):
    photo = sinwave.open("land.png").extend(left=8)
    pixels = np.asarray(photo)
    assert (pixels.shape, pixels.dtype) == ((24, 36, 3), np.uint8)
    assert np.array_equal(pixels, np.asarray(photo.to_pillow()))
    assert np.asarray(photo, np.float32).dtype == np.float32
    with Image.open(io.BytesIO(photo._repr_png_())) as image:
        assert np.array_equal(np.asarray(image), pixels)
    assert repr(photo) == "<Photo land: 36 x 24 extend>"
    assert repr(photo.animate(frames=2, fps=4.0, strength=0.0)) == "<Frames: 3 of 36 x 24, 4 a second>"


@pytest.mark.slow
def test_a_type_checker_knows_the_options(tmp_path: Path):
    api, root = pytest.importorskip("mypy.api"), Path(__file__).parents[1]
    snippet = tmp_path / "snippet.py"
    snippet.write_text("import sinwave\nphoto = sinwave.open('a.png')\nphoto.extend(left=3)\nphoto.extend(lef=3)\n")
    assert api
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--cache-dir", str(tmp_path), str(snippet)]
    environment = os.environ | {"MYPYPATH": str(root / "src")}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    errors = [line for line in ended.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 1, ended.stdout
    assert ':4: error: Unexpected keyword argument "lef"' in errors[0]


FORMS = {
    "path": lambda pixels: "land.png",
    "Path": lambda pixels: Path("land.png"),
    "bytes": lambda pixels: Path("land.png").read_bytes(),
    "Pillow": lambda pixels: Image.fromarray(pixels),
    "array": lambda pixels: pixels,
    "array of floats": lambda pixels: pixels / np.float64(255),
    "array with alpha": lambda pixels: np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)]),
    "tensor of bytes": lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1),
    "tensor": lambda pixels: (torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1)[None],
    "photo": lambda pixels: sinwave.open("land.png"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_picture_is_the_same_picture(form: str, place: Path):
    value = FORMS[form](scene())
    photo = sinwave.open(value)
    assert np.array_equal(np.asarray(photo), scene())
    painted = photo.paint(value, strength=0.0)
    assert np.array_equal(np.asarray(painted), scene())


@pytest.mark.parametrize("shape", [(24, 28), (24, 28, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_gray_drawings_have_no_channels(shape: tuple[int, ...], dtype: type, place: Path):
    gray = scene()[..., 1].reshape(shape)
    drawing = gray if dtype is np.uint8 else (gray / 255).astype(dtype)
    expected = np.repeat(scene()[..., 1:2], 3, 2)
    for form in (drawing, torch.from_numpy(gray.reshape(1, 24, 28))):
        assert np.array_equal(np.asarray(sinwave.open("land.png").paint(form, strength=0.0)), expected)
        assert np.array_equal(np.asarray(sinwave.open(form)), expected)


HOSTILE = [
    np.zeros((4, 4)),
    np.zeros((24, 28, 2), np.uint8),
    np.zeros((1, 24, 28, 3), np.uint8),
    np.zeros((0, 0, 3), np.uint8),
    np.zeros((24, 28, 3), np.int64),
    np.full((24, 28, 3), 7.0),
    np.full((24, 28, 3), np.nan),
    np.zeros((24, 28, 3), np.complex64),
    torch.zeros(24, 28),
    torch.zeros(2, 3, 24, 28),
    torch.zeros(24, 28, 3),
    torch.zeros(3, 24, 28, dtype=torch.int64),
    torch.full((3, 24, 28), 255.0),
    torch.full((3, 24, 28), torch.nan),
    torch.zeros(3, 0, 28),
    b"no picture",
    [[1, 2], [3, 4]],
    object(),
    None,
    7,
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: f"{type(value).__name__} {getattr(value, 'shape', '')}")
def test_what_is_no_picture_is_one_sentence(value: Any, place: Path):
    photo = sinwave.open("land.png")
    for use in (sinwave.open, photo.paint, photo.restyle, photo.edit, photo.blend):
        with pytest.raises(InputError) as raised:
            use(value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", [*HOSTILE[1:4], *HOSTILE[6:8], HOSTILE[9], *HOSTILE[13:]])
def test_what_is_no_mask_is_one_sentence(value: Any, place: Path):
    photo = sinwave.open("land.png")
    uses = [photo.inpaint, lambda mask: photo.harmonize(photo, mask)]
    if value is not None:
        uses += [lambda mask: photo.edit(photo, mask), lambda mask: photo.extend(left=8, avoid=mask)]
        uses += [lambda mask: photo.extend(left=8, keep=mask)]
    for use in uses:
        with pytest.raises(InputError) as raised:
            use(value)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("count", [1, 2])
def test_threads_are_given_back(count: int, place: Path):
    with threads(2):
        photo = sinwave.open("land.png", threads=count).generate(2)[0]
        assert torch.get_num_threads() == 2
        task = Generate(source=Source.accept("land.png"))
        Run(task, Output(count=1, output=Path(f"out{count}")), Hardware(threads=count)).run()
        assert torch.get_num_threads() == 2
        with pytest.raises(InputError):
            photo.extend(left=10**9)
        assert torch.get_num_threads() == 2


def stopping(after: int) -> Callable[..., None]:
    """A callback that ends the work at its n-th call, and fails if it is called again."""
    calls = []

    def call(*values: Any) -> None:
        calls.append(values)
        assert len(calls) <= after
        if len(calls) == after:
            raise sinwave.Stop

    return call


STOPPED = {
    "generate": lambda photo, **on: photo.generate(3, **on),
    "inpaint": lambda photo, **on: photo.inpaint(hole(), **on),
    "animate": lambda photo, **on: photo.animate(frames=3, **on),
    "upscale": lambda photo, **on: photo.upscale(2, model="zero-shot", **on),
}


def hole() -> np.ndarray:
    mask = np.zeros((24, 28), np.uint8)
    mask[5:10, 10:16] = 255
    return mask


@pytest.mark.parametrize("name", STOPPED)
@pytest.mark.parametrize("callback", ["on_progress", "on_estimate"])
@pytest.mark.parametrize("count", [1, 2])
def test_any_callback_may_stop_the_work_within_a_step(name: str, callback: str, count: int, place: Path):
    with threads(count), pytest.raises(sinwave.Stop):
        STOPPED[name](sinwave.open("land.png"), **{callback: stopping(3)})


@pytest.mark.parametrize("name", STOPPED)
@pytest.mark.parametrize("callback", ["on_progress", "on_estimate"])
def test_work_that_is_stopped_leaves_no_partial_file(name: str, callback: str, place: Path):
    Image.fromarray(hole()).save("hole.png")
    options = {"inpaint": {"mask": "hole.png"}, "animate": {"frames": 3}, "upscale": {"model": "zero-shot"}}
    task = task_of(name)(source="land.png", **options.get(name, {}))
    with pytest.raises(sinwave.Stop):
        Run(task, Output(count=2, output=Path("out"))).run(**{callback: stopping(3)})
    assert list(Path("out").iterdir()) == []


def test_estimates_have_the_size_of_their_scale_and_come_to_the_result(place: Path):
    Image.fromarray(np.kron(scene(), np.ones((4, 4, 1), np.uint8))).save("large.png")
    photo, estimates = sinwave.open("large.png"), list[np.ndarray]()
    (result,) = photo.generate(1, on_estimate=estimates.append)
    sizes = list(dict.fromkeys(estimate.shape[:2] for estimate in estimates))
    scales = photo.opened.build(Computing(torch.device("cpu"), torch.float32)).scales(photo.pixels)
    assert sizes == [tuple(scale.shape[2:]) for scale in scales]
    assert len(sizes) > 1
    assert all(estimate.dtype == np.uint8 for estimate in estimates)
    off = np.abs(estimates[-1].astype(int) - np.asarray(result).astype(int))
    assert off.mean() < 3
