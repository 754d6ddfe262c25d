"""The slope of a critic by the picture, written out by the chain rule, so that it can be differentiated once more.

    y = W x + b      g -> W^T g                  a transposed convolution
    norm             g -> s w P g                see `norm`
    leaky ReLU       g -> g, or less of it where y < 0

Automatic differentiation does the same, but its second derivative of a convolution by the weights takes the whole
gradient of a picture for a kernel: as many sums, in an order that suits a processor, and that a GPU is not made for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from sinwave.systems.singan.norm import Norm

__all__ = ["slope", "written_out"]


def slope(critic: nn.Sequential, picture: Tensor) -> Tensor:
    """d/dx of the sum of what a critic makes of x (1, 3, h, w), which depends on the weights of the critic."""
    if picture.device.type != "cpu":
        return written_out(critic, picture)
    x = picture.detach().requires_grad_()
    found: Tensor = torch.autograd.grad(critic(x).sum(), x, create_graph=True)[0]
    return found


def written_out(critic: nn.Sequential, picture: Tensor) -> Tensor:
    """The same by the chain rule."""
    x, back = picture, list[Callable[[Tensor], Tensor]]()
    for layer in critic:
        x, step = _layer(layer, x)
        back.append(step)
    gradient = torch.ones_like(x)
    for step in reversed(back):
        gradient = step(gradient)
    return gradient


def _layer(layer: nn.Module, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """What a layer makes of x, and how a gradient goes back through it."""
    if isinstance(layer, nn.Conv2d):
        return layer(x), lambda g: _Transposed.apply(g, layer.weight, x)  # type: ignore[no-untyped-call]
    if isinstance(layer, Norm):
        return layer.with_gradient(x)
    if isinstance(layer, nn.LeakyReLU):
        y, less = layer(x), layer.negative_slope
        return y, lambda g: torch.ops.aten.leaky_relu_backward(g, y, less, True)
    raise TypeError(type(layer).__name__)


class _Transposed(torch.autograd.Function):
    """g (b, o, h, w), W (o, n, 3, 3) -> W^T g (b, n, h + 2, w + 2)."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, weight: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(g, weight)
        return _gradients(g, x, weight, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        g, weight = ctx.saved_tensors
        return functional.conv2d(gradients[0], weight), _gradients(g, gradients[0], weight, 1), None


def _gradients(g: Tensor, x: Tensor, weight: Tensor, which: int) -> Tensor:
    """Of a convolution of x, by x (0) or by the weights (1)."""
    mask = [which == 0, which == 1, False]
    found: Tensor = torch.ops.aten.convolution_backward(
        g, x, weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, mask
    )[which]
    return found
