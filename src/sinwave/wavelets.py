"""The orthonormal wavelet transform of a picture, exact at every size.

One level splits a picture into four bands of half its size. With a low-pass filter f and a high-pass filter g of
length F, applied along the rows and along the columns of samples,

    low[k] = sum_j f[j] x[(2k + j - F/2 + 1) mod n],      high[k] = sum_j g[j] x[(2k + j - F/2 + 1) mod n]

and the bands are named after their content (cA, cH, cV, cD in PyWavelets):

    lowpass     low along both axes             horizontal  high along the height: horizontal edges
    vertical    high along the width            diagonal    high along both axes

An odd length is made even by repeating its last sample once; the inverse knows the size and drops that sample. This is
the `periodization` mode of PyWavelets. The transform is orthonormal (Mallat, 1989): its inverse is its adjoint, white
noise stays white noise, and at even sizes energy is preserved.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor

from sinwave.errors import InputError

__all__ = ["Size", "pack", "unpack"]

Size: TypeAlias = tuple[int, int]
_Filters: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]
_HAAR = ("haar", "db1")
_FAMILIES = ("haar", "db", "sym", "coif")


def pack(image: Tensor, filter: str = "haar") -> Tensor:
    """Split `(b, c, h, w) -> (b, 4 c, ceil(h / 2), ceil(w / 2))`: lowpass, horizontal, vertical, diagonal."""
    if image.dim() != 4 or not image.is_floating_point() or 0 in _size(image):
        raise InputError(f"a picture of {_describe(image)}: it must be floating point of shape (b, c, h, w)")
    image = _make_even(image)
    return _pack_haar(image) if filter in _HAAR else _pack(image, _filters(filter))


def unpack(bands: Tensor, size: Size, filter: str = "haar") -> Tensor:
    """Invert `pack` exactly, `(b, 4 c, ceil(h / 2), ceil(w / 2)) -> (b, c, h, w)` with `size = (h, w)`."""
    height, width = size
    if bands.dim() != 4 or bands.shape[1] % 4 or _size(bands) != ((height + 1) // 2, (width + 1) // 2):
        raise InputError(
            f"bands of {_describe(bands)} for a picture of {height} x {width}: "
            f"the shape must be (b, 4 c, {(height + 1) // 2}, {(width + 1) // 2})"
        )
    image = _unpack_haar(bands) if filter in _HAAR else _unpack(bands, _filters(filter))
    return image[..., :height, :width]


def _size(image: Tensor) -> Size:
    return image.shape[-2], image.shape[-1]


def _describe(tensor: Tensor) -> str:
    return f"shape {tuple(tensor.shape)} and type {str(tensor.dtype).removeprefix('torch.')}"


def _make_even(image: Tensor) -> Tensor:
    for dim in (-2, -1):
        if image.shape[dim] % 2:
            image = torch.cat([image, image.narrow(dim, -1, 1)], dim)
    return image


def _pack_haar(image: Tensor) -> Tensor:
    top, bottom = image[..., 0::2, :], image[..., 1::2, :]
    low, high = top + bottom, top - bottom
    left, right = (..., slice(0, None, 2)), (..., slice(1, None, 2))
    bands = [low[left] + low[right], high[left] + high[right], low[left] - low[right], high[left] - high[right]]
    return torch.cat(bands, dim=1).mul_(0.5)


def _unpack_haar(bands: Tensor) -> Tensor:
    batch, channels, height, width = bands.shape
    lowpass, horizontal, vertical, diagonal = bands.chunk(4, dim=1)
    image = bands.new_empty(batch, channels // 4, 2 * height, 2 * width)
    for row, sign in ((0, 1), (1, -1)):
        low = torch.add(lowpass, horizontal, alpha=sign).mul_(0.5)
        high = torch.add(vertical, diagonal, alpha=sign).mul_(0.5)
        image[..., row::2, 0::2] = low + high
        image[..., row::2, 1::2] = low - high
    return image


@lru_cache
def _filters(name: str) -> _Filters:
    """The (low-pass, high-pass) filters of an orthogonal wavelet, in the order of the formula above."""
    import pywt  # imported here, as that takes longer than most Haar transforms

    if name not in pywt.wavelist(kind="discrete") or pywt.Wavelet(name).short_family_name not in _FAMILIES:
        raise InputError(f"the wavelet filter is {name!r}: it must be haar, db1..db38, sym2..sym20 or coif1..coif17")
    wavelet = pywt.Wavelet(name)
    return tuple(wavelet.rec_lo), tuple(wavelet.rec_hi)


def _pack(image: Tensor, filters: _Filters) -> Tensor:
    low, high = _split(image, filters, dim=2)
    lowpass, vertical = _split(low, filters, dim=3)
    horizontal, diagonal = _split(high, filters, dim=3)
    return torch.cat([lowpass, horizontal, vertical, diagonal], dim=1)


def _unpack(bands: Tensor, filters: _Filters) -> Tensor:
    lowpass, horizontal, vertical, diagonal = bands.chunk(4, dim=1)
    low = _merge(lowpass, vertical, filters, dim=3)
    high = _merge(horizontal, diagonal, filters, dim=3)
    return _merge(low, high, filters, dim=2)


def _split(x: Tensor, filters: _Filters, dim: int) -> tuple[Tensor, Tensor]:
    """Return the low and the high half of x along `dim`."""
    length, count = len(filters[0]), x.shape[dim] // 2
    pairs = _wrap(x, length // 2 - 1, dim).unfold(dim, 2, 2)
    phases = [phase.contiguous() for phase in pairs.unbind(-1)]  # contiguous, since they are read length / 2 times
    taps = [phases[j % 2].narrow(dim, j // 2, count) for j in range(length)]
    low, high = (_weighted_sum(filter, taps) for filter in filters)
    return low, high


def _merge(low: Tensor, high: Tensor, filters: _Filters, dim: int) -> Tensor:
    """Invert `_split` by its adjoint: x[n] = sum_k f[j] low[k] + g[j] high[k], j = n - 2k + F/2 - 1."""
    length, count = len(filters[0]), low.shape[dim]
    margin = length // 4
    halves = [_wrap(half, margin, dim) for half in (low, high)]
    phases = []
    for parity in (0, 1):  # of n = 2i + parity, so that j = first + 2 (i - k)
        first = parity + length // 2 - 1
        indices = range(first % 2, length, 2)
        taps = [half.narrow(dim, margin + (first - j) // 2, count) for half in halves for j in indices]
        phases.append(_weighted_sum([filter[j] for filter in filters for j in indices], taps))
    return torch.stack(phases, dim + 1).flatten(dim, dim + 1)


def _wrap(x: Tensor, margin: int, dim: int) -> Tensor:
    # Indexing instead of circular padding, which cannot wrap around a short signal more than once.
    size = x.shape[dim]
    return x.index_select(dim, torch.arange(-margin, size + margin, device=x.device) % size)


def _weighted_sum(weights: Sequence[float], terms: Sequence[Tensor]) -> Tensor:
    total = weights[0] * terms[0]
    for weight, term in zip(weights[1:], terms[1:], strict=True):
        total = torch.add(total, term, alpha=weight)
    return total
