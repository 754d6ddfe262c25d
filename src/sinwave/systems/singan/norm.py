"""The norm of generators and critics, and its derivatives.

    z = w y + b,        y = s (x - mean),    s = 1 / sqrt(variance + eps)          a channel of a picture

The penalty of a critic is on a gradient, and so its own gradient needs second derivatives, for which general formulas
take many more tensors of the size of x. With m the mean over the N places, and P g = g - m(g) - y m(g y),

    from  g = dL/dz              dL/dx = s w P g,     dL/dw = N m(g y),     dL/db = N m(g)
    from  v, the derivative by dL/dx, and u, t, those by dL/dw and dL/db
        by g       s w P v + u y + t
        by x       -s^2 w (m(v P g) y + m(g y) P v + m(v y) P g) + s u P g
        by w       N s m(v P g)

since P is symmetric, dy = s P dx, and ds = -s^2 m(y dx). All of these are sums of x, g and v with a factor a channel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

__all__ = ["Norm"]

_EPS = 1e-5

_LARGE = 1 << 17
"""Numbers, from which on it matters how often they are read, and not how many operations there are."""


@final
class Norm(nn.Module):
    """By the statistics of each picture in training, and by those kept later.

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
        if self.training and len(x) == 1 and x.numel() >= _LARGE and torch.is_grad_enabled():
            return self._standardized(x, *_statistics(x))
        if self.training or self.own:
            if len(x) == 1:  # the same, and sooner
                return functional.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=_EPS)
            return functional.instance_norm(x, weight=self.weight, bias=self.bias, eps=_EPS)
        return functional.batch_norm(x, self.mean, self.variance, self.weight, self.bias, eps=_EPS)

    def with_gradient(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Z of x (1, c, h, w) by its own statistics, and dL/dz -> dL/dx."""
        mean, scale = _statistics(x)

        def back(g: Tensor) -> Tensor:
            found: Tensor = _Gradient.apply(g, x, self.weight, mean, scale)[0]  # type: ignore[no-untyped-call]
            return found

        return self._standardized(x, mean, scale), back

    def _standardized(self, x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        found: Tensor = _Standardized.apply(x, self.weight, self.bias, mean, scale)  # type: ignore[no-untyped-call]
        return found

    def forget(self) -> None:
        """Nothing is kept."""
        self.mean.zero_()
        self.variance.zero_()

    def keep(self, x: Tensor, share: float) -> None:
        """Add the share of a picture (1, c, h, w) to what is kept."""
        variance, mean = torch.var_mean(x[0], (1, 2))
        self.mean.add_(mean, alpha=share)
        self.variance.add_(variance, alpha=share)


class _Standardized(torch.autograd.Function):
    """x (1, c, h, w), w (c,), b (c,), mean (c,), s (c,) -> z; the last two are functions of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, mean, scale)
        factor = scale * weight
        return _sum(bias - mean * factor, (factor, x))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return *_Gradient.apply(*gradients, *ctx.saved_tensors), None, None  # type: ignore[no-untyped-call]


class _Gradient(torch.autograd.Function):
    """dL/dz -> dL/dx, dL/dw, dL/db; `mean` and `scale` are functions of x, which is why they have no derivatives."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, w: Tensor, mean: Tensor, s: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(g, x, w, mean, s)
        mg = _mean(g)
        mgy, places = (_dot(g, x) - mean * mg) * s, g[0, 0].numel()
        of_y = -s * w * mgy
        by_x = _sum(-s * w * mg - of_y * s * mean, (s * w, g), (of_y * s, x))
        return by_x, places * mgy, places * mg

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        g, x, w, mean, s = ctx.saved_tensors
        v, u, t = gradients
        zero = torch.zeros_like(w)
        u, t = zero if u is None else u, zero if t is None else t
        mg, mgy = _mean(g), (_dot(g, x) - mean * _mean(g)) * s
        if v is None:
            by_g = _sum(t - u * s * mean, (u * s, x))
            by_x = _sum(s * u * (mgy * s * mean - mg), (s * u, g), (-s * s * u * mgy, x))
            return by_g, by_x, zero, None, None
        mv, mvy = _mean(v), (_dot(v, x) - mean * _mean(v)) * s
        mvpg = _dot(v, g) - mv * mg - mvy * mgy
        of_y = u - s * w * mvy
        by_g = _sum(t - s * w * mv - of_y * s * mean, (s * w, v), (of_y * s, x))
        of_v, of_g = -s * s * w * mgy, s * u - s * s * w * mvy
        of_y = -s * s * w * mvpg - of_v * mvy - of_g * mgy
        by_x = _sum(-of_v * mv - of_g * mg - of_y * s * mean, (of_v, v), (of_g, g), (of_y * s, x))
        return by_g, by_x, s * g[0, 0].numel() * mvpg, None, None


@torch.no_grad()
def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and s, (c,)."""
    mean = _mean(x)
    centered = x - mean[:, None, None]
    return mean, (_dot(centered, centered) + _EPS).rsqrt()


def _mean(x: Tensor) -> Tensor:
    """(1, c, h, w) -> (c,)."""
    return x.mean((0, 2, 3))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """The mean of a product, (c,), without the product."""
    return torch.einsum("bchw,bchw->c", a, b) / a[0, 0].numel()


def _sum(constant: Tensor, *terms: tuple[Tensor, Tensor]) -> Tensor:
    """A constant and some pictures, each with a factor a channel."""
    (factor, x), *others = terms
    total = torch.addcmul(constant[:, None, None], factor[:, None, None], x)
    for factor, x in others:
        total.addcmul_(factor[:, None, None], x)
    return total
