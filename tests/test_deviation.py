"""The deviation of what an enlargement misses: a regression, and what follows from it."""

import numpy as np
import pytest
import skimage.data
import torch
from scipy.optimize import minimize
from scipy.stats import spearmanr
from test_residual_small import picture
from torch.nn import functional

import sinwave
from sinwave.images import from_uint8, to_uint8
from sinwave.resize import resize
from sinwave.systems.residual_sr.deviation import (
    BANDS,
    FEATURES,
    Deviations,
    Missing,
    bands_of,
    measured,
    of_pixels,
    scaled,
)

SQRT2 = 2**0.5


def laplace(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).laplace(size=shape))


def table() -> torch.Tensor:
    """Numbers for one factor: each band depends on another energy."""
    weights = torch.zeros(BANDS, FEATURES, dtype=torch.float64)
    for band in range(BANDS):
        weights[band, band], weights[band, -1] = 0.1 + 0.05 * band, -2.0 + 0.1 * band
    return weights


def test_the_numbers_come_back_from_errors_that_were_drawn_by_them() -> None:
    size = (48, 64)
    truth = Deviations(tuple(table().flatten().tolist()) * 3)
    pairs = []
    for seed in range(12):
        base = picture(48, 64).double().flip(seed % 4) + 0.05 * laplace((1, 3, *size), 50 + seed)
        maps = truth.of(base, 2)
        errors = [
            laplace(tuple(band.shape), 100 * seed + number) * deviation / SQRT2
            for number, (band, deviation) in enumerate(zip(bands_of(base), maps, strict=True))
        ]
        pairs.append(Missing(base, _joined(errors, size)))
    again = measured(lambda factor: pairs)
    for number in range(12):
        ours, theirs = (deviations.of(pairs[number].base, 4) for deviations in (again, truth))
        for one, other in zip(ours[:6], theirs[:6], strict=True):
            assert (one / other).log().abs().mean() < 0.1


def _joined(bands: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
    """Invert `bands_of`, one band at a time."""
    whole = torch.zeros(1, 3, *size, dtype=torch.float64)
    for number, band in enumerate(bands):
        whole = whole + _placed(number, band)
    return whole


def _placed(number: int, band: torch.Tensor) -> torch.Tensor:
    """A picture of which one band is given and the others are 0: Haar's functions by hand."""
    level = 1 if number < 3 else 2
    side = 2**level
    half = torch.cat([torch.ones(side // 2), -torch.ones(side // 2)]).double()
    ones = torch.ones(side).double()
    down, right = {0: (half, ones), 1: (ones, half), 2: (half, half), 3: (ones, ones)}[number % 3 if number < 6 else 3]
    cell = torch.outer(down, right) / side
    return torch.stack([torch.kron(color, cell) for color in band[0]])[None]


def test_the_regression_has_the_likelihood_of_an_independent_optimizer() -> None:
    base = resize(picture(), (80, 112)).double()
    error = 0.05 * laplace((1, 3, 80, 112), 3) * (1 + picture(80, 112).double().abs())
    weights = torch.tensor(measured(lambda factor: [Missing(base, error)]).table[: BANDS * FEATURES])
    maps = Deviations(tuple(weights.tolist()) * 3).of(base, 2)
    length = bands_of(error)[0].abs().mean(1).flatten() + 1e-3
    ours = torch.log(maps[0].flatten() / SQRT2) + length / (maps[0].flatten() / SQRT2)
    from sinwave.systems.residual_sr.deviation import _features

    x = _features(base)[0].movedim(1, 3).flatten(0, 2).numpy()

    def loss(w: np.ndarray) -> float:
        return float(np.mean(x @ w + length.numpy() * np.exp(-x @ w)))

    best = minimize(loss, np.append(np.zeros(FEATURES - 1), -3.0), method="BFGS", options={"gtol": 1e-7})
    assert ours.mean().item() == pytest.approx(best.fun, abs=1e-5)


@pytest.mark.parametrize("size", [(40, 48), (33, 47)])
def test_deviations_of_bands_become_those_of_pixels(size: tuple[int, int]) -> None:
    base = torch.zeros(1, 3, *size, dtype=torch.float64)
    deviations = [torch.full_like(band[:, :1], 0.1 + 0.1 * n) for n, band in enumerate(bands_of(base))]
    expected = of_pixels(deviations, size)
    generator = torch.Generator().manual_seed(0)
    drawn = [scaled(torch.randn(1, 3, *size, dtype=torch.float64, generator=generator), deviations) for _ in range(400)]
    assert expected.shape == (1, 1, *size)
    assert torch.cat(drawn).std((0, 1)).mean() == pytest.approx(expected.mean().item(), rel=0.02)


def test_bands_times_one_are_the_picture() -> None:
    image = picture(33, 47)
    torch.testing.assert_close(scaled(image, [1.0] * BANDS), image, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["coins", "page"])
def test_the_map_of_the_model_small_orders_errors_by_their_size(name: str) -> None:
    """Pictures that the model has not seen; errors and doubts of 4 x 4 pixels."""
    truth = from_uint8(torch.from_numpy(getattr(skimage.data, name)())).expand(1, 3, -1, -1)[..., :188, :380]
    low = from_uint8(to_uint8(resize(truth, (47, 95))))
    resolver = sinwave.SuperResolver.load("small")
    small = to_uint8(low[0]).permute(1, 2, 0).numpy()
    result = from_uint8(torch.from_numpy(np.asarray(resolver.upscale(small, 4))).permute(2, 0, 1))[None]
    error, doubt = (result - truth).mean(1, keepdim=True).square(), torch.from_numpy(resolver.uncertainty(small, 4))
    apart = functional.avg_pool2d(error, 4).flatten(), functional.avg_pool2d(doubt[None, None], 4).flatten()
    assert spearmanr(*apart).statistic > 0.5
