"""Resampling and blurring: linear, separable, differentiable, and the same on every device.

Along one axis a resize from n to m samples is a banded m x n matrix. With the ratio r = n / m, output i sits at
c_i = (i + 1/2) r of the input, and input j, whose middle is j + 1/2, reaches it with the weight

    W_ij = k((j + 1/2 - c_i) / f) / sum_l k((l + 1/2 - c_i) / f)        f = max(r, 1) against aliasing, otherwise 1

where k is the triangle (bilinear), Keys' cubic with a = -1/2 (bicubic, IEEE ASSP 1981) or the three-lobed windowed
sinc (lanczos). Kernels are cut at the border and divided by what is left, as Pillow does. `area` weighs by the exact
overlap of the two pixels, antialiased or not: it keeps the mean, and an integer factor gives the mean of blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias, final, get_args

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.wavelets import Size

__all__ = ["Blocks", "Kind", "Resampler", "blocks_of", "blur", "extended", "product", "resize", "rows_of"]

Kind = Literal["bicubic", "bilinear", "area", "lanczos"]

Blocks: TypeAlias = Sequence[tuple[slice, Tensor]]
"""Rows of a banded matrix, some at a time, with the range of inputs that they reach."""

_BLOCK = 128  # outputs per matrix product; smaller blocks multiply fewer zeros outside of the band


@final
class Resampler:
    """`resize` for pictures of one size, its weights computed once: a product for every block of rows of W."""

    def __init__(
        self, before: Size, after: Size, kind: Kind = "bicubic", antialias: bool = True, *, like: Tensor
    ) -> None:
        """Sizes are (height, width); pictures are of the device and dtype of `like`."""
        if kind not in get_args(Kind):
            raise InputError(f"the kind of resizing is {kind!r}: it must be one of {', '.join(get_args(Kind))}")
        if min(after) < 1:
            raise InputError(f"the size is {after[0]} x {after[1]}: it must be at least 1 x 1")
        self._rows, self._columns = (
            [] if n == m else blocks_of(n, m, kind, antialias, like) for n, m in zip(before, after, strict=True)
        )

    def __call__(self, image: Tensor) -> Tensor:
        """Resample a picture (b, c, h, w)."""
        # Autocast would compute matrix products in half precision; a picture needs all of its bits.
        with torch.autocast(image.device.type, enabled=False):
            return product(self._rows, product(self._columns, image.mT).mT).contiguous()


def resize(image: Tensor, size: Size, kind: Kind = "bicubic", antialias: bool = True) -> Tensor:
    """Resample `image` (b, c, h, w) to `size` = (height, width); the same size returns an equal image."""
    if image.ndim != 4 or not image.is_floating_point():
        raise InputError(f"the image to resize is {image.dtype} {tuple(image.shape)}: it must be a float (b, c, h, w)")
    return Resampler((image.shape[2], image.shape[3]), size, kind, antialias, like=image)(image)


def blocks_of(before: int, length: int, kind: Kind, antialias: bool, like: Tensor) -> Blocks:
    """Compute W for one axis."""
    starts = range(0, length, _BLOCK)
    blocks = (rows_of(before, length, kind, start, min(start + _BLOCK, length), antialias) for start in starts)
    return [(inputs, weights.to(like)) for inputs, weights in blocks]


def rows_of(
    before: int, length: int, kind: Kind, start: int, stop: int, antialias: bool = True
) -> tuple[slice, Tensor]:
    """Compute rows `start` to `stop` of W in float64, and the range of inputs that they reach."""
    ratio = before / length
    reach, kernel = _kernel(kind, ratio, antialias)
    centers = (torch.arange(start, stop, dtype=torch.float64) + 0.5) * ratio
    low = max(math.floor(centers[0].item() - reach), 0)
    high = min(math.ceil(centers[-1].item() + reach), before)
    weights = kernel(torch.arange(low, high, dtype=torch.float64) + 0.5 - centers[:, None])
    return slice(low, high), weights / weights.sum(1, keepdim=True)


def product(blocks: Blocks, image: Tensor) -> Tensor:
    """Multiply W x along the last axis but one; without blocks W is the identity."""
    return torch.cat([weights @ image[..., inputs, :] for inputs, weights in blocks], -2) if blocks else image


def _kernel(kind: Kind, ratio: float, antialias: bool) -> tuple[float, Callable[[Tensor], Tensor]]:
    """Reach of a kernel, and its weight as a function of the distance, both in input pixels."""
    if kind == "area":
        reach = (ratio + 1) / 2
        return reach, lambda d: (reach - d.abs()).clamp(min=0, max=1)
    f = max(ratio, 1.0) if antialias else 1.0
    if kind == "bilinear":
        return f, lambda d: (1 - (d / f).abs()).clamp(min=0)
    if kind == "bicubic":
        return 2 * f, lambda d: _cubic((d / f).abs())
    return 3 * f, lambda d: torch.where(d.abs() < 3 * f, torch.sinc(d / f) * torch.sinc(d / (3 * f)), 0.0)


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution with a = -1/2, for x >= 0."""
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def blur(image: Tensor, sigma: float) -> Tensor:
    """Convolve `image` (b, c, h, w) with a Gaussian of standard deviation `sigma` pixels, cut off at 4 sigma.

    The border is a mirror that repeats the edge pixel (scipy's "reflect"), folded as often as needed: the kernel may be
    wider than the image. The mean is kept.
    """
    if not 0 <= sigma < math.inf:
        raise InputError(f"the sigma of the blur is {sigma}: it must be 0 or more, and finite")
    if sigma == 0:
        return image
    radius = int(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.softmax(-0.5 * (offsets / sigma) ** 2, dim=0).to(image)
    b, c, h, w = image.shape
    rows, columns = (_mirrored(length, radius).to(image.device) for length in (h, w))
    planes = image.reshape(b * c, 1, h, w)
    with torch.autocast(image.device.type, enabled=False):
        planes = functional.conv2d(planes.index_select(3, columns), kernel.view(1, 1, 1, -1))
        planes = functional.conv2d(planes.index_select(2, rows), kernel.view(1, 1, -1, 1))
    return planes.reshape(b, c, h, w)


def extended(image: Tensor, multiple: int) -> Tensor:
    """Extend `image` (b, c, h, w) at the right and below to sides that are multiples, reflected as often as needed.

    The pixel of an edge is not repeated.
    """
    rows, columns = (
        _reflected(side, -(-side // multiple) * multiple).to(image.device) for side in (image.shape[2], image.shape[3])
    )
    return image[:, :, rows][..., columns]


def _reflected(length: int, count: int) -> Tensor:
    """Indices 0 .. length - 1 and back again, without the turning points twice, until there are `count`."""
    period = max(2 * (length - 1), 1)
    index = torch.arange(count) % period
    return torch.minimum(index, period - index)


def _mirrored(length: int, radius: int) -> Tensor:
    """Indices of the samples at -radius .. length + radius - 1, reflected at both ends."""
    index = torch.arange(-radius, length + radius) % (2 * length)
    return torch.minimum(index, 2 * length - 1 - index)
