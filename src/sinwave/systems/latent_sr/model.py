"""Enlarging by latent diffusion: the latent of the large picture is drawn, with the small picture beside it.

    x_T = eps
    D(x_t) = (x_t - noise(t) F([x_t, low], k - 1)) / signal(t)       at t = k / T
    x_0    = the end of the walk `Ddim`
    picture = decode(x_0), clamped to [-1, 1]

A latent has the size of the small picture, and the autoencoder enlarges it. The small picture is mirrored at the right
and below until the U-Net can halve its sides, and the result is cropped; the norms see all of it, so
tiles overlap. Rombach, Blattmann, Lorenz, Esser and Ommer, "High-resolution image synthesis with latent diffusion
models", CVPR 2022, section 4.4.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NoReturn, final

import torch
from torch import Tensor

from sinwave.diffusion.process import Scalar
from sinwave.diffusion.sample import Ddim, Denoiser, sample
from sinwave.errors import InputError
from sinwave.images import Picture
from sinwave.pretrained.folder import check_pipeline, find_folder
from sinwave.resize import extended, resize
from sinwave.rng import Noise
from sinwave.systems.contracts import Ability, Computing, Loaded, OnStep, Progress, Size
from sinwave.systems.latent_sr.networks import Networks
from sinwave.systems.schedule import Schedule
from sinwave.systems.tiled import SIDE, Tiled

__all__ = ["IDS", "STEPS", "LatentDenoiser", "LatentEnlarger", "Pipeline", "from_folder", "shipped"]

IDS = ("CompVis/ldm-super-resolution-4x-openimages",)
_PIPELINE = "LDMSuperResolutionPipeline"

STEPS = 100
"""The steps of the published examples, which also draw fresh noise in every step."""


@final
@dataclass(frozen=True, eq=False)
class LatentDenoiser(Denoiser):
    """D(x_t) of the networks; the condition is the small picture, and t is one of the steps k / T, k = 1 .. T."""

    networks: Networks
    schedule: Schedule

    def __call__(
        self, x_t: Tensor, t: Scalar, *, anchor: Tensor | None = None, condition: Tensor | None = None
    ) -> Tensor:
        if condition is None:
            raise InputError("the condition is None: the network needs the small picture")
        index = (torch.as_tensor(t, device=x_t.device) * self.schedule.total).round().long().reshape(-1) - 1
        answer = self.networks.answer(x_t, condition, index.expand(len(x_t)))
        signal, _, noise = self.schedule.process.at(t)
        if self.schedule.prediction == "sample":
            return answer
        if self.schedule.prediction == "v_prediction":
            return signal * x_t - noise * answer
        return (x_t - noise * answer) / signal


@final
@dataclass(frozen=True, eq=False)
class LatentEnlarger:
    """A `SuperResolver` of a pipeline; stochasticity 0 draws no noise but that at the beginning."""

    networks: Networks
    schedule: Schedule
    steps: int = STEPS
    stochasticity: float = 1.0

    def __post_init__(self) -> None:
        self.schedule.check(self.steps)

    @property
    def factor(self) -> int:
        """Pixels along a side of the result for a pixel of the small picture."""
        return self.networks.factor

    def upscale(self, low: Tensor, size: Size, noise: Noise, *, on_step: OnStep | None = None) -> Tensor:
        """Enlarge a picture (b, 3, h, w); a `size` other than the autoencoder's factor is resized from that."""
        times = self.schedule.times(self.steps)

        def report(index: int, x: Tensor, clean: Tensor) -> None:
            if on_step is not None:
                on_step(Progress(0, 1, index + 1, len(times) - 1, lambda: self._picture(clean, low)))

        with torch.no_grad():
            guide = extended(low.to(next(self.networks.unet.parameters())), self.networks.multiple)
            shape = (len(low), self.networks.latent, *guide.shape[2:])
            latent = sample(
                LatentDenoiser(self.networks, self.schedule),
                self.schedule.process,
                Ddim(self.stochasticity),
                noise.normal(shape, "start", like=guide),
                times,
                noise,
                condition=guide,
                constrain=self._clipped,
                on_step=report,
            )
            return resize(self._picture(latent, low), size).clamp(-1, 1)

    def _clipped(self, clean: Tensor, t: float) -> Tensor:
        """Keep an estimate in its range; the noise of the step then follows from what was kept."""
        bound = self.schedule.clip
        return clean if bound is None else clean.clamp(-bound, bound)

    def _picture(self, latent: Tensor, low: Tensor) -> Tensor:
        """The picture of a latent, without what was mirrored."""
        height, width = (self.networks.factor * side for side in low.shape[2:])
        with torch.no_grad():
            return self.networks.decode(latent)[:, :, :height, :width].clamp(-1, 1).to(low)


@final
@dataclass(frozen=True, eq=False)
class Pipeline:
    """The content of a folder, loaded."""

    networks: Networks
    schedule: Schedule
    steps: int = STEPS
    tile: int = SIDE
    abilities: ClassVar[frozenset[Ability]] = frozenset({"upscale"})
    engines: ClassVar[tuple[str, ...]] = ("network",)
    size: ClassVar[None] = None
    pictures: ClassVar[tuple[Picture, ...]] = ()

    def build(self, engine: str, computing: Computing) -> Tiled:
        unet, codes = (
            copy.deepcopy(network).to(computing.device, computing.dtype)
            for network in (self.networks.unet, self.networks.autoencoder)
        )
        networks = replace(self.networks, unet=unet, autoencoder=codes)
        return Tiled(LatentEnlarger(networks, self.schedule, self.steps), self.tile)

    def mix(self, others: Sequence[Loaded], shares: Sequence[float], engine: str, computing: Computing) -> NoReturn:
        raise InputError("a network that enlarges cannot be mixed with others")

    def memory(self, engine: str, size: Size) -> float:
        """Estimate the bytes: weights, features of a tile, and some copies of the large picture."""
        tile = math.prod(min(side, self.networks.factor * self.tile) for side in size)
        return 1.9e9 + 4300 * tile + 60 * size[0] * size[1]

    def tiled(self, side: int) -> Pipeline:
        return replace(self, tile=side)

    def working_size(self, small: Size, size: Size) -> Size:
        return self.networks.factor * small[0], self.networks.factor * small[1]


def shipped(name: str, steps: int | None = None) -> Pipeline:
    """Load LDM-SR by its name, from where weights are looked for."""
    return from_folder(find_folder("the folder of LDM-SR", IDS), steps)


def from_folder(path: Path, steps: int | None = None) -> Pipeline:
    """Load the pipeline in a folder; a picture comes in so many steps, or else in those of the published examples."""
    check_pipeline(path, _PIPELINE, "upscale")
    schedule = Schedule.read(path)
    schedule.check(steps or min(STEPS, schedule.total))
    return Pipeline(Networks.load(path), schedule, steps or min(STEPS, schedule.total))
