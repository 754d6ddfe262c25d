"""Engines: accelerate computes what the plain loop does, several batches make a step, and kills cost nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sinwave.data.batches import Constant, Prefetched
from sinwave.data.folder import Crops, Folder, FolderBatches
from sinwave.errors import InputError, MissingError
from sinwave.images import write
from sinwave.rng import NoiseSource
from sinwave.training import checkpoint
from sinwave.training.engine import Accelerated, Plain
from sinwave.training.loop import Budget, Training, train
from sinwave.training.optimizer import AdamW
from sinwave.training.recipe import Player, Recipe, Update

accelerate = pytest.importorskip("accelerate")


@pytest.fixture(autouse=True)
def nothing_decided():
    """Accelerate has one state a process."""
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


def player(network):
    parameters = tuple(network.parameters())
    return Player(parameters, (AdamW(parameters),), lambda step: 0.01 / (1 + step))


class Denoising(Recipe[torch.Tensor]):
    """A small network removes noise, and a critic looks at it; `dtypes` are those that were computed in."""

    def __init__(self):
        torch.manual_seed(0)
        self.network, self.critic = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 1)
        self.dtypes, self.positions = set(), []

    @property
    def kept(self):
        return self.network

    @property
    def companions(self):
        return {"critic": self.critic}

    @property
    def players(self):
        return {"critic": player(self.critic), "network": player(self.network)}

    def updates(self, batch, generator):
        noisy = batch + 0.5 * torch.randn(batch.shape, generator=generator)
        clean = self.network(noisy)
        self.dtypes.add(clean.dtype)
        judged, real = (self.critic(x.float().mean((2, 3))).mean() for x in (clean.detach(), batch))
        yield Update("critic", judged - real)
        self.positions.append(self.critic.weight.detach().clone())
        yield Update("network", (clean - batch).square().mean() - 0.1 * self.critic(clean.float().mean((2, 3))).mean())

    def held_out(self):
        return {"loss": 1 + self.network.weight.square().mean().item()}


class Numbered:
    """Batches of noise by number."""

    def at(self, step):
        return NoiseSource(5).normal((2, 3, 8, 8), step)


def trained(engine, batches=Numbered(), steps=5):  # noqa: B008 - it has no state
    training = Training(Denoising(), batches, Budget(steps), 7, look_every=2, engine=engine)
    train(training)
    return training


def everything(training):
    return json.dumps(training.state(), default=lambda value: value.tolist(), sort_keys=True)


def test_accelerated_on_a_cpu_is_the_plain_loop_to_the_bit():
    threads = torch.get_num_threads()
    assert everything(trained(Accelerated(cpu=True))) == everything(trained(Plain()))
    assert torch.get_num_threads() == threads


def test_several_batches_make_a_step_of_their_mean_gradient():
    recipe, batches = Denoising(), Numbered()
    training = Training(recipe, batches, Budget(9), 7, engine=Accelerated(cpu=True, parts=3))
    training.advance()
    positions = recipe.positions
    assert len(positions) == 3  # of one player that moved once, before any of the next losses
    assert all(torch.equal(position, positions[0]) for position in positions)
    gradients = []
    twin = Training(Denoising(), batches, Budget(9), 7, engine=Accelerated(cpu=True, parts=3))
    for part in range(3):
        update = next(iter(twin._updates(part)))
        assert update.player == "critic"
        gradients.append(torch.autograd.grad(update.loss, list(twin.recipe.critic.parameters())))
    for parameter, *parts in zip(recipe.critic.parameters(), *gradients, strict=True):
        mean = torch.stack(parts).mean(0)
        assert_close(parameter.grad, mean * min(1.0, 1.0 / total(gradients)), rtol=1e-4, atol=1e-7)


def total(gradients):
    """The norm of the mean gradient."""
    means = [torch.stack(parts).mean(0) for parts in zip(*gradients, strict=True)]
    return torch.cat([mean.flatten() for mean in means]).norm().item()


def test_each_part_of_a_step_has_a_batch_and_numbers_of_its_own():
    asked = []

    class Asked:
        def at(self, step):
            asked.append(step)
            return Numbered().at(0)

    trained(Accelerated(cpu=True, parts=2), Asked(), steps=3)
    assert asked == [0, 1, 2, 3, 4, 5]
    twin = Training(Denoising(), Constant(torch.zeros(1, 3, 4, 4)), Budget(1), 7, engine=Accelerated(cpu=True, parts=3))
    losses = {list(twin._updates(part))[1].loss.item() for part in range(3)}
    assert len(losses) == 3


def test_bfloat16_is_for_losses_and_weights_stay_as_they_are():
    training = trained(Accelerated(cpu=True, precision="bf16"))
    assert training.recipe.dtypes == {torch.bfloat16}
    assert all(parameter.dtype == torch.float32 for parameter in training.recipe.kept.parameters())
    assert_close(training.recipe.network.weight, trained(Plain()).recipe.network.weight, atol=0.02, rtol=0)


def test_bad_engines_are_refused(monkeypatch):
    with pytest.raises(InputError, match="parts is 0"):
        Accelerated(parts=0)
    Accelerated(cpu=True)
    with pytest.raises(InputError, match="precision is 'bf16' and cpu True: AcceleratorState has already"):
        Accelerated(cpu=True, precision="bf16")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingError, match=r"pip install 'sinwave\[accelerate\]'"):
        Accelerated()


# From a folder


def fill(path):
    """Pictures of noise, and some bad files."""
    path.mkdir()
    for number in range(9):
        write(path / f"{number}.png", NoiseSource(number).normal((3, 20, 24), "pixels").clamp(-1, 1))
    (path / "bad.png").write_text("hello")
    (path / "cut.png").write_bytes((path / "0.png").read_bytes()[:-20])
    return path


def begin(path, engine, steps=12, workers=2):
    batches = Prefetched(FolderBatches(Folder(path), Crops(16), 4, 0), workers)
    return batches, Training(Denoising(), batches, Budget(steps), 7, look_every=5, engine=engine)


@pytest.mark.parametrize("cut", [1, 5, 7])
def test_a_training_from_a_folder_that_was_cut_ends_the_same(cut, tmp_path):
    path, engine = fill(tmp_path / "pictures"), Accelerated(cpu=True)
    plain = Training(
        Denoising(), FolderBatches(Folder(path), Crops(16), 4, 0), Budget(12), 7, look_every=5, engine=Plain()
    )
    train(plain)
    first_batches, first = begin(path, engine)
    with first_batches:
        for _ in range(cut):
            first.advance()
        checkpoint.save(tmp_path / "resume.pt", first.state(), {})
    second_batches, second = begin(path, engine)
    with second_batches:
        second.load(checkpoint.load(tmp_path / "resume.pt", {}))
        train(second)
    assert everything(second) == everything(plain)


PROGRAM = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from test_engine import begin
from sinwave.training import checkpoint
from sinwave.training.engine import Accelerated
from sinwave.training.loop import train
folder = Path(sys.argv[2])
resume = folder / "resume.pt"
batches, training = begin(folder / "pictures", Accelerated(cpu=True), steps=60)
if resume.exists():
    training.load(checkpoint.load(resume, {}))
with batches:
    train(training, [lambda training, report: time.sleep(0.01), checkpoint.Saver(resume, {}, seconds=0.0)])
"""


@pytest.mark.slow
def test_killed_while_it_reads_a_folder_it_ends_the_same(tmp_path):
    path, resume = fill(tmp_path / "pictures"), tmp_path / "resume.pt"
    batches, straight = begin(path, Plain(), steps=60)
    with batches:
        train(straight)
    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(3):
        process, before = subprocess.Popen(command, env=environment), resume.exists() and resume.stat().st_mtime_ns
        while not resume.exists() or resume.stat().st_mtime_ns == before:
            assert process.poll() is None
            time.sleep(0.002)
        time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert 0 < checkpoint.load(resume, {})["now"]["counters"]["step"] < 60
    subprocess.run(command, env=environment, check=True)
    state = checkpoint.load(resume, {})
    assert json.dumps(state, default=lambda value: value.tolist(), sort_keys=True) == everything(straight)
