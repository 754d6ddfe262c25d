"""What every metric must do whatever its formula: be at its bound for a copy, and worsen when a picture does."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torch import Tensor

from sinwave.errors import InputError
from sinwave.images import from_uint8, to_uint8
from sinwave.metrics.cards import CARDS, cards_for
from sinwave.metrics.evaluate import Method, evaluate
from sinwave.metrics.patches import seam_error
from sinwave.metrics.picture_measures import Resources
from sinwave.resize import blur, resize
from sinwave.rng import NoiseSource
from sinwave.systems.wavelet.closed_form import closed_form_model

LIKENESS = ("swd", "patch_frechet", "coherence", "completeness")
FIDELITY = ("psnr_y", "ssim_y", "lr_consistency")


def photograph(name: str = "astronaut", height: int = 144, width: int = 192) -> Tensor:
    return torch.from_numpy(getattr(data, name)()[60 : 60 + height, 100 : 100 + width]).movedim(2, 0).contiguous()


def low(picture: Tensor) -> Tensor:
    size = (picture.shape[1] // 4, picture.shape[2] // 4)
    return resize(picture[None].double(), size)[0].round().clamp(0, 255).byte()


def scores(source: Tensor, *pictures: Tensor) -> dict[str, float]:
    """Every weight-free metric of pictures, taken for samples of `source` and for restorations of it."""
    found = {}
    singles = Method("m", {str(index): (each, source) for index, each in enumerate(pictures)})
    pairs = Method("m", {str(index): (each, source, low(source)) for index, each in enumerate(pictures)})
    for protocol, judged in (("single", singles), ("pairs", pairs)):
        names = [card.name for card in cards_for(protocol) if not card.weights]
        measured = evaluate(protocol, names, [judged], {"source": source}, Resources())
        assert not measured.unavailable
        found |= {score.metric: score.value for score in measured.scores}
    return found


def blurred(picture: Tensor, strength: int) -> Tensor:
    return blur(picture[None].double(), 0.4 * 1.6**strength)[0].round().clamp(0, 255).byte()


def noisy(picture: Tensor, strength: int) -> Tensor:
    noise = NoiseSource(0).normal(picture.shape, "noise")
    return (picture + 3.0 * 1.7**strength * noise).round().clamp(0, 255).byte()


def jpeg(picture: Tensor, strength: int) -> Tensor:
    buffer = io.BytesIO()
    quality = (70, 40, 20, 10, 4)[strength]
    Image.fromarray(picture.movedim(0, 2).numpy()).save(buffer, "JPEG", quality=quality)
    return torch.from_numpy(np.asarray(Image.open(buffer)).copy()).movedim(2, 0)


def test_a_copy_is_at_the_bound_of_every_metric():
    source = photograph()
    found = scores(source, source, source)
    assert set(found) == {name for name, card in CARDS.items() if not card.weights} - {"set_frechet"}
    worst = {"diversity": 0.0, "copied": 1.0}
    for name, value in found.items():
        if name == "seam":  # a photograph is no tile
            assert value > 1
        elif name == "offsets":
            assert value < 0.01  # a few dark patches occur twice
        elif name in worst:
            assert value == worst[name] == CARDS[name].worst
        else:
            assert value == pytest.approx(CARDS[name].best, abs=1e-7)


@pytest.mark.parametrize("damage", [blurred, noisy, jpeg])
@pytest.mark.parametrize("name", [pytest.param("astronaut", marks=pytest.mark.slow), "coffee"])
def test_more_damage_is_worse_in_every_metric(name, damage):
    source = photograph(name, 104, 136)
    found = [scores(source, source), *(scores(source, damage(source, strength)) for strength in range(5))]
    for metric in (*LIKENESS, *FIDELITY):
        values = [each[metric] for each in found]
        assert values == sorted(values, reverse=CARDS[metric].better == "higher"), metric
        assert len(set(values)) == len(values), metric


def test_shuffled_blocks_are_copied_and_noise_is_not():
    source = photograph()
    blocks = [block for strip in source.split(48, 1) for block in strip.split(48, 2)]
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0)).tolist()
    rows = [torch.cat([blocks[index] for index in order[first : first + 4]], 2) for first in (0, 4, 8)]
    noise = torch.randint(0, 256, source.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    shuffled, fresh = scores(source, torch.cat(rows, 1)), scores(source, noise)
    assert shuffled["copied"] > 0.8
    assert fresh["copied"] == 0
    assert shuffled["offsets"] < fresh["offsets"]
    assert all(shuffled[metric] < fresh[metric] for metric in LIKENESS)


@pytest.mark.slow
def test_the_closed_form_is_ranked_by_its_variation():
    source = photograph(height=96, width=128)
    model = closed_form_model(from_uint8(source)[None])
    little, much = (
        scores(
            source,
            *(to_uint8(model.generate(model.size, NoiseSource(0).child(k), variation=v)[0]) for k in range(3)),
        )
        for v in (0.2, 1.0)
    )
    assert little["diversity"] < much["diversity"] - 0.1
    assert little["copied"] > much["copied"] + 0.2


def test_a_tile_has_no_seam():
    x = torch.linspace(0, 2 * math.pi, 65)[:-1]
    tile = (127 + 60 * torch.sin(x)[:, None] * torch.cos(2 * x)).round().byte().expand(3, 64, 64)
    assert seam_error(tile) < 1.5
    assert seam_error(tile[:, :50]) > 4
    assert seam_error(tile[:, :, 5:50]) > 4
    assert seam_error(torch.zeros(3, 8, 8, dtype=torch.uint8)) == 0
    with pytest.raises(InputError, match="too small"):
        seam_error(tile[:, :1])
