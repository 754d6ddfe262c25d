"""Generators and critics: the same five convolutions without padding, so that an output sees 11 x 11 pixels.

    conv 3x3, batch norm, leaky ReLU 0.2     four times;     conv 3x3

A batch is one picture, so in training the norm is by the statistics of that picture. When a scale is finished its
generator is given the mean statistics of several pictures, and from then on is a local function of its input. At the
coarsest scales it may go on with those of each picture: then there is about as much of everything in all of them.

    z = w y + b,        y = s (x - mean),    s = 1 / sqrt(variance + eps)          a channel of a picture
    dL/dx = s w P dL/dz,        P g = g - mean(g) - y mean(g y)

Critics have a penalty, E (|grad D| - 1)^2, whose gradient needs second derivatives (Gulrajani et al., 2017).

On a GPU the gradient by the picture is written out by the chain rule, so that it can be differentiated once more:

    y = W x + b      g -> W^T g                  a transposed convolution
    norm             g -> s w P g
    leaky ReLU       g -> g, or less of it where y < 0

Automatic differentiation does the same, but its second derivative of a convolution by the weights takes the whole
gradient of a picture for a kernel: as many sums, in an order that suits a CPU, and that a GPU is not made for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, pairwise, product
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from sinwave.resize import Resampler
from sinwave.systems.singan.options import Configuration
from sinwave.wavelets import Size

__all__ = ["Generators", "Norm", "critics", "gradient_penalty", "slope", "written_out"]

_EPS = 1e-5


@final
class Norm(nn.Module):
    """Batch norm by the statistics of each picture in training, and by those kept later.

    If it is to be `own`, it is by those of each picture later too.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int, *, own: bool) -> None:
        super().__init__()
        self.own = own
        self.weight = nn.Parameter(1 + 0.02 * torch.randn(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) -> (b, c, h, w)."""
        if not (self.training or self.own):
            return functional.batch_norm(x, self.mean, self.variance, self.weight, self.bias, eps=_EPS)
        if len(x) == 1:  # the same, and sooner
            return functional.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=_EPS)
        return functional.instance_norm(x, weight=self.weight, bias=self.bias, eps=_EPS)

    def with_gradient(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Z of x (1, c, h, w) by its own statistics, and dL/dz -> dL/dx, both of which can be differentiated."""
        variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
        scale, weight = (variance + _EPS).rsqrt(), self.weight[:, None, None]
        y = (x - mean) * scale

        def back(g: Tensor) -> Tensor:
            along = y * (g * y).mean((2, 3), keepdim=True)
            gradient: Tensor = scale * weight * (g - g.mean((2, 3), keepdim=True) - along)
            return gradient

        return torch.addcmul(self.bias[:, None, None], weight, y), back

    def keep(self, x: Tensor, share: float) -> None:
        """Add the share of a picture (1, c, h, w) to the statistics."""
        variance, mean = torch.var_mean(x[0], (1, 2))
        self.mean.add_(mean, alpha=share)
        self.variance.add_(variance, alpha=share)


def _network(channels: int, outputs: int, layers: int, *, own: bool = False) -> nn.Sequential:
    """Weights from N(0, 0.02), gains from N(1, 0.02)."""
    widths = [3, *(channels for _ in range(layers - 1))]
    blocks = [(nn.Conv2d(a, b, 3), Norm(b, own=own), nn.LeakyReLU(0.2, inplace=True)) for a, b in pairwise(widths)]
    network = nn.Sequential(*chain.from_iterable(blocks), nn.Conv2d(channels, outputs, 3))
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
    return network


def critics(configuration: Configuration, scales: int) -> nn.ModuleList:
    """The critics of all scales: picture (b, 3, h, w) -> the worth of each patch, (b, 1, h - 10, w - 10)."""
    return nn.ModuleList(_network(configuration.channels(n), 1, configuration.layers) for n in range(scales))


@final
class Generators(nn.Module):
    """The generators of all scales, with what is fixed once a scale begins.

    psi         networks, picture with noise and margin (b, 3, h + 10, w + 10) -> detail to add, (b, 3, h, w)
    amplitude   (scales,), of the noise
    anchor      (1, 1, h_0, w_0), the z* of the coarsest scale, from which the picture itself is reconstructed
    progress    (2,), how many scales are trained, and how many steps the next one has had
    """

    amplitude: Tensor
    anchor: Tensor
    progress: Tensor

    def __init__(self, configuration: Configuration, sizes: tuple[Size, ...]) -> None:
        super().__init__()
        self.configuration, self.sizes = configuration, sizes
        self.psi = nn.ModuleList(
            _network(configuration.channels(n), 3, configuration.layers, own=n < configuration.instance_norm_scales)
            for n in range(len(sizes))
        )
        self.register_buffer("amplitude", torch.ones(len(sizes)))
        self.register_buffer("anchor", torch.randn(1, 1, *sizes[0]))
        self.register_buffer("progress", torch.zeros(2, dtype=torch.long))
        self._enlargers: dict[tuple[int, torch.device, torch.dtype], Resampler] = {}

    @property
    def trained(self) -> int:
        return int(self.progress[0])

    def forward(self, index: int, coarser: Tensor, noise: Tensor | None, *, tile: int | None = None) -> Tensor:
        """The picture of a scale (b, 3, h, w) from the enlarged one of the coarser scale and noise (b, 1 or 3, h, w).

        At the coarsest scale there is no coarser picture: it is 0. With `tile` the memory does not grow with the size,
        except at the scales with statistics of their own, which see all of the picture at once.
        """
        x = coarser if noise is None else coarser + self.amplitude[index] * noise
        radius, tile = self.configuration.radius, None if index < self.configuration.instance_norm_scales else tile
        return coarser + _by_tiles(self.psi[index], functional.pad(x, (radius,) * 4), radius, tile).tanh()

    def settle(self, index: int, inputs: Iterable[tuple[Tensor, Tensor, float]]) -> None:
        """Keep the statistics of a scale's generator for these inputs: coarser picture, noise, and its share."""
        psi, radius = self.psi[index].train(), self.configuration.radius
        for statistic in psi.buffers():
            statistic.zero_()
        for coarser, noise, share in inputs:
            x = functional.pad(coarser + self.amplitude[index] * noise, (radius,) * 4)
            for layer in psi.children():
                if isinstance(layer, Norm):
                    layer.keep(x, share)
                x = layer(x)
        psi.eval()

    def reconstruct(self, stop: int, start: int = 0, picture: Tensor | None = None) -> Tensor:
        """The enlarged picture that scale `stop` begins with, (1, 3, h, w), in the reconstruction of the source.

        The scales before make it of the anchor; or those from `start` on, of the picture that `start` begins with.
        """
        coarser = self.nothing() if picture is None else picture
        for index in range(start, stop):
            finer = self(index, coarser, self.anchor if index == 0 else None)
            coarser = self.enlarged(finer, index + 1)
        return coarser

    def enlarged(self, picture: Tensor, index: int) -> Tensor:
        """The picture that scale `index` begins with, from that of the scale before."""
        if index == len(self.sizes):
            return picture
        key = index, picture.device, picture.dtype
        if key not in self._enlargers:
            self._enlargers[key] = Resampler(self.sizes[index - 1], self.sizes[index], like=picture)
        return self._enlargers[key](picture)

    def nothing(self) -> Tensor:
        """A picture of zeros, which the coarsest scale begins with."""
        return self.anchor.new_zeros(1, 3, *self.sizes[0])


def _by_tiles(network: nn.Module, padded: Tensor, radius: int, tile: int | None) -> Tensor:
    """The network applied to the whole; tiles that overlap by the field of an output give the same."""
    height, width = (side - 2 * radius for side in padded.shape[2:])
    whole: Tensor
    if tile is None or max(height, width) <= tile:
        whole = network(padded)
        return whole
    whole = padded.new_empty(len(padded), 3, height, width)
    for top, left in product(range(0, height, tile), range(0, width, tile)):
        window = padded[:, :, top : top + tile + 2 * radius, left : left + tile + 2 * radius]
        whole[:, :, top : top + tile, left : left + tile] = network(window)
    return whole


def gradient_penalty(
    critic: nn.Sequential, real: Tensor, fake: Tensor, share: Tensor, *, weight: float = 1.0
) -> Tensor:
    """E (|grad D(share real + (1 - share) fake)| - 1)^2 with a weight, the norm over the colors of each pixel."""
    norms = torch.linalg.vector_norm(slope(critic, torch.lerp(fake, real, share)), dim=1)
    return weight * torch.mean((norms - 1).square())


def slope(critic: nn.Sequential, picture: Tensor) -> Tensor:
    """d/dx of the sum of D(x) for x (1, 3, h, w), which depends on the weights of the critic."""
    if picture.device.type != "cpu":
        return written_out(critic, picture)
    x = picture.detach().requires_grad_()
    gradient: Tensor = torch.autograd.grad(critic(x).sum(), x, create_graph=True)[0]
    return gradient


def written_out(critic: nn.Sequential, picture: Tensor) -> Tensor:
    x, back = picture, list[Callable[[Tensor], Tensor]]()
    for layer in critic:
        x, step = _layer(layer, x)
        back.append(step)
    gradient = torch.ones_like(x)
    for step in reversed(back):
        gradient = step(gradient)
    return gradient


def _layer(layer: nn.Module, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The output of a layer for x, and the way of a gradient back through it."""
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
    """The gradient of a convolution of x, by x (0) or by the weights (1)."""
    mask = [which == 0, which == 1, False]
    gradient: Tensor = torch.ops.aten.convolution_backward(
        g, x, weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, mask
    )[which]
    return gradient
