"""Blend: places have one source each, and each source its share."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from drawing import in_memory

from sinwave.errors import InputError
from sinwave.option_kinds import Source
from sinwave.rng import NoiseSource
from sinwave.systems.contracts import Computing, Loaded, VerticalSpan
from sinwave.systems.wavelet.bands import Levels
from sinwave.systems.wavelet.closed_form import closed_form_model
from sinwave.systems.wavelet.combined import MixedPrior, mixed, owned, priced
from sinwave.systems.wavelet.model import WaveletModel
from sinwave.tasks.base.run import prepared
from sinwave.tasks.base.task import Opened
from sinwave.tasks.blend import Blend, shares_of

COLORS = ((0.6, -0.6, -0.6), (-0.6, 0.6, -0.6), (-0.6, -0.6, 0.6))


def stripes(color: tuple[float, float, float], size: tuple[int, int] = (48, 56)) -> torch.Tensor:
    """A texture in one color."""
    y, x = np.mgrid[: size[0], : size[1]]
    light = 0.25 * np.sin(x / 2 + y / 3) * np.sin(y / 2.5)
    return torch.from_numpy(np.stack([level + light for level in color])).float()[None].clamp(-1, 1)


@pytest.fixture(scope="module")
def models():
    return [closed_form_model(stripes(color), progression=Levels(2)) for color in COLORS]


class TwoScales:
    """A texture as the closed form of two scales, which so small a one does not have by itself."""

    def __init__(self, color: tuple[float, float, float]) -> None:
        self.pictures = (in_memory(stripes(color)),)

    def build(self, engine: str, computing: Computing) -> WaveletModel:
        return closed_form_model(self.pictures[0].pixels[None], progression=Levels(2))

    def mix(self, others: Sequence[Loaded], shares: Sequence[float], engine: str, computing: Computing) -> WaveletModel:
        return mixed([source.build(engine, computing) for source in (self, *others)], shares)

    def memory(self, engine: str, size: tuple[int, int]) -> float:
        return 0.0

    def opened(self) -> Source:
        picture = self.pictures[0]
        return Source(Opened(Source(picture), picture, self, "closed-form"))


def blended(weights: tuple[float, ...], size: tuple[int, int], noise: NoiseSource) -> torch.Tensor:
    """What the task draws of the three textures."""
    first, *others = (TwoScales(color).opened() for color in COLORS)
    task = Blend(source=first, others=tuple(others), weights=weights, size=size)
    ready = prepared(task, Computing(torch.device("cpu"), torch.float32), 1_000_000)
    model, notes = ready.model()
    assert notes == ready.notes == ()
    return ready.drawing.draw(model, noise, None)


def shares_in(picture: torch.Tensor) -> list[float]:
    owner = picture[0].argmax(0)
    return [(owner == index).float().mean().item() for index in range(3)]


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.9, 0.1], [0.2, 0.3, 0.5]])
def test_prices_see_to_the_shares(shares):
    evidence = 5 * torch.randn(len(shares), 1, 40, 40, generator=torch.Generator().manual_seed(0))
    weights = priced(evidence, torch.tensor(shares))
    assert weights.sum(0).allclose(torch.ones(1, 40, 40))
    assert weights.mean((1, 2, 3)).tolist() == pytest.approx(shares, abs=0.01)


def test_without_evidence_a_weight_is_the_share():
    assert priced(torch.zeros(2, 1, 4, 4), torch.tensor([0.3, 0.7]))[:, 0, 0, 0].tolist() == pytest.approx([0.3, 0.7])


def test_evidence_moves_borders_and_not_what_is_certain():
    owners = torch.tensor([[1.0, 0.9, 0.5, 0.0], [0.0, 0.1, 0.5, 1.0]])[:, None, None]
    assert owned(torch.zeros(2, 1, 1, 4), owners).allclose(owners, atol=1e-6)
    evidence = torch.tensor([[0.0] * 4, [5.0] * 4])[:, None, None]
    expected = torch.tensor([1.0, 0.9 / (0.9 + 0.1 * math.exp(5)), 1 / (1 + math.exp(5)), 0.0])
    assert owned(evidence, owners)[0, 0, 0].allclose(expected, atol=1e-6)
    # However much of it there is, and with owners as certain as numbers can say.
    assert owned(1e4 * evidence, owners)[:, 0, 0, 0].tolist() == pytest.approx([1, 0], abs=1e-6)
    assert owned(1e4 * evidence, owners)[:, 0, 0, 2].tolist() == pytest.approx([0, 1], abs=1e-3)


def test_a_finer_scale_begins_with_the_owners_of_the_coarser(models):
    mixed = MixedPrior([model.prior for model in models[:2]], [1, 1])
    descent = mixed.begin(NoiseSource(0), 1.0, span=VerticalSpan(), given=False)
    coarse = descent.stage(0, (12, 14), None)
    left, right = (Levels(2).split(stripes(color))[0].bands for color in ((0.6, -0.6, -0.6), (-0.6, 0.6, -0.6)))
    half = torch.cat([left[..., :7], right[..., 7:]], 3)
    bands = coarse.denoiser(half, 0.02)
    fine = descent.stage(1, (24, 28), Levels(2).inherited(bands, (24, 28)))
    # There is nothing but noise to be seen, so what is known is whose the places are.
    fine.denoiser(fine.process.diffuse(0 * fine.guess, 0.99, NoiseSource(1).normal(fine.guess.shape)), 0.99)
    owner = fine.denoiser.weights[0, 0]
    assert owner[:, :10].mean() > 0.95
    assert owner[:, -10:].mean() < 0.05


@pytest.mark.parametrize("weights", [(1.0, 1.0, 0.0), (1.0, 3.0, 0.0), (1.0, 1.0, 1.0)])
def test_each_source_has_its_share(models, weights):
    pictures = [blended(weights, (64, 80), NoiseSource(seed)) for seed in range(2)]
    shares = np.mean([shares_in(picture) for picture in pictures], 0)
    assert shares == pytest.approx(np.array(weights) / sum(weights), abs=0.12)
    # Nearly every pixel is of one source: there is no mean of red and green.
    colors = torch.stack([stripes(color).mean((2, 3))[0] for color in COLORS])
    far = (pictures[0][0].flatten(1).T[:, None] - colors).abs().amax(2).amin(1)
    assert (far < 0.4).float().mean() > 0.85


def test_a_source_that_has_it_all_is_alone(models):
    alone = models[1].generate((48, 56), NoiseSource(3))
    assert torch.equal(alone, blended((0.0, 2.0, 0.0), (48, 56), NoiseSource(3)))


def test_a_mixture_is_a_model_like_any_other(models):
    mixture = mixed(models, [1, 1, 1])
    assert mixture.size == (48, 56)
    assert mixture.max_batch == 1
    picture = stripes((0.6, -0.6, -0.6))
    drawn = mixture.refine(picture, 0.3, NoiseSource(1), first=mixture.default_first_scale)
    assert drawn.shape == picture.shape
    assert drawn.isfinite().all()


def test_what_does_not_fit_is_refused(models):
    with pytest.raises(InputError, match="2 weights for 3 sources"):
        blended((1.0, 1.0), (48, 56), NoiseSource(0))
    with pytest.raises(InputError, match="all weights are 0"):
        shares_of((0, 0), 2)
    with pytest.raises(InputError, match="same number of scales"):
        mixed([models[0], closed_form_model(stripes((0, 0, 0)), progression=Levels(1))], [1, 1])
    assert shares_of((), 4) == [0.25] * 4
