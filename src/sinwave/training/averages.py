"""The exponential moving average of the weights, which draws better than the weights themselves.

    average_n = d_n average_{n-1} + (1 - d_n) weights_n,      d_n = min(longest, n / (n + 9))

so the first steps are soon forgotten (Karras et al., 2022; Polyak and Juditsky, 1992).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor, nn

__all__ = ["Averages", "moving", "restore"]


def moving(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that are trained and the buffers beside them, by name.

    A part whose parameters are all frozen does not move, nor do its buffers.
    """
    frozen = tuple(f"{name}." if name else "" for name, part in module.named_modules() if _is_frozen(part))
    return {
        name: value
        for name, value in module.state_dict(keep_vars=True).items()
        if (value.requires_grad if isinstance(value, nn.Parameter) else not name.startswith(frozen))
    }


def _is_frozen(module: nn.Module) -> bool:
    trainable = [parameter.requires_grad for parameter in module.parameters()]
    return bool(trainable) and not any(trainable)


def restore(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Give a module these values of all that moves in it."""
    if different := moving(module).keys() ^ values.keys():
        raise KeyError(", ".join(sorted(different)))
    module.load_state_dict(values, strict=False)


@final
class Averages:
    """The averages of all parameters that move, in float32 or better; buffers are copied.

    With a `longest` of 0 they are the weights themselves, which are not kept twice.
    """

    def __init__(self, module: nn.Module, longest: float = 0.999) -> None:
        self._module, self.longest = module, longest
        self.values = {n: _wide(v).clone() if longest else v.detach() for n, v in moving(module).items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step `step`, counted from 1."""
        if not self.longest:
            return
        decay = min(self.longest, step / (step + 9))
        state = self._module.state_dict(keep_vars=True)
        pairs = [(average, state[name]) for name, average in self.values.items()]
        weights, buffers = ([p for p in pairs if isinstance(p[1], nn.Parameter) == kind] for kind in (True, False))
        torch._foreach_lerp_([average for average, _ in weights], [_wide(value) for _, value in weights], 1 - decay)
        for average, value in buffers:
            average.copy_(value)

    def load(self, values: Mapping[str, Tensor]) -> None:
        for name, value in self.values.items():
            value.copy_(values[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module with its averages; afterwards it has its weights again, exactly."""
        weights = {name: value.detach().clone() for name, value in moving(self._module).items()}
        try:
            restore(self._module, self.values)
            yield
        finally:
            restore(self._module, weights)


def _wide(value: Tensor) -> Tensor:
    """A parameter in at least float32, since a thousandth of a step is lost in 8 bits; a buffer as it is."""
    wide = isinstance(value, nn.Parameter) and value.is_floating_point()
    return value.detach().to(torch.promote_types(value.dtype, torch.float32)) if wide else value.detach()
