"""One training: a step is a function of the seed, its number and the state, so a training that goes on ends the same.

Every `look_every` steps the averaged weights are judged by the held-out loss. A loss or a gradient that is no number,
or a held-out loss far above its best, sends the training back to the last good look with half the learning rate.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias, final

import torch
from torch import Tensor, nn

from sinwave.errors import InputError, TrainingError
from sinwave.rng import fold
from sinwave.training.averages import Averages
from sinwave.training.muon import Muon
from sinwave.training.optimizer import AdamW, Optimizer
from sinwave.training.recipe import Group, Recipe
from sinwave.training.schedule import Plateau, Trapezoid

__all__ = ["Budget", "Hook", "Report", "Training", "train"]

_WORSE, _LOST = 3.0, 0.1
"""A held-out loss so many times its best is no scatter, if this part of all that was gained is lost as well."""

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
        _check_all_are_saved(recipe, self._groups)
        self._optimizers = {name: _optimizers(group) for name, group in self._groups.items()}
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
    def halvings(self) -> int:
        """How often it fell back, each time to half the learning rate."""
        return self._now.halvings

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
        losses, rate, sound = self._descend(share)
        held_out = None
        if sound:
            now.step += 1
            self.averages.update(now.step)
            if now.step % self._look_every == 0 or self.finished:
                held_out = self._look()
                sound = self._is_sound(held_out["loss"])
        event = self._accept(held_out) if sound else self._fall_back(self.step if held_out else self.step + 1)
        return Report(self.step, self.stop, losses, held_out, rate, time.perf_counter() - start, event)

    def _descend(self, share: float) -> tuple[dict[str, float], float, bool]:
        """Take the gradients of all updates; their losses, the largest rate, and whether all were numbers."""
        path = ("train", self._now.step) if not self._now.halvings else ("train", self._now.step, self._now.halvings)
        found, rate = dict[str, Tensor | float](), 0.0
        for update in self.recipe.updates(fold(self._seed, *path)):
            if update.group not in self._groups:
                raise InputError(f"a loss of {update.group!r}: the groups are {', '.join(self._groups)}")
            group = self._groups[update.group]
            rate = max(rate, group.rate * share * update.share)
            for parameter in group.parameters:
                parameter.grad = None
            # No gradient for other players: a critic has none of its own from the generator's loss.
            update.loss.backward(inputs=list(group.parameters))  # type: ignore[no-untyped-call]
            norm = _clipped(group)
            found |= {update.group: update.loss.detach(), **update.logs}
            # One wait for the device an update; to step first would spoil the weights and the moments.
            if not (norm + update.loss.detach()).isfinite().item():
                return {name: float(value) for name, value in found.items()}, rate, False
            for optimizer in self._optimizers[update.group]:
                optimizer.step(group.rate * share * update.share)
        return {name: float(value) for name, value in found.items()}, rate, True

    def _look(self) -> dict[str, float]:
        with self.averages.applied(), _judged(self.recipe.module), torch.no_grad():
            return dict(self.recipe.held_out())

    def _is_sound(self, loss: float) -> bool:
        """Whether a look is no worse than scatter; a loss may be negative, or have nothing left to lose."""
        if not self._now.looks or not math.isfinite(loss):
            return math.isfinite(loss)
        first, best = self._now.looks[0], min(self._now.looks)
        return loss <= best + max((_WORSE - 1) * abs(best), _LOST * (first - best))

    def _accept(self, held_out: Mapping[str, float] | None) -> str | None:
        """Remember a good look, and decide when the training ends if that has not been decided."""
        if held_out is not None:
            self._now.looks.append(held_out["loss"])
        event = self._decide(held_out is not None and self._plateau.reached(self._now.looks))
        if held_out is not None:
            self._good = self._snapshot()
        return event

    def _decide(self, plateau: bool) -> str | None:
        now, most = self._now, self._budget.most
        # In any step, not only when looking, or the longest training would lack a part of its tail.
        if now.stop is not None or not (plateau or self._schedule.stop_after(now.step) >= most):
            return None
        now.stop = min(self._schedule.stop_after(now.step), most)
        why = "the loss has stopped falling" if plateau else "the longest training is near"
        return f"{why}: the learning rate falls from step {now.step} to the end at {now.stop}"

    def _fall_back(self, where: int) -> str:
        halvings, stop = self._now.halvings + 1, self._now.stop
        if halvings > _MOST_HALVINGS:
            raise TrainingError(
                f"the training diverged at step {where} for the {halvings}th time, even at an eighth of the learning "
                "rate: the picture or the options are unusual; try a lower width or another seed"
            )
        self._restore(self._good)
        # What was decided since, such as `end_at`, stays decided.
        self._now.halvings, self._now.stop = halvings, stop
        self._good = self._snapshot()
        return f"diverged at step {where}: back to step {self.step}, with the learning rate halved"

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on: numbers, strings and tensors."""
        return {"now": self._snapshot(), "good": self._good}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        try:
            self._restore(state["now"])
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise InputError("the state is of another training: its weights or its optimizers do not fit") from error
        self._good = copy.deepcopy(state["good"])

    def _snapshot(self) -> dict[str, Any]:
        live = {
            "counters": vars(self._now),
            "weights": dict(self.recipe.module.state_dict()),
            "companions": {name: dict(each.state_dict()) for name, each in self.recipe.companions.items()},
            "averages": self.averages.values,
            "optimizers": {name: [each.memories for each in some] for name, some in self._optimizers.items()},
        }
        return copy.deepcopy(live)

    def _restore(self, snapshot: Mapping[str, Any]) -> None:
        self._now = _State(**copy.deepcopy(snapshot["counters"]))
        self.recipe.module.load_state_dict(snapshot["weights"])
        for name, companion in self.recipe.companions.items():
            companion.load_state_dict(snapshot["companions"][name])
        self.averages.load(snapshot["averages"])
        for name, some in self._optimizers.items():
            for optimizer, state in zip(some, snapshot["optimizers"][name], strict=True):
                optimizer.load(state)


Hook: TypeAlias = Callable[[Training, Report], None]


def train(training: Training, hooks: Sequence[Hook] = ()) -> None:
    """Step until it is finished; each hook sees every step."""
    while not training.finished:
        report = training.advance()
        for hook in hooks:
            hook(training, report)


def _clipped(group: Group) -> Tensor:
    """The norm of the gradient, which is no longer than it may be afterwards."""
    if group.clip is not None:
        return nn.utils.clip_grad_norm_(group.parameters, group.clip)
    return nn.utils.get_total_norm([each.grad for each in group.parameters if each.grad is not None])


@contextmanager
def _judged(module: nn.Module) -> Iterator[None]:
    """`module.eval()` for a while, after which each part is as it was."""
    modes = [(each, each.training) for each in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for each, mode in modes:
            each.training = mode


def _check_all_are_saved(recipe: Recipe, groups: Mapping[str, Group]) -> None:
    """Refuse a group that a resumed training would begin anew."""
    networks = (recipe.module, *recipe.companions.values())
    saved = {id(parameter) for each in networks for parameter in each.parameters()}
    for name, group in groups.items():
        if any(id(parameter) not in saved for parameter in group.parameters):
            raise InputError(f"the group {name!r} has parameters that are neither in the module nor in a companion")
        if not {id(matrix) for matrix in group.matrices} <= {id(parameter) for parameter in group.parameters}:
            raise InputError(f"the group {name!r} has matrices that are not among its parameters")


def _optimizers(group: Group) -> list[Optimizer]:
    """AdamW and Muon, one for each part of the rate, and each if there is something for it to move."""
    inner = {id(matrix) for matrix in group.matrices}
    factors = group.factors or (1.0,) * len(group.parameters)
    alike = dict[tuple[bool, float], list[nn.Parameter]]()
    for parameter, factor in zip(group.parameters, factors, strict=True):
        alike.setdefault((id(parameter) in inner, factor), []).append(parameter)
    return [
        Muon(some, factor, momentum=group.betas[0], weight_decay=group.weight_decay)
        if matrices
        else AdamW(some, factor, betas=group.betas, weight_decay=group.weight_decay)
        for (matrices, factor), some in alike.items()
    ]
