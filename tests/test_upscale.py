"""Upscale: larger, consistent, and sharper than bicubic."""

import numpy as np
import pytest
import torch
from drawing import inputs_of
from PIL import Image
from skimage import data

from sinwave.cli import main
from sinwave.errors import InputError
from sinwave.images import from_uint8, to_uint8
from sinwave.option_kinds import Source
from sinwave.reduction import Reduction
from sinwave.resize import resize
from sinwave.rng import NoiseSource
from sinwave.systems.contracts import Computing, Progress
from sinwave.systems.files import ModelFile, write_model
from sinwave.systems.residual_sr.network import EnlargingNetwork, Shape
from sinwave.tasks.upscale import Upscale

CPU = Computing(torch.device("cpu"), torch.float32, quick=True)


def photograph(height: int = 60, width: int = 72) -> torch.Tensor:
    pixels = torch.from_numpy(np.asarray(data.astronaut())).movedim(-1, 0)[None] / 127.5 - 1
    return from_uint8(to_uint8(resize(pixels[..., :300, 100:460], (height, width))))


def pillow(picture: torch.Tensor) -> Image.Image:
    return Image.fromarray(to_uint8(picture[0]).permute(1, 2, 0).contiguous().numpy())


def sharpness(picture: torch.Tensor) -> float:
    return sum((picture.diff(dim=dim).square().mean().item()) for dim in (2, 3))


def enlarged(picture: torch.Tensor, steps: list[Progress] | None = None, **options: object) -> torch.Tensor:
    task = Upscale(source=Source(picture[0]), **options)
    opened = task.open(10**8)
    model = opened.loaded.build(opened.engine, CPU)
    with torch.inference_mode():
        drawing = task.prepare(inputs_of(task, picture))
        return drawing.draw(model, NoiseSource(1), None if steps is None else steps.append)


@pytest.mark.parametrize(
    ("model", "factor"),
    [
        *((model, factor) for model in ("small", "zero-shot") for factor in (1.5, 2, 3)),
        ("patches", 1.5),
        pytest.param("patches", 3, marks=pytest.mark.slow),
    ],
)
def test_it_is_sharper_than_bicubic_and_reduced_to_the_picture(model, factor, monkeypatch):
    monkeypatch.setattr("sinwave.systems.zero_shot.enlarger._STEPS", 60)
    height, width = 40, 48
    picture, steps = photograph(height, width), list[Progress]()
    large = enlarged(picture, steps, factor=float(factor), model=model)
    assert large.shape == (1, 3, round(height * factor), round(width * factor))
    assert large.abs().max() <= 1
    assert (127.5 * Reduction(picture).misfit(from_uint8(to_uint8(large)))).max() <= 1
    reduced = pillow(large).resize((width, height), Image.Resampling.BICUBIC)
    # Pillow also cuts and rounds what is reduced along one side only, which a few bright edges feel.
    off = np.abs(np.asarray(reduced).astype(int) - np.asarray(pillow(picture)).astype(int))
    assert (off > 1).mean() < 0.003
    assert sharpness(large) > 1.1 * sharpness(resize(picture, (large.shape[2], large.shape[3])))
    shares = [(progress.part + progress.step / progress.steps) / progress.parts for progress in steps]
    assert shares == sorted(shares) and shares[-1] == 1


@pytest.mark.parametrize("reduction", ["area", "lanczos"])
def test_it_agrees_with_the_reduction_that_is_named(reduction):
    picture = photograph()
    large = enlarged(picture, factor=3.0, reduction=reduction)
    assert (127.5 * Reduction(picture, reduction).misfit(large)).max() < 0.5
    assert (127.5 * Reduction(picture).misfit(large)).max() > 1


def test_consistency_moves_the_result_by_a_share():
    picture = photograph()
    free, half, whole = (enlarged(picture, factor=2.0, consistency=share) for share in (0.0, 0.5, 1.0))
    assert (127.5 * Reduction(picture).misfit(whole)).max() < 0.5
    assert (half - (free + whole) / 2).abs().mean() < 0.1 * (free - whole).abs().mean()
    misfits = [Reduction(picture).misfit(large).mean() for large in (whole, half, free)]
    assert misfits == sorted(misfits) and misfits[1] > 3 * misfits[0]
    camera = enlarged(picture, factor=2.0, reduction="camera")
    torch.testing.assert_close(camera, enlarged(picture, factor=2.0, consistency=0.6))


@pytest.mark.parametrize("model", ["small", "zero-shot", "patches"])
def test_by_nothing_it_is_the_picture(model):
    picture = photograph()
    assert torch.equal(enlarged(picture, factor=1.0, model=model), picture)


def test_patches_of_full_fidelity_are_what_can_be_told():
    picture = photograph()
    plain = enlarged(picture, factor=2.0, model="patches", fidelity=1.0)
    reduction = Reduction(picture)
    torch.testing.assert_close(plain, reduction.in_range(reduction.nearest(resize(picture, (120, 144)))))


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, (240, 288)),
        ({"factor": 2.5}, (150, 180)),
        ({"size": "100x90"}, (90, 100)),
        ({"longest": 100}, (83, 100)),
        ({"factor": 5.0}, (300, 360)),
    ],
)
def test_the_size_is_the_one_that_is_asked_for(options, size):
    picture = photograph()
    large = enlarged(picture, **options)
    assert tuple(large.shape[2:]) == size
    assert (127.5 * Reduction(picture).misfit(large)).max() < 1


def test_an_unknown_model_is_named():
    with pytest.raises(InputError, match="must be small, zero-shot, patches or a model file, and 'large' is none"):
        enlarged(photograph(), model="large")


def cut_out(path) -> None:
    """A disk of the photograph; what is transparent is green."""
    y, x = np.mgrid[:60, :72]
    inside = (y - 30) ** 2 + (x - 36) ** 2 < 25**2
    colors = np.where(inside[..., None], np.asarray(pillow(photograph())), [0, 255, 0])
    Image.fromarray(np.dstack([colors, 255 * inside]).astype(np.uint8), "RGBA").save(path)


def test_transparency_is_enlarged_apart_and_its_colors_do_not_bleed(tmp_path):
    cut_out(tmp_path / "disk.png")
    assert main(["upscale", str(tmp_path / "disk.png"), "--factor", "3", "-o", str(tmp_path)]) == 0
    with Image.open(tmp_path / "disk-upscale.png") as large:
        assert (large.mode, large.size) == ("RGBA", (216, 180))
        pixels = np.asarray(large).astype(int)
    y, x = np.mgrid[:180, :216]
    distance = np.hypot(y - 91, x - 109)
    assert (pixels[distance < 71, 3] > 200).all() and (pixels[distance > 79, 3] < 55).all()
    near = (distance > 60) & (distance < 74)
    greenness = pixels[near, 1] - pixels[near][:, [0, 2]].max(1)
    assert greenness.max() < 60


def test_a_folder_with_bad_files_gives_the_others_a_line_each_and_goes_on(tmp_path, capsys):
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for number in range(4):
        pillow(photograph(30 + number, 40)).save(folder / f"{number}.png")
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "empty.jpg").write_bytes(b"")
    line = ["upscale", str(folder), "--factor", "2", "-o", str(out), "-q"]
    assert main(line) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 2 and "bad.png" in lines[0] and "empty.jpg" in lines[1]
    files = sorted(out.glob("*.png"))
    assert [file.name for file in files] == [f"{number}-upscale.png" for number in range(4)]
    times = [file.stat().st_mtime_ns for file in files]
    files[2].unlink()
    assert main(line) == 2
    after = [file.stat().st_mtime_ns for file in files]
    assert [a == b for a, b in zip(after, times, strict=True)] == [True, True, False, True]


def test_published_weights_are_named_where_they_are_missing_or_of_another_kind(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SINWAVE_WEIGHTS", str(tmp_path / "nowhere"))
    pillow(photograph()).save(tmp_path / "small.png")
    torch.save({"params_ema": {"conv_first.weight": torch.zeros(4, 3, 3, 3)}}, tmp_path / "other.pth")
    torch.save({"conv.weight": torch.zeros(2)}, tmp_path / "unknown.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for model, words in {
        "sinsr-v2": "autoencoder_vq_f4.pth",
        str(tmp_path / "other.pth"): "weights in a wrapper of BasicSR",
        str(tmp_path / "unknown.pth"): "a network that is not recognized",
        str(tmp_path / "text.pth"): "cannot be read as weights",
    }.items():
        assert main(["upscale", str(tmp_path / "small.png"), "--model", model, "-o", str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1, model
    steps = ["--steps", "4", "-o", str(tmp_path)]
    assert main(["upscale", str(tmp_path / "small.png"), *steps]) == 2
    assert "the model small has no use for steps" in capsys.readouterr().err
    assert main(["upscale", str(tmp_path / "small.png"), "--model", str(tmp_path / "other.pth"), "--steps", "3"]) == 2
    assert "steps must be 1, 4 or 15, not 3" in capsys.readouterr().err


def test_a_folder_named_as_a_model_does_not_hide_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    pillow(photograph()).save("photo.png")
    assert main(["upscale", "photo.png", "--factor", "2"]) == 0
    assert main(["export", "small", "-o", "out.safetensors"]) == 0


def test_a_result_of_another_model_file_is_not_kept(tmp_path, capsys):
    pillow(photograph()).save(tmp_path / "photo.png")
    for seed in range(2):
        source = NoiseSource(seed)
        network = EnlargingNetwork(Shape(8, 2), lambda sides, name, source=source: source.normal(sides, name))
        file = ModelFile("residual-sr", {"width": 8, "blocks": 2}, {}, network.state_dict())
        write_model(tmp_path / "mine.safetensors", file, overwrite=True)
        line = ["upscale", str(tmp_path / "photo.png"), "--model", str(tmp_path / "mine.safetensors")]
        assert main([*line, "--factor", "2", "-o", str(tmp_path)]) == (0, 2)[seed]
    assert "another file of that name exists" in capsys.readouterr().err


def test_what_was_enlarged_leaves_nothing_behind_that_a_training_could_not_use():
    small = torch.zeros(1, 3, 21, 22)
    with torch.inference_mode():
        Reduction(small).nearest(torch.zeros(1, 3, 43, 45))
    large = torch.zeros(1, 3, 43, 45, requires_grad=True)
    Reduction(small).nearest(large).square().sum().backward()
    assert large.grad is not None


def test_one_side_may_grow_alone():
    picture = photograph(20, 24)
    large = enlarged(picture, size="24x100")
    assert tuple(large.shape[2:]) == (100, 24)
    assert (127.5 * Reduction(picture).misfit(large)).max() < 1
