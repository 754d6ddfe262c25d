"""The end of a walk by means over fresh noise."""

import pytest
import torch
from torch.testing import assert_close

from sinwave.diffusion.averaging import averaged
from sinwave.diffusion.process import VarianceExploding, VariancePreserving
from sinwave.diffusion.sample import Denoiser
from sinwave.rng import NoiseSource

NOISE = NoiseSource(0)


class Wiener(Denoiser):
    """The estimate for signals of mean 1 and deviation 1: affine, so all moments are closed forms."""

    def __init__(self, process):
        self.process = process

    def __call__(self, x_t, t, *, anchor=None, condition=None):
        a, _, s = self.process.at(t)
        return 1 + a / (a**2 + s**2) * (x_t - a)


@pytest.mark.parametrize(("process", "t"), [(VarianceExploding(), 0.5), (VariancePreserving.linear(1000), 0.3)])
@pytest.mark.parametrize("count", [1, 4])
def test_one_level_has_the_mean_and_the_deviation_of_so_many_estimates(process, t, count):
    clean = torch.full((1, 1, 200, 200), 3.0)
    drawn = averaged(Wiener(process), process, clean, [t], count, NOISE)
    a, _, s = process.at(t)
    gain = a / (a**2 + s**2)
    assert drawn.mean().item() == pytest.approx(1 + gain * a * 2, abs=0.02)
    assert drawn.std().item() == pytest.approx(gain * s / count**0.5, rel=0.02)


def test_every_estimate_is_the_denoisers_of_noise_of_its_own():
    process, clean, seen = VarianceExploding(), NOISE.normal((2, 3, 4, 4), "clean"), []

    class Witness(Denoiser):
        def __call__(self, x_t, t, *, anchor=None, condition=None):
            seen.append((t, x_t))
            return torch.full_like(x_t, float(len(seen)))

    heard = []
    result = averaged(
        *(Witness(), process, clean, (0.4, 0.1), 2, NOISE),
        constrain=lambda estimate, t: estimate + 10,
        on_step=lambda index, mean: heard.append((index, mean[0, 0, 0, 0].item())),
    )
    assert [t for t, _ in seen] == [0.4, 0.4, 0.1, 0.1]
    assert heard == [(0, 11.5), (1, 13.5)]
    assert_close(result, torch.full_like(clean, 13.5))
    around = [clean, clean, torch.full_like(clean, 11.5), torch.full_like(clean, 11.5)]
    noises = [(x - middle) / t for (t, x), middle in zip(seen, around, strict=True)]
    assert all((x - y).abs().mean() > 0.5 for i, x in enumerate(noises) for y in noises[:i])
    assert 0.8 < torch.stack(noises).std() < 1.2


def test_without_times_nothing_is_estimated():
    clean = NOISE.normal((1, 3, 4, 4), "clean")
    assert averaged(Wiener(VarianceExploding()), VarianceExploding(), clean, (), 0, NOISE) is clean
