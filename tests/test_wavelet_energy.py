"""Estimates keep the energy that they have on the picture: identities, and what is left alone."""

from dataclasses import dataclass, replace
from typing import final

import pytest
import torch
from torch.testing import assert_close

from sinwave.diffusion.sample import Denoiser
from sinwave.rng import NoiseSource
from sinwave.systems.wavelet.expectation import Energies, Sight
from sinwave.systems.wavelet.options import FAST

CONFIGURATION = replace(FAST, levels=2)
PROGRESSION = CONFIGURATION.pyramid
TIME = 0.3


@final
@dataclass(frozen=True)
class Halving(Denoiser):
    """Half of what it sees, so its energy is a closed form of the noise and the picture."""

    def __call__(self, x_t, t, *, anchor=None, condition=None):
        return x_t / 2


def picture(seed=0, size=(36, 52)):
    return NoiseSource(seed).normal((1, 3, *size), "picture") / 4


def energies(*sights):
    return Energies(CONFIGURATION, lambda index: Halving(), torch.full((2, 12), 0.1), sights)


def sight(seed=0, opaque=None):
    return Sight(PROGRESSION.split(picture(seed)), opaque)


def by_band(estimate, mean=0.1):
    """(b, 4)."""
    return (estimate - mean).square().mean((2, 3)).unflatten(1, (4, 3)).mean(2)


def own_estimate(index):
    """What is asked of the denoiser when the energy of the picture is found, written once more."""
    scales, low = sight().scales, None
    bands = scales[index].bands
    if index:
        low = bands[:, :3]
    noise = NoiseSource(0).normal(bands.shape, "energy", index)
    return CONFIGURATION.process(index).diffuse(bands, TIME, noise, low) / 2


@pytest.mark.parametrize("index", [0, 1])
def test_an_estimate_of_the_picture_itself_is_left_as_it_is(index):
    own = own_estimate(index)
    assert_close(energies(sight()).expected(index, TIME), by_band(own))
    assert_close(energies(sight()).keep(index)(own.clone(), TIME), own)


@pytest.mark.parametrize("index", [0, 1])
def test_every_band_has_the_energy_of_the_picture_whatever_it_had(index, monkeypatch):
    faint = 0.1 + NoiseSource(5).normal((2, 12, 9, 13), "faint") * torch.tensor([0.02, 0.7])[:, None, None, None]
    keep, expected = energies(sight()).keep(index), by_band(own_estimate(index))
    rescaled = keep(faint.clone(), TIME)
    follows = CONFIGURATION.known(index) // 3
    assert_close(by_band(rescaled)[:, follows:], expected.expand(2, -1)[:, follows:])
    assert torch.equal(rescaled[:, : 3 * follows], faint[:, : 3 * follows])
    # Only how far it goes is changed, not where.
    ratio = (rescaled - 0.1)[:, 3:6] / (faint - 0.1)[:, 3:6]
    assert_close(ratio, ratio[:, :1, :1, :1].expand_as(ratio), rtol=1e-3, atol=1e-3)
    monkeypatch.setattr("sinwave.diffusion.sample.STRIP", 200)
    assert torch.equal(keep(faint.clone(), TIME), rescaled)


def test_a_constant_estimate_stays_finite():
    assert energies(sight()).keep(0)(torch.full((1, 12, 9, 13), 0.1), TIME).isfinite().all()


def test_of_several_pictures_it_is_the_mean():
    single = [energies(sight(seed)).expected(0, TIME) for seed in (0, 1)]
    assert_close(energies(sight(0), sight(1)).expected(0, TIME), sum(single) / 2)


def test_what_is_not_there_does_not_count():
    opaque = torch.ones(36, 52, dtype=torch.bool)
    opaque[:, 26:] = False
    loud = picture()
    loud[..., 26:] = 50
    hidden = Sight(PROGRESSION.split(loud), opaque)
    quiet = Sight(PROGRESSION.split(picture()), opaque)
    for index in range(2):
        assert_close(energies(hidden).expected(index, TIME), energies(quiet).expected(index, TIME))
    assert energies(Sight(PROGRESSION.split(loud))).expected(0, TIME)[0, 0] > 10
