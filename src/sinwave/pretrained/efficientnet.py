"""EfficientNet-Lite0: features and classes of ImageNet, small enough for a processor (17 MB, 0.05 s an image).

    stem      3 x 3, half the size, 32 channels
    blocks    16 of them: widen sixfold, filter each channel by itself, narrow; added to the input where shapes allow
    head      1280 channels, their mean over all places        <- `features`
              1000 classes                                      <- `forward`

Sides are padded as TensorFlow does: to ceil(n / stride) outputs, the odd pixel on the right and below. (Tan and Le,
"EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019; the Lite variant has ReLU6 and no
squeeze-and-excitation.) Parameters have the names and shapes of the published file.
"""

from __future__ import annotations

from pathlib import Path
from typing import final

from torch import Tensor, nn
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.pretrained.files import load_module
from sinwave.pretrained.published import EFFICIENTNET_LITE0

__all__ = ["EfficientNetLite0"]

# repeats, kernel, stride of the first, widening, channels
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


@final
class EfficientNetLite0(nn.Module):
    """Images (b, 3, h, w) in [-1, 1], best of 224 x 224 -> logits (b, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _convolution(3, 32, 3, 2)
        self._bn0 = _norm(32)
        blocks, channels = [], 32
        for repeats, kernel, stride, widening, after in _STAGES:
            for index in range(repeats):
                blocks.append(_Block(channels, after, kernel, stride if index == 0 else 1, widening))
                channels = after
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = _convolution(channels, 1280, 1)
        self._bn1 = _norm(1280)
        self._fc = nn.Linear(1280, 1000)

    @classmethod
    def load(cls, path: Path | None = None) -> EfficientNetLite0:
        """Load the published weights, frozen; `path`, a file or a folder, is searched first."""
        return load_module(cls, EFFICIENTNET_LITE0, path)

    def features(self, images: Tensor) -> Tensor:
        """(b, 3, h, w) in [-1, 1] -> (b, 1280)."""
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise InputError(f"EfficientNet takes float images (b, 3, h, w), not {images.dtype} {tuple(images.shape)}")
        x = (images + 1) * (127.5 / 128) - 127 / 128  # (v - 127) / 128 of values v from 0 to 255
        x = functional.relu6(self._bn0(_same(self._conv_stem, x)))
        x = functional.relu6(self._bn1(self._conv_head(self._blocks(x))))
        return x.mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self._fc(self.features(images))
        return logits


@final
class _Block(nn.Module):
    """x -> narrow(filter(widen(x))), plus x if it has the same shape."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, widening: int) -> None:
        super().__init__()
        width = before * widening
        self.widens = widening > 1
        self.residual = stride == 1 and before == after
        if self.widens:
            self._expand_conv = _convolution(before, width, 1)
            self._bn0 = _norm(width)
        self._depthwise_conv = _convolution(width, width, kernel, stride, groups=width)
        self._bn1 = _norm(width)
        self._project_conv = _convolution(width, after, 1)
        self._bn2 = _norm(after)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self.widens else x
        y = functional.relu6(self._bn1(_same(self._depthwise_conv, y)))
        y = self._bn2(self._project_conv(y))
        result: Tensor = x + y if self.residual else y
        return result


def _convolution(before: int, after: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=0.001)


def _same(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """Convolve with as many outputs a side as ceil(n / stride)."""
    pads: list[int] = []
    for side, kernel, stride in zip(x.shape[:1:-1], convolution.kernel_size[::-1], convolution.stride, strict=True):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads += [total // 2, total - total // 2]
    result: Tensor = convolution(functional.pad(x, pads))
    return result
