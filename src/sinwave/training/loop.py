"""One training: a step is a function of the seed, its number and the state, so a training that goes on ends the same.

Every `look_every` steps the averaged weights are judged by the held-out loss. A loss or a gradient that is no number,
or a held-out loss far above its best, sends the training back to the last good look with half the learning rate.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, final

import torch
from torch import Tensor, nn

from sinwave.errors import TrainingError
from sinwave.rng import fold
from sinwave.training.averages import Averages
from sinwave.training.recipe import Group, Recipe
from sinwave.training.schedule import Plateau, Trapezoid

__all__ = ["Budget", "Hook", "Report", "Training", "train"]

_WORSE = 3.0
"""A held-out loss so many times its best is no scatter."""

_MOST_HALVINGS = 3


@dataclass(frozen=True)
class Budget:
    """Exactly `steps`, or, if that is None, until the plateau of the held-out loss and its tail, `most` at the most."""

    steps: int | None = None
    most: int = 100_000


@dataclass(frozen=True)
class Report:
    """What happened in a step: its number from 1, and the last of all steps, None while that is not known."""

    step: int
    stop: int | None
    losses: Mapping[str, float]
    held_out: Mapping[str, float] | None
    rate: float
    seconds: float
    event: str | None = None


@dataclass
class _State:
    step: int = 0
    stop: int | None = None
    halvings: int = 0
    looks: list[float] = field(default_factory=list)


@final
class Training:
    """The state of a training and its next step."""

    def __init__(
        self,
        recipe: Recipe,
        budget: Budget,
        seed: int,
        *,
        schedule: Trapezoid = Trapezoid(),
        plateau: Plateau = Plateau(),
        longest_average: float = 0.999,
        look_every: int = 100,
    ) -> None:
        """Begin with the weights that the recipe's module has."""
        self.recipe, self._budget, self._seed = recipe, budget, seed
        self._schedule, self._plateau, self._look_every = schedule, plateau, look_every
        self._groups = recipe.groups()
        self._optimizers = {name: _optimizer(group) for name, group in self._groups.items()}
        self.averages = Averages(recipe.module, longest_average)
        self._now = _State(stop=budget.steps)
        self._good = self._snapshot()

    @property
    def step(self) -> int:
        """How many steps are done."""
        return self._now.step

    @property
    def stop(self) -> int | None:
        """How many there will be, None while that is not known."""
        return self._now.stop

    @property
    def expected_stop(self) -> int:
        """How many there will be at the most."""
        return self._budget.most if self.stop is None else self.stop

    @property
    def finished(self) -> bool:
        """Whether there is no step left."""
        return self.step >= self.expected_stop

    def end_at(self, step: int) -> None:
        """Say when it ends, if that was not known: from now on this is part of the state."""
        self._now.stop = max(step, self._now.step)

    def advance(self) -> Report:
        """Do one step."""
        start, now = time.perf_counter(), self._now
        share = self._schedule(now.step, now.stop) / 2**now.halvings
        rate = share * max(group.rate for group in self._groups.values())
        losses, sound = self._descend(share)
        held_out = None
        if sound:
            now.step += 1
            self.averages.update(now.step)
            if now.step % self._look_every == 0 or self.finished:
                held_out = self._look()
                sound = self._is_sound(held_out["loss"])
        event = self._accept(held_out) if sound else self._fall_back()
        return Report(self.step, self.stop, losses, held_out, rate, time.perf_counter() - start, event)

    def _descend(self, share: float) -> tuple[dict[str, float], bool]:
        """Take the gradients of all updates; their losses, and whether all were numbers."""
        path = ("train", self._now.step) if not self._now.halvings else ("train", self._now.step, self._now.halvings)
        found: dict[str, Tensor | float] = {}
        for update in self.recipe.updates(fold(self._seed, *path)):
            group, optimizer = self._groups[update.group], self._optimizers[update.group]
            optimizer.zero_grad(set_to_none=True)
            update.loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(group.parameters, group.clip if group.clip is not None else math.inf)
            found |= {update.group: update.loss.detach(), **update.logs}
            # One wait for the device an update; to step first would spoil the weights and the moments.
            if not (norm + update.loss.detach()).isfinite().item():
                return {name: float(value) for name, value in found.items()}, False
            for settings in optimizer.param_groups:
                settings["lr"] = group.rate * share
            optimizer.step()
        return {name: float(value) for name, value in found.items()}, True

    def _look(self) -> dict[str, float]:
        with self.averages.applied():
            return dict(self.recipe.held_out())

    def _is_sound(self, loss: float) -> bool:
        return math.isfinite(loss) and loss <= _WORSE * min(self._now.looks, default=math.inf)

    def _accept(self, held_out: Mapping[str, float] | None) -> str | None:
        """Remember a good look, and decide when the training ends if that has not been decided."""
        if held_out is None:
            return None
        now, event = self._now, None
        now.looks.append(held_out["loss"])
        if now.stop is None:
            last = math.floor(self._budget.most * (1 - self._schedule.tail))
            plateau = self._plateau.reached(now.looks)
            if plateau or now.step >= last:
                now.stop = min(self._schedule.stop_after(now.step), self._budget.most)
                why = "the loss has stopped falling" if plateau else "the longest training is near"
                event = f"{why}: the learning rate falls from step {now.step} to the end at {now.stop}"
        self._good = self._snapshot()
        return event

    def _fall_back(self) -> str:
        halvings, where = self._now.halvings + 1, self._now.step
        if halvings > _MOST_HALVINGS:
            raise TrainingError(
                f"the training diverged at step {where} for the {halvings}th time, even at an eighth of the learning "
                "rate: the picture or the options are unusual; try a lower width or another seed"
            )
        self._restore(self._good)
        self._now.halvings = halvings
        self._good = self._snapshot()
        return f"diverged at step {where + 1}: back to step {self.step}, with the learning rate halved"

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on: numbers, strings and tensors."""
        return {"now": self._snapshot(), "good": self._good}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self._restore(state["now"])
        self._good = copy.deepcopy(state["good"])

    def _snapshot(self) -> dict[str, Any]:
        live = {
            "counters": vars(self._now),
            "weights": dict(self.recipe.module.state_dict()),
            "averages": self.averages.values,
            "optimizers": {name: each.state_dict() for name, each in self._optimizers.items()},
        }
        return copy.deepcopy(live)

    def _restore(self, snapshot: Mapping[str, Any]) -> None:
        self._now = _State(**copy.deepcopy(snapshot["counters"]))
        self.recipe.module.load_state_dict(snapshot["weights"])
        self.averages.load(snapshot["averages"])
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(copy.deepcopy(snapshot["optimizers"][name]))


Hook: TypeAlias = Callable[[Training, Report], None]


def train(training: Training, hooks: Sequence[Hook] = ()) -> None:
    """Step until it is finished; each hook sees every step."""
    while not training.finished:
        report = training.advance()
        for hook in hooks:
            hook(training, report)


def _optimizer(group: Group) -> torch.optim.AdamW:
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in group.parameters)
    return torch.optim.AdamW(
        group.parameters, lr=group.rate, betas=group.betas, weight_decay=group.weight_decay, fused=fused
    )
