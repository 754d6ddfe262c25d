"""A trained SinGAN, its file, and what draws: from noise to a picture, scale by scale.

    variation v    of N scales those before (1 - v)^2 N are of the known picture, the others are drawn
    strength s     a given picture is what scale `first` + (1 - s)^4 (N - `first`) begins with, where that is the first
                   of all not below s = 0.75: of a picture that should be redrawn by half the layout stays
    known picture  with its layout is redrawn from noise around its own: sqrt(1 - s^2) (z*, 0, 0, ...) + s z
    larger         the finest scale again and again on its own result, each time enlarged by the factor of the pyramid

Where not all scales are trained, the last one that is gives the picture, enlarged. Several models draw one picture
together: at each scale each has its part of the places, and goes on from what all have drawn before.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, final

import torch
from torch import Tensor

from sinwave.errors import InputError
from sinwave.images import Picture, read_bytes
from sinwave.reduction import Reduction
from sinwave.resize import blur, resize
from sinwave.rng import Noise
from sinwave.systems.contracts import Ability, Computing, Loaded, OnStep, Progress, ScaleConstraint, Size, VerticalSpan
from sinwave.systems.files import ModelFile, with_weights
from sinwave.systems.singan.networks import Generators
from sinwave.systems.singan.options import Configuration
from sinwave.threads import threads

__all__ = ["SinganModel", "Trained", "from_file", "owned"]

TILE = 512
"""Pixels along a side of what a generator is applied to at once."""

_VARIETY = 2
"""So 0.7, which has other objects, has another layout, and 0.5 other details: the coarsest scale moves the layout."""

_TEMPERANCE = 4
"""So strengths that suit a wavelet model suit this one: half begins at `first`, a quarter one or two later."""

_LAYOUT = 0.75
"""Of the strength: below it the scales that lay out have no part."""

_PLANNERS = 2
"""Scales that lay out: the coarsest from noise alone, and the next one from what that has made, which is vague."""

TOGETHER = 8
"""Pictures in a batch, on a device that has more to do with them than with one."""


@final
class SinganModel:
    """The generators of one picture, of the size of the finest scale; or of several, each with its share."""

    def __init__(
        self,
        generators: Generators,
        *others: Generators,
        shares: Sequence[float] = (),
        tile: int = TILE,
        picture: Tensor | None = None,
    ) -> None:
        """They are used as they are after training: frozen, with the statistics that they have seen.

        `picture` (3, h, w) is the known one, if it is to be recognized.
        """
        self._picture = picture
        self._all = [network.eval().requires_grad_(False) for network in (generators, *others)]
        self._generators, self._shares, self._tile = generators, list(shares), tile
        self._trained = min(network.trained for network in self._all)
        if self._trained == 0:
            raise InputError("no scale of this model is trained yet: go on with the same 'sinwave train' command")
        self.size = generators.sizes[-1]
        # On a CPU more are no faster; then no bit depends on who else is drawn.
        self.max_batch = 1 if generators.anchor.device.type == "cpu" else TOGETHER
        # The third scale: of what is pasted or painted the layout stays, and all else is new. What the second one is
        # trained to begin with is vague, and it makes little of a picture that is not.
        self.default_first_scale = min(_PLANNERS, self._trained - 1)

    def scales(self, image: Tensor) -> tuple[Tensor, ...]:
        return (*(resize(image, size) for size in self._sizes(_size(image))[:-1]), image)

    def mixed(self, others: Sequence[SinganModel], shares: Sequence[float]) -> SinganModel:
        generators = [other._generators for other in others]
        if any(len(other.sizes) != len(self._generators.sizes) for other in generators):
            raise InputError("only models of SinGAN with the same number of scales can be mixed")
        return SinganModel(self._generators, *generators, shares=shares, tile=self._tile)

    def generate(
        self,
        size: Size,
        noise: Noise,
        *,
        variation: float = 1.0,
        constrain: ScaleConstraint | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        first, sizes, begun = self._first(variation, _VARIETY, 0), self._sizes(size), None
        if first:
            # The reconstruction has its own size, where it is whole.
            begun = resize(self._generators.reconstruct(first), sizes[min(first, len(sizes) - 1)])
            begun = begun.expand(noise.count, -1, -1, -1)
        return self._descend(begun, first, sizes, noise, constrain, on_step)

    def refine(
        self,
        image: Tensor,
        strength: float,
        noise: Noise,
        *,
        first: int = 0,
        span: VerticalSpan | None = None,
        constrain: ScaleConstraint | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        sizes = self._sizes(_size(image))
        if not 0 <= first < len(sizes):
            raise InputError(f"the first scale is {first}: this model has {len(sizes)}, counted from 0")
        if first >= self._trained:
            raise InputError(f"scale {first} is not trained yet: {self._trained} of {len(sizes)} are")
        own = self._picture  # which has noise of its own
        same = own is not None and own.shape == image.shape[1:] and bool((image == own.to(image)).all())
        recognized = same and span == VerticalSpan() and first == 0
        if strength < _LAYOUT:
            first = max(first, self.default_first_scale)
        first = self._first(strength, _TEMPERANCE, first)
        if strength == 0:
            return image
        if recognized:
            return self._descend(None, 0, sizes, noise, constrain, on_step, away=strength)
        # What a scale begins with has no more detail than the scale before.
        begun = resize(resize(image, sizes[first - 1]), sizes[first]) if first else None
        return self._descend(begun, first, sizes, noise, constrain, on_step)

    def upscale(self, low: Tensor, size: Size, noise: Noise, *, on_step: OnStep | None = None) -> Tensor:
        """Enlarge a picture (1, 3, h, w) to `size`; reduced, it is the picture again."""
        reduction, large, index = Reduction(low), low, self._trained - 1
        if index == 0:
            raise InputError("a model of one scale has learned to draw pictures, not to make them finer: no upscaling")
        factor = max(b / a for a, b in zip(_size(low), size, strict=True))
        sizes = self._generators.sizes
        ratio = max(sizes[-1]) / max(sizes[-2])
        steps = max(0, math.ceil(math.log(factor) / math.log(ratio) - 1e-9))
        for step in range(1, steps + 1):
            height, width = (round(a * (b / a) ** (step / steps)) for a, b in zip(_size(low), size, strict=True))
            guess = resize(large, (height, width))
            drawn = noise.child("larger", step).normal((1, 3, height, width), "noise", like=guess)
            large = reduction.nearest(self._apply(self._generators, index, guess, drawn))
            if on_step is not None:
                on_step(Progress(0, 1, step, steps, lambda large=large: reduction.in_range(large)))  # type: ignore[misc]
        return reduction.in_range(large) if steps else low

    def _apply(self, generators: Generators, index: int, coarser: Tensor, noise: Tensor) -> Tensor:
        with threads(1 if coarser.device.type == "cpu" else None):
            picture: Tensor = generators(index, coarser, noise, tile=self._tile)
        return picture

    def _first(self, share: float, power: int, first: int) -> int:
        """The first scale that is drawn, `first` if the share is 1, and later ones the lower it is."""
        if not 0 <= share <= 1:
            raise InputError(f"variation and strength must be between 0 and 1, not {share}")
        left, last = self._trained - first, self._trained - 1
        return min(first + math.floor((1 - share) ** power * left), last) if share else self._trained

    def _descend(
        self,
        coarser: Tensor | None,
        first: int,
        sizes: Sequence[Size],
        noise: Noise,
        constrain: ScaleConstraint | None,
        on_step: OnStep | None,
        away: float = 1.0,
    ) -> Tensor:
        """From what scale `first` begins with, to the end; `away` is how far the noise is from the known picture's."""
        picture = self._generators.anchor.new_zeros(noise.count, 3, *sizes[0]) if coarser is None else coarser
        owners = self._owners(noise, sizes[0])
        for index, size in list(enumerate(sizes))[first:]:
            picture = picture if _size(picture) == size else resize(picture, size)
            if index < self._trained:
                picture = self._scale(index, picture, noise.child("scale", index), owners, away)
            allowed = constrain(index) if constrain else None
            picture = allowed(picture) if allowed else picture
            if on_step is not None:
                on_step(Progress(index, len(sizes), 1, 1, lambda picture=picture: picture.clamp(-1, 1)))  # type: ignore[misc]
        return picture.clamp(-1, 1)

    def _scale(self, index: int, coarser: Tensor, noise: Noise, owners: Tensor | None, away: float) -> Tensor:
        shape = (len(coarser), 1 if index == 0 else 3, *coarser.shape[2:])
        drawn = away * noise.normal(shape, "noise", like=coarser)
        if index == 0 and away < 1:
            drawn = drawn + math.sqrt(1 - away**2) * self._generators.anchor
        pictures = [self._apply(generators, index, coarser, drawn) for generators in self._all]
        if owners is None:
            return pictures[0]
        parts = resize(owners, _size(coarser), "bilinear")
        return torch.stack([picture * parts[:, n, None] for n, picture in enumerate(pictures)]).sum(0)

    def _owners(self, noise: Noise, size: Size) -> Tensor | None:
        """Whose each place of the coarsest scale is, (b, models, h, w); None if there is one model."""
        if len(self._all) == 1:
            return None
        field = noise.child("owners").normal((noise.count, 1, *size), "field", like=self._generators.anchor)
        return owned(blur(field, max(size) / 10), self._shares)

    def _sizes(self, size: Size) -> tuple[Size, ...]:
        own = self._generators.sizes
        parts = [(h / own[-1][0], w / own[-1][1]) for h, w in own]
        return tuple((max(1, round(size[0] * down)), max(1, round(size[1] * right))) for down, right in parts)


def owned(field: Tensor, shares: Sequence[float]) -> Tensor:
    """Cut a smooth field (b, 1, h, w) at its own quantiles into places of one owner each, (b, n, h, w)."""
    places = field.flatten(1)
    rank = places.argsort(1).argsort(1).reshape(field.shape) / (places.shape[1] - 1)
    ends = torch.tensor(shares, dtype=torch.float64).cumsum(0) / sum(shares)
    owner = torch.bucketize(rank, ends[:-1].to(rank), right=True)
    return torch.cat([(owner == n).to(field) for n in range(len(shares))], 1)


def _size(image: Tensor) -> Size:
    return image.shape[2], image.shape[3]


@dataclass(frozen=True, eq=False)
class Trained:
    """Trained generators with their picture."""

    generators: Generators
    picture: Picture
    abilities: ClassVar[frozenset[Ability]] = frozenset({"generate", "refine", "upscale"})
    engines: ClassVar[tuple[str, ...]] = ("network",)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        return (self.picture,)

    @property
    def size(self) -> Size:
        return self.generators.sizes[-1]

    def build(self, engine: str, computing: Computing) -> SinganModel:
        generators = copy.deepcopy(self.generators).to(computing.device, computing.convolutions or computing.dtype)
        return SinganModel(generators, picture=self.picture.pixels)

    def mix(self, others: Sequence[Loaded], shares: Sequence[float], engine: str, computing: Computing) -> SinganModel:
        alike = [other for other in others if isinstance(other, Trained)]
        if len(alike) < len(others):
            raise InputError("a model of the system singan can be mixed with models of the same system only")
        return self.build(engine, computing).mixed([other.build(engine, computing) for other in alike], shares)

    def memory(self, engine: str, size: Size) -> float:
        """Estimate the bytes: tiles of the generators, and pictures of the finest scale."""
        return 1.1e9 + 43 * size[0] * size[1]


def from_file(file: ModelFile, path: Path) -> Trained:
    """The model in a file; a sentence says what of it does not fit."""
    configuration = Configuration.from_json(file.options)
    if len(file.pictures) != 1:
        raise InputError(f"{path}: the model holds {len(file.pictures)} pictures, not one")
    picture = read_bytes(file.pictures[0], path)
    generators = with_weights(path, file.weights, lambda: Generators(configuration, configuration.sizes(picture.size)))
    if not 0 <= generators.trained <= len(generators.sizes):
        raise InputError(f"{path}: the model says that {generators.trained} scales of it are trained")
    return Trained(generators, picture)
