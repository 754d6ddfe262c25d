"""The table of systems: what it loads, what it makes of a picture, and what it refuses."""

import subprocess
import sys

import pytest
import torch
from drawing import in_memory, small_singan, small_wavelet, write_small

from sinwave.errors import InputError
from sinwave.images import Picture
from sinwave.rng import NoiseSource
from sinwave.systems.contracts import Computing, SuperResolver
from sinwave.systems.files import ModelFile, write_model
from sinwave.systems.table import SYSTEMS, estimate, load, of_picture
from sinwave.systems.wavelet.closed_form import Untrained
from sinwave.systems.wavelet.network import Trained
from sinwave.systems.wavelet.options import Configuration, levels_for

COMPUTING = Computing(torch.device("cpu"), torch.float32)
PIXELS = NoiseSource(0).normal((1, 3, 40, 48), "picture").clamp(-1, 1)


def test_a_file_of_a_system_that_is_unknown_or_has_no_files_is_refused(tmp_path):
    for system in ("telepathy", "zero-shot"):
        write_model(tmp_path / f"{system}.safetensors", ModelFile(system, {}, {}, {}, ()))
        with pytest.raises(
            InputError,
            match=rf"is of the system {system}, and .* has wavelet, singan, residual-sr, ddpm, few-shot, onestep-sr$",
        ):
            load(tmp_path / f"{system}.safetensors")


@pytest.mark.parametrize("small", [small_wavelet, small_singan])
def test_a_file_is_loaded_by_its_own_system(small, tmp_path):
    model = small(PIXELS)
    write_small(tmp_path / "m.safetensors", model)
    loaded = load(tmp_path / "m.safetensors")
    assert type(loaded) is type(model)
    assert (loaded.engines, loaded.size, loaded.abilities) == (model.engines, (40, 48), model.abilities)


def test_every_system_makes_of_a_picture_what_it_can():
    assert of_picture(in_memory(PIXELS)).abilities == {"generate", "refine"}
    enlarger = of_picture(in_memory(PIXELS), "zero-shot")
    assert isinstance(enlarger.build(*enlarger.engines, COMPUTING), SuperResolver)
    with pytest.raises(InputError, match=r"^the system singan draws nothing without training$"):
        of_picture(in_memory(PIXELS), "singan")
    with pytest.raises(InputError, match="cannot be mixed"):
        enlarger.mix([enlarger], [1, 1], "network", COMPUTING)


def test_an_estimate_needs_no_torch():
    code = """
import sys
from sinwave.systems.table import SYSTEMS, estimate
small, large = (estimate((480, 640), (side, 640)) for side in (480, 960))
assert large.memory > small.memory > 0 and large.picture > small.picture > 0
assert small.scales == large.scales > 1
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_system_without_an_estimate_says_so():
    for name in ("singan", "zero-shot"):
        assert SYSTEMS[name].cost is None
        with pytest.raises(InputError, match=rf"^the system {name} has no estimate of its cost$"):
            estimate((40, 48), (40, 48), name)


def test_only_models_of_one_system_are_mixed():
    models = {"wavelet": small_wavelet(PIXELS), "singan": small_singan(PIXELS)}
    for name, other in (("wavelet", "singan"), ("singan", "wavelet")):
        with pytest.raises(InputError, match=f"the system {name} can be mixed with models of the same system only"):
            models[name].mix([models[name], models[other]], [1, 1, 1], "network", COMPUTING)


def test_only_models_with_one_number_of_scales_are_mixed():
    singan, deeper = small_singan(PIXELS), small_singan(torch.nn.functional.interpolate(PIXELS, (90, 110)))
    assert len(singan.generators.sizes) < len(deeper.generators.sizes)
    with pytest.raises(InputError, match="SinGAN with the same number of scales"):
        singan.mix([deeper], [1, 1], "network", COMPUTING)
    wavelet = small_wavelet(PIXELS)
    configuration = Configuration(levels=1, width=8, blocks=2)
    shallow = Trained(configuration, wavelet.network, wavelet.statistics, wavelet.pictures)
    with pytest.raises(InputError, match="wavelet models with the same number of scales"):
        wavelet.mix([shallow], [1, 1], "network", COMPUTING)


def test_a_mixture_has_something_of_both():
    first, second = small_wavelet(PIXELS), small_wavelet(-PIXELS)
    drawn = [
        model.generate((40, 48), NoiseSource(2))
        for model in (
            first.build("network", COMPUTING),
            second.build("network", COMPUTING),
            first.mix([second], [1, 1], "network", COMPUTING),
        )
    ]
    assert all((drawn[2] - alone).abs().max() > 0.01 for alone in drawn[:2])


def test_pictures_are_mixed_with_the_scales_of_the_smallest_and_not_if_it_has_two_less(tmp_path):
    small, middle, large = (Picture(torch.zeros(3, side, side)) for side in (32, 128, 512))
    depths = [levels_for(picture.size) for picture in (small, middle, large)]
    assert depths[1] == depths[0] + 1
    assert depths[2] > depths[0] + 1
    grown = Picture(torch.nn.functional.interpolate(PIXELS, middle.size)[0])
    shrunk = Picture(torch.nn.functional.interpolate(PIXELS, small.size)[0])
    for first, other in ((grown, shrunk), (shrunk, grown)):
        mixture = Untrained(first).mix([Untrained(other)], [1, 1], "closed-form", COMPUTING)
        assert len(mixture.scales(torch.zeros(1, 3, *first.size))) == depths[0]
        assert mixture.size == first.size
    named = Picture(large.pixels, path=tmp_path / "large.png")
    for pictures, sentence in (
        (
            (named, small),
            f"{tmp_path}/large.png: the picture is too large to be mixed with the picture: make it smaller",
        ),
        ((small, large), "the picture is too large to be mixed with the picture: make it smaller"),
    ):
        first, other = map(Untrained, pictures)
        with pytest.raises(InputError) as caught:
            first.mix([other], [1, 1], "closed-form", COMPUTING)
        assert str(caught.value) == sentence
