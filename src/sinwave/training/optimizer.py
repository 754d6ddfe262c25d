"""Optimizers: AdamW, and Muon for the matrices inside a network.

The classes of PyTorch load its compiler first: seconds, and 74 MB that nothing here uses; its functions do not.

AdamW, with g the gradient of w, in step t (Kingma and Ba, 2015; Loshchilov and Hutter, 2019):

    m <- a m + (1 - a) g,      v <- b v + (1 - b) g^2
    w <- (1 - rate decay) w - rate (m / (1 - a^t)) / (sqrt(v / (1 - b^t)) + 1e-8)

Muon turns all directions of a matrix by the same amount (Jordan et al., 2024). With G the gradient of a matrix W
(o, n), or of a kernel (o, i, k, k) that is read as (o, i k k),

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

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias, final

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from sinwave.threads import side_by_side, threads

__all__ = ["AdamW", "Memory", "Moved", "Muon", "Optimizer", "muon_and_adamw", "orthogonal"]

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5
_MOMENTUM = 0.9
_TINY = 1e-30
"""A gradient of zero has no direction, and gives a step of zero."""

_LARGE, _MANY = 1 << 16, 1 << 20
"""Numbers of a matrix that is worth a task of its own, and of all that are worth threads."""

Memory: TypeAlias = dict[str, Tensor]
"""The past of one parameter."""


class Moved(NamedTuple):
    """A parameter, its gradient and its past."""

    parameter: nn.Parameter
    gradient: Tensor
    memory: Memory


class Optimizer(ABC):
    """The optimizer of some parameters, with the past of each from the first step that has a gradient of it."""

    def __init__(self, parameters: Sequence[nn.Parameter], factor: float = 1.0, *, weight_decay: float = 0.0) -> None:
        """`factor` is their part of the rate."""
        self.parameters, self.factor, self.weight_decay = tuple(parameters), factor, weight_decay
        self.memories: dict[int, Memory] = {}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move all that have a gradient."""
        moved = []
        for number, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                if number not in self.memories:
                    self.memories[number] = self.begin(parameter)
                moved.append(Moved(parameter, parameter.grad, self.memories[number]))
        if moved:
            self.move(moved, self.factor * rate)

    def load(self, memories: Mapping[int, Mapping[str, Tensor]]) -> None:
        self.memories = {number: self.begin(self.parameters[number]) for number in memories}
        for number, memory in self.memories.items():
            for name, value in memory.items():
                value.copy_(memories[number][name])

    @abstractmethod
    def begin(self, parameter: nn.Parameter) -> Memory:
        """The memory before the first step."""

    @abstractmethod
    def move(self, moved: Sequence[Moved], rate: float) -> None:
        """Do a step of these, at least one."""


@final
class AdamW(Optimizer):
    """Each entry moves by about the rate."""

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        factor: float = 1.0,
        *,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, factor, weight_decay=weight_decay)
        self._betas = betas

    def begin(self, parameter: nn.Parameter) -> Memory:
        return {
            "mean": torch.zeros_like(parameter),
            "square": torch.zeros_like(parameter),
            "steps": torch.zeros((), dtype=torch.float32, device=parameter.device),
        }

    def move(self, moved: Sequence[Moved], rate: float) -> None:
        means, squares, steps = ([one.memory[name] for one in moved] for name in ("mean", "square", "steps"))
        adamw(
            [one.parameter for one in moved],
            [one.gradient for one in moved],
            means,
            squares,
            [],
            steps,
            fused=True,
            amsgrad=False,
            beta1=self._betas[0],
            beta2=self._betas[1],
            lr=rate,
            weight_decay=self.weight_decay,
            eps=1e-8,
            maximize=False,
        )


@final
class Muon(Optimizer):
    """For matrices and kernels inside a network, not those of its first and last layer."""

    def begin(self, parameter: nn.Parameter) -> Memory:
        return {"momentum": torch.zeros_like(parameter)}

    def move(self, moved: Sequence[Moved], rate: float) -> None:
        """Turn small matrices of the same shape together; if there are many large ones, side by side."""
        alike: dict[object, list[Moved]] = {}
        for number, (matrix, *_) in enumerate(moved):
            large = matrix.numel() >= _LARGE
            alike.setdefault(number if large else matrix.shape, []).append(moved[number])
        tasks = [partial(self._turn, matrices, matrices[0].parameter.shape, rate) for matrices in alike.values()]
        # The products are so small that threads would only wait for each other, and so no bit depends on their number.
        if sum(matrix.parameter.numel() for matrix in moved) >= _MANY:
            side_by_side(tasks, moved[0].parameter.device)
            return
        with threads(1):
            for task in tasks:
                task()

    @torch.no_grad()  # which a new thread does not know
    def _turn(self, matrices: Sequence[Moved], shape: torch.Size, rate: float) -> None:
        parameters: list[Tensor] = [matrix.parameter for matrix in matrices]
        aims = torch.stack([self._aim(matrix) for matrix in matrices])
        turned = orthogonal(aims.flatten(2)).view_as(aims).unbind()
        torch._foreach_mul_(parameters, 1 - rate * self.weight_decay)
        length = 0.2 * rate * max(shape[0], shape[1:].numel()) ** 0.5
        torch._foreach_add_(parameters, turned, alpha=-length)

    def _aim(self, moved: Moved) -> Tensor:
        past = moved.memory["momentum"]
        past.lerp_(moved.gradient, 1 - _MOMENTUM)
        return moved.gradient.lerp(past, _MOMENTUM)


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


def muon_and_adamw(
    parameters: Sequence[nn.Parameter], matrices: Sequence[nn.Parameter], *, weight_decay: float = 0.0
) -> tuple[Optimizer, ...]:
    """Muon for the `matrices`, and AdamW for the other parameters."""
    inner = {id(matrix) for matrix in matrices}
    others = [parameter for parameter in parameters if id(parameter) not in inner]
    return Muon(matrices, weight_decay=weight_decay), AdamW(others, weight_decay=weight_decay)
