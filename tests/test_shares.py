"""Losses in shares against the whole batch at once, whatever the number of threads."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sinwave.threads import threads
from sinwave.training.shares import Shares


class Setup:
    """A small network, inputs, and a loss of each."""

    def __init__(self, total=10):
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GELU(), nn.Conv2d(8, 3, 1)).double()
        self.x, self.weight = torch.randn(total, 3, 6, 6).double(), torch.rand(total).double()

    def losses(self, part=slice(None)):
        return self.network(self.x[part]).square().mean((1, 2, 3))

    def gradients(self, losses):
        return torch.autograd.grad((losses * self.weight).sum(), list(self.network.parameters()))


@pytest.mark.parametrize("total", [1, 3, 4, 10])
@pytest.mark.parametrize("count", [1, 3, 4])
def test_losses_and_gradients_are_those_of_the_whole(total, count):
    setup = Setup(total)
    whole = setup.losses()
    shared = Shares(count)(setup.losses, total, setup.network.parameters())
    assert_close(shared, whole)
    assert_close(setup.gradients(shared), setup.gradients(whole))


def test_no_bit_depends_on_the_number_of_threads():
    setup, found = Setup(), []
    for count in (1, 2, 3, 4):
        with threads(count):
            shared = Shares()(setup.losses, 10, setup.network.parameters())
        found.append((shared.detach(), *setup.gradients(shared)))
    for other in found[1:]:
        assert_close(other, found[0], atol=0, rtol=0)


def test_the_gradient_reaches_the_parameters_that_are_asked_for():
    setup = Setup()
    Shares()(setup.losses, 10, setup.network.parameters()).mean().backward(inputs=list(setup.network.parameters()))
    (expected,) = torch.autograd.grad(setup.losses().mean(), [setup.network[0].weight])
    assert_close(setup.network[0].weight.grad, expected)


def test_without_gradients_there_is_no_graph():
    setup = Setup()
    with torch.no_grad():
        found = Shares()(setup.losses, 10, setup.network.parameters())
    assert_close(found, setup.losses())
    assert not found.requires_grad


def test_an_error_of_a_share_is_that_of_all():
    def broken(part):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Shares()(broken, 10, Setup().network.parameters())


def test_threads_are_as_before_even_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


def test_a_second_derivative_is_refused():
    setup = Setup()
    shared = Shares()(setup.losses, 10, setup.network.parameters())
    (first, *_) = torch.autograd.grad(shared.square().sum(), list(setup.network.parameters()), create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_different_losses_may_depend_on_different_parameters():
    setup = Setup()
    first, last = setup.network[0], setup.network[2]
    losses = [lambda: setup.losses().mean(), lambda: first.weight.square().sum(), lambda: last.bias.sum()]
    shared, parts = Shares().sum(losses, setup.network.parameters())
    whole = sum(loss() for loss in losses)
    assert_close(parts, torch.stack([loss() for loss in losses]).detach())
    assert_close(shared, whole)
    found, expected = (torch.autograd.grad(each, list(setup.network.parameters())) for each in (shared, whole))
    assert_close(found, expected)
