"""What moves parameters, beside PyTorch's own optimizer."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sinwave.training.optimizer import AdamW, Muon


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


SHAPES = [(3, 4), (5,), (2, 3, 3, 3)]


def parameters():
    return [nn.Parameter(random(*shape, seed=index)) for index, shape in enumerate(SHAPES)]


def give(some, step):
    """Gradients of all but one, which has its first in the third step."""
    for index, parameter in enumerate(some):
        parameter.grad = None if index == 1 and step < 2 else random(*parameter.shape, seed=10 * step + index)


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_adamw_is_that_of_pytorch(decay):
    ours, theirs = parameters(), parameters()
    mine = AdamW(ours, 0.5, betas=(0.6, 0.95), weight_decay=decay)
    other = torch.optim.AdamW(theirs, betas=(0.6, 0.95), weight_decay=decay, fused=False)
    for step in range(6):
        rate = 0.2 / (1 + step)
        other.param_groups[0]["lr"] = 0.5 * rate
        give(ours, step)
        give(theirs, step)
        mine.step(rate)
        other.step()
    assert_close(ours, theirs)


def test_without_a_gradient_nothing_moves_and_nothing_is_remembered():
    ours = parameters()
    mine = AdamW(ours, weight_decay=0.5)
    mine.step(0.1)
    assert_close(ours, parameters(), atol=0, rtol=0)
    assert mine.memories == {}


@pytest.mark.parametrize("kind", [AdamW, Muon])
def test_it_goes_on_with_what_it_remembered(kind):
    straight = [nn.Parameter(random(4, 6, seed=index)) for index in range(2)]
    first = kind(straight)
    for step in range(3):
        give(straight, step)
        first.step(0.1)
    copied = copy.deepcopy(straight)
    second = kind(copied)
    second.load(copy.deepcopy(first.memories))
    for some, optimizer in ((straight, first), (copied, second)):
        give(some, 3)
        optimizer.step(0.1)
    assert_close(straight, copied, atol=0, rtol=0)


def test_what_is_loaded_is_not_shared():
    some = parameters()
    first, second = AdamW(some), AdamW(some)
    give(some, 2)
    first.step(0.1)
    before = copy.deepcopy(first.memories)
    second.load(first.memories)
    second.step(0.1)
    assert_close(first.memories, before, atol=0, rtol=0)


def test_what_is_remembered_of_others_is_refused():
    some = parameters()
    first = AdamW(some)
    give(some, 2)
    first.step(0.1)
    with pytest.raises(RuntimeError, match="size"):
        AdamW([nn.Parameter(random(7, 7)) for _ in SHAPES]).load(first.memories)
    with pytest.raises(IndexError):
        AdamW(some[:1]).load(first.memories)
    with pytest.raises(KeyError):
        Muon(some).load(first.memories)


def test_a_training_and_an_enlargement_load_no_compiler(tmp_path):
    """Nor sympy, which torch imports for a few functions, and which takes half a second."""
    code = """
import sys, torch
from sinwave.data.batches import Constant
from sinwave.training.loop import Budget, Training, train
from sinwave.training.optimizer import muon_and_adamw
from sinwave.training.recipe import Player, Recipe, Update

class Line(Recipe):
    companions = {}
    kept = torch.nn.Linear(2, 2)
    parameters = tuple(kept.parameters())
    players = {"line": Player(parameters, muon_and_adamw(parameters, parameters[:1]), lambda step: 0.1)}
    held_out = lambda self: {"loss": 1.0}
    def updates(self, batch, generator):
        yield Update("line", self.kept(torch.ones(1, 2)).square().sum())

train(Training(Line(), Constant(None), Budget(3), 0))

from PIL import Image
from sinwave.cli import main
Image.radial_gradient("L").resize((24, 24)).save("p.png")
assert main(["upscale", "p.png", "-q"]) == 0
assert main(["train", "p.png", "--steps", "2", "--receptive-field", "9", "--width", "8", "--quiet"]) == 0
print("torch._dynamo" in sys.modules, "sympy" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert run.stdout.split()[-2:] == ["False", "False"]
