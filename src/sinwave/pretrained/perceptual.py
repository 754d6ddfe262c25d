"""LPIPS and ST-LPIPS, distances between images that agree with people: for metrics, and as losses of a training.

    d(a, b) = sum_l 1 / (h_l w_l) sum_place sum_c  w_lc (u_lc(a) - u_lc(b))^2        0 for a copy

u_l are the activations at tap l of a network, brought to length 1 over the channels at each place, and w_l >= 0 the
published heads. (Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018.) So
it is a squared length: with phi(a) all numbers sqrt(w_lc / (h_l w_l)) u_lc(a),

    d(a, b) = |phi(a) - phi(b)|^2

Batches are (b, 3, h, w) in [-1, 1], and nothing is ever resized. Gradients flow to images, never to the weights. The
networks are the convolutions of AlexNet and VGG-16, plain (LPIPS) and shift-tolerant (ST-LPIPS, with heads of its own,
so figures of the one do not compare with those of the other), tapped at five depths:

    x_0 = image        x_k = slice_k(x_{k-1}),    k = 1 .. 5        every slice ends with a ReLU, and is a tap
    blur(x)[i, j] = sum_{m, n} k_m k_n x[2i + m, 2j + n],    k = (1, 2, 1) / 4        every second pixel is kept

Shift-tolerant slices halve the size by a blur, with two reflected pixels around, where the plain ones skip pixels, so
the taps change little when the picture moves. Layers are counted through all slices, as in torchvision's files:
`features.0.weight`, ... (Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014; Simonyan
and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015; blur: Zhang, "Making
convolutional networks shift-invariant again", ICML 2019; Ghildyal and Liu, "Shift-tolerant perceptual similarity
metric", ECCV 2022.)
"""

from __future__ import annotations

import copy
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import ClassVar, TypeAlias, TypeVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.pretrained import published
from sinwave.pretrained.files import frozen, load, load_module, skeleton

__all__ = ["Lpips", "PerceptualDistance", "StLpips", "Trunk", "alexnet", "blur_kernel", "shift_tolerant_alexnet"]
__all__ += ["shift_tolerant_vgg16", "vgg16"]

_Distance = TypeVar("_Distance", bound="PerceptualDistance")
_Row = TypeVar("_Row")
_Layers: TypeAlias = list[nn.Module]

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_EPSILON = 1e-10


@dataclass(frozen=True, eq=False)
class PerceptualDistance(ABC):
    """A network and the weights (c_l,) of the channels at each of its taps; it computes where the network is."""

    name: ClassVar[str]
    trunk: Trunk
    heads: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        for index, head in enumerate(self.heads):
            if not (head >= 0).all():
                least = head.min().item()
                raise InputError(f"the heads of {self.name} are >= 0, and number {index} is not: it has {least}")

    @classmethod
    @abstractmethod
    def load(cls: type[_Distance], network: str = "alex", path: Path | None = None) -> _Distance:
        """Load the published weights, `path` being searched first; `network` is `alex` or `vgg`."""

    def to(self: _Distance, target: torch.device | torch.dtype) -> _Distance:
        """Copy network and heads to another device or type of numbers, unless they have it."""
        heads = tuple(head.to(target) for head in self.heads)
        if heads[0] is self.heads[0]:
            return self
        return replace(self, trunk=copy.deepcopy(self.trunk).to(target), heads=heads)

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """d(a, b) of each pair of two batches: (b,)."""
        if a.shape != b.shape:
            raise InputError(f"{self.name} compares batches of one shape, not {tuple(a.shape)} and {tuple(b.shape)}")
        return (self.features(a) - self.features(b)).square().sum(1)

    def features(self, images: Tensor) -> Tensor:
        """phi, (b, d): d is 0.6 million for LPIPS with 256 x 256 and `alex`, 8 million with `vgg`."""
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise InputError(f"{self.name} takes float images (b, 3, h, w), not {images.dtype} {tuple(images.shape)}")
        height, width = images.shape[2:]
        if min(height, width) < self.trunk.least:
            needed = f"{self.trunk.least} a side are needed"
            raise InputError(f"a picture of {width} x {height} is too small for the network: {needed}")
        shift, scale = (images.new_tensor(values)[:, None, None] for values in (_SHIFT, _SCALE))
        taps = self.trunk((images - shift) / scale)
        return torch.cat([_weighted(tap, head) for tap, head in zip(taps, self.heads, strict=True)], 1)


@final
class Lpips(PerceptualDistance):
    """LPIPS, version 0.1: `alex` is the network of most published figures."""

    name = "LPIPS"

    @classmethod
    def load(cls, network: str = "alex", path: Path | None = None) -> Lpips:
        table = {
            "alex": (alexnet, published.ALEXNET, published.LPIPS_ALEX),
            "vgg": (vgg16, published.VGG16, published.LPIPS_VGG),
        }
        build, weights, head_weights = _row(cls.name, table, network)
        trunk = load_module(build, weights, path)
        return cls(trunk, _heads(load(head_weights, _expected_heads(trunk), path)))


@final
class StLpips(PerceptualDistance):
    """ST-LPIPS, shift-tolerant: a pixel of displacement, which nobody sees, costs little."""

    name = "ST-LPIPS"

    @classmethod
    def load(cls, network: str = "alex", path: Path | None = None) -> StLpips:
        # Trunk and heads stand in one file, with constants of the network, which are checked too.
        table = {
            "alex": (shift_tolerant_alexnet, published.ST_LPIPS_ALEX),
            "vgg": (shift_tolerant_vgg16, published.ST_LPIPS_VGG),
        }
        build, weights = _row(cls.name, table, network)
        trunk = skeleton(build)
        names = {name: _name_in_file(name, trunk) for name in trunk.state_dict()}
        expected = {names[name]: value for name, value in trunk.state_dict().items()}
        expected |= {name: blur_kernel(len(value)) for name, value in expected.items() if name.endswith("filt")}
        for name, values in ("shift", _SHIFT), ("scale", _SCALE):
            expected[f"scaling_layer.{name}"] = torch.tensor(values)[None, :, None, None]
        content = load(weights, expected | _expected_heads(trunk), path)
        return cls(frozen(trunk, {name: content[names[name]] for name in names}), _heads(content))


def _row(name: str, table: Mapping[str, _Row], network: str) -> _Row:
    if network not in table:
        raise InputError(f"{name} has the networks {', '.join(table)}, not {network!r}")
    return table[network]


def _expected_heads(trunk: Trunk) -> dict[str, Tensor]:
    shapes = enumerate(trunk.channels)
    return {f"lin{index}.model.1.weight": torch.empty(1, c, 1, 1, device="meta") for index, c in shapes}


def _heads(content: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    names = sorted(name for name in content if re.fullmatch(r"lin\d\.model\.1\.weight", name))
    return tuple(content[name].flatten() for name in names)


def _name_in_file(name: str, trunk: Trunk) -> str:
    """Put the slice into the name of a parameter: features.5.weight -> net.slice2.5.weight."""
    _, layer, kind = name.split(".")
    number = 1 + sum(end <= int(layer) for end in trunk.ends)
    return f"net.slice{number}.{layer}.{kind}"


def _weighted(tap: Tensor, head: Tensor) -> Tensor:
    """sqrt(w_c / (h w)) u_c at each place, (b, c, h, w) -> (b, c h w)."""
    unit: Tensor = tap / (torch.linalg.vector_norm(tap, dim=1, keepdim=True) + _EPSILON)
    return (unit * (head / tap[0, 0].numel()).sqrt()[:, None, None]).flatten(1)


@final
class Trunk(nn.Module):
    """Slices one after another; `least` is the shortest side of an image that reaches the last of them."""

    def __init__(self, slices: Sequence[Sequence[nn.Module]], least: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*chain.from_iterable(slices))
        self.ends = tuple(accumulate(map(len, slices)))
        self.channels = tuple([c.out_channels for c in layers if isinstance(c, nn.Conv2d)][-1] for layers in slices)
        self.least = least

    def forward(self, image: Tensor) -> list[Tensor]:
        """(b, 3, h, w) -> five maps (b, c_k, h_k, w_k)."""
        taps = []
        for index, layer in enumerate(self.features, 1):
            image = layer(image)
            if index in self.ends:
                taps.append(image)
        return taps


def alexnet() -> Trunk:
    """Build taps of 64, 192, 384, 256 and 256 channels."""
    first: _Layers = [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(inplace=True)]
    return Trunk(_alexnet_slices(first, lambda channels: [nn.MaxPool2d(3, 2)]), least=31)  # 31 -> 7 -> 3 -> 1


def shift_tolerant_alexnet() -> Trunk:
    """Build the taps of AlexNet, with a first convolution of stride 1."""
    first = [nn.Conv2d(3, 64, 11, 1, 2), _Blur(64), nn.ReLU(inplace=True)]
    return Trunk(_alexnet_slices(first, lambda channels: [nn.MaxPool2d(3, 1), _Blur(channels)]), least=21)


def vgg16() -> Trunk:
    """Build taps of 64, 128, 256, 512 and 512 channels."""
    return Trunk(_vgg16_slices(lambda channels: [nn.MaxPool2d(2)]), least=16)


def shift_tolerant_vgg16() -> Trunk:
    """Build the taps of VGG-16, each pool a maximum of neighbors and a blur."""
    return Trunk(_vgg16_slices(lambda channels: [nn.MaxPool2d(2, 1), _Blur(channels)]), least=18)


def blur_kernel(channels: int) -> Tensor:
    """k_m k_n for each channel by itself: (c, 1, 3, 3)."""
    k = torch.tensor([1.0, 2.0, 1.0]) / 4
    return torch.outer(k, k).repeat(channels, 1, 1, 1)


@final
class _Blur(nn.Module):
    """blur: (b, c, h, w) -> (b, c, (h + 1) // 2 + 1, (w + 1) // 2 + 1)."""

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", blur_kernel(channels))

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(functional.pad(x, [2] * 4, "reflect"), self.filt, stride=2, groups=x.shape[1])


def _alexnet_slices(first: _Layers, pool: Callable[[int], _Layers]) -> list[_Layers]:
    second, third = [*pool(64), *_convolution(64, 192, 5)], [*pool(192), *_convolution(192, 384)]
    return [first, second, third, _convolution(384, 256), _convolution(256, 256)]


def _vgg16_slices(pool: Callable[[int], _Layers]) -> list[_Layers]:
    stages = [(3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512, 512, 512, 512)]
    slices = [list(chain.from_iterable(_convolution(*ends) for ends in pairwise(stage))) for stage in stages]
    return [slices[0], *([*pool(stage[0]), *layers] for stage, layers in zip(stages[1:], slices[1:], strict=True))]


def _convolution(before: int, after: int, kernel: int = 3) -> _Layers:
    return [nn.Conv2d(before, after, kernel, padding=kernel // 2), nn.ReLU(inplace=True)]
