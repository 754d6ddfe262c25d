"""What a training must not lose when it is killed, falls back, or meets a damaged file."""

import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import final

import pytest
import torch
from torch import nn

from sinwave.data.batches import Constant
from sinwave.errors import InputError
from sinwave.training import checkpoint
from sinwave.training.averages import Averages
from sinwave.training.hooks import JsonLines, Pace
from sinwave.training.loop import Budget, Training, train
from sinwave.training.optimizer import AdamW
from sinwave.training.recipe import Player, Recipe, Update
from sinwave.training.schedule import Plateau, Trapezoid


def player(module, rate):
    parameters = tuple(module.parameters())
    return Player(parameters, (AdamW(parameters),), lambda step: rate)


@final
class Game(Recipe[None]):
    """A generator x -> a x + b learns 2 x - 1 from a critic; `looks` are the held-out losses, or the distance."""

    def __init__(self, looks=(), spoiled=()):
        torch.manual_seed(0)
        self.generator, self.critic = (
            nn.Linear(1, 1),
            nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)),
        )
        self.looks, self.spoiled, self.seeds, self.modes = iter(looks), spoiled, [], []

    @property
    def kept(self):
        return self.generator

    @property
    def companions(self):
        return {"critic": self.critic}

    @property
    def players(self):
        return {"critic": player(self.critic, 0.02), "generator": player(self.generator, 0.02)}

    def updates(self, batch, generator):
        seed = generator.initial_seed()
        self.seeds.append(seed)
        x = torch.randn(16, 1, generator=generator)
        broken = math.nan if seed in self.spoiled else 1.0
        fake = self.critic(self.generator(x).detach())
        yield Update("critic", fake.square().mean() + (self.critic(2 * x - 1) - 1).square().mean())
        yield Update("generator", (self.critic(self.generator(x)) - 1).square().mean() * broken)

    def held_out(self):
        self.modes.append(self.generator.training)
        a, b = self.generator.weight.item(), self.generator.bias.item()
        return {"loss": next(self.looks, 0.5 + (a - 2) ** 2 + (b + 1) ** 2)}


def begin(spoiled=(), looks=(), steps=40, most=100_000, **settings):
    settings = {"schedule": Trapezoid(warm_up=5), "look_every": 10, **settings}
    return Training(Game(looks, spoiled), Constant(None), Budget(steps, most), 3, **settings)


def everything(training):
    return json.dumps(training.state(), default=lambda value: value.tolist(), sort_keys=True)


def lines(path):
    """A log without its times; NaN is no JSON."""

    def refuse(word):
        raise AssertionError(word)

    found = [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in found]


def log(training, path, every=1):
    return JsonLines(path, training.step, every, halvings=training.halvings)


def the_seed_of(advance):
    training = begin()
    train(training)
    return training.recipe.seeds[advance]


def settings(kind):
    """A plain training, one that falls back, and one that finds its plateau."""
    if kind == "fall back":
        return {"spoiled": (the_seed_of(8),), "steps": 14, "look_every": 3}
    plateau = {"steps": None, "most": 60, "plateau": Plateau(least=9.0, looks=3)}
    return {"look_every": 3, **(plateau if kind == "plateau" else {"steps": 14})}


@pytest.mark.parametrize("kind", ["plain", "fall back", "plateau"])
def test_killed_after_any_step_it_ends_the_same(kind, tmp_path):
    chosen, straight_log, file = settings(kind), tmp_path / "straight.jsonl", tmp_path / "log.jsonl"
    straight = begin(**chosen)
    train(straight, [log(straight, straight_log)])
    assert straight.halvings == (kind == "fall back")
    assert straight.stop == {"plateau": 15}.get(kind, 14)
    for kept in range(18):
        first, state = begin(**chosen), None
        record = log(first, file)
        for done in range(kept + 4):  # what was done after it was saved is lost
            state = first.state() if done == kept else state
            if not first.finished:
                record(first, first.advance())
        second = begin(**chosen)
        second.load(state)
        train(second, [log(second, file)])
        assert everything(second) == everything(straight)
        assert lines(file) == lines(straight_log)


def test_falling_back_restores_the_critic_and_its_buffers():
    training = begin(spoiled=(the_seed_of(0),))
    critic = training.recipe.critic
    before = {name: value.clone() for name, value in critic.state_dict().items()}
    assert training.advance().event.startswith("diverged at step 1: back to step 0")
    for name, value in critic.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_player_gets_no_gradient_from_the_loss_of_another():
    training = begin()
    training.advance()
    recipe = training.recipe
    found = [parameter.grad.clone() for parameter in recipe.critic.parameters()]
    # The critic's gradient is still that of its own loss, clipped: the generator's loss came afterwards.
    twin = begin().recipe
    next(twin.updates(None, torch.Generator().manual_seed(recipe.seeds[-1]))).loss.backward()
    nn.utils.clip_grad_norm_(twin.critic.parameters(), 1.0)
    for gradient, parameter in zip(found, twin.critic.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def test_parameters_that_no_state_would_hold_are_refused():
    @final
    class Careless(Recipe[None]):
        companions = MappingProxyType({})
        kept = nn.Linear(1, 1)
        stranger = nn.Linear(1, 1)

        @property
        def players(self):
            return {"stranger": player(self.stranger, 0.1)}

        def updates(self, batch, generator):
            yield Update("strangr", self.stranger.weight.sum())

        def held_out(self):
            return {"loss": 1.0}

    with pytest.raises(InputError, match="'stranger' has parameters that are frozen, or neither in what is kept"):
        Training(Careless(), Constant(None), Budget(1), 0)
    Careless.kept = nn.ModuleList([Careless.stranger])
    with pytest.raises(InputError, match="a loss of 'strangr': the players are stranger"):
        Training(Careless(), Constant(None), Budget(1), 0).advance()


@pytest.mark.parametrize(
    ("looks", "back"),
    [
        ([-1.0, -1.1, -1.2, -1.15], False),  # a likelihood may be negative
        ([1.0, 1e-8, 5e-8, 1e-8], False),  # nothing was lost that matters
        ([1.0, 0.5, 1.4, 0.5], False),
        ([1.0, 0.5, 1.6, 0.5], True),
        ([-1.0, -1.2, 9.0, -1.2], True),
        ([1.0, 0.5, math.nan, 0.5], True),
        ([1.0, 0.5, math.inf, 0.5], True),
    ],
)
def test_only_a_loss_far_above_the_best_is_divergence(looks, back):
    training, events = begin(looks=[*looks, looks[-1]], steps=40), []
    train(training, [lambda training, report: events.append(report.event)])
    expected = ["diverged at step 30: back to step 20, with the learning rate halved"] if back else []
    assert [event for event in events if event] == expected


def test_an_end_that_was_said_stays_said_after_falling_back():
    training = begin(looks=[1.0, 9.0, *[1.0] * 9], steps=None)
    while training.step < 13:
        training.advance()
    training.end_at(40)
    while not training.halvings:
        training.advance()
    assert (training.step, training.stop) == (10, 40)


@pytest.mark.parametrize("most", [7, 27, 80])
def test_the_longest_training_has_its_whole_tail_wherever_it_looks(most):
    training, found = begin(steps=None, most=most, schedule=Trapezoid(0, 0.4), plateau=Plateau(looks=1000)), []
    train(training, [lambda training, report: found.append(report.rate / 0.02)])
    expected = [Trapezoid(0, 0.4)(step, most) for step in range(most)]
    assert found == pytest.approx(expected)
    assert found[-1] < 0.5


def test_a_short_training_reaches_the_largest_rate():
    for stop in (1, 2, 5, 20, 83, 1000):
        values = [Trapezoid()(step, stop) for step in range(stop)]
        assert max(values) == 1
        assert min(values) > 0
    with pytest.raises(InputError, match=r"tail=1\.0.*less than 1"):
        Trapezoid(tail=1.0)


def test_a_look_is_in_evaluation_mode_and_leaves_each_part_as_it_was():
    training = begin(steps=3)
    training.recipe.generator.train()
    train(training)
    assert training.recipe.modes == [False]
    assert training.recipe.generator.training


def test_averages_are_precise_and_copy_buffers():
    module = nn.Sequential(nn.Linear(1, 1).bfloat16(), nn.BatchNorm1d(1), nn.Linear(1, 1).double())
    averages, raw = Averages(module), module[2].weight.detach().clone()
    with torch.no_grad():
        module[0].weight.fill_(1.0)
        module[1].running_mean.fill_(5.0)
        module[1].num_batches_tracked.fill_(7)
    before = averages.values["0.weight"].item()
    averages.update(100_000)
    # bfloat16 would have no number between.
    assert averages.values["0.weight"].item() == pytest.approx(before + 0.001 * (1 - before), abs=1e-6)
    assert (averages.values["1.running_mean"].item(), averages.values["1.num_batches_tracked"].item()) == (5, 7)
    assert averages.values["2.weight"].dtype == torch.float64
    assert torch.equal(averages.values["2.weight"], raw)


def test_a_damaged_checkpoint_is_refused_or_harmless(tmp_path):
    """Any cut, any flipped bits: an `InputError` in one sentence, or the state that was saved."""
    training, file, chance = begin(), tmp_path / "resume.pt", random.Random(0)
    training.advance()
    checkpoint.save(file, training.state(), {"width": 64})
    whole, refused = file.read_bytes(), 0
    for index in range(150):
        data = bytearray(whole[: chance.randrange(len(whole))] if index % 2 else whole)
        for _ in range(0 if index % 2 else 3):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(data)
        try:
            found = checkpoint.load(file, {"width": 64})
        except InputError as error:
            assert str(error).startswith(str(file)) and "\n" not in str(error)
            refused += 1
        else:
            assert json.dumps(found, default=lambda value: value.tolist(), sort_keys=True) == everything(training)
    assert refused > 100


@pytest.mark.parametrize(("schema", "age"), [(1, "an older"), (2, "an older"), (99, "a newer")])
def test_a_state_of_another_schema_is_refused(schema, age, monkeypatch, tmp_path):
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "_SCHEMA", schema)
        checkpoint.save(tmp_path / "state.pt", {}, {})
    with pytest.raises(InputError, match=f"by {age} sinwave; --overwrite begins anew"):
        checkpoint.load(tmp_path / "state.pt", {})


def test_a_state_of_other_shapes_is_refused_in_a_sentence():
    state = begin().state()
    state["now"]["weights"]["weight"] = torch.zeros(3, 1)
    with pytest.raises(InputError, match="the state is of another training"):
        begin().load(state)


@final
class Taught(Recipe[None]):
    """An adapter inside of a frozen network learns from a frozen teacher of 64 MB beside it."""

    companions = MappingProxyType({})

    def __init__(self):
        torch.manual_seed(0)
        self.base = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8)).requires_grad_(False)
        self.adapter = nn.Sequential(nn.Linear(8, 2048), nn.BatchNorm1d(2048))
        self.teacher = nn.Sequential(nn.Linear(4, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 2048))
        self.teacher.requires_grad_(False)

    @property
    def kept(self):
        return nn.ModuleDict({"base": self.base, "adapter": self.adapter})

    @property
    def players(self):
        return {"adapter": player(self.adapter, 0.01)}

    def updates(self, batch, generator):
        x = torch.randn(8, 4, generator=generator)
        yield Update("adapter", (self.adapter(self.base(x)) - self.teacher(x)).square().mean())

    def held_out(self):
        return {"loss": 1.0}


def taught(steps=8, **settings):
    return Training(Taught(), Constant(None), Budget(steps), 3, look_every=4, **settings)


def test_the_state_of_a_training_with_frozen_networks_holds_what_moves_once(tmp_path):
    straight, sizes = taught(), {}
    moving = 4 * (8 * 2048 + 3 * 2048)  # bytes of weights, and of either moment of AdamW
    while not straight.finished:
        straight.advance()
        checkpoint.save(tmp_path / f"{straight.step}.pt", straight.state(), {})
        sizes[straight.step] = (tmp_path / f"{straight.step}.pt").stat().st_size
    names = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    state = straight.state()["now"]
    for values in (state["weights"], state["averages"]):
        assert {name.rpartition(".")[2] for name in values} == names
        assert all(name.startswith("adapter.") for name in values)
    overhead = 4 * 2 * 2048 + 24_000  # two buffers; names and offsets of 40 tensors
    assert sizes[4] < 4 * moving + overhead  # weights, averages, two moments; all as in the last good look
    assert sizes[6] < 2 * (4 * moving + overhead)
    for cut in range(1, 8):
        second = taught()
        second.load(checkpoint.load(tmp_path / f"{cut}.pt", {}))
        assert second.step == cut
        train(second)
        assert everything(second) == everything(straight)


def test_equal_tensors_are_written_once_whoever_holds_them(tmp_path):
    numbers = torch.arange(250_000.0)
    same = {"a": numbers, "b": [numbers.clone(), {"c": numbers.clone()}], "nan": torch.full((3,), math.nan)}
    checkpoint.save(tmp_path / "same.pt", same, {})
    assert (tmp_path / "same.pt").stat().st_size < 1.01e6
    loaded = checkpoint.load(tmp_path / "same.pt", {})
    assert all(torch.equal(value, numbers) for value in (loaded["a"], loaded["b"][0], loaded["b"][1]["c"]))
    # Equal numbers of another type or shape, and -0, are other tensors.
    zero = torch.zeros(4)
    others = {"zero": zero, "minus": -zero, "int": zero.int(), "square": zero.reshape(2, 2), "flag": torch.tensor(0.0)}
    checkpoint.save(tmp_path / "others.pt", others, {})
    for name, value in checkpoint.load(tmp_path / "others.pt", {}).items():
        assert (value.dtype, value.shape) == (others[name].dtype, others[name].shape)
        assert torch.equal(value.double().reciprocal(), others[name].double().reciprocal())


def test_a_player_that_is_frozen_is_refused():
    recipe = Taught()
    recipe.kept.requires_grad_(False)
    with pytest.raises(InputError, match="the player 'adapter' has parameters that are frozen, or neither"):
        Training(recipe, Constant(None), Budget(1), 0)


def test_a_player_has_a_rate_for_each_step():
    recipe, rates = Game(), []
    parameters = tuple(recipe.generator.parameters())
    falling = {
        "critic": player(recipe.critic, 0.0),
        "generator": Player(parameters, (AdamW(parameters),), lambda step: 1 / (1 + step)),
    }
    Game.players, before = property(lambda self: falling), Game.players
    try:
        training = Training(recipe, Constant(None), Budget(4), 3, schedule=Trapezoid(0, 0.0))
    finally:
        Game.players = before
    train(training, [lambda training, report: rates.append(report.rate)])
    assert rates == [1, 1 / 2, 1 / 3, 1 / 4]


def test_a_pace_is_never_negative():
    pace = Pace(window=0.0)
    found = [pace.steps_a_second(step) for step in (500, 501, 502, 400, 401, 402)]
    assert min(found) >= 0
    assert found[-1] > 0


MORTAL = """
import json, os, random, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from test_training_resume import begin, everything, lines, log
from sinwave.training import checkpoint
from sinwave.training.loop import train
folder, settings, chance = Path(sys.argv[2]), {"steps": 300, "spoiled": (int(sys.argv[3]),)}, random.Random(0)
file = folder / "resume.pt"

def live():
    training = begin(**settings)
    if file.exists():
        training.load(checkpoint.load(file, {}))
    train(training, [log(training, folder / "log.jsonl", 5), checkpoint.Saver(file, {}, 0.0, 5)])
    os._exit(0)

def mark():
    return file.stat().st_mtime_ns if file.exists() else 0

def watch(child, soon):
    # Until a moment has passed, soon or since it saved, or until it has ended; the file can be read all the while.
    before, end = mark(), time.monotonic() + chance.uniform(0, 0.03) if soon else None
    while end is None or time.monotonic() < end:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        if end is None and mark() != before:
            end = time.monotonic() + chance.uniform(0, 0.04)
        if mark():
            checkpoint.load(file, {})

begin(**settings).advance()  # which imports much
kills, status = 0, 1
while status:
    child = os.fork() or live()
    if kills < 24:
        watch(child, kills % 2)
        os.kill(child, 9)
    status = os.waitpid(child, 0)[1]
    assert status in (0, 9), status
    kills += status == 9
print(json.dumps([kills, checkpoint.load(file, {})], default=lambda value: value.tolist(), sort_keys=True))
"""


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="kills forks and looks after them")
def test_killed_at_random_moments_it_ends_the_same(tmp_path):
    spoiled = (the_seed_of(23),)
    straight = begin(steps=300, spoiled=spoiled)
    train(straight, [log(straight, tmp_path / "straight.jsonl", 5)])
    tests, places = str(Path(__file__).parent), {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", MORTAL, tests, str(tmp_path), str(spoiled[0])],
        env=os.environ | places,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kills, found = json.loads(done.stdout)
    assert kills > 3, kills
    assert json.dumps(found, sort_keys=True) == everything(straight)
    assert lines(tmp_path / "log.jsonl") == lines(tmp_path / "straight.jsonl")


@pytest.mark.parametrize(("pace", "most"), [(0.3, 15.0), (7.0, 31.0), (40.0, 40.0)])
def test_a_kill_costs_half_a_minute_or_a_step_at_the_most(pace, most, monkeypatch, tmp_path):
    now, training = 0.0, begin(steps=200)
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)
    saved, ages = [0.0], []
    monkeypatch.setattr(checkpoint, "save", lambda *content: saved.append(now))
    saver = checkpoint.Saver(tmp_path / "state.pt", {}, every=10)
    while not training.finished:
        now += pace
        ages.append(now - saved[-1])  # what a kill just before this step's save would cost
        saver(training, training.advance())
    assert max(ages) <= most
    assert len(saved) - 2 <= now / 12  # and yet it does not write all the time
