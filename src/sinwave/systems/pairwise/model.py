"""Drawing from a diffusion model of many pictures, in the size of its pictures."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NoReturn, final

import torch
from torch import Tensor

from sinwave.diffusion.sample import sample
from sinwave.errors import InputError
from sinwave.images import Picture
from sinwave.rng import Noise
from sinwave.systems.contracts import Ability, Computing, Loaded, OnStep, Progress, ScaleConstraint, Size
from sinwave.systems.files import ModelFile, with_weights
from sinwave.systems.pairwise.options import Configuration
from sinwave.systems.pairwise.source import Source

__all__ = ["Drawer", "Trained", "from_file"]

STEPS = 25
BATCH = 16


@final
@dataclass(frozen=True, eq=False)
class Drawer:
    """A `Generator` that knows no single picture, so there is nothing to vary."""

    source: Source
    steps: int = STEPS

    @property
    def max_batch(self) -> int:
        """One on a CPU, where a convolution gives other bits in another batch."""
        return 1 if next(self.source.unet.parameters()).device.type == "cpu" else BATCH

    def generate(
        self,
        size: Size,
        noise: Noise,
        *,
        variation: float = 1.0,
        constrain: ScaleConstraint | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Draw (b, 3, size, size)."""
        source, side = self.source, self.source.configuration.size
        if size != (side, side):
            raise InputError(f"the model draws {side} x {side} pixels, not {size[1]} x {size[0]}")
        times = source.times(self.steps)
        inner = side // 2 if source.configuration.packed else side
        like = next(source.unet.parameters())
        start = noise.normal((noise.count, source.channels, inner, inner), "start", like=like)
        rule = None if constrain is None else constrain(0)

        def constrained(clean: Tensor, t: float) -> Tensor:
            clean = source.constrained(clean, t)
            return clean if rule is None else source.seen(rule(source.shown(clean)))

        def report(index: int, x: Tensor, clean: Tensor) -> None:
            if on_step is not None:
                on_step(Progress(0, 1, index + 1, len(times) - 1, lambda: source.shown(clean).clamp(-1, 1)))

        x = source.process.at(times[0]).noise * start
        drawn = sample(
            source.denoiser, source.process, source.sampler, x, times, noise, constrain=constrained, on_step=report
        )
        return source.shown(drawn).clamp(-1, 1)


@final
@dataclass(frozen=True, eq=False)
class Trained:
    """The content of a model file."""

    source: Source
    engines: ClassVar[tuple[str, ...]] = ("network",)
    abilities: ClassVar[frozenset[Ability]] = frozenset({"generate"})
    pictures: ClassVar[tuple[Picture, ...]] = ()

    @property
    def size(self) -> Size:
        return (self.source.configuration.size,) * 2

    def build(self, engine: str, computing: Computing) -> Drawer:
        unet = copy.deepcopy(self.source.unet).requires_grad_(False).eval()
        unet = unet.to(computing.device, computing.dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return Drawer(replace(self.source, unet=unet))

    def mix(self, others: Sequence[Loaded], shares: Sequence[float], engine: str, computing: Computing) -> NoReturn:
        raise InputError("a model of many pictures cannot be mixed with others")

    def memory(self, engine: str, size: Size) -> float:
        """Estimate the bytes: the weights, and what a batch has between the layers."""
        shape = self.source.unet.shape
        weights = sum(parameter.numel() for parameter in self.source.unet.parameters())
        inner = size[0] * size[1] // (4 if self.source.configuration.packed else 1)
        return 0.4e9 + 8.0 * weights + 4.0 * BATCH * inner * shape.width * 8 * (shape.blocks + 1)


def from_file(file: ModelFile, path: Path) -> Trained:
    """Load the model in a file; a sentence says what of it does not fit."""
    configuration = Configuration.from_json(file.options)
    return Trained(Source(configuration, with_weights(path, file.weights, configuration.shape.build)))
