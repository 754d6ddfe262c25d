from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.resize import Kind, blur, resize

KINDS: tuple[Kind, ...] = ("bicubic", "bilinear", "area", "lanczos")
PILLOW = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["bicubic", "bilinear", "lanczos"])
@pytest.mark.parametrize("size", [(20, 31), (64, 96), (7, 5), (150, 301), (1, 1), (40, 17)])
def test_resize_agrees_with_pillow(kind: Kind, size: tuple[int, int]) -> None:
    image = noise(1, 1, 40, 53)
    expected = Image.fromarray(image[0, 0].numpy()).resize(size[::-1], PILLOW[kind])
    torch.testing.assert_close(resize(image, size, kind)[0, 0], torch.from_numpy(np.array(expected)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["bicubic", "bilinear", "lanczos"])
def test_blocks_of_a_long_side_join_without_a_seam(kind: Kind) -> None:
    image = noise(1, 1, 3, 700)
    for width in (1400, 333, 129):
        expected = Image.fromarray(image[0, 0].numpy()).resize((width, 3), PILLOW[kind])
        result = resize(image, (3, width), kind)[0, 0]
        torch.testing.assert_close(result, torch.from_numpy(np.array(expected)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_area_at_a_whole_factor_is_the_mean_of_each_block(factor: int) -> None:
    image = noise(2, 3, 6 * factor, 7 * factor)
    torch.testing.assert_close(resize(image, (6, 7), "area"), functional.avg_pool2d(image, factor))


@given(st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_area_keeps_the_mean(before: int, after: int) -> None:
    image = noise(1, 1, before, 3).double()
    torch.testing.assert_close(resize(image, (after, 3), "area").mean(), image.mean())


def test_bilinear_without_antialias_agrees_with_torch() -> None:
    image = noise(2, 3, 40, 30)
    expected = functional.interpolate(image, (13, 70), mode="bilinear", align_corners=False)
    torch.testing.assert_close(resize(image, (13, 70), "bilinear", antialias=False), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_size_is_the_identity(kind: Kind) -> None:
    image = noise(2, 3, 9, 11)
    assert torch.equal(resize(image, (9, 11), kind), image)


@pytest.mark.parametrize("antialias", [True, False])
@given(kind=st.sampled_from(KINDS), before=st.integers(1, 50), after=st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_a_constant_stays_that_constant(antialias: bool, kind: Kind, before: int, after: int) -> None:
    image = torch.full((1, 1, before, 4), 0.7)
    torch.testing.assert_close(resize(image, (after, 6), kind, antialias), torch.full((1, 1, after, 6), 0.7))


@pytest.mark.parametrize("kind", KINDS)
def test_resize_is_linear_with_the_gradient_of_its_transpose(kind: Kind) -> None:
    image = noise(1, 2, 8, 9).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: resize(x, (5, 13), kind), image)


def test_each_picture_of_a_batch_is_resized_alone() -> None:
    batch = noise(3, 2, 20, 24)
    together = resize(batch, (9, 40))
    assert torch.allclose(together, torch.cat([resize(one[None], (9, 40)) for one in batch]), atol=1e-6)


def test_autocast_does_not_lower_the_precision() -> None:
    image = noise(1, 1, 20, 20)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(resize(image, (9, 9)), _outside(resize, image, (9, 9)))
        assert torch.equal(blur(image, 2.0), _outside(blur, image, 2.0))


def _outside(function, *arguments) -> torch.Tensor:  # type: ignore[no-untyped-def]
    with torch.autocast("cpu", enabled=False):
        return function(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3, 8, 8), (4, 4)), "float"),
        ((torch.zeros(1, 3, 8, 8, dtype=torch.uint8), (4, 4)), "uint8"),
        ((torch.zeros(1, 3, 8, 8), (0, 4)), "0 x 4"),
        ((torch.zeros(1, 3, 8, 8), (4, 4), "nearest"), "nearest"),
    ],
)
def test_resize_refuses_in_a_sentence(arguments, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        resize(*arguments)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5, 6.0, 25.0])
@pytest.mark.parametrize("size", [(24, 31), (3, 5), (1, 9), (1, 1)])
def test_blur_agrees_with_scipy(sigma: float, size: tuple[int, int]) -> None:
    image = noise(1, 1, *size).double()
    expected = gaussian_filter(image[0, 0].numpy(), sigma, mode="reflect", truncate=4)
    torch.testing.assert_close(blur(image, sigma)[0, 0], torch.from_numpy(expected))


def test_blur_keeps_the_mean_of_each_channel() -> None:
    image = noise(2, 3, 10, 12).double()
    torch.testing.assert_close(blur(image, 4.0).mean((2, 3)), image.mean((2, 3)))


def test_no_blur_is_the_identity() -> None:
    image = noise(1, 3, 8, 8)
    assert torch.equal(blur(image, 0), image)


@pytest.mark.parametrize("sigma", [-1.0, float("nan"), float("inf")])
def test_blur_refuses_what_is_no_width(sigma: float) -> None:
    with pytest.raises(InputError, match="sigma"):
        blur(torch.zeros(1, 1, 4, 4), sigma)
