"""What moves parameters. PyTorch's own optimizers load its compiler first: seconds, and 74 MB that nothing here uses.

AdamW, with g the gradient of w, in step t (Kingma and Ba, 2015; Loshchilov and Hutter, 2019):

    m <- a m + (1 - a) g,      v <- b v + (1 - b) g^2
    w <- (1 - rate decay) w - rate (m / (1 - a^t)) / (sqrt(v / (1 - b^t)) + 1e-8)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias, final

import torch
from torch import Tensor, nn

__all__ = ["AdamW", "Memory", "Moved", "Optimizer"]

Memory: TypeAlias = dict[str, Tensor]
"""What is remembered of one parameter."""


class Moved(NamedTuple):
    """A parameter, which way it should go, and what is remembered of it."""

    parameter: nn.Parameter
    gradient: Tensor
    memory: Memory


class Optimizer(ABC):
    """Some parameters and what is remembered of each, from the first step that has a gradient of it."""

    def __init__(self, parameters: Sequence[nn.Parameter], factor: float = 1.0) -> None:
        """`factor` is their part of the rate."""
        self.parameters, self.factor = tuple(parameters), factor
        self.memories: dict[int, Memory] = {}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move all that have a gradient."""
        some = []
        for number, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                if number not in self.memories:
                    self.memories[number] = self.begin(parameter)
                some.append(Moved(parameter, parameter.grad, self.memories[number]))
        if some:
            self.move(some, self.factor * rate)

    def load(self, memories: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Go on with these."""
        self.memories = {number: self.begin(self.parameters[number]) for number in memories}
        for number, memory in self.memories.items():
            for name, value in memory.items():
                value.copy_(memories[number][name])

    @abstractmethod
    def begin(self, parameter: nn.Parameter) -> Memory:
        """What is remembered before the first step."""

    @abstractmethod
    def move(self, some: Sequence[Moved], rate: float) -> None:
        """One step of these, at least one."""


@final
class AdamW(Optimizer):
    """Each entry moves by about the rate."""

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        factor: float = 1.0,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, factor)
        self._betas, self._weight_decay = betas, weight_decay

    def begin(self, parameter: nn.Parameter) -> Memory:
        """No gradient seen."""
        return {
            "mean": torch.zeros_like(parameter),
            "square": torch.zeros_like(parameter),
            "steps": torch.zeros((), dtype=torch.float32, device=parameter.device),
        }

    def move(self, some: Sequence[Moved], rate: float) -> None:
        """All of them by one kernel."""
        means, squares, steps = ([each.memory[name] for each in some] for name in ("mean", "square", "steps"))
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            [each.parameter for each in some],
            [each.gradient for each in some],
            means,
            squares,
            [],
            steps,
            lr=rate,
            beta1=self._betas[0],
            beta2=self._betas[1],
            weight_decay=self._weight_decay,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )
