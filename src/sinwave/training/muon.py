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

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from sinwave.threads import threads
from sinwave.training.optimizer import Memory, Moved, Optimizer

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
class Muon(Optimizer):
    """For matrices and kernels inside a network, not those of its first and last layer."""

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        factor: float = 1.0,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, factor)
        self._momentum, self._weight_decay = momentum, weight_decay

    def begin(self, parameter: nn.Parameter) -> Memory:
        """No gradient seen."""
        return {"momentum": torch.zeros_like(parameter)}

    def move(self, some: Sequence[Moved], rate: float) -> None:
        """Those of a shape are turned together."""
        alike: dict[torch.Size, list[Moved]] = {}
        for each in some:
            alike.setdefault(each.parameter.shape, []).append(each)
        # The products are so small that threads would only wait for each other, and so no bit depends on their number.
        with threads(1):
            for shape, those in alike.items():
                self._turn(those, shape, rate)

    def _turn(self, some: Sequence[Moved], shape: torch.Size, rate: float) -> None:
        parameters: list[Tensor] = [each.parameter for each in some]
        aims = torch.stack([self._aim(each) for each in some])
        turned = orthogonal(aims.flatten(2)).view_as(aims).unbind()
        torch._foreach_mul_(parameters, 1 - rate * self._weight_decay)
        length = 0.2 * rate * max(shape[0], shape[1:].numel()) ** 0.5
        torch._foreach_add_(parameters, turned, alpha=-length)

    def _aim(self, moved: Moved) -> Tensor:
        """The gradient and its past."""
        past = moved.memory["momentum"]
        past.lerp_(moved.gradient, 1 - self._momentum)
        return moved.gradient.lerp(past, self._momentum)
