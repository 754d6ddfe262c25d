"""A picture too small for a second scale: nothing after the coarsest can restore what it drops."""

import torch

from sinwave.rng import NoiseSource
from sinwave.systems.wavelet.closed_form import closed_form_model
from sinwave.systems.wavelet.options import levels_for


def test_variation_0_keeps_every_detail_of_a_noisy_picture() -> None:
    size = (33, 32)
    assert levels_for(size) == 1
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    drawn = closed_form_model(image).generate(size, NoiseSource(0), variation=0.0)
    assert (drawn - image).abs().max() < 1e-3
