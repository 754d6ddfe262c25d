"""The convolutions of AlexNet and VGG-16, tapped at five depths, as LPIPS does.

    x_0 = image        x_k = slice_k(x_{k-1}),    k = 1 .. 5        every slice ends with a ReLU, and is a tap

Parameters have the names and shapes of torchvision's files: `features.0.weight`, ... (Krizhevsky, "One weird trick for
parallelizing convolutional neural networks", 2014; Simonyan and Zisserman, "Very deep convolutional networks for
large-scale image recognition", ICLR 2015; taps: Zhang et al., "The unreasonable effectiveness of deep features as a
perceptual metric", CVPR 2018.)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, chain, pairwise
from typing import final

from torch import Tensor, nn

__all__ = ["Trunk", "alexnet", "vgg16"]


@final
class Trunk(nn.Module):
    """Slices one after another; `least` is the shortest side of an image that reaches the last of them."""

    def __init__(self, slices: Sequence[Sequence[nn.Module]], least: int) -> None:
        super().__init__()
        # One flat sequence, since the names in the files count through all layers.
        self.features = nn.Sequential(*chain.from_iterable(slices))
        self.ends = tuple(accumulate(map(len, slices)))
        self.channels = tuple(_channels(each) for each in slices)
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
    """Taps of 64, 192, 384, 256 and 256 channels."""
    slices = [
        _convolution(3, 64, 11, stride=4, padding=2),
        [nn.MaxPool2d(3, 2), *_convolution(64, 192, 5, padding=2)],
        [nn.MaxPool2d(3, 2), *_convolution(192, 384)],
        _convolution(384, 256),
        _convolution(256, 256),
    ]
    return Trunk(slices, least=31)  # 31 -> 7 -> 3 -> 1


def vgg16() -> Trunk:
    """Taps of 64, 128, 256, 512 and 512 channels."""
    stages = [(3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512, 512, 512, 512)]
    slices = [list(chain.from_iterable(_convolution(*ends) for ends in pairwise(stage))) for stage in stages]
    return Trunk([slices[0], *([nn.MaxPool2d(2), *each] for each in slices[1:])], least=16)


def _convolution(before: int, after: int, kernel: int = 3, *, stride: int = 1, padding: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(before, after, kernel, stride, padding), nn.ReLU(inplace=True)]


def _channels(layers: Sequence[nn.Module]) -> int:
    return [layer.out_channels for layer in layers if isinstance(layer, nn.Conv2d)][-1]
