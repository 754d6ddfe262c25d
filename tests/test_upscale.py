"""Upscale: larger, consistent, and sharper than bicubic."""

import numpy as np
import pytest
import torch
from drawing import inputs_of
from PIL import Image
from skimage import data

from sinwave.errors import InputError
from sinwave.images import from_uint8, to_uint8
from sinwave.kinds import Source
from sinwave.reduction import Reduction
from sinwave.resize import resize
from sinwave.rng import NoiseSource
from sinwave.systems.contracts import Computing, Progress
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


@pytest.mark.parametrize("factor", [1.5, 2, 3])
@pytest.mark.parametrize("model", ["small", "zero-shot", "patches"])
def test_it_is_sharper_than_bicubic_and_reduced_to_the_picture(factor, model):
    picture, steps = photograph(), list[Progress]()
    large = enlarged(picture, steps, factor=float(factor), model=model)
    assert large.shape == (1, 3, round(60 * factor), round(72 * factor))
    assert large.abs().max() <= 1
    assert (127.5 * Reduction(picture).misfit(from_uint8(to_uint8(large)))).max() <= 1
    reduced = pillow(large).resize((72, 60), Image.Resampling.BICUBIC)
    # Pillow also cuts and rounds what is reduced along one side only, which a few bright edges feel.
    off = np.abs(np.asarray(reduced).astype(int) - np.asarray(pillow(picture)).astype(int))
    assert (off > 1).mean() < 0.002
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
