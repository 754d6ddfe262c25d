"""Restoration in one step: the picture itself, enlarged, is where the diffusion begins.

    y = the small picture, enlarged
    z = s (mean + deviation eps),                (mean, deviation) = encode(y)
    z_0 = (z - sqrt(1 - abar) eps(z)) / sqrt(abar)      at the last time, abar = .00466 for Stable Diffusion
    result = decode(z_0), with the colors of y

Sides are extended by reflection to what the networks take, and the result is cropped. Encoder, U-Net and decoder work
on tiles, so memory does not grow with the picture beyond the picture itself; the noise is one field. Wu, Sun, Ma and
Zhang, "One-step effective diffusion network for real-world image super-resolution", NeurIPS 2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NoReturn, final

import torch
from torch import Tensor, nn

from sinwave.errors import InputError
from sinwave.images import Picture
from sinwave.pretrained.files import find
from sinwave.pretrained.folder import find_folder
from sinwave.pretrained.published import Weights
from sinwave.resize import extended, resize
from sinwave.rng import Noise
from sinwave.systems.contracts import Ability, Colors, Computing, Loaded, OnStep, Progress, Size
from sinwave.systems.files import Base, ModelFile, model_bytes
from sinwave.systems.onestep_sr import official
from sinwave.systems.onestep_sr.adapters import Adapters
from sinwave.systems.onestep_sr.colors import aligned
from sinwave.systems.onestep_sr.components import Components, load
from sinwave.systems.onestep_sr.options import BASES, Configuration
from sinwave.systems.onestep_sr.tiles import blended

__all__ = ["RELEASES", "Enlarger", "OneStep", "export", "from_file", "from_weights", "shipped"]

_URL = "https://github.com/cswry/OSEDiff"
_PURPOSE = "the changes of Stable Diffusion 2.1 that OSEDiff"
RELEASES = {
    "osediff": Weights("osediff.pkl", f"{_PURPOSE} has learned from photographs", _URL, "Apache-2.0"),
    "osediff-face": Weights("osediff_face.pkl", f"{_PURPOSE} has learned from faces", _URL, "Apache-2.0"),
}
_FACES = Configuration(faces=True)

_TILE = 512
"""Pixels of the result along a side of a tile: what the networks were trained with."""

_MULTIPLE, _USUAL = 64, 4
"""Of the sides of a tile, and the factor by which pictures are usually enlarged."""

_LEAST, _FEW = 512, 1 << 20
"""The shorter side on which networks see something, and the pixels up to which a small picture is enlarged to it."""


@final
@dataclass(frozen=True, eq=False)
class Enlarger:
    """A `SuperResolver` of a base with its changes."""

    components: Components
    colors: Colors
    tile: int | None = None

    def upscale(self, low: Tensor, size: Size, noise: Noise, *, on_step: OnStep | None = None) -> Tensor:
        """Restore a picture (b, 3, h, w), enlarged to `size`."""
        parts = self.components
        with torch.no_grad():
            reference = resize(low, _working(size)).clamp(-1, 1)
            side = self._side(low, reference)
            moments = blended(parts.moments, extended(reference, parts.factor), side, parts.factor)
            mean, deviation = moments.chunk(2, 1)
            latent = parts.scale * (mean + deviation * noise.normal(mean.shape, "start", like=mean))
            clean = blended(self._clean, latent, side // parts.factor)
            if on_step is not None:
                on_step(Progress(0, 1, 1, 2, lambda: reference))
            drawn = blended(parts.decode, clean, side // parts.factor)
            drawn = drawn[:, :, : reference.shape[2], : reference.shape[3]].clamp_(-1, 1)
            result = aligned(drawn, reference, self.colors)
            result = (result if tuple(result.shape[2:]) == size else resize(result, size)).clamp_(-1, 1)
            if on_step is not None:
                on_step(Progress(0, 1, 2, 2, lambda: result))
            return result

    def _side(self, low: Tensor, large: Tensor) -> int:
        """Pixels of the large picture along a side of a tile, which the networks can halve."""
        side = _TILE if self.tile is None else round(self.tile * large.shape[2] / low.shape[2])
        return max(side // _MULTIPLE, 1) * _MULTIPLE

    def _clean(self, latent: Tensor) -> Tensor:
        """z_0 of z at the last time."""
        return self.components.schedule.process.clean_in(latent, 1.0, self.components.noise_in(latent))


@final
@dataclass(frozen=True, eq=False)
class OneStep:
    """Changes, and the base that they are added to once it is needed."""

    name: str
    adapters: Adapters
    configuration: Configuration = Configuration()  # noqa: RUF009 - frozen
    base: Path | None = None
    prompt: str = ""
    colors: Colors = "wavelet"
    tile: int | None = None
    abilities: ClassVar[frozenset[Ability]] = frozenset({"upscale", "restore"})
    engines: ClassVar[tuple[str, ...]] = ("network",)
    size: ClassVar[None] = None
    pictures: ClassVar[tuple[Picture, ...]] = ()

    def on_base(self, base: Path | None, prompt: str | None, colors: Colors | None) -> OneStep:
        usual: Colors = "none" if self.configuration.faces else "wavelet"
        return replace(self, base=base, prompt=prompt or "", colors=colors or usual)

    def build(self, engine: str, computing: Computing) -> Enlarger:
        dtype = computing.convolutions or (torch.bfloat16 if computing.device.type == "cuda" else torch.float32)
        base = self.base or find_folder("the base of OSEDiff, a folder", BASES)
        parts = load(base, self.adapters, self.prompt, self.name)
        unet, codes = (nn.Module.to(network, computing.device, dtype) for network in (parts.unet, parts.autoencoder))
        return Enlarger(replace(parts, unet=unet, autoencoder=codes), self.colors, self.tile)

    def mix(self, others: Sequence[Loaded], shares: Sequence[float], engine: str, computing: Computing) -> NoReturn:
        raise InputError("a network that enlarges cannot be mixed with others")

    def memory(self, engine: str, size: Size) -> float:
        """Estimate the bytes: weights of Stable Diffusion, features of a tile, and some copies of the picture."""
        tile = math.prod(min(side, _TILE if self.tile is None else _USUAL * self.tile) for side in size)
        return 4.5e9 + 9000.0 * tile + 100.0 * size[0] * size[1]

    def tiled(self, side: int) -> OneStep:
        return replace(self, tile=side)

    def working_size(self, small: Size, size: Size) -> Size:
        return _working(size)


def _working(size: Size) -> Size:
    """The size in which a picture is restored: larger than the result, if that is smaller than what networks know."""
    growth = min(_LEAST / min(size), math.sqrt(_FEW / math.prod(size)))
    height, width = (round(max(growth, 1.0) * side) for side in size)
    return height, width


def from_weights(path: Path, steps: int | None = None) -> OneStep:
    """Load a file of the authors; that of faces is recognized by its name."""
    _check_steps(steps)
    return OneStep(path.name, official.read(path), _FACES if "face" in path.stem.lower() else Configuration())


def shipped(name: str, steps: int | None = None) -> OneStep:
    """Load a published file by its name, from where weights are looked for."""
    return from_weights(find(RELEASES[name]), steps)


def from_file(file: ModelFile, path: Path) -> OneStep:
    """Load a model file."""
    configuration = Configuration.from_json(file.options)
    unet, codes = (
        {name.removeprefix(prefix): value for name, value in file.weights.items() if name.startswith(prefix)}
        for prefix in ("unet.", "vae.")
    )
    if len(unet) + len(codes) != len(file.weights):
        raise InputError(f"{path}: the model has weights that are neither of the U-Net nor of the autoencoder")
    try:
        return OneStep(path.name, Adapters(unet, codes, configuration.alpha), configuration)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def export(loaded: Loaded, form: str, factor: int) -> bytes:
    """Encode changes as a model file (safetensors), or as the authors' program reads them (osediff)."""
    if not isinstance(loaded, OneStep):
        raise InputError("this is no one-step model")
    if form == "osediff":
        return official.written(loaded.adapters)
    if form != "safetensors":
        raise InputError(f"a one-step model has the forms safetensors and osediff, not {form}")
    weights = {
        f"{part}.{name}": value
        for part, state in (("unet", loaded.adapters.unet), ("vae", loaded.adapters.vae))
        for name, value in state.items()
    }
    facts = {"converted": loaded.name}
    file = ModelFile("onestep-sr", loaded.configuration.to_json(), facts, weights, (), Base(BASES[0], "", ""))
    return model_bytes(Path(loaded.name), file)


def _check_steps(steps: int | None) -> None:
    if steps not in (None, 1):
        raise InputError(f"steps is {steps}: this model has one step")
