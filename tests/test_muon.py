"""Muon against singular value decompositions, the optimizer of PyTorch, and what it is for."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sinwave.data.batches import Constant
from sinwave.errors import InputError
from sinwave.threads import threads
from sinwave.training.loop import Budget, Training, train
from sinwave.training.optimizer import Muon, muon_and_adamw, orthogonal
from sinwave.training.recipe import Player, Recipe, Update


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(16, 16), (12, 40), (40, 12)])
def test_directions_stay_and_become_equally_long(shape):
    matrices = random(3, *shape)
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    inside = u.mT @ orthogonal(matrices) @ v.mT
    lengths = inside.diagonal(dim1=1, dim2=2)
    assert_close(inside, torch.diag_embed(lengths), atol=2e-4, rtol=0)
    # A square random matrix has directions that are nearly 0, and these are brought up by 3.4 to the fifth alone.
    some = lengths if shape[0] != shape[1] else lengths[:, : shape[0] // 2]
    assert ((some > 0.65) & (some < 1.2)).all()


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_the_size_of_a_gradient_does_not_matter(scale):
    matrices = random(2, 8, 24)
    assert_close(orthogonal(scale * matrices), orthogonal(matrices))


def test_a_gradient_of_zero_moves_nothing():
    assert (orthogonal(torch.zeros(1, 4, 6)) == 0).all()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="PyTorch has had it since 2.9")
def test_as_the_optimizer_of_pytorch():
    ours, theirs = (nn.Parameter(random(24, 40)) for _ in range(2))
    start = ours.detach().clone()
    mine = Muon([ours], weight_decay=0.2)
    other = torch.optim.Muon([theirs], 0.1, 0.2, 0.9, adjust_lr_fn="match_rms_adamw")
    for index in range(4):
        ours.grad, theirs.grad = random(24, 40, seed=index), random(24, 40, seed=index)
        mine.step(0.1)
        other.step()
    # Theirs turns matrices in bfloat16.
    moved, expected = ours - start, theirs - start
    assert (moved - expected).norm() < 0.02 * expected.norm()


def test_a_kernel_is_a_matrix_with_a_row_for_each_channel():
    kernel, matrix = nn.Parameter(random(6, 4, 3, 3)), nn.Parameter(random(6, 4, 3, 3).flatten(1))
    kernel.grad, matrix.grad = random(6, 4, 3, 3, seed=1), random(6, 4, 3, 3, seed=1).flatten(1)
    for parameter in (kernel, matrix):
        Muon([parameter]).step(0.1)
    assert_close(kernel.detach().flatten(1), matrix.detach(), atol=0, rtol=0)


def test_parameters_of_a_shape_are_moved_as_if_alone():
    together = [nn.Parameter(random(5, 9, seed=index)) for index in range(3)]
    alone = copy.deepcopy(together)
    for index, parameter in enumerate([*together, *alone]):
        parameter.grad = random(5, 9, seed=10 + index % 3)
    Muon(together).step(0.1)
    for parameter in alone:
        Muon([parameter]).step(0.1)
    assert_close(together, alone)


def test_an_entry_moves_by_a_fifth_of_the_rate():
    parameter = nn.Parameter(torch.zeros(30, 50))
    parameter.grad = random(30, 50)
    Muon([parameter]).step(0.5)
    assert 0.68 < parameter.detach().square().mean().sqrt() / 0.1 < 1.13


class Stretched(Recipe[None]):
    """A linear map to be found from inputs of very different length."""

    companions = {}  # noqa: RUF012

    def __init__(self, matrices):
        self._map = nn.Linear(16, 16, bias=False)
        nn.init.zeros_(self._map.weight)
        self._matrices = matrices
        mixed, _ = torch.linalg.qr(random(16, 16, seed=1))
        self._inputs = random(256, 16) * torch.logspace(0, -2, 16) @ mixed
        self._outputs = self._inputs @ random(16, 16, seed=2)

    @property
    def kept(self):
        return self._map

    @property
    def players(self):
        parameters = tuple(self._map.parameters())
        optimizers = muon_and_adamw(parameters, parameters if self._matrices else ())
        return {"map": Player(parameters, optimizers, lambda step: 0.2)}

    def updates(self, batch, generator):
        yield Update("map", (self._map(self._inputs) - self._outputs).square().mean())

    def held_out(self):
        return {"loss": (self._map(self._inputs) - self._outputs).square().mean().item()}


def test_small_directions_are_learned_sooner_than_by_adam():
    losses = []
    for matrices in (False, True):
        recipe = Stretched(matrices)
        train(Training(recipe, Constant(None), Budget(200), 0))
        losses.append(recipe.held_out()["loss"])
    assert losses[1] < 0.01 * losses[0]


def test_a_training_goes_on_with_the_momentum_that_it_had():
    whole, first, second = (Training(Stretched(True), Constant(None), Budget(12), 0) for _ in range(3))
    train(whole)
    for _ in range(7):
        first.advance()
    second.load(copy.deepcopy(first.state()))
    train(second)
    assert_close(second.recipe.kept.weight, whole.recipe.kept.weight, atol=0, rtol=0)


def test_a_matrix_that_no_gradient_is_asked_for_is_refused():
    class Stray(Stretched):
        @property
        def players(self):
            stranger = nn.Parameter(torch.zeros(2, 2))
            return {"map": Player(tuple(self._map.parameters()), (Muon([stranger]),), lambda step: 0.1)}

    with pytest.raises(InputError, match="the optimizers of the player 'map' move other parameters than it has"):
        Training(Stray(True), Constant(None), Budget(1), 0)


def test_large_matrices_are_turned_side_by_side_to_the_same_bits():
    def moved(together: bool, count: int) -> list[torch.Tensor]:
        matrices = [nn.Parameter(random(200, 1200, seed=number)) for number in range(5)]
        for number, matrix in enumerate(matrices):
            matrix.grad = random(200, 1200, seed=9 + number)
        groups = [matrices] if together else [[matrix] for matrix in matrices]
        with threads(count):
            for group in groups:
                Muon(group, weight_decay=0.1).step(0.02)
        return [matrix.detach() for matrix in matrices]

    alone = moved(together=False, count=1)
    for count in (1, 2):
        for here, there in zip(moved(together=True, count=count), alone, strict=True):
            assert torch.equal(here, there)
