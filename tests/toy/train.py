"""The training of the toy: the mean square of what is missing from the mean color."""

from pathlib import Path
from types import MappingProxyType
from typing import final

import torch
from torch import nn

from sinwave.data.batches import Constant
from sinwave.data.folder import Folder
from sinwave.images import read_any
from sinwave.systems.contracts import Setup
from sinwave.systems.files import ModelFile, encoded
from sinwave.training.loop import Budget
from sinwave.training.optimizer import AdamW
from sinwave.training.recipe import Player, Recipe, Update
from sinwave.training.schedule import Trapezoid


@final
class Color(nn.Module):
    """One color."""

    def __init__(self):
        super().__init__()
        self.color = nn.Parameter(torch.zeros(3))


@final
class ToyRecipe(Recipe):
    """The training of a color."""

    companions = MappingProxyType({})

    def __init__(self, target, rate):
        self.network, self.target, self.rate = Color(), target, rate

    @property
    def kept(self):
        return self.network

    @property
    def players(self):
        parameters = (self.network.color,)
        return {"color": Player(parameters, (AdamW(parameters),), lambda step: self.rate)}

    def updates(self, batch, generator):
        noise = torch.randn(3, generator=generator)
        yield Update("color", (self.network.color - self.target - 0.01 * noise).square().mean())

    def held_out(self):
        return {"loss": (self.network.color - self.target).square().mean().item()}


def setup(pictures, options, request):
    """A training of 100 steps unless another number is asked for."""
    request.reserve(1e6, "")
    if isinstance(pictures[0], Path):
        folders = [Folder(path, on_remark=request.remark) for path in pictures]
        pixels = [folder.picture(number) for folder in folders for number in range(len(folder))]
        pictures = [read_any(picture) for picture in pixels if picture is not None]
    recipe = ToyRecipe(torch.stack([picture.pixels.mean((1, 2)) for picture in pictures]).mean(0), options.rate)
    picture = encoded(pictures[0])
    return Setup(
        recipe=recipe,
        batches=Constant(None),
        budget=Budget(request.steps or 100),
        schedule=Trapezoid(),
        average=0.9,
        settings={"rate": options.rate},
        numerics="float32",
        parameters=3,
        keep=lambda weights: ModelFile("toy", {"grain": options.grain}, {}, weights, (picture,)),
        enough=100,
        size=pictures[0].size,
    )
