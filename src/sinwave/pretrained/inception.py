"""Inception-v3 as the Frechet Inception distance uses it.

    stem     three convolutions, 64 channels                        <- what SIFID looks at, `places`
             pool, two convolutions, pool, 192 channels
    blocks   branches side by side, put together over channels      192 -> 288 -> 768 -> 2048
             the mean over all places, 2048 numbers                 <- what FID and KID look at, `forward`

The network of Szegedy et al. ("Rethinking the Inception architecture for computer vision", CVPR 2016) in the form that
Heusel et al. (2017) took from TensorFlow: average pools do not count the padding, and the pool of the very last block
takes the maximum. Parameters have the names and shapes of the published files, without the classifier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, final

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Inception"]

# A step is its channels and its kernel: 3, or (height, width). Two steps in a list both follow the one before.
_Step: TypeAlias = tuple[int, int | tuple[int, int]]
_Branches: TypeAlias = Mapping[str, Sequence[_Step | list[_Step]]]
_Pool: TypeAlias = Literal["average", "maximum", "halving"]


@final
class Inception(nn.Module):
    """Images (b, 3, h, w) in [-1, 1] of at least 75 x 75 -> (b, 2048)."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = _Convolution(32, 64, 3, same=True)
        self.Conv2d_3b_1x1 = _Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = _Convolution(80, 192, 3)
        self.Mixed_5b = _Block(192, _fine(32), "average")
        self.Mixed_5c = _Block(256, _fine(64), "average")
        self.Mixed_5d = _Block(288, _fine(64), "average")
        self.Mixed_6a = _Block(288, _HALVING_288, "halving")
        self.Mixed_6b = _Block(768, _long(128), "average")
        self.Mixed_6c = _Block(768, _long(160), "average")
        self.Mixed_6d = _Block(768, _long(160), "average")
        self.Mixed_6e = _Block(768, _long(192), "average")
        self.Mixed_7a = _Block(768, _HALVING_768, "halving")
        self.Mixed_7b = _Block(1280, _WIDE, "average")
        self.Mixed_7c = _Block(2048, _WIDE, "maximum")

    def places(self, image: Tensor) -> Tensor:
        """The map before the first pool, of half the size: (b, 3, h, w) -> (b, 64, (h - 3) // 2 - 1, ...)."""
        result: Tensor = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(image)))
        return result

    def forward(self, image: Tensor) -> Tensor:
        x = functional.max_pool2d(self.places(image), 3, 2)
        x = functional.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, 2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        return x.mean((2, 3))


def _fine(pooled: int) -> _Branches:
    return {
        "branch1x1": [(64, 1)],
        "branch5x5": [(48, 1), (64, 5)],
        "branch3x3dbl": [(64, 1), (96, 3), (96, 3)],
        "branch_pool": [(pooled, 1)],
    }


def _long(inner: int) -> _Branches:
    """7 x 7 as 1 x 7 and 7 x 1."""
    row, column = (inner, (1, 7)), (inner, (7, 1))
    return {
        "branch1x1": [(192, 1)],
        "branch7x7": [(inner, 1), row, (192, (7, 1))],
        "branch7x7dbl": [(inner, 1), column, row, column, (192, (1, 7))],
        "branch_pool": [(192, 1)],
    }


_HALVING_288: _Branches = {"branch3x3": [(384, 3)], "branch3x3dbl": [(64, 1), (96, 3), (96, 3)], "branch_pool": []}
_HALVING_768: _Branches = {
    "branch3x3": [(192, 1), (320, 3)],
    "branch7x7x3": [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3)],
    "branch_pool": [],
}
_WIDE: _Branches = {
    "branch1x1": [(320, 1)],
    "branch3x3": [(384, 1), [(384, (1, 3)), (384, (3, 1))]],
    "branch3x3dbl": [(448, 1), (384, 3), [(384, (1, 3)), (384, (3, 1))]],
    "branch_pool": [(192, 1)],
}


@final
class _Block(nn.Module):
    """Branches side by side, one of them pooled; a block that halves the size does so in the last step of each."""

    def __init__(self, channels: int, branches: _Branches, pool: _Pool) -> None:
        super().__init__()
        average = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.pool = {"average": average, "maximum": nn.MaxPool2d(3, 1, 1), "halving": nn.MaxPool2d(3, 2)}[pool]
        self.branches: dict[str, list[list[str]]] = {}
        for branch, steps in branches.items():
            before, self.branches[branch] = channels, []
            for number, step in enumerate(steps, 1):
                halves = pool == "halving" and number == len(steps)
                several = step if isinstance(step, list) else [step]
                names = _names(branch, number, len(steps), len(several))
                for name, (after, kernel) in zip(names, several, strict=True):
                    self.add_module(name, _Convolution(before, after, kernel, stride=1 + halves, same=not halves))
                before = sum(after for after, _ in several)
                self.branches[branch].append(names)

    def forward(self, x: Tensor) -> Tensor:
        results = []
        for branch, steps in self.branches.items():
            y = self.pool(x) if branch == "branch_pool" else x
            for names in steps:
                y = torch.cat([self.get_submodule(name)(y) for name in names], 1)
            results.append(y)
        return torch.cat(results, 1)


def _names(branch: str, number: int, steps: int, several: int) -> list[str]:
    """A branch of one step has its name, step 2 of several `_2`, and two at once `_2a` and `_2b`."""
    name = branch if steps == 1 else f"{branch}_{number}"
    return [name] if several == 1 else [name + letter for letter in "ab"]


@final
class _Convolution(nn.Module):
    """relu(norm(W * x)), W without a bias."""

    def __init__(
        self, before: int, after: int, kernel: int | tuple[int, int], *, stride: int = 1, same: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, stride, "same" if same else 0, bias=False)
        self.bn = nn.BatchNorm2d(after, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)), inplace=True)
