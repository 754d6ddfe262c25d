"""The loss of multi-scale high-frequency error maps, which makes an upscaler look where its detail is wrong.

    L = sum_i w_i d(a_i M_i, b_i M_i)        scales s_i = 1, 1/2, 1/4, 1/8,    w_i = .4, .3, .2, .1
    M = 1 + gamma E,    E = e / max e,    e = mean of |W(a_i - b_i)| over colors and the bands H, V, D, upsampled x 2

a_i and b_i are the result and its target (b, 3, h, w) in [-1, 1], reduced to scale i; W is one level of an orthonormal
wavelet transform, and d a perceptual distance. Products are not clamped. (Seo and Lee, "Diffusion model based image
super-resolution with multi-scale high frequency error maps".) The paper leaves open much of this: `ErrorMaps` has an
option for every gap. Where max e is below 1/8 of a gray level, e is divided by that instead: the pictures are equal up
to rounding, and a map of rounding errors would be nonsense.

The distance `bands` is the same idea without pretrained weights. Band differences D_k = W_k(a - b) of the levels
k = 1 .. 4 stand for the scales, rho is Charbonnier's, and the last lowpass band sees what no detail does:

    L = sum_k w_k mean (1 + gamma |D_k|) rho(D_k)  +  w_4 mean rho(lowpass_4),        rho(x) = sqrt(x^2 + c^2) - c
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal, final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.options import check, facts, option
from sinwave.pretrained.perceptual import Lpips, PerceptualDistance, StLpips
from sinwave.resize import resize
from sinwave.wavelets import pack

__all__ = ["ErrorMapLoss", "ErrorMaps", "error_map"]

_LEAST = 1 / (8 * 127.5)
_CORNER = 1e-3


@final
@dataclass(frozen=True, kw_only=True)
class ErrorMaps:
    """A reading of the paper, gap by gap; `training`, `balance` and `target` are for the recipe that calls the loss."""

    scales: tuple[float, ...] = option((1.0, 0.5, 0.25, 0.125), "sizes of compared pictures", low=0.01, high=1)
    weights: tuple[float, ...] = option((0.4, 0.3, 0.2, 0.1), "how much each of the scales counts", low=0)
    training: Literal["joins", "alone"] = option(
        "joins", "joins: the error maps are one more loss of a training; alone: its only loss"
    )
    balance: float = option(1.0, "the weight of the error maps where they join other losses", low=0)
    target: Literal["truth", "teacher"] = option("truth", "what a result is compared with")
    mask: Literal["emphasis", "literal"] = option(
        "emphasis", "what multiplies both pictures; emphasis: 1 + gamma map; literal: the map itself"
    )
    gamma: float = option(1.0, "how much more the worst place counts", low=0)
    filter: str = option("haar", "an orthogonal wavelet: haar, db1..db38, sym2..sym20 or coif1..coif17")
    channels: Literal["one", "color"] = option("one", "one: a map for all colors; color: a map for each of them")
    transform: Literal["decimated", "undecimated"] = option(
        "decimated", "decimated: a map of blocks of 2 x 2 pixels; undecimated: the mean over all ways to lay them"
    )
    normalized: bool = option(True, "whether the map of a picture is divided by its maximum")
    gradient: bool = option(False, "whether gradients flow through the map")
    resampling: Literal["bicubic", "area"] = option("bicubic", "how pictures are reduced to a scale, antialiased")
    distance: Literal["lpips-vgg", "lpips-alex", "st-lpips-vgg", "st-lpips-alex", "bands"] = option(
        "lpips-vgg", "the perceptual distance; bands: none, and no pretrained weights are needed"
    )

    def __post_init__(self) -> None:
        check(self)
        if not 0 < len(self.scales) == len(self.weights):
            counts = f"{len(self.scales)} scales and {len(self.weights)} weights"
            raise InputError(f"there are {counts}: there must be one weight for each scale, and at least one")
        if self.distance == "bands" and self.scales != tuple(0.5**k for k in range(len(self.scales))):
            raise InputError(f"scales must be 1, 0.5, 0.25, ... with the distance bands, not {self.scales}")
        for name, reason in self._idle():
            (declared,) = (item for item in facts(ErrorMaps) if item.name == name)
            if getattr(self, name) != declared.default:
                raise InputError(f"{name} {getattr(self, name)!r} has no effect with {reason}: leave it out")
        pack(torch.zeros(1, 1, 2, 2), self.filter)

    @property
    def remark(self) -> str | None:
        """A sentence on what this reading does not see, None if there is nothing to say."""
        if self.mask == "emphasis":
            return None
        blind = "the mask is literal: a result that is the target plus a constant costs nothing"
        return f"{blind}, and there is no other loss" if self.training == "alone" else f"{blind} in the error maps"

    def _idle(self) -> Iterator[tuple[str, str]]:
        """Names of options that have no effect beside others, which are the reason."""
        if self.mask == "literal":
            yield "gamma", "the literal mask"
        if self.training == "alone":
            yield "balance", "a training by this loss alone"
        if self.distance == "bands":
            names = ("mask", "channels", "transform", "normalized", "resampling")
            yield from ((name, "the distance bands") for name in names)


@final
@dataclass(frozen=True, eq=False)
class ErrorMapLoss:
    """The loss, with the network of its distance, which is never trained; `bands` has none."""

    options: ErrorMaps
    measure: PerceptualDistance | None = None

    def __post_init__(self) -> None:
        held = self.measure.name if self.measure else "bands"
        if not self.options.distance.startswith(held.lower()):
            raise InputError(f"the distance is {self.options.distance}, and {held} is given")
        if self.measure and any(parameter.requires_grad for parameter in self.measure.trunk.parameters()):
            raise InputError(f"the network of {self.measure.name} would be trained: it must be frozen")

    @classmethod
    def load(
        cls, options: ErrorMaps, path: Path | None = None, on_remark: Callable[[str], None] = lambda sentence: None
    ) -> ErrorMapLoss:
        """Load the published weights of the distance, `path` being searched first."""
        if options.remark:
            on_remark(options.remark)
        if options.distance == "bands":
            return cls(options)
        family, network = options.distance.rsplit("-", 1)
        kind = Lpips if family == "lpips" else StLpips
        return cls(options, kind.load(network, path))

    @property
    def least(self) -> int:
        """The shortest side that a crop may have."""
        return math.ceil(self.measure.trunk.least / min(self.options.scales)) if self.measure else 1

    def to(self, target: torch.device | torch.dtype) -> ErrorMapLoss:
        """Copy the network to another device or type of numbers, unless it has it."""
        return replace(self, measure=self.measure.to(target)) if self.measure else self

    def __call__(self, result: Tensor, target: Tensor) -> Tensor:
        """The mean loss of a batch of results (b, 3, h, w) in [-1, 1] against their targets: a scalar."""
        self._check(result, target)
        scales = _band_losses if self.measure is None else self._perceived
        return torch.stack(list(scales(result, target, self.options))).sum()

    def _perceived(self, result: Tensor, target: Tensor, options: ErrorMaps) -> Iterator[Tensor]:
        assert self.measure is not None
        for scale, weight in zip(options.scales, options.weights, strict=True):
            height, width = (round(side * scale) for side in result.shape[2:])
            a, b = (resize(image, (height, width), options.resampling) for image in (result, target))
            mask = _mask(error_map(a, b, options), options)
            yield weight * self.measure(a * mask, b * mask).mean()

    def _check(self, result: Tensor, target: Tensor) -> None:
        for image in (result, target):
            if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape or not image.is_floating_point():
                given = f"{image.dtype} {tuple(image.shape)}"
                raise InputError(f"error maps are of float pictures (b, 3, h, w), not of {given}")
        if result.shape != target.shape:
            shapes = f"{tuple(result.shape)} and {tuple(target.shape)}"
            raise InputError(f"error maps compare batches of one shape, not {shapes}")
        height, width = result.shape[2:]
        if self.measure and min(height, width) < self.least:
            scale, needed = min(self.options.scales), f"{self.least} pixels a side are needed"
            raise InputError(
                f"crops of {width} x {height} are too small for {self.measure.name} at {scale:g}: {needed}"
            )


def error_map(result: Tensor, target: Tensor, options: ErrorMaps) -> Tensor:
    """The map E of two batches (b, 3, h, w) at their own scale, (b, 1 or 3, h, w)."""
    difference = result - target if options.gradient else (result - target).detach()
    transform = _decimated if options.transform == "decimated" else _undecimated
    errors = transform(difference, options.filter)
    if options.channels == "one":
        errors = errors.mean(1, keepdim=True)
    return errors / errors.amax((1, 2, 3), keepdim=True).clamp(min=_LEAST) if options.normalized else errors


def _decimated(difference: Tensor, filter: str) -> Tensor:
    """Mean of the absolute bands H, V, D of every color, (b, c, h, w) -> (b, c, h, w)."""
    height, width = difference.shape[2:]
    details = torch.stack(pack(difference, filter).chunk(4, 1)[1:]).abs().mean(0)
    return functional.interpolate(details, scale_factor=2)[..., :height, :width]


def _undecimated(difference: Tensor, filter: str) -> Tensor:
    """Mean over the four grids of blocks that a pixel can be in; borders are repeated."""
    height, width = difference.shape[2:]
    shifted = []
    for top, left in product((0, 1), (0, 1)):
        moved = torch.cat([difference[..., :top, :], difference], 2)
        moved = torch.cat([moved[..., :left], moved], 3)
        shifted.append(_decimated(moved, filter)[..., top : top + height, left : left + width])
    return torch.stack(shifted).mean(0)


def _mask(errors: Tensor, options: ErrorMaps) -> Tensor:
    return errors if options.mask == "literal" else 1 + options.gamma * errors


def _band_losses(result: Tensor, target: Tensor, options: ErrorMaps) -> Iterator[Tensor]:
    low = result - target
    for weight in options.weights:
        low, details = pack(low, options.filter).tensor_split([3], 1)
        errors = details.abs() if options.gradient else details.detach().abs()
        yield weight * (_mask(errors, options) * _charbonnier(details)).mean()
    yield options.weights[-1] * _charbonnier(low).mean()


def _charbonnier(x: Tensor) -> Tensor:
    """rho, written so that nothing cancels and equal pictures have exactly 0."""
    return x.square() / ((x.square() + _CORNER**2).sqrt() + _CORNER)
