"""The training: scale by scale, a critic and a generator in turn, each with losses of its own.

    critic         E D(fake) - E D(real) + penalty E (|grad D(mixed)| - 1)^2,     mixed = u real + (1 - u) fake
    generator      - E D(fake) + fidelity |x_n - reconstruction|^2

The norm is that of the colors of a pixel. Every fake is drawn afresh, so no gradient goes through weights that an
earlier step has changed. (Gulrajani et al., "Improved training of Wasserstein GANs", 2017.)
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
from sinwave.systems.singan.networks import Generators
from sinwave.systems.singan.practice import Practice
from sinwave.systems.singan.slope import slope
from sinwave.threads import threads
from sinwave.training.recipe import Group, Recipe, Update

__all__ = ["SinganRecipe", "gradient_penalty"]

_FAKES = 8
"""Pictures whose statistics a finished generator keeps."""


@final
class SinganRecipe(Recipe):
    """The training of all scales, one after another."""

    def __init__(
        self, practice: Practice, generators: Generators, critics: nn.ModuleList, pictures: Sequence[Tensor]
    ) -> None:
        """`pictures` (1, 3, h, w) of the scales, coarsest first, on the device of the networks."""
        self.practice, self.generators, self.critics, self.pictures = practice, generators, critics, pictures
        self.counts = practice.counts(generators.sizes)
        self._known: tuple[int, Tensor] | None = None
        self._way = way_for(pictures[0])

    @property
    def module(self) -> nn.Module:
        """The generators."""
        return self.generators

    @property
    def companions(self) -> Mapping[str, nn.Module]:
        """The critics."""
        return {"critics": self.critics}

    def groups(self) -> Mapping[str, Group]:
        """Two for each scale."""
        found = {}
        for index in range(len(self.pictures)):
            some = range(self._first(index), index + 1)
            pairs = [(p, self.practice.older ** (index - n)) for n in some for p in self._psi(n).parameters()]
            judge = list(self.critics[index].parameters())
            found[f"critic {index + 1}"] = self._group(judge, [1.0] * len(judge))
            found[f"generator {index + 1}"] = self._group([p for p, _ in pairs], [factor for _, factor in pairs])
        return found

    def updates(self, seed: int) -> Iterator[Update]:
        """Those of the critic, and those of the generator, of the scale whose turn it is."""
        progress = self.generators.progress
        index, step = progress.tolist()
        # Beside the losses there are only optimizers of few weights.
        with threads(1):
            if step == 0:
                self._begin(index)
            self._set_modes(index)
            if index == 0:
                self._draw_anchor(seed)
            share = self.practice.fall if step >= self.practice.falls_at * self.counts[index] else 1.0
            jobs = self._jobs(index, step, seed)
            for job, (loss, parts) in zip(jobs, self._way.sums(jobs), strict=True):
                yield Update(job.group, loss, self._logs(job, parts.detach()), share)
            done = step + 1 == self.counts[index]
            if done:
                self._settle(index)
        progress.copy_(torch.tensor([index + 1, 0] if done else [index, step + 1]))

    @torch.no_grad()
    def held_out(self) -> Mapping[str, float]:
        """How far the reconstruction is from the picture, the mean square, with the scale that is trained or without.

        A wider scale begins with weights of chance, and is not to be taken for a training that diverges.
        """
        index, step = self.generators.progress.tolist()
        if step > 0:
            self._settle(index)
        errors = [self._error(self.generators.reconstruct(stop)) for stop in range(index, index + 1 + (step > 0))]
        return {"loss": min(errors)}

    def _error(self, reconstruction: Tensor) -> float:
        finest = self.pictures[-1]
        whole = resize(reconstruction, (finest.shape[2], finest.shape[3]))
        return functional.mse_loss(whole, finest).item()

    def _begin(self, index: int) -> None:
        """Take over the weights of the scale before, if they fit, and measure the amplitude of the noise."""
        self._way.forget()
        if index and self._psi(index)[0].weight.shape == self._psi(index - 1)[0].weight.shape:
            self._psi(index).load_state_dict(self._psi(index - 1).state_dict())
            self.critics[index].load_state_dict(self.critics[index - 1].state_dict())
        if index:
            self.generators.eval()
            with torch.no_grad():
                missing = functional.mse_loss(self.generators.reconstruct(index), self.pictures[index]).sqrt()
            self.generators.amplitude[index] = self.generators.configuration.amplitude * missing

    def _set_modes(self, index: int) -> None:
        """A scale normalizes by the statistics of each picture until it is finished."""
        for n, psi in enumerate(self.generators.psi):
            psi.train(n == index)
        self.critics[index].train()

    def _draw_anchor(self, seed: int) -> None:
        """The coarsest scale is to give the picture from any noise, and the last that it has had is kept.

        So it draws what all noise has in common, a vague picture, and the next one learns how far that may be varied.
        """
        picture = self.pictures[0]
        self.generators.anchor.copy_(Chance(fold(seed, "anchor"), picture).noise(1, picture))

    def _jobs(self, index: int, step: int, seed: int) -> list[Job]:
        """Those of the critic, then those of the generator."""
        practice, first = self.practice, self._first(index)
        weight = practice.penalty * practice.penalty_every if step % practice.penalty_every == 0 else 0.0
        critic = list(self.critics[index].parameters())
        trained = [p for n in range(first, index + 1) for p in self._psi(n).parameters()]

        def fake(chance: Chance) -> Tensor:
            return self._through(first, index, self._frozen(first, chance), chance)

        def begun(chance: Chance) -> Tensor:
            return self._frozen(first, chance)

        def judged(picture: Tensor, chance: Chance) -> Sequence[Callable[[], Tensor]]:
            return self._critic_parts(index, picture, chance.uniform(), weight)

        def made(picture: Tensor, chance: Chance) -> Sequence[Callable[[], Tensor]]:
            return self._generator_parts(index, picture, chance)

        def jobs(player: str, count: int, kind: Hashable, draw: Draw, parts: Parts, moved: Parameters) -> list[Job]:
            group = f"{player} {index + 1}"
            return [Job(group, kind, fold(seed, player, turn), draw, parts, moved) for turn in range(count)]

        return [
            *jobs("critic", practice.critic_steps, weight, fake, judged, critic),
            *jobs("generator", practice.generator_steps, None, begun, made, trained),
        ]

    def _logs(self, job: Job, parts: Tensor) -> dict[str, Tensor]:
        """The mean square of what the reconstruction lacks."""
        player, number = job.group.split()
        return {f"reconstruction {number}": parts[1] / self.practice.fidelity} if player == "generator" else {}

    def _critic_parts(self, index: int, fake: Tensor, share: Tensor, weight: float) -> Sequence[Callable[[], Tensor]]:
        critic, real = self._critic(index), self.pictures[index]
        parts = [partial(_opinion, critic, fake, 1.0), partial(_opinion, critic, real, -1.0)]
        if weight:
            # It takes longer than the other two together, which are another thread's.
            parts.insert(0, partial(gradient_penalty, critic, real, fake, share, weight=weight))
        return parts

    def _generator_parts(self, index: int, begun: Tensor, chance: Chance) -> Sequence[Callable[[], Tensor]]:
        generators, first = self.generators, self._first(index)
        known = self._frozen_reconstruction(first)

        def against() -> Tensor:
            return _opinion(self.critics[index], self._through(first, index, begun, chance), -1.0)

        def unlike() -> Tensor:
            coarser = generators.reconstruct(index, first, known)
            again = generators(index, coarser, generators.anchor if index == 0 else None)
            return self.practice.fidelity * functional.mse_loss(again, self.pictures[index])

        return [against, unlike]

    @torch.no_grad()
    def _settle(self, index: int) -> None:
        """Give the generator of a scale statistics to keep: half those of the reconstruction, half those of fakes."""
        # A training that goes on begins with modes of its own.
        generators, chance = self.generators.eval(), Chance(fold(0, "settle", index), self.pictures[0])
        picture = self.pictures[index]
        known = generators.anchor if index == 0 else torch.zeros_like(picture)
        shown = [(generators.reconstruct(index), known, 0.5)]
        for _ in range(_FAKES):
            begun = self._frozen(index, chance)
            shown.append((begun, chance.noise(1 if index == 0 else 3, picture), 0.5 / _FAKES))
        generators.settle(index, shown)

    def _frozen(self, first: int, chance: Chance) -> Tensor:
        """What scale `first` begins with in a new picture."""
        if first == 0:
            return self.generators.nothing()
        with torch.no_grad():
            last = self._through(0, first - 1, self.generators.nothing(), chance)
            return self.generators.enlarged(last, first)

    def _through(self, first: int, last: int, begun: Tensor, chance: Chance) -> Tensor:
        """The picture of scale `last` from what `first` begins with."""
        generators, picture = self.generators, begun
        for n in range(first, last + 1):
            coarser = picture if n == first else generators.enlarged(picture, n)
            picture = generators(n, coarser, chance.noise(1 if n == 0 else 3, self.pictures[n]))
        return picture

    def _frozen_reconstruction(self, index: int) -> Tensor:
        """What `index` begins with in the reconstruction: the same as long as no scale before it is trained."""
        if self._known is None or self._known[0] != index:
            with torch.no_grad():
                self._known = index, self.generators.reconstruct(index)
        return self._known[1]

    def _first(self, index: int) -> int:
        """The coarsest scale that is trained along with `index`."""
        return max(0, index + 1 - self.generators.configuration.together)

    def _critic(self, index: int) -> nn.Sequential:
        critic = self.critics[index]
        assert isinstance(critic, nn.Sequential)
        return critic

    def _psi(self, index: int) -> nn.Sequential:
        psi = self.generators.psi[index]
        assert isinstance(psi, nn.Sequential)
        return psi

    def _group(self, parameters: Sequence[nn.Parameter], factors: Sequence[float]) -> Group:
        return Group(tuple(parameters), self.practice.rate, factors=tuple(factors), betas=(0.5, 0.999), clip=None)


def _opinion(critic: nn.Module, picture: Tensor, sign: float) -> Tensor:
    """What the critic thinks of a picture, or the contrary."""
    opinion: Tensor = critic(picture).mean()
    return sign * opinion


def gradient_penalty(
    critic: nn.Sequential, real: Tensor, fake: Tensor, share: Tensor, *, weight: float = 1.0
) -> Tensor:
    """E (|grad D(share real + (1 - share) fake)| - 1)^2 with a weight, the norm over the colors of each pixel."""
    gradient = slope(critic, torch.lerp(fake, real, share))
    penalty: Tensor = (torch.linalg.vector_norm(gradient, dim=1) - 1).square().mean()
    return weight * penalty
