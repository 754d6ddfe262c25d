"""A trained SinGAN as a `SingleImageModel`: from noise to a picture, scale by scale.

    variation v    the scales before number (1 - v) N are those of the known picture, the others are drawn
    strength s     a given picture is taken up as what scale `first` + (1 - s) (N - `first`) begins with

Where not all scales are trained, the last one that is gives the picture, enlarged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

from torch import Tensor

from sinwave.errors import InputError
from sinwave.resize import resize
from sinwave.rng import Noise
from sinwave.systems.protocols import Heights, OnStep, ScaleConstraint, SingleImageModel
from sinwave.systems.singan.networks import Generators
from sinwave.wavelets import Size

__all__ = ["SinganModel"]

TILE = 512
"""Pixels along a side of what a generator is applied to at once."""

TOGETHER = 8
"""Pictures in a batch, on a device that has more to do with them than with one."""


@final
class SinganModel:
    """The generators of one picture, of the size of the finest scale."""

    def __init__(self, generators: Generators, *, tile: int = TILE) -> None:
        """They are used as they are after training: frozen, with the statistics that they have seen."""
        if generators.trained == 0:
            raise InputError("no scale of this model is trained yet: go on with the same 'sinwave train' command")
        self._generators, self._tile = generators.eval().requires_grad_(False), tile

    @property
    def size(self) -> Size:
        """(height, width) of the finest scale."""
        return self._generators.sizes[-1]

    @property
    def together(self) -> int:
        """One on a processor, where more are no faster; then no bit depends on who else is drawn."""
        return 1 if self._generators.anchor.device.type == "cpu" else TOGETHER

    @property
    def taken_up_at(self) -> int:
        """The middle scale: of what is pasted or painted the coarse shapes stay, and the texture is new."""
        return self._generators.trained // 2

    def scales(self, image: Tensor) -> tuple[Tensor, ...]:
        """The picture of each scale, coarsest first; the last is all of it."""
        return (*(resize(image, size) for size in self._sizes(_size(image))[:-1]), image)

    def effort(self, size: Size) -> tuple[float, ...]:
        """Pixels times weights."""
        channels = (self._generators.configuration.channels(index) for index in range(len(self._generators.sizes)))
        return tuple(h * w * c**2 for (h, w), c in zip(self._sizes(size), channels, strict=True))

    def mixed(self, others: Sequence[SingleImageModel], shares: Sequence[float]) -> SingleImageModel:
        """Not possible."""
        raise InputError("the networks of SinGAN cannot be mixed: take the engine closed-form, or wavelet models")

    def generate(
        self,
        size: Size,
        noise: Noise,
        *,
        variation: float = 1.0,
        constrain: ScaleConstraint | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """A new picture of `size`; `variation` goes from 0, the known picture itself, to 1, a new composition."""
        _check_share(variation)
        first = math.ceil((1 - variation) * self._generators.trained)
        sizes, begun = self._sizes(size), None
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
        heights: Heights | None = None,
        constrain: ScaleConstraint | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """`image` as the model would have drawn it: the less `strength` and the later the `first` scale, the nearer."""
        _check_share(strength)
        trained, sizes = self._generators.trained, self._sizes(_size(image))
        if not 0 <= first < len(sizes):
            raise InputError(f"the first scale is {first}: this model has {len(sizes)}, counted from 0")
        first = min(first + math.ceil((1 - strength) * max(trained - first, 0)), len(sizes))
        if first == len(sizes):
            return image
        # What a scale begins with has no more detail than the scale before.
        begun = resize(resize(image, sizes[first - 1]), sizes[first]) if first else None
        return self._descend(begun, first, sizes, noise, constrain, on_step)

    def _descend(
        self,
        coarser: Tensor | None,
        first: int,
        sizes: Sequence[Size],
        noise: Noise,
        constrain: ScaleConstraint | None,
        on_step: OnStep | None,
    ) -> Tensor:
        """From what scale `first` begins with, to the end."""
        generators = self._generators
        picture = generators.anchor.new_zeros(noise.count, 3, *sizes[0]) if coarser is None else coarser
        for index, size in list(enumerate(sizes))[first:]:
            picture = picture if _size(picture) == size else resize(picture, size)
            if index < generators.trained:
                shape = (noise.count, 1 if index == 0 else 3, *size)
                drawn = noise.child("scale", index).normal(shape, "noise", like=generators.anchor)
                picture = generators(index, picture, drawn, tile=self._tile)
            allowed = constrain(index) if constrain else None
            picture = allowed(picture) if allowed else picture
            if on_step is not None:
                on_step(index, 1, 1)
        return picture.clamp(-1, 1)

    def _sizes(self, size: Size) -> tuple[Size, ...]:
        """Those of the scales of a picture of `size`, each the same part of it as of the known one."""
        known = self._generators.sizes
        parts = [(h / known[-1][0], w / known[-1][1]) for h, w in known]
        return tuple((max(1, round(size[0] * down)), max(1, round(size[1] * right))) for down, right in parts)


def _size(image: Tensor) -> Size:
    return image.shape[2], image.shape[3]


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise InputError(f"variation and strength must be between 0 and 1, not {share}")
