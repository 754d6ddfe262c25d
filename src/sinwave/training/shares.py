"""A batch in shares, each of them one thread's: cores that do every operation together wait for each other after each.

    losses = (f(share 1), f(share 2), ...)         d/dw = sum_k (d f(share k) / dw)^T g_k

Shares are computed side by side, forward and backward, and added up in their order. How many there are does not depend
on the machine, so while each has one thread no bit of a gradient depends on how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sinwave.threads import threads

__all__ = ["SHARES", "Shares", "with_gradients"]

SHARES = 4
"""Enough for the cores of a laptop, and few enough that an operation is still worth its call."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@final
class Shares:
    """Threads that compute losses in shares."""

    def __init__(self, count: int = SHARES) -> None:
        """Begin as many workers as PyTorch has threads now, but no more than shares."""
        self._count, self._workers = count, min(torch.get_num_threads(), count)
        self._threads = torch.get_num_threads() // self._workers  # of a worker
        # The calling thread is one of the workers.
        others = max(1, self._workers - 1)
        self._pool = ThreadPoolExecutor(others, initializer=torch.set_num_threads, initargs=(self._threads,))

    def __call__(self, losses: Callable[[slice], Tensor], total: int, parameters: Iterable[nn.Parameter]) -> Tensor:
        """The losses (total,) of a batch, from those of each part of it; only the `parameters` have gradients."""
        parts = [part for part in _parts(total, self._count) if part.start < part.stop]
        if not torch.is_grad_enabled():
            return torch.cat(self.map(torch.no_grad()(losses), parts))
        joined: Tensor = _Joined.apply(self, losses, parts, *parameters)  # type: ignore[no-untyped-call]
        return joined

    def sum(self, losses: Sequence[Callable[[], Tensor]], parameters: Iterable[nn.Parameter]) -> tuple[Tensor, Tensor]:
        """The sum of scalars, one of them a share, and all of them (n,); its gradients are computed at once."""
        parameters = list(parameters)

        def computed(loss: Callable[[], Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
            with torch.enable_grad():
                value = loss()
            # A part of a loss need not depend on everything that the whole depends on.
            return value.detach(), torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)

        values, gradients = zip(*self.map(computed, losses), strict=True)
        total = gradients[0]
        for other in gradients[1:]:
            total = torch._foreach_add(total, other)
        parts = torch.stack(values)
        return with_gradients(parts.sum(), total, parameters), parts

    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """The results in the order of the items; a worker does neighbors.

        Who does what is fixed, since a thread's memory is its own: else each would come to need that of the largest.
        """
        mine, *theirs = (items[part] for part in _parts(len(items), self._workers))
        # A new thread takes the number of the process at its first operation, so that is set too.
        with threads(self._threads):
            others = [self._pool.submit(lambda part: list(map(work, part)), part) for part in theirs]
            results = list(map(work, mine))
            return results + [result for other in others for result in other.result()]


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, shares: Shares, losses: Callable[[slice], Tensor], parts: list[slice], *parameters: nn.Parameter
    ) -> Tensor:
        ctx.shares, ctx.parts, ctx.parameters = shares, parts, parameters
        ctx.losses = shares.map(torch.enable_grad()(losses), parts)
        return torch.cat([loss.detach() for loss in ctx.losses])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        def gradient(share: tuple[Tensor, slice]) -> Sequence[Tensor]:
            loss, part = share
            with torch.enable_grad():  # a scalar, since the gradient of a vector would import sympy: half a second
                weighted = loss @ gradients[0][part].detach()
            result: Sequence[Tensor] = torch.autograd.grad(weighted, ctx.parameters)
            return result

        total, *others = ctx.shares.map(gradient, list(zip(ctx.losses, ctx.parts, strict=True)))
        for other in others:
            total = torch._foreach_add(total, other)
        return None, None, None, *total


def with_gradients(value: Tensor, gradients: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> Tensor:
    """A scalar whose gradients have been computed already."""
    scalar: Tensor = _WithGradients.apply(value, gradients, *parameters)  # type: ignore[no-untyped-call]
    return scalar


class _WithGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Sequence[Tensor], *parameters: nn.Parameter) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return None, None, *torch._foreach_mul(ctx.gradients, gradients[0])


def _parts(total: int, count: int) -> list[slice]:
    return [slice(total * index // count, total * (index + 1) // count) for index in range(count)]
