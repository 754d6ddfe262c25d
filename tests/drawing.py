"""Pictures in memory as sources of tasks, and models of a few weights, for tests."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sinwave.images import Picture
from sinwave.nn.local import LocalNetwork
from sinwave.option_kinds import Source
from sinwave.rng import Noise, NoiseSource
from sinwave.systems.contracts import OnStep
from sinwave.systems.files import ModelFile, encoded, write_model
from sinwave.systems.singan.model import Trained as Singan
from sinwave.systems.singan.networks import Generators
from sinwave.systems.singan.options import Configuration as SinganConfiguration
from sinwave.systems.wavelet.closed_form import Untrained
from sinwave.systems.wavelet.material import Material
from sinwave.systems.wavelet.network import Trained as Wavelet
from sinwave.systems.wavelet.options import Configuration
from sinwave.tasks.base.task import Inputs, Opened, Task


def in_memory(pixels: Tensor) -> Picture:
    """A picture of pixels (1, 3, h, w)."""
    return Picture(pixels[0])


def inputs_of(task: Task, pixels: Tensor, device: str = "cpu") -> Inputs:
    """The inputs of a task whose source is (1, 3, h, w)."""
    picture = in_memory(pixels)
    opened = Opened(task.source, picture, Untrained(picture), "closed-form")
    return Inputs(opened, 100_000_000, torch.device(device), torch.float32)


def drawn(
    declared: type[Task],
    pixels: Tensor,
    model: Any,
    noise: Noise | None = None,
    *,
    on_step: OnStep | None = None,
    **options: Any,
) -> Tensor:
    """What a task draws with a model from the source (1, 3, h, w); options may be pictures of that form, too."""
    values = {
        name: in_memory(value) if isinstance(value, Tensor) and value.shape[:2] == (1, 3) else value
        for name, value in options.items()
    }
    task = declared(source=Source(in_memory(pixels)), **values)
    return task.prepare(inputs_of(task, pixels)).draw(model, noise or NoiseSource(0), on_step)


def small_wavelet(pixels: Tensor) -> Wavelet:
    """A model of random weights with the statistics of a picture (1, 3, h, w)."""
    configuration = Configuration(levels=2, width=24, blocks=2)
    material = Material([pixels], configuration.pyramid, crop=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = LocalNetwork(configuration.shape)
        torch.nn.init.normal_(network.tail.weight, std=0.3)  # it is silent before training
    return Wavelet(configuration, network, material.statistics, (in_memory(pixels),))


def small_singan(pixels: Tensor) -> Singan:
    """A model of random weights, as if it were trained, of a picture (1, 3, h, w)."""
    configuration = SinganConfiguration(width=8, instance_norm_scales=0)
    sizes = configuration.sizes((pixels.shape[2], pixels.shape[3]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        generators = Generators(configuration, sizes)
    generators.progress[0] = len(sizes)
    for parameter in generators.parameters():
        parameter.data.mul_(5)
    return Singan(generators, in_memory(pixels))


def write_small(path: Path, model: Wavelet | Singan) -> None:
    """Write the model file of one of them."""
    if isinstance(model, Singan):
        configuration, weights = model.generators.configuration, dict(model.generators.state_dict())
    else:
        configuration = model.configuration
        weights = {f"network.{name}": value for name, value in model.network.state_dict().items()}
        weights |= {f"statistics.{name}": value for name, value in vars(model.statistics).items()}
    system = "singan" if isinstance(model, Singan) else "wavelet"
    pictures = tuple(encoded(picture) for picture in model.pictures)
    write_model(path, ModelFile(system, configuration.to_json(), {}, weights, pictures))
