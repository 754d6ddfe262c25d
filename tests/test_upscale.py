"""Upscale: larger, consistent, and sharper than bicubic."""

import numpy as np
import pytest
import torch
from drawing import drawn
from PIL import Image
from skimage import data

from sinwave.images import from_uint8, to_uint8
from sinwave.reduction import Reduction
from sinwave.resize import resize
from sinwave.rng import NoiseSource
from sinwave.systems.contracts import Progress
from sinwave.systems.wavelet.bands import Levels
from sinwave.systems.wavelet.closed_form import closed_form_model
from sinwave.systems.zero_shot.enlarger import Enlarger
from sinwave.tasks.upscale import Upscale, turns


def photograph(height: int = 60, width: int = 72) -> torch.Tensor:
    pixels = torch.from_numpy(np.asarray(data.astronaut())).movedim(-1, 0)[None] / 127.5 - 1
    return from_uint8(to_uint8(resize(pixels[..., :300, 100:460], (height, width))))


def pillow(picture: torch.Tensor) -> Image.Image:
    return Image.fromarray(to_uint8(picture[0]).permute(1, 2, 0).contiguous().numpy())


def sharpness(picture: torch.Tensor) -> float:
    return sum((picture.diff(dim=dim).square().mean().item()) for dim in (2, 3))


@pytest.mark.parametrize("factor", [1.5, 2, 3])
@pytest.mark.parametrize("engine", ["closed-form", "network"])
def test_it_is_sharper_than_bicubic_and_reduced_to_the_picture(factor, engine):
    picture = photograph()
    model = Enlarger() if engine == "network" else closed_form_model(picture, progression=Levels(2))
    steps: list[Progress] = []
    with torch.inference_mode():
        large = drawn(Upscale, picture, model, NoiseSource(1), on_step=steps.append, factor=float(factor))
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


def test_by_nothing_it_is_the_picture():
    picture = photograph()
    for model in (Enlarger(), closed_form_model(picture, progression=Levels(2))):
        assert torch.equal(drawn(Upscale, picture, model, factor=1.0), picture)


def test_without_strength_it_is_what_can_be_told():
    picture = photograph()
    plain = drawn(Upscale, picture, closed_form_model(picture, progression=Levels(2)), factor=2.0, strength=0.0)
    reduction = Reduction(picture)
    assert torch.equal(plain, reduction.in_range(reduction.nearest(resize(picture, (120, 144)))))


@pytest.mark.parametrize(
    ("factor", "sizes"),
    [(1, []), (1.5, [(60, 90)]), (2, [(80, 120)]), (4, [(80, 120), (160, 240)]), (3, [(69, 104), (120, 180)])],
)
def test_turns(factor, sizes):
    assert turns((40, 60), factor) == sizes
