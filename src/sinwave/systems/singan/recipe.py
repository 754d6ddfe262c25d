"""The training: scale by scale, a critic and a generator in turn, each with losses of its own.

    critic         E D(fake) - E D(real) + penalty E (|grad D(mixed)| - 1)^2,     mixed = u real + (1 - u) fake
    generator      - E D(fake) + fidelity |x_n - reconstruction|^2

The norm is that of the colors of a pixel. Every fake is drawn afresh, so no gradient goes through weights that an
earlier step has changed. (Gulrajani et al., "Improved training of Wasserstein GANs", 2017.) On a processor the two
parts of each loss are computed side by side, each by a thread: small pictures leave a core nothing to share.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sinwave.lanes import threads
from sinwave.resize import resize
from sinwave.rng import fold
from sinwave.systems.singan.networks import Generators
from sinwave.training.recipe import Group, Recipe, Update
from sinwave.training.shares import Shares
from sinwave.wavelets import Size

__all__ = ["Practice", "SinganRecipe", "gradient_penalty"]

_FAKES = 8
"""Pictures whose statistics a finished generator keeps."""


@dataclass(frozen=True, kw_only=True)
class Practice:
    """How a scale is trained; the defaults are those of the paper.

    iterations      of the finest scale; a scale whose sides are 1 / r of its has r^`coarser` times as many
    critic_steps    in each iteration, and then so many `generator_steps`
    rate            of Adam, and `fall` of it after the share `falls_at` of the iterations
    inner_rate      of Muon, which then moves the kernels between the first layer and the last
    older           part of the rate of a generator that is trained along with the next finer one
    penalty         weight of the critic's penalty, which has it in one of `penalty_every` iterations, so many times
    fidelity        weight of the reconstruction
    settled_after   share of the iterations after which a generator keeps its statistics, and learns to draw with them
    """

    iterations: int = 2000
    coarser: float = 0.0
    critic_steps: int = 3
    generator_steps: int = 3
    rate: float = 5e-4
    inner_rate: float | None = None
    falls_at: float = 0.8
    fall: float = 0.1
    older: float = 0.1
    penalty: float = 0.1
    penalty_every: int = 1
    fidelity: float = 10.0
    settled_after: float = 1.0

    def counts(self, sizes: Sequence[Size]) -> tuple[int, ...]:
        """Iterations of each scale."""
        finest = math.prod(sizes[-1])
        return tuple(round(self.iterations * (finest / math.prod(size)) ** (self.coarser / 2)) for size in sizes)


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
        # A graphics processor has its own ways of doing many things at once.
        self._shares = Shares(2 if pictures[0].device.type == "cpu" else 1)

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
        progress, practice = self.generators.progress, self.practice
        index, step = progress.tolist()
        # Beside the losses there are only optimizers of few weights.
        with threads(1):
            if step == 0:
                self._begin(index)
            if step == self._settled_at(index):
                self._settle(index)
            self._set_modes(index, step)
            share = practice.fall if step >= practice.falls_at * self.counts[index] else 1.0
            weight = practice.penalty * practice.penalty_every if step % practice.penalty_every == 0 else 0.0
            fakes, begun = self._drawn(index, seed)
            for fake, chance in fakes:
                loss = self._critic_loss(index, fake, chance.uniform(), weight)
                yield Update(f"critic {index + 1}", loss, share=share)
            for start, chance in begun:
                loss, logs = self._generator_loss(index, start, chance)
                yield Update(f"generator {index + 1}", loss, logs, share=share)
            done = step + 1 == self.counts[index]
            if done and step < self._settled_at(index):
                self._settle(index)
        progress.copy_(torch.tensor([index + 1, 0] if done else [index, step + 1]))

    @torch.no_grad()
    def held_out(self) -> Mapping[str, float]:
        """How far the reconstruction is from the picture, the mean square, with the scale that is trained or without.

        A wider scale begins with weights of chance, and is not to be taken for a training that diverges.
        """
        index, step = self.generators.progress.tolist()
        if 0 < step <= self._settled_at(index):
            self._settle(index)
        errors = [self._error(self.generators.reconstruct(stop)) for stop in range(index, index + 1 + (step > 0))]
        return {"loss": min(errors)}

    def _error(self, reconstruction: Tensor) -> float:
        finest = self.pictures[-1]
        whole = resize(reconstruction, (finest.shape[2], finest.shape[3]))
        return functional.mse_loss(whole, finest).item()

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

    def _settled_at(self, index: int) -> int:
        return math.ceil(self.practice.settled_after * self.counts[index])

    def _set_modes(self, index: int, step: int) -> None:
        """A scale normalizes by the statistics of each picture until it has some that it keeps."""
        for n, psi in enumerate(self.generators.psi):
            psi.train(n == index and step < self._settled_at(index))
        self.critics[index].train()

    def _drawn(self, index: int, seed: int) -> tuple[list[tuple[Tensor, _Chance]], list[tuple[Tensor, _Chance]]]:
        """Fakes for all steps of the critic, and what those of the generator begin with: neither depends on a step."""
        counts = {"critic": self.practice.critic_steps, "generator": self.practice.generator_steps}
        chances = [
            _Chance(fold(seed, p, turn), self.pictures[0]) for p, count in counts.items() for turn in range(count)
        ]
        first, fakes = self._first(index), counts["critic"]

        @torch.no_grad()
        def draw(number: int) -> Tensor:
            begun = self._frozen(first, chances[number])
            return self._through(first, index, begun, chances[number]) if number < fakes else begun

        found = self._shares.map(draw, range(len(chances)))
        pairs = list(zip(found, chances, strict=True))
        return pairs[:fakes], pairs[fakes:]

    def _critic_loss(self, index: int, fake: Tensor, share: Tensor, weight: float) -> Tensor:
        critic, real = self.critics[index], self.pictures[index]
        losses = [partial(_opinion, critic, fake, 1.0), partial(_opinion, critic, real, -1.0)]
        if weight:
            # It takes as long as the other two, which are another thread's.
            losses.insert(0, partial(gradient_penalty, critic, real, fake, share, weight=weight))
        return self._shares.sum(losses, critic.parameters())

    def _generator_loss(self, index: int, start: Tensor, chance: _Chance) -> tuple[Tensor, dict[str, Tensor]]:
        generators, real, first = self.generators, self.pictures[index], self._first(index)
        known, told = self._frozen_reconstruction(first), dict[str, Tensor]()

        def against() -> Tensor:
            return _opinion(self.critics[index], self._through(first, index, start, chance), -1.0)

        def unlike() -> Tensor:
            coarser = generators.reconstruct(index, first, known)
            again = generators(index, coarser, generators.anchor if index == 0 else None)
            missing = functional.mse_loss(again, real)
            told[f"reconstruction {index + 1}"] = missing.detach()
            return self.practice.fidelity * missing

        trained = nn.ModuleList(self._psi(n) for n in range(first, index + 1))
        return self._shares.sum([against, unlike], trained.parameters()), told

    @torch.no_grad()
    def _settle(self, index: int) -> None:
        """Give the generator of a scale statistics to keep: half those of the reconstruction, half those of fakes."""
        # A training that goes on begins with modes of its own.
        generators, chance = self.generators.eval(), _Chance(fold(0, "settle", index), self.pictures[0])
        picture = self.pictures[index]
        known = generators.anchor if index == 0 else torch.zeros_like(picture)
        shown = [(generators.reconstruct(index), known, 0.5)]
        for _ in range(_FAKES):
            begun = self._frozen(index, chance)
            shown.append((begun, chance.noise(1 if index == 0 else 3, picture), 0.5 / _FAKES))
        generators.settle(index, shown)

    def _frozen(self, first: int, chance: _Chance) -> Tensor:
        """What scale `first` begins with in a new picture."""
        if first == 0:
            return self.generators.nothing()
        with torch.no_grad():
            last = self._through(0, first - 1, self.generators.nothing(), chance)
            return resize(last, self.generators.sizes[first])

    def _through(self, first: int, last: int, begun: Tensor, chance: _Chance) -> Tensor:
        """The picture of scale `last` from what `first` begins with."""
        generators, picture = self.generators, begun
        for n in range(first, last + 1):
            coarser = picture if n == first else resize(picture, generators.sizes[n])
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

    def _psi(self, index: int) -> nn.Sequential:
        psi = self.generators.psi[index]
        assert isinstance(psi, nn.Sequential)
        return psi

    def _group(self, parameters: Sequence[nn.Parameter], factors: Sequence[float]) -> Group:
        """Adam moves all, or Muon the kernels inside."""
        rate, betas = self.practice.rate, (0.5, 0.999)
        inner = self.practice.inner_rate
        if inner is None:
            return Group(tuple(parameters), rate, factors=tuple(factors), betas=betas, clip=None)
        matrices = tuple(each for each in parameters if each.ndim == 4 and each.shape[0] == each.shape[1])
        known = {id(each) for each in matrices}
        factors = [f if id(p) in known else f * rate / inner for p, f in zip(parameters, factors, strict=True)]
        return Group(tuple(parameters), inner, matrices, tuple(factors), betas, clip=None)


@final
class _Chance:
    """The random numbers of one update, on the device of `like`."""

    def __init__(self, seed: int, like: Tensor) -> None:
        self._generator, self._like = torch.Generator().manual_seed(seed), like

    def noise(self, channels: int, picture: Tensor) -> Tensor:
        """Standard normal, as large as a picture."""
        shape = (len(picture), channels, *picture.shape[2:])
        return torch.randn(shape, generator=self._generator).to(self._like)

    def uniform(self) -> Tensor:
        """From 0 to 1, a scalar."""
        return torch.rand((), generator=self._generator).to(self._like)


def _opinion(critic: nn.Module, picture: Tensor, sign: float) -> Tensor:
    """What the critic thinks of a picture, or the contrary."""
    opinion: Tensor = critic(picture).mean()
    return sign * opinion


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, share: Tensor, *, weight: float = 1.0) -> Tensor:
    """E (|grad D(share real + (1 - share) fake)| - 1)^2 with a weight, the norm over the colors of each pixel."""
    mixed = torch.lerp(fake, real, share).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
    penalty: Tensor = (torch.linalg.vector_norm(gradient, dim=1) - 1).square().mean()
    return weight * penalty
