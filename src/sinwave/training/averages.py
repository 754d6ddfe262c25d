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

__all__ = ["Averages"]


@final
class Averages:
    """Of the parameters of a module, in float32 or better; its buffers are copied.

    With a `longest` of 0 they are the weights themselves, which are not kept twice.
    """

    def __init__(self, module: nn.Module, longest: float = 0.999) -> None:
        self._module, self.longest = module, longest
        state = module.state_dict(keep_vars=True)
        self.values = {name: _wide(value).clone() if longest else value.detach() for name, value in state.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After step `step`, counted from 1."""
        if not self.longest:
            return
        decay = min(self.longest, step / (step + 9))
        state = self._module.state_dict(keep_vars=True)
        moving, kept = (
            {n: v for n, v in state.items() if isinstance(v, nn.Parameter) == moved} for moved in (True, False)
        )
        torch._foreach_lerp_([self.values[name] for name in moving], [_wide(v) for v in moving.values()], 1 - decay)
        if kept:
            torch._foreach_copy_([self.values[name] for name in kept], list(kept.values()))

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Go on from these."""
        for name, value in self.values.items():
            value.copy_(values[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module with its averages; afterwards it has its weights again, exactly."""
        weights = {name: value.detach().clone() for name, value in self._module.state_dict().items()}
        try:
            self._module.load_state_dict(self.values)
            yield
        finally:
            self._module.load_state_dict(weights)


def _wide(value: Tensor) -> Tensor:
    """A parameter in at least float32, since a thousandth of a step is lost in 8 bits; a buffer as it is."""
    wide = isinstance(value, nn.Parameter) and value.is_floating_point()
    return value.detach().to(torch.promote_types(value.dtype, torch.float32)) if wide else value.detach()
