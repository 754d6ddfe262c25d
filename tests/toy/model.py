"""Drawing with the toy."""

from dataclasses import dataclass
from typing import Any

from sinwave.images import read_bytes
from sinwave.systems.files import with_weights
from toy.train import Color


@dataclass(frozen=True)
class Loaded:
    """A color, and how grainy it is drawn."""

    color: Any
    grain: float
    pictures: tuple
    abilities = frozenset({"generate"})
    engines = ("network",)

    @property
    def size(self):
        return self.pictures[0].size

    def build(self, engine, computing):
        return Model(self.color.to(computing.device, computing.dtype), self.grain)

    def memory(self, engine, size):
        return 12.0 * size[0] * size[1]


@dataclass(frozen=True)
class Model:
    """Its pictures are the color with noise."""

    color: Any
    grain: float
    max_batch = 1

    def generate(self, size, noise, *, variation=1.0, constrain=None, on_step=None):
        grain = self.grain * noise.normal((3, *size), like=self.color)
        return (self.color[:, None, None] + grain).clamp(-1, 1)[None]


def load(file, path):
    """The model in a file."""
    color = with_weights(path, file.weights, Color).color.detach()
    return Loaded(color, file.options["grain"], tuple(read_bytes(data, path) for data in file.pictures))
