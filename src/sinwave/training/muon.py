"""Muon: a step that turns all directions of a weight matrix by the same amount (Jordan et al., 2024).

With G the gradient of a matrix W (o, n), or of a kernel (o, i, k, k) that is read as (o, i k k),

    M <- m M + (1 - m) G                          momentum
    O  = orthogonal((1 - m) G + m M)              U V^T, where the argument is U S V^T
    W <- (1 - rate decay) W - 0.2 rate sqrt(max(o, n)) O

Entries of O have a root mean square of 1 / sqrt(max(o, n)), so with that factor they move by a fifth of the rate, as
with AdamW (Liu et al., 2025). A gradient has few large directions and many small ones; Adam, which sees entries and
no directions, learns the small ones late.

`orthogonal` is five steps of X <- a X + b X X^T X + c (X X^T)^2 X from X of norm 1: odd polynomials of X, which leave U
and V and bring singular values near 1: those above 0.01 end between 0.68 and 1.13, smaller ones grow by a^5 = 485.
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from sinwave.lanes import threads

__all__ = ["Muon", "orthogonal"]

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5
_TINY = 1e-30
"""A gradient of zero has no direction, and gives a step of zero."""


def orthogonal(matrices: Tensor) -> Tensor:
    """U V^T, nearly, of each of (b, o, n)."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=_TINY)
    for _ in range(_ROUNDS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


@final
class Muon(torch.optim.Optimizer):
    """For matrices and kernels inside a network, not those of its first and last layer."""

    def __init__(self, parameters: ParamsT, lr: float, *, momentum: float = 0.9, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move all that have a gradient; those of a shape are turned together."""
        # The products are so small that threads would only wait for each other, and so no bit depends on their number.
        with threads(1):
            for settings in self.param_groups:
                self._move(settings)

    def _move(self, settings: dict[str, Any]) -> None:
        alike: dict[torch.Size, list[Tensor]] = {}
        for parameter in settings["params"]:
            if parameter.grad is not None:
                alike.setdefault(parameter.shape, []).append(parameter)
        for shape, parameters in alike.items():
            aims = torch.stack([self._aim(each, settings["momentum"]) for each in parameters])
            turned = orthogonal(aims.flatten(2)).view_as(aims).unbind()
            torch._foreach_mul_(parameters, 1 - settings["lr"] * settings["weight_decay"])
            length = 0.2 * settings["lr"] * max(shape[0], shape[1:].numel()) ** 0.5
            torch._foreach_add_(parameters, turned, alpha=-length)

    def _aim(self, parameter: Tensor, momentum: float) -> Tensor:
        """The gradient and its past."""
        gradient = parameter.grad
        assert gradient is not None
        if not self.state[parameter]:
            self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        past: Tensor = self.state[parameter]["momentum"]
        past.lerp_(gradient, 1 - momentum)
        return gradient.lerp(past, momentum)
