"""The training: scale by scale, a critic and a generator in turn, each with losses of its own.

    critic         E D(fake) - E D(real) + penalty E (|grad D(mixed)| - 1)^2,     mixed = u real + (1 - u) fake
    generator      - E D(fake) + fidelity |x_n - reconstruction|^2

The norm is that of the colors of a pixel. Every fake is drawn afresh, so no gradient goes through weights that an
earlier step has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sinwave.resize import resize
from sinwave.rng import fold
from sinwave.systems.singan.jobs import Chance, Draw, Job, Parameters, Parts, way_for
from sinwave.systems.singan.networks import Generators, gradient_penalty
from sinwave.systems.singan.options import Settings
from sinwave.threads import threads
from sinwave.training.optimizer import AdamW
from sinwave.training.recipe import Player, Recipe, Update

__all__ = ["SinganRecipe"]

_BETAS = (0.5, 0.999)

_FAKES = 8
"""Pictures whose statistics a finished generator keeps."""


@final
class SinganRecipe(Recipe[None]):
    """The training of all scales, one after another."""

    def __init__(
        self, settings: Settings, generators: Generators, critics: nn.ModuleList, pictures: Sequence[Tensor]
    ) -> None:
        """`pictures` (1, 3, h, w) of the scales, coarsest first, on the device of the networks."""
        self.settings, self.generators, self.critics, self.pictures = settings, generators, critics, pictures
        self.counts = settings.counts(generators.sizes)
        self._reconstruction: tuple[int, Tensor] | None = None
        self._way = way_for(pictures[0])

    @property
    def kept(self) -> nn.Module:
        return self.generators

    @property
    def companions(self) -> Mapping[str, nn.Module]:
        return {"critics": self.critics}

    @property
    def players(self) -> Mapping[str, Player]:
        """A critic and a generator for each scale; the generator moves the coarser ones that are trained along."""
        players = {}
        for index in range(len(self.pictures)):
            judge = AdamW(list(self.critics[index].parameters()), betas=_BETAS)
            generators = [
                AdamW(list(self._psi(n).parameters()), self.settings.finer_scale_rate ** (index - n), betas=_BETAS)
                for n in range(self._first(index), index + 1)
            ]
            players[f"critic {index + 1}"] = self._player(index, judge)
            players[f"generator {index + 1}"] = self._player(index, *generators)
        return players

    def _player(self, index: int, *optimizers: AdamW) -> Player:
        """A player of a scale, whose rate falls for the last part of that scale's steps."""
        settings, first = self.settings, sum(self.counts[:index])
        steady = settings.decay_at * self.counts[index]

        def rate_at(step: int) -> float:
            return settings.rate * (settings.decay if step - first >= steady else 1.0)

        return Player(tuple(p for optimizer in optimizers for p in optimizer.parameters), optimizers, rate_at, None)

    def updates(self, batch: None, generator: torch.Generator) -> Iterator[Update]:
        progress, seed = self.generators.progress, generator.initial_seed()
        index, step = progress.tolist()
        # Beside the losses, which have threads of their own, there is too little work to share.
        with threads(1):
            if step == 0:
                self._begin(index)
            # A scale normalizes by the statistics of each picture until it is finished.
            for n, psi in enumerate(self.generators.psi):
                psi.train(n == index)
            self.critics[index].train()
            if index == 0:
                self._draw_anchor(seed)
            jobs = self._jobs(index, step, seed)
        sums = self._way.sums(jobs)
        for job in jobs:
            with threads(1):
                loss, parts = next(sums)
            player, number = job.group.split()
            generated = player == "generator"
            logs = {f"reconstruction {number}": parts[1].detach() / self.settings.fidelity} if generated else {}
            yield Update(job.group, loss, logs)
        done = step + 1 == self.counts[index]
        if done:
            with threads(1):
                self._settle(index)
        progress.copy_(torch.tensor([index + 1, 0] if done else [index, step + 1]))

    @torch.no_grad()
    def held_out(self) -> Mapping[str, float]:
        """The mean square error of the reconstruction, with the scale that is trained or without.

        A wider scale begins with random weights, and is not to be taken for a training that diverges.
        """
        index, step = self.generators.progress.tolist()
        if step > 0:
            self._settle(index)
        wholes = [
            resize(self.generators.reconstruct(stop), self.generators.sizes[-1])
            for stop in range(index, index + 1 + (step > 0))
        ]
        return {"loss": min(functional.mse_loss(whole, self.pictures[-1]).item() for whole in wholes)}

    def _begin(self, index: int) -> None:
        """Take over the weights of the scale before, if they fit, and measure the amplitude of the noise."""
        if index and self._psi(index)[0].weight.shape == self._psi(index - 1)[0].weight.shape:
            self._psi(index).load_state_dict(self._psi(index - 1).state_dict())
            self.critics[index].load_state_dict(self.critics[index - 1].state_dict())
        if index:
            self.generators.eval()
            with torch.no_grad():
                missing = functional.mse_loss(self.generators.reconstruct(index), self.pictures[index]).sqrt()
            self.generators.amplitude[index] = self.generators.configuration.amplitude * missing

    def _draw_anchor(self, seed: int) -> None:
        """Draw the noise from which the coarsest scale is to give the picture, anew in each step; the last is kept.

        So it draws only the gist of the picture, a vague one, and the next scale learns how far that may be varied.
        """
        picture = self.pictures[0]
        self.generators.anchor.copy_(Chance(fold(seed, "anchor"), picture).noise(1, picture))

    def _jobs(self, index: int, step: int, seed: int) -> list[Job]:
        settings, first = self.settings, self._first(index)
        weight = settings.penalty * settings.penalty_every if step % settings.penalty_every == 0 else 0.0
        critic = list(self.critics[index].parameters())
        trained = [p for n in range(first, index + 1) for p in self._psi(n).parameters()]

        def fake(chance: Chance) -> Tensor:
            return self._through(first, index, self._frozen(first, chance), chance)

        begun, generator_parts = partial(self._frozen, first), partial(self._generator_parts, index)
        critic_parts = partial(self._critic_parts, index, weight)

        def jobs(player: str, count: int, kind: Hashable, draw: Draw, parts: Parts, moved: Parameters) -> list[Job]:
            group = f"{player} {index + 1}"
            return [Job(group, kind, fold(seed, player, turn), draw, parts, moved) for turn in range(count)]

        return [
            *jobs("critic", settings.critic_steps, weight, fake, critic_parts, critic),
            *jobs("generator", settings.generator_steps, None, begun, generator_parts, trained),
        ]

    def _critic_parts(self, index: int, weight: float, fake: Tensor, chance: Chance) -> Sequence[Callable[[], Tensor]]:
        critic, real, share = _layers(self.critics, index), self.pictures[index], chance.uniform()
        parts = [partial(_opinion, critic, fake, 1.0), partial(_opinion, critic, real, -1.0)]
        if weight:
            # It takes longer than the other two together, which are another thread's.
            parts.insert(0, partial(gradient_penalty, critic, real, fake, share, weight=weight))
        return parts

    def _generator_parts(self, index: int, begun: Tensor, chance: Chance) -> Sequence[Callable[[], Tensor]]:
        generators, first = self.generators, self._first(index)
        start = self._frozen_reconstruction(first)

        def against() -> Tensor:
            return _opinion(self.critics[index], self._through(first, index, begun, chance), -1.0)

        def unlike() -> Tensor:
            coarser = generators.reconstruct(index, first, start)
            again = generators(index, coarser, generators.anchor if index == 0 else None)
            return self.settings.fidelity * functional.mse_loss(again, self.pictures[index])

        return [against, unlike]

    @torch.no_grad()
    def _settle(self, index: int) -> None:
        """Give the generator of a scale statistics to keep: half those of the reconstruction, half those of fakes."""
        # A training that goes on begins with modes of its own.
        generators, chance = self.generators.eval(), Chance(fold(0, "settle", index), self.pictures[0])
        picture = self.pictures[index]
        anchor = generators.anchor if index == 0 else torch.zeros_like(picture)
        inputs = [(generators.reconstruct(index), anchor, 0.5)]
        for _ in range(_FAKES):
            begun = self._frozen(index, chance)
            inputs.append((begun, chance.noise(1 if index == 0 else 3, picture), 0.5 / _FAKES))
        generators.settle(index, inputs)

    def _frozen(self, first: int, chance: Chance) -> Tensor:
        """The enlarged picture that scale `first` begins with in a new picture."""
        if first == 0:
            return self.generators.nothing()
        with torch.no_grad():
            last = self._through(0, first - 1, self.generators.nothing(), chance)
            return self.generators.enlarged(last, first)

    def _through(self, first: int, last: int, begun: Tensor, chance: Chance) -> Tensor:
        """The picture of scale `last` from the one that `first` begins with."""
        generators, picture = self.generators, begun
        for n in range(first, last + 1):
            coarser = picture if n == first else generators.enlarged(picture, n)
            picture = generators(n, coarser, chance.noise(1 if n == 0 else 3, self.pictures[n]))
        return picture

    def _frozen_reconstruction(self, index: int) -> Tensor:
        """The start of `index` in the reconstruction: the same as long as no scale before it is trained."""
        if self._reconstruction is None or self._reconstruction[0] != index:
            with torch.no_grad():
                self._reconstruction = index, self.generators.reconstruct(index)
        return self._reconstruction[1]

    def _first(self, index: int) -> int:
        """The coarsest scale that is trained along with `index`."""
        return max(0, index + 1 - self.generators.configuration.concurrent_stages)

    def _psi(self, index: int) -> nn.Sequential:
        return _layers(self.generators.psi, index)


def _layers(networks: nn.ModuleList, index: int) -> nn.Sequential:
    network = networks[index]
    assert isinstance(network, nn.Sequential)
    return network


def _opinion(critic: nn.Module, picture: Tensor, sign: float) -> Tensor:
    """The critic's opinion of a picture, or the contrary."""
    return sign * torch.mean(critic(picture))
