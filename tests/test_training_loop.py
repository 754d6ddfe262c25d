"""The loop against loops written out, and a training that is interrupted anywhere against one that is not."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import MappingProxyType
from typing import final

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sinwave.data.batches import Constant
from sinwave.errors import InputError, TrainingError
from sinwave.training import checkpoint
from sinwave.training.averages import Averages
from sinwave.training.hooks import JsonLines
from sinwave.training.loop import Budget, Training, train
from sinwave.training.optimizer import AdamW
from sinwave.training.recipe import Player, Recipe, Update
from sinwave.training.schedule import Plateau, Trapezoid


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def player(module, rate):
    parameters = tuple(module.parameters())
    return Player(parameters, (AdamW(parameters),), lambda step: rate)


@final
class Line(Recipe[None]):
    """Least squares for y = 2 x - 1, with noise; `spoil(step, rate seed)` may break a loss."""

    companions = MappingProxyType({})

    def __init__(self, spoil=lambda seed: False, rate=0.05):
        torch.manual_seed(0)
        self._line, self._spoil, self._rate = nn.Linear(1, 1), spoil, rate
        self.seeds = []

    @property
    def kept(self):
        return self._line

    @property
    def players(self):
        return {"line": player(self._line, self._rate)}

    def updates(self, batch, generator):
        seed = generator.initial_seed()
        self.seeds.append(seed)
        x = torch.randn(32, 1, generator=generator)
        loss = (self._line(x) - 2 * x + 1).square().mean()
        yield Update("line", loss * math.nan if self._spoil(seed) else loss, {"double": 2 * loss.detach()})

    def held_out(self):
        x = torch.linspace(-1, 1, 9)[:, None]
        with torch.no_grad():
            return {"loss": 0.1 + (self._line(x) - 2 * x + 1).square().mean().item()}


@final
class Players(Recipe[None]):
    """The second player sees what the first has just done."""

    companions = MappingProxyType({})

    def __init__(self):
        torch.manual_seed(0)
        self._module = nn.ModuleDict({"first": nn.Linear(1, 1), "second": nn.Linear(1, 1)})
        self.seen = []

    @property
    def kept(self):
        return self._module

    @property
    def players(self):
        return {name: player(part, 0.1) for name, part in self._module.items()}

    def updates(self, batch, generator):
        before = self._module["first"].weight.item()
        yield Update("first", self._module["first"](torch.ones(1, 1)).square().sum())
        self.seen.append((before, self._module["first"].weight.item()))
        yield Update("second", self._module["second"](torch.ones(1, 1)).square().sum())

    def held_out(self):
        return {"loss": 1.0}


def everything(training):
    return json.dumps(training.state(), default=lambda value: value.tolist(), sort_keys=True)


def run(steps=60, **settings):
    training = Training(
        Line(), Constant(None), Budget(steps), 7, look_every=10, schedule=Trapezoid(warm_up=5), **settings
    )
    train(training)
    return training


def test_it_is_adamw_with_the_schedule():
    training = run(40)
    recipe, schedule = Line(), Trapezoid(warm_up=5)
    seeds = training.recipe.seeds
    optimizer = torch.optim.AdamW(recipe.kept.parameters(), lr=1.0, betas=(0.9, 0.99), weight_decay=0.0)
    for step, seed in enumerate(seeds):
        (update,) = recipe.updates(None, seeded(seed))
        optimizer.zero_grad()
        update.loss.backward()
        nn.utils.clip_grad_norm_(recipe.kept.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = 0.05 * schedule(step, 40)
        optimizer.step()
    assert len(set(seeds)) == 40
    for found, expected in zip(training.recipe.kept.parameters(), recipe.kept.parameters(), strict=True):
        assert_close(found, expected)


def test_it_learns():
    training = run(800)
    with training.averages.applied():
        assert training.recipe.held_out()["loss"] < 0.101


def test_each_player_sees_the_step_of_the_one_before():
    training = Training(Players(), Constant(None), Budget(3), 0)
    train(training)
    assert all(before != after for before, after in training.recipe.seen)


@pytest.mark.parametrize("interruption", [1, 9, 10, 11, 25, 59])
def test_a_resumed_training_is_the_straight_one(interruption, tmp_path):
    straight = run()
    first = Training(Line(), Constant(None), Budget(60), 7, look_every=10, schedule=Trapezoid(warm_up=5))
    while first.step < interruption:
        first.advance()
    checkpoint.save(tmp_path / "resume.pt", first.state(), {})
    second = Training(Line(), Constant(None), Budget(60), 7, look_every=10, schedule=Trapezoid(warm_up=5))
    second.load(checkpoint.load(tmp_path / "resume.pt", {}))
    train(second)
    assert everything(second) == everything(straight)


def spoiled_once():
    """Breaks the 34th step of the first attempt: another attempt has other seeds."""
    seeds = Line()
    probe = Training(seeds, Constant(None), Budget(60), 7, look_every=10)
    train(probe)
    bad = seeds.seeds[33]
    return lambda seed: seed == bad


@pytest.mark.parametrize("interruption", [20, 33, 34, 35])
def test_a_training_that_diverged_goes_back_also_when_resumed(interruption, tmp_path):
    def begin():
        return Training(Line(spoiled_once()), Constant(None), Budget(60), 7, look_every=10)

    straight, events = begin(), []
    train(straight, [lambda training, report: events.append(report.event)])
    assert [event for event in events if event] == [
        "diverged at step 34: back to step 30, with the learning rate halved"
    ]
    first = begin()
    for _ in range(interruption):
        first.advance()
    checkpoint.save(tmp_path / "resume.pt", first.state(), {})
    second = begin()
    second.load(checkpoint.load(tmp_path / "resume.pt", {}))
    train(second)
    assert everything(second) == everything(straight)


def test_a_halved_rate_is_half():
    training, rates = (
        Training(Line(spoiled_once()), Constant(None), Budget(60), 7, look_every=10, schedule=Trapezoid(0, 0)),
        [],
    )
    train(training, [lambda training, report: rates.append(report.rate)])
    assert rates[0] == 0.05
    assert rates[-1] == 0.025


def test_three_times_is_enough():
    training = Training(Line(lambda seed: True), Constant(None), Budget(60), 7)
    with pytest.raises(TrainingError, match="diverged at step 1 for the 4th time"):
        train(training)


def test_a_gradient_that_is_no_number_changes_nothing():
    recipe = Line(lambda seed: True)
    before = [parameter.detach().clone() for parameter in recipe.kept.parameters()]
    training = Training(recipe, Constant(None), Budget(60), 7)
    assert training.advance().event.startswith("diverged")
    assert training.step == 0
    for found, expected in zip(recipe.kept.parameters(), before, strict=True):
        assert torch.equal(found, expected)


def test_the_plateau_ends_a_training_that_has_no_budget():
    training, events = Training(Line(), Constant(None), Budget(None, most=5000), 7, look_every=10), []
    train(training, [lambda training, report: events.append((report.step, report.event))])
    ((step, event),) = [(step, event) for step, event in events if event]
    assert "stopped falling" in event
    assert training.step == training.stop == math.ceil(step / 0.6) < 5000


def test_a_reason_after_a_look_ends_a_training_there():
    reasons, reports = iter([None, None, "enough"]), []
    training = Training(Line(), Constant(None), Budget(60), 7, look_every=10, ended=lambda: next(reasons))
    train(training, [lambda training, report: reports.append(report)])
    assert (training.step, training.stop, training.finished) == (30, 30, True)
    assert reports[-1].event == "enough; it ends at step 30"
    assert [report.event for report in reports[:-1]] == [None] * 29
    again = Training(Line(), Constant(None), Budget(60), 7, look_every=10)
    again.load(training.state())
    assert again.finished


def test_the_longest_training_is_the_longest():
    training = Training(
        Line(rate=1e-5), Constant(None), Budget(None, most=100), 7, look_every=10, plateau=Plateau(looks=1000)
    )
    train(training)
    assert training.step == 100


def test_the_schedule_rises_stays_and_falls():
    schedule = Trapezoid(warm_up=10, tail=0.4)
    values = [schedule(step, 100) for step in range(100)]
    assert_close(values[:10], [(step + 1) / 10 for step in range(10)])
    assert values[10:60] == [1.0] * 50
    assert_close(values[60:], [(100 - step) / 40 for step in range(60, 100)])
    assert [schedule(step, None) for step in (9, 5000)] == [1.0, 1.0]
    assert schedule.stop_after(60) == 100


def test_averages_over_no_time_are_the_weights():
    module = nn.Linear(2, 3)
    averages = Averages(module, longest=0.0)
    nn.init.normal_(module.weight)
    averages.update(1)
    assert averages.values["weight"].data_ptr() == module.weight.data_ptr()
    raw = module.weight.detach().clone()
    with averages.applied():
        module.weight.data.zero_()
    assert torch.equal(module.weight, raw)
    training = Training(Line(), Constant(None), Budget(3), 0, longest_average=0.0)
    before = everything(training)
    good = training.state()["good"]
    training.advance()
    assert torch.equal(good["averages"]["weight"], good["weights"]["weight"])
    assert everything(training) != before
    assert json.dumps(good, default=lambda value: value.tolist(), sort_keys=True) in before


def test_a_plateau_is_flat():
    plateau = Plateau(least=0.01, looks=9)
    falling = [1 / (1 + step) for step in range(60)]
    assert not any(plateau.reached(falling[:count]) for count in range(61))
    assert plateau.reached([*falling[:9], *[0.1] * 20])
    noise = torch.randn(60, generator=torch.Generator().manual_seed(0)) * 0.02
    assert plateau.reached((0.5 + noise).tolist())
    assert not plateau.reached([0.5] * 8)


def test_averages_are_the_weighted_sum():
    module = nn.Linear(2, 3)
    averages, expected = Averages(module, longest=0.8), module.weight.detach().clone()
    for step in range(1, 60):
        nn.init.normal_(module.weight)
        averages.update(step)
        decay = min(0.8, step / (step + 9))
        expected = decay * expected + (1 - decay) * module.weight.detach()
    assert_close(averages.values["weight"], expected)
    raw = module.weight.detach().clone()
    with pytest.raises(ValueError), averages.applied():
        assert torch.equal(module.weight, averages.values["weight"])
        raise ValueError
    assert torch.equal(module.weight, raw)


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from test_training_loop import Line
from sinwave.data.batches import Constant
from sinwave.training import checkpoint
from sinwave.training.hooks import JsonLines
from sinwave.training.loop import Budget, Training, train
folder = Path({folder!r})
training, resume = Training(Line(), Constant(None), Budget(1500), 7, look_every=10), folder / "resume.pt"
if resume.exists():
    training.load(checkpoint.load(resume, {{}}))
log = JsonLines(folder / "log.jsonl", training.step, halvings=0)
train(training, [log, checkpoint.Saver(resume, {{}}, seconds=0.01)])
"""


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_the_same(tmp_path):
    straight = Training(Line(), Constant(None), Budget(1500), 7, look_every=10)
    train(straight)
    program = PROGRAM.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    chance, kills = random.Random(0), 0
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    while kills < 10:
        process = subprocess.Popen([sys.executable, "-c", program], env=environment)
        resume, mark = tmp_path / "resume.pt", time.monotonic()
        before = resume.stat().st_mtime_ns if resume.exists() else 0
        while process.poll() is None and (not resume.exists() or resume.stat().st_mtime_ns == before):
            assert time.monotonic() - mark < 60
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.1))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        checkpoint.load(resume, {})
        kills += 1
    assert kills >= 3
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0
    found = checkpoint.load(tmp_path / "resume.pt", {})
    assert json.dumps(found, default=lambda v: v.tolist(), sort_keys=True) == everything(straight)
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(10, 1501, 10))


def test_a_log_has_each_step_once(tmp_path):
    file = tmp_path / "log.jsonl"
    broken = ["[]", '{"step": "10"}', '{"step": 10, "halvings": "none"}', "[" * 99_999]
    file.write_text("\n".join(['{"step": 10}', *broken, '{"step": 20}', '{"step": 30}', '{"ste']))
    training = Training(Line(), Constant(None), Budget(40), 7)
    JsonLines(file, 20, halvings=0)
    assert [json.loads(line)["step"] for line in file.read_text().splitlines()] == [10, 20]
    train(training, [JsonLines(file, 0, halvings=0)])
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30, 40]
    assert lines[-1]["held_out"]["loss"] > 0
    assert_close(lines[0]["losses"]["double"], 2 * lines[0]["losses"]["line"], rtol=1e-5, atol=0)


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    checkpoint.save(tmp_path / "a.pt", {"x": 1}, {"width": 64, "seed": 0})
    assert checkpoint.load(tmp_path / "a.pt", {"width": 64, "seed": 0}) == {"x": 1}
    with pytest.raises(InputError, match=r"a\.pt: the training was begun with width 64, not 32; --overwrite"):
        checkpoint.load(tmp_path / "a.pt", {"width": 32, "seed": 0})


class Evil:
    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


def test_bad_checkpoints_end_in_a_sentence(tmp_path):
    good = tmp_path / "good.pt"
    checkpoint.save(good, {"x": 1}, {})
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "cut.pt").write_bytes(good.read_bytes()[:200])
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "folder.pt").mkdir()
    torch.save([1, 2], tmp_path / "list.pt")
    evil = Evil()
    evil.path = tmp_path / "ran"
    torch.save(evil, tmp_path / "evil.pt")
    for name in ("empty", "cut", "text", "folder", "list", "evil", "missing"):
        with pytest.raises(InputError, match=rf"{name}\.pt: "):
            checkpoint.load(tmp_path / f"{name}.pt", {})
    assert not evil.path.exists()
