"""NIQE, the distance of a picture's local statistics to those of natural pictures, which needs no true picture.

    I^ = (I - mu) / (sigma + 1)                                      contrast normalized, mu and sigma local
    p(x) ~ exp( -(|x| / beta)^alpha )                                beta = beta_l for x < 0, beta_r for x > 0
    D^2 = (m_1 - m_2)^T ((C_1 + C_2) / 2)^+ (m_1 - m_2)              of natural pictures and of this one

The law p is fitted to I^ in each block, b x b, and to its products with four neighbors: 18 features a block, and 18
more at half size. m and C are their mean and covariance over blocks. D is 0 at best. (Mittal, Soundararajan and Bovik,
"Making a 'completely blind' image quality analyzer", IEEE SPL 2013.)

Figures compare only if their model is the same, block size included, and their pictures have one size: the fewer the
blocks, the poorer the estimate of C_2. Pictures are uint8 (c, h, w) of three channels, or of one that stands for three;
their right and lower edges are cut to whole blocks. The conventions are those of the authors' program, save one: there
the rounding errors of flat areas are fitted, here they are 0, and a block that is flat counts for nothing. Ports that
take the luma of BT.601 in its limited range, 14 percent lower in contrast, give other figures.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.metrics.frechet import Gaussian
from sinwave.metrics.pictures import size_of, weighted
from sinwave.resize import resize

__all__ = ["NaturalModel", "asymmetric_fit", "block_features", "contrast_normalized", "gray", "niqe"]

_FEATURES, _LEAST_BLOCK = 36, 16
_SHARP = 0.75  # of the sharpest block: blocks below are out of focus, and not what natural pictures are known by
_GRAY = (0.298936, 0.587043, 0.114021)  # the first row of the inverse of the YIQ matrix, as MATLAB's rgb2gray
_RADIUS, _SIGMA = 3, 7 / 6
_FLAT = 1e-6  # gray levels: far above rounding errors, which have a sign too, far below what a picture can differ by
_NEIGHBORS = ((0, 1), (1, 0), (1, 1), (1, -1))
_NAMES = ("mu_pris_param", "cov_pris_param")
_CHUNK = 64  # blocks whose products fit in a processor's cache

_ALPHAS = torch.arange(200, 10001, dtype=torch.float64) / 1000
_MOMENTS = (2 * torch.lgamma(2 / _ALPHAS) - torch.lgamma(1 / _ALPHAS) - torch.lgamma(3 / _ALPHAS)).exp()  # rising


@dataclass(frozen=True, eq=False)
class NaturalModel:
    """Statistics of natural pictures: the mean (36,) and covariance (36, 36) of the features of blocks of `block`."""

    mean: Tensor
    covariance: Tensor
    block: int = 96

    def __post_init__(self) -> None:
        _check_block(self.block)
        shapes = tuple(self.mean.shape), tuple(self.covariance.shape)
        if shapes != ((_FEATURES,), (_FEATURES, _FEATURES)):
            raise InputError("mean and covariance of 36 features are (36,) and (36, 36), not {}, {}".format(*shapes))
        if not (self.mean.isfinite().all() and self.covariance.isfinite().all()):
            raise InputError("the mean or covariance of a natural model holds NaN or infinite values")

    @classmethod
    def fit(cls, pictures: Iterable[Tensor], block: int = 96) -> NaturalModel:
        """Fit to the sharp blocks of pristine pictures, (3 or 1, h, w) uint8 and of any size."""
        chosen = [torch.empty(0, _FEATURES, dtype=torch.float64)]
        for picture in pictures:
            features, sharpness = block_features(picture, block)
            sharp = sharpness > _SHARP * sharpness.max()
            chosen.append(features[sharp & features.isfinite().all(1)])
        sharpest = torch.cat(chosen)
        if len(sharpest) <= _FEATURES:  # with fewer, whole directions would count for nothing
            count = f"the pictures have {len(sharpest)} sharp blocks of {block} x {block}"
            raise InputError(f"{count}, and a natural model needs more than {_FEATURES}: give more pictures")
        gaussian = Gaussian.of(sharpest)
        return cls(gaussian.mean, gaussian.covariance, block)

    @classmethod
    def load(cls, path: Path | str) -> NaturalModel:
        """The published model, of blocks of 96, from the NumPy archive of two arrays that it circulates as."""
        if Path(path).suffix.lower() == ".mat":
            arrays = "its mu_prisparam and cov_prisparam, which scipy.io.loadmat gives, with numpy.savez"
            raise InputError(f"{path}: a MATLAB file is not read; save {arrays} as {' and '.join(_NAMES)}")
        try:
            with Path(path).open("rb") as stream:
                file = np.load(stream, allow_pickle=False)
                mean, covariance = (torch.from_numpy(np.array(file[name], np.float64)) for name in _NAMES)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
        except (ValueError, LookupError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"{path}: this is not an .npz file of the arrays {' and '.join(_NAMES)}") from error
        return cls(mean.flatten(), covariance)


def niqe(picture: Tensor, model: NaturalModel) -> float:
    """D of a picture (3 or 1, h, w) uint8, which needs two blocks that are not flat, or it has no covariance."""
    features = block_features(picture, model.block)[0]
    features = features[features.isfinite().all(1)]
    if len(features) < 2:
        blocks = f"{len(features)} blocks of {model.block} x {model.block} that are not flat"
        raise InputError(f"a picture of {size_of(picture.shape)} with {blocks} has no NIQE: at least 2 are needed")
    own = Gaussian.of(features)
    step = own.mean - model.mean.cpu().double()
    common = (own.covariance + model.covariance.cpu().double()) / 2
    square: float = (step @ torch.linalg.pinv(common, hermitian=True) @ step).item()
    return math.sqrt(max(square, 0.0))


def block_features(picture: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """The features of each block (n, 36), row by row, not finite in a flat one, and its mean deviation (n,)."""
    _check_block(block)
    plane = gray(picture)
    height, width = (side // block * block for side in plane.shape)
    if min(height, width) == 0:
        raise InputError(f"a picture of {size_of(plane.shape)} is too small for NIQE: its blocks are {block} x {block}")
    plane = plane[:height, :width]
    normalized, deviation = contrast_normalized(plane)
    coarse, _ = contrast_normalized(_halved(plane))
    tiles = _tiles(normalized, block), _tiles(coarse, block // 2)
    features = [torch.cat([_statistics(few) for few in torch.split(blocks, _CHUNK)]) for blocks in tiles]
    return torch.cat(features, 1), _tiles(deviation, block).mean((1, 2))


def gray(picture: Tensor) -> Tensor:
    """0.299 R + 0.587 G + 0.114 B, rounded to whole levels, in float64: (3 or 1, h, w) -> (h, w)."""
    return weighted(picture, _GRAY).round()


def contrast_normalized(plane: Tensor) -> tuple[Tensor, Tensor]:
    """(I - mu) / (sigma + 1), and sigma: of a plane (h, w), whose border is repeated outward."""
    mean, square = _local_means(torch.stack([plane, plane.square()]))
    deviation = (square - mean.square()).clamp(min=0).sqrt()
    difference = plane - mean
    return torch.where(difference.abs() < _FLAT, 0.0, difference) / (deviation + 1), deviation


def asymmetric_fit(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """alpha, beta_l and beta_r of each row of (n, k) by moments, alpha to 0.001; NaN for a row of zeros.

    With s_l and s_r, the root mean squares of the values below and above 0, alpha solves

        Gamma(2/a)^2 / (Gamma(1/a) Gamma(3/a)) = (E|x|)^2 / E x^2 (s_l^3 + s_r^3) (s_l + s_r) / (s_l^2 + s_r^2)^2

    on a table from 0.2 to 10, and beta = s (Gamma(1/a) / Gamma(3/a))^(1/2). A side without values has s = 0. (Lasmar,
    Stitou and Berthoumieu, "Multiscale skewed heavy tailed model for texture analysis", ICIP 2009.)
    """
    sides = values.clamp(max=0), values.clamp(min=0)
    left, right = ((side.square().sum(1) / side.count_nonzero(1).clamp(min=1)).sqrt() for side in sides)
    peakedness = values.abs().mean(1).square() / values.square().mean(1)
    moment = peakedness * (left**3 + right**3) * (left + right) / (left**2 + right**2).square()
    nearest = torch.searchsorted((_MOMENTS[1:] + _MOMENTS[:-1]) / 2, moment)
    alpha = torch.where(moment.isnan(), moment, _ALPHAS[nearest])
    width = (torch.lgamma(1 / alpha) / 2 - torch.lgamma(3 / alpha) / 2).exp()
    return alpha, left * width, right * width


def _statistics(blocks: Tensor) -> Tensor:
    """(n, b, b) -> (n, 18): alpha and mean beta; alpha, mean, beta_l and beta_r of the products with each neighbor."""
    alpha, left, right = asymmetric_fit(blocks.flatten(1))
    features = [alpha, (left + right) / 2]
    for neighbor in _NEIGHBORS:
        # What leaves a block on one side enters it on the other, as in the program the published model was fitted by.
        products = blocks * blocks.roll(neighbor, (1, 2))
        alpha, left, right = asymmetric_fit(products.flatten(1))
        mean = (right - left) * (torch.lgamma(2 / alpha) - torch.lgamma(1 / alpha)).exp()
        features += [alpha, mean, left, right]
    return torch.stack(features, 1)


def _local_means(planes: Tensor) -> Tensor:
    """The Gaussian mean of each plane (n, h, w) around each pixel: sums of shifted planes, which float64 is fast at."""
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, dtype=torch.float64)
    kernel = torch.softmax(-0.5 * (offsets / _SIGMA) ** 2, 0).tolist()
    planes = functional.pad(planes[:, None], [_RADIUS] * 4, mode="replicate")[:, 0]
    for axis in (1, 2):
        length = planes.shape[axis] - 2 * _RADIUS
        means = torch.zeros_like(planes.narrow(axis, 0, length))
        for shift, weight in enumerate(kernel):
            means.add_(planes.narrow(axis, shift, length), alpha=weight)
        planes = means
    return planes


def _halved(plane: Tensor) -> Tensor:
    """Halve as MATLAB's imresize does it, which is `resize` but for the border: there the picture is a mirror."""
    for _ in range(2):
        plane = torch.cat([plane[:4].flip(0), plane, plane[-4:].flip(0)]).T
    height, width = plane.shape
    return resize(plane[None, None], (height // 2, width // 2))[0, 0, 2:-2, 2:-2]


def _tiles(plane: Tensor, block: int) -> Tensor:
    """(h, w) -> (n, b, b), row by row."""
    return plane.unfold(0, block, block).unfold(1, block, block).flatten(0, 1)


def _check_block(block: int) -> None:
    if block < _LEAST_BLOCK or block % 2:
        raise InputError(f"the block of NIQE is an even number of pixels, {_LEAST_BLOCK} or more, not {block}")
