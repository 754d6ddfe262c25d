"""What a CUDA device records against the same computed step by step."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sinwave.data.batches import Constant
from sinwave.images import Picture
from sinwave.systems.singan.jobs import Job, SideBySide, way_for
from sinwave.systems.singan.options import Settings
from sinwave.systems.singan.train import begin
from sinwave.threads import threads
from sinwave.training.loop import Budget, Training
from sinwave.training.schedule import Trapezoid

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

SETTINGS = Settings(
    width=4,
    most_width=4,
    least=16,
    instance_norm_scales=1,
    iterations=4,
    critic_steps=2,
    generator_steps=2,
    penalty_every=2,
)


@pytest.fixture(autouse=True)
def exact_products(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def job(network, seed):
    """A loss of two parts, one with a second derivative, of a drawn picture."""
    picture = torch.zeros(1, 3, 8, 8, device=next(network.parameters()).device)

    def parts(drawn, chance):
        def steep():
            x = drawn.clone().requires_grad_()
            (slope,) = torch.autograd.grad(network(x).square().sum(), x, create_graph=True)
            return slope.square().mean()

        return [steep, lambda: (network(drawn) * chance.uniform()).mean()]

    return Job("network", None, seed, lambda chance: chance.noise(3, picture), parts, list(network.parameters()))


def network_on(device):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Conv2d(4, 1, 3)).to(device)


def losses_and_gradients(way, network, seeds):
    """Of some jobs, between which the weights change in place."""
    found = []
    for seed in seeds:
        ((loss, parts),) = way.sums([job(network, seed)])
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        found.append([each.clone() for each in (loss.detach(), parts, *gradients)])
        with torch.no_grad():
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter.sub_(0.1 * gradient)
    return found


def test_parts_are_those_of_the_loss():
    network = network_on("cpu")
    for loss, parts, *_ in losses_and_gradients(way_for(torch.zeros(1)), network, (1, 2)):
        assert_close(parts.sum(), loss)


@cuda
def test_a_recording_finds_what_is_found_step_by_step():
    like = torch.zeros(1, device="cuda")
    assert not isinstance(way_for(like), SideBySide)
    recorded = losses_and_gradients(way_for(like), network_on("cuda"), (1, 2, 1, 3))
    plain = losses_and_gradients(SideBySide(1, like), network_on("cuda"), (1, 2, 1, 3))
    assert_close(recorded, plain, rtol=1e-4, atol=1e-6)


@pytest.fixture
def double():
    """Adam and the critic make much of a rounding error, so there should be hardly any."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def trained(device, way=None, stop=None):
    """The weights of a small SinGAN after all its steps, in one go or in two."""
    torch.manual_seed(0)
    picture = Picture(pixels=torch.rand(3, 40, 40) * 2 - 1)

    def begun():
        recipe = begin(picture, SETTINGS, 0, torch.device(device)).recipe(SETTINGS)
        if way is not None:
            recipe._way = way
        return Training(
            recipe, Constant(None), Budget(sum(recipe.counts)), 0, schedule=Trapezoid(0, 0.0), longest_average=0.0
        )

    training = begun()
    while not training.finished:
        if training.step == stop:
            state, training = training.state(), begun()
            training.load(state)
            stop = None
        training.advance()
    return training.averages.values


@cuda
@pytest.mark.usefixtures("double")
def test_a_training_is_the_same_recorded_or_not_and_when_it_goes_on():
    whole = trained("cuda")
    assert_close(whole, trained("cuda", SideBySide(1, torch.zeros(1, device="cuda"))), rtol=1e-4, atol=1e-5)
    for stop in (1, 5):
        assert_close(whole, trained("cuda", stop=stop), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("double")
def test_a_training_is_the_same_by_one_thread_or_two():
    with threads(2):
        whole = trained("cpu", SideBySide(2, torch.zeros(1)))
    assert_close(whole, trained("cpu", SideBySide(1, torch.zeros(1))), rtol=1e-4, atol=1e-5)
    assert_close(whole, trained("cpu", stop=5), rtol=1e-4, atol=1e-5)
