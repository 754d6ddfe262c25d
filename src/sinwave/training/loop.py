"""A training whose step is a function of seed, batch, number and state, so one that goes on ends the same.

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
from typing import Any, TypeAlias, TypeVar, final

import torch
from torch import Tensor, nn

from sinwave.data.batches import Batches
from sinwave.errors import InputError, TrainingError
from sinwave.rng import Key, fold
from sinwave.training.averages import Averages, moving, restore
from sinwave.training.engine import Engine, Plain
from sinwave.training.recipe import Player, Recipe, Update
from sinwave.training.schedule import Plateau, Trapezoid

__all__ = ["Budget", "Hook", "Report", "Training", "train"]

B = TypeVar("B")

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
    """The outcome of a step: its number from 1, and the last of all steps, None while that is undecided."""

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
        recipe: Recipe[B],
        batches: Batches[B],
        budget: Budget,
        seed: int,
        *,
        schedule: Trapezoid = Trapezoid(),
        plateau: Plateau = Plateau(),
        longest_average: float = 0.999,
        look_every: int = 100,
        engine: Engine = Plain(),
        ended: Callable[[], str | None] = lambda: None,
    ) -> None:
        """Begin with the weights that the recipe's networks have.

        `ended` is asked after every look for a reason to end there.
        """
        self.recipe: Recipe[Any] = recipe
        self._batches: Batches[Any] = batches
        self._budget, self._seed, self._engine = budget, seed, engine
        self._schedule, self._plateau, self._look_every, self._ended = schedule, plateau, look_every, ended
        for network in _networks(recipe):
            engine.prepare(network)
        self._players = recipe.players
        _check_all_are_saved(recipe, self._players)
        self.averages = Averages(recipe.kept, longest_average)
        self._now = _State(stop=budget.steps)
        self._good = self._snapshot()

    @property
    def step(self) -> int:
        """The number of steps done."""
        return self._now.step

    @property
    def stop(self) -> int | None:
        """The number of all steps, None while that is undecided."""
        return self._now.stop

    @property
    def halvings(self) -> int:
        """The number of times that it fell back, each time to half the learning rate."""
        return self._now.halvings

    @property
    def last_look(self) -> float:
        """The newest held-out loss, NaN before the first look."""
        return self._now.looks[-1] if self._now.looks else math.nan

    @property
    def expected_stop(self) -> int:
        """The largest number of steps that there may be."""
        return self._budget.most if self.stop is None else self.stop

    @property
    def finished(self) -> bool:
        """Whether there is no step left."""
        return self.step >= self.expected_stop

    def end_at(self, step: int) -> None:
        """Decide when it ends, if that was undecided: from now on this is part of the state."""
        self._now.stop = max(step, self._now.step)

    def advance(self) -> Report:
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
        losses, largest = dict[str, Tensor | float](), 0.0
        first, *others = (self._updates(part) for part in range(self._engine.parts))
        for update in first:
            player = self._player(update.player)
            rate = player.rate_at(self._now.step) * share
            largest = max(largest, rate)
            for parameter in player.parameters:
                parameter.grad = None
            loss = sum((self._gradient(next(other), player) for other in others), self._gradient(update, player))
            losses |= {update.player: loss, **update.logs}
            # One wait for the device an update; to step first would spoil the weights and the moments.
            if not (_clipped(player) + loss).isfinite().item():
                return _numbers(losses), largest, False
            for optimizer in player.optimizers:
                optimizer.step(rate)
        for other in others:
            next(other, None)
        return _numbers(losses), largest, True

    def _updates(self, part: int) -> Iterator[Update]:
        """The updates of a part of the step, each computed as the engine does."""
        now, parts = self._now, self._engine.parts
        path: list[Key] = ["train", now.step, *([now.halvings] if now.halvings or part else [])]
        path += ["part", part] if part else []
        generator = torch.Generator().manual_seed(fold(self._seed, *path))
        batch = self._engine.place(self._batches.at(now.step * parts + part))
        updates = self.recipe.updates(batch, generator)
        while True:
            with self._engine.computing():
                update = next(updates, None)
            if update is None:
                return
            yield update

    def _gradient(self, update: Update, player: Player) -> Tensor:
        """Add the gradient of a part's loss, and give that part."""
        loss = update.loss / self._engine.parts
        # No gradient for other players: a critic has none of its own from the generator's loss.
        self._engine.backward(loss, player.parameters)
        return loss.detach()

    def _player(self, name: str) -> Player:
        if name not in self._players:
            raise InputError(f"a loss of {name!r}: the players are {', '.join(self._players)}")
        return self._players[name]

    def _look(self) -> dict[str, float]:
        with self.averages.applied(), _judged(self.recipe.kept), torch.no_grad(), self._engine.computing():
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
            reason = self._ended()
            if reason is not None:
                self._now.stop = self._now.step
                event = f"{reason}; it ends at step {self._now.step}"
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
            "weights": _detached(self.recipe.kept),
            "companions": {name: _detached(network) for name, network in self.recipe.companions.items()},
            "averages": self.averages.values,
            "optimizers": {name: [o.memories for o in player.optimizers] for name, player in self._players.items()},
        }
        return copy.deepcopy(live)

    def _restore(self, snapshot: Mapping[str, Any]) -> None:
        self._now = _State(**copy.deepcopy(snapshot["counters"]))
        restore(self.recipe.kept, snapshot["weights"])
        for name, companion in self.recipe.companions.items():
            restore(companion, snapshot["companions"][name])
        self.averages.load(snapshot["averages"])
        for name, player in self._players.items():
            for optimizer, memories in zip(player.optimizers, snapshot["optimizers"][name], strict=True):
                optimizer.load(memories)


Hook: TypeAlias = Callable[[Training, Report], None]


def train(training: Training, hooks: Sequence[Hook] = ()) -> None:
    """Step until it is finished; each hook sees every step."""
    while not training.finished:
        report = training.advance()
        for hook in hooks:
            hook(training, report)


def _clipped(player: Player) -> Tensor:
    """The norm of the gradient, which is no longer than it may be afterwards."""
    if player.clip is not None:
        return nn.utils.clip_grad_norm_(player.parameters, player.clip)
    return nn.utils.get_total_norm([p.grad for p in player.parameters if p.grad is not None])


def _numbers(losses: Mapping[str, Tensor | float]) -> dict[str, float]:
    return {name: float(value) for name, value in losses.items()}


@contextmanager
def _judged(module: nn.Module) -> Iterator[None]:
    """`module.eval()` for a while, after which each part is as it was."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _networks(recipe: Recipe[Any]) -> tuple[nn.Module, ...]:
    return recipe.kept, *recipe.companions.values()


def _detached(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in moving(network).items()}


def _check_all_are_saved(recipe: Recipe[Any], players: Mapping[str, Player]) -> None:
    """Refuse a player that a resumed training would begin anew, or that moves other parameters than it names."""
    saved = {id(value) for network in _networks(recipe) for value in moving(network).values()}
    for name, player in players.items():
        parameters = sorted(id(parameter) for parameter in player.parameters)
        if not saved.issuperset(parameters):
            raise InputError(
                f"the player {name!r} has parameters that are frozen, or neither in what is kept nor in a companion"
            )
        if sorted(id(parameter) for optimizer in player.optimizers for parameter in optimizer.parameters) != parameters:
            raise InputError(f"the optimizers of the player {name!r} move other parameters than it has")
