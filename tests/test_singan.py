"""SinGAN: the constants of the paper, its losses by formula, its path from noise to a picture, and its file."""

import itertools
import json
import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from sinwave.cli import main
from sinwave.data.batches import Constant
from sinwave.errors import InputError
from sinwave.images import Picture, probe, read, write
from sinwave.option_kinds import Source
from sinwave.resize import resize
from sinwave.rng import NoiseSource, fold
from sinwave.systems.contracts import Computing, VerticalSpan
from sinwave.systems.files import read_model, write_model
from sinwave.systems.singan.model import SinganModel, from_file, owned
from sinwave.systems.singan.networks import Generators, Norm, critics, gradient_penalty, slope, written_out
from sinwave.systems.singan.options import (
    FAST,
    OFFICIAL,
    Configuration,
    Settings,
    concurrent_sizes,
    published_sizes,
    reduced,
)
from sinwave.systems.singan.train import begin, model_file, to_learn
from sinwave.systems.table import load
from sinwave.tasks.base.canvas import keeping
from sinwave.tasks.base.task import open_source
from sinwave.threads import threads
from sinwave.training.loop import Budget, Training
from sinwave.training.optimizer import AdamW
from sinwave.training.schedule import Trapezoid

CPU = torch.device("cpu")
NARROW = Settings(width=8, instance_norm_scales=0, iterations=3, critic_steps=2, generator_steps=2)


def photograph(height, width):
    down, right = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    colors = torch.stack([torch.sin(5 * right + down), down * right, torch.cos(7 * down) + 0 * right])
    return (0.7 * colors + 0.05 * NoiseSource(1).normal((3, height, width))).clamp(-1, 1)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def begun(size=(32, 41), settings=NARROW, seed=0):
    """The networks as they begin, and their training."""
    start = begin(Picture(photograph(*size)), settings, seed, CPU)
    recipe = start.recipe(settings)
    budget = Budget(sum(recipe.counts))
    return start, Training(recipe, Constant(None), budget, seed, schedule=Trapezoid(0, 0.0), longest_average=0.0)


def drawing(size=(32, 41), configuration=NARROW, trained=None):
    """A model with weights of chance, and normalization that has seen something."""
    torch.manual_seed(3)
    sizes = configuration.sizes(size)
    generators = Generators(configuration, sizes)
    generators.progress[0] = len(sizes) if trained is None else trained
    for buffer in generators.buffers():
        if buffer.shape == (8,):
            buffer.copy_(1 + 0.3 * torch.rand(8))
    for parameter in generators.parameters():
        parameter.data.mul_(5)
    return SinganModel(generators, tile=16)


# The paper's constants


@pytest.mark.parametrize(
    ("size", "count"), [((188, 250), 9), ((96, 128), 6), ((25, 33), 1), ((768, 1024), 13), ((300, 100), 6)]
)
def test_the_shorter_side_falls_to_25_by_nearly_equal_factors_of_about_three_quarters(size, count):
    sizes = published_sizes(size)
    assert len(sizes) == count
    assert (min(sizes[0]), sizes[-1]) == (25, size)
    if count > 1:
        factor = (25 / min(size)) ** (1 / (count - 1))
        assert 0.74 < factor < 0.81
        for coarser, finer in itertools.pairwise(sizes):
            assert coarser[0] == pytest.approx(finer[0] * factor, abs=1)
            assert coarser[1] == pytest.approx(finer[1] * factor, abs=1)


def test_sizes_that_were_computed_by_hand():
    assert published_sizes((96, 128)) == ((25, 33), (33, 44), (43, 57), (56, 75), (73, 98), (96, 128))
    # r = 25/188 to the power 1/5; exponents 5, 1 + 4 ln(n) / ln 5 for n = 4, 3, 2, then 1 and 0
    assert concurrent_sizes((188, 250)) == ((25, 33), (31, 42), (42, 55), (63, 83), (126, 167), (188, 250))


def test_a_picture_as_small_as_the_coarsest_scale_has_one_and_trained_together_there_are_six():
    assert published_sizes((20, 31)) == concurrent_sizes((20, 31)) == ((20, 31),)
    assert [len(concurrent_sizes((side, side))) for side in (32, 60, 96, 250, 1000)] == [2, 5, 6, 6, 6]


def test_only_a_larger_picture_is_reduced():
    assert reduced((768, 1024), 250) == (188, 250)
    assert reduced((100, 80), 250) == reduced((100, 80), None) == (100, 80)
    assert (OFFICIAL.max_size, FAST.max_size) == (250, None)


def test_channels_double_every_four_scales_up_to_128():
    generators = Generators(Configuration(), published_sizes((768, 1024)))
    assert [psi[0].out_channels for psi in generators.psi] == [32] * 4 + [64] * 4 + [128] * 5
    assert [psi[-1].out_channels for psi in generators.psi] == [3] * 13
    judges = critics(Configuration(), 9)
    assert [(judge[0].out_channels, judge[-1].out_channels) for judge in judges] == [(32, 1)] * 4 + [(64, 1)] * 4 + [
        (128, 1)
    ]


def test_the_published_training():
    settings = OFFICIAL
    assert (settings.iterations, settings.critic_steps, settings.generator_steps) == (2000, 3, 3)
    assert (settings.rate, settings.decay_at * settings.iterations, settings.decay) == (5e-4, 1600, 0.1)
    assert (settings.penalty, settings.fidelity, settings.amplitude) == (0.1, 10, 0.1)
    _start, training = begun()
    players = training.recipe.players.values()
    optimizers = [optimizer for player in players for optimizer in player.optimizers]
    assert {type(optimizer) for optimizer in optimizers} == {AdamW}
    assert {(optimizer._betas, optimizer.weight_decay) for optimizer in optimizers} == {((0.5, 0.999), 0.0)}
    assert {player.clip for player in players} == {None}


@pytest.mark.parametrize("kind", ["generator", "critic"])
def test_an_output_sees_11_by_11_pixels(kind):
    torch.manual_seed(0)
    network = (Generators(NARROW, ((25, 33),)).psi if kind == "generator" else critics(NARROW, 1))[0].eval()
    seen = torch.randn(1, 3, 25, 25, requires_grad=True)
    answer = network(seen)
    assert answer.shape[2:] == (15, 15)
    (slope,) = torch.autograd.grad(answer[:, :, 7, 7].sum(), seen)
    rows, columns = (slope.abs().sum((0, 1)) > 0).nonzero().unbind(1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (7, 17, 7, 17)
    assert NARROW.receptive_field == 11


def test_weights_begin_small_and_gains_near_one():
    torch.manual_seed(0)
    psi = Generators(Configuration(), ((25, 33),)).psi[0]
    assert psi[3].weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert psi[4].weight.mean().item() == pytest.approx(1, abs=0.02)
    assert psi[4].weight.std().item() == pytest.approx(0.02, rel=0.5)


# Losses


def test_the_gradient_penalty_is_that_of_finite_differences():
    torch.manual_seed(0)
    critic = critics(NARROW, 1)[0].double()
    for parameter in critic.parameters():
        parameter.data.mul_(5)
    real, fake = torch.randn(2, 1, 3, 13, 14, dtype=torch.float64)
    share = torch.tensor(0.3, dtype=torch.float64)
    mixed, slope, step = 0.3 * real + 0.7 * fake, torch.empty(3 * 13 * 14, dtype=torch.float64), 1e-5
    for index in range(len(slope)):
        moved = torch.zeros_like(slope)
        moved[index] = step
        with torch.no_grad():
            ahead, behind = (critic(mixed + sign * moved.reshape(mixed.shape)).sum() for sign in (1, -1))
        slope[index] = (ahead - behind) / (2 * step)
    expected = (slope.reshape(3, -1).norm(dim=0) - 1).square().mean()
    assert_close(gradient_penalty(critic, real, fake, share), expected, rtol=1e-5, atol=1e-8)


def test_the_penalty_can_be_lowered():
    torch.manual_seed(0)
    critic, (real, fake) = critics(NARROW, 1)[0], torch.randn(2, 1, 3, 20, 20)
    optimizer = torch.optim.Adam(critic.parameters(), 1e-3)
    found = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = gradient_penalty(critic, real, fake, torch.tensor(0.5))
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    assert found[-1] < 0.5 * found[0]


def test_both_losses_are_those_of_the_paper():
    start, training = begun()
    recipe, generators, critic, real = training.recipe, start.generators, start.critics[0], start.scales[0]
    updates = list(recipe.updates(None, seeded(5)))
    assert [update.player for update in updates] == ["critic 1"] * 2 + ["generator 1"] * 2
    nothing = torch.zeros_like(real)

    def chance(player):
        generator = torch.Generator().manual_seed(fold(5, player, 0))
        fake = generators(0, nothing, torch.randn(1, 1, *real.shape[2:], generator=generator))
        return fake, torch.rand((), generator=generator)

    fake, share = chance("critic")
    penalty = gradient_penalty(critic, real, fake.detach(), share)
    assert_close(updates[0].loss.detach(), (critic(fake).mean() - critic(real).mean() + 0.1 * penalty).detach())
    fake, _ = chance("generator")
    missing = functional.mse_loss(generators(0, nothing, generators.anchor), real)
    assert_close(updates[2].loss.detach(), (10 * missing - critic(fake).mean()).detach())
    assert_close(updates[2].logs["reconstruction 1"], missing.detach())


def test_only_the_scale_whose_turn_it_is_moves():
    start, training = begun()

    def weights():
        modules = {"generator": start.generators.psi, "critic": start.critics}
        return {
            f"{name} {n + 1}": torch.cat([p.detach().flatten().clone() for p in part.parameters()])
            for name, parts in modules.items()
            for n, part in enumerate(parts)
        }

    for scale in (1, 2):
        training.advance()
        before = weights()
        while start.generators.trained < scale:
            training.advance()
        after = weights()
        moved = {name for name in after if not torch.equal(after[name], before[name])}
        assert moved == {f"generator {scale}", f"critic {scale}"}


def test_a_wider_scale_that_has_just_begun_is_no_divergence():
    settings = replace(NARROW, doubled_every=1, iterations=99, critic_steps=1, generator_steps=1)
    start, training = begun((28, 36), settings)
    reports = []
    while training.step < 101:
        reports.append(training.advance())
    assert [report.step for report in reports if report.held_out] == [100]
    assert not any(report.event for report in reports)
    # With the new scale's weights of chance alone it would have been much worse than without them.
    start.generators.psi[1][-1].weight.data.mul_(100)
    start.generators.eval()
    judged = training.recipe.held_out()["loss"]
    alone = functional.mse_loss(start.generators.reconstruct(1), start.scales[1]).item()
    assert judged == pytest.approx(alone)


def test_the_rate_falls_for_the_last_fifth_of_each_scale():
    settings = replace(NARROW, iterations=10, critic_steps=1, generator_steps=1)
    _, training = begun(settings=settings)
    for number in (1, 2):
        for name in ("critic", "generator"):
            player = training.recipe.players[f"{name} {number}"]
            rates = [player.rate_at(10 * (number - 1) + step) for step in range(10)]
            assert rates == [5e-4] * 8 + [pytest.approx(5e-5)] * 2


def test_the_smaller_a_scale_the_more_iterations_it_has():
    sizes = ((25, 50), (50, 100), (100, 200))
    assert replace(NARROW, iterations=100).counts(sizes) == (100, 100, 100)
    assert replace(NARROW, iterations=100, coarser=1.0).counts(sizes) == (400, 200, 100)
    assert replace(NARROW, iterations=100, coarser=0.5).counts(sizes) == (200, 141, 100)


def test_a_penalty_in_some_iterations_weighs_as_much_as_in_all():
    def losses(settings):
        start, training = begun(settings=replace(settings, iterations=9, critic_steps=1, generator_steps=1))
        found = []
        for step in range(6):
            start.generators.progress.copy_(torch.tensor([0, step]))
            found.append(next(training.recipe.updates(None, seeded(5))).loss.item())
        return torch.tensor(found)

    none, always, rarely = (losses(replace(NARROW, **some)) for some in ({"penalty": 0.0}, {}, {"penalty_every": 3}))
    weights = (rarely - none) / (always - none)
    assert_close(weights, torch.tensor([3.0, 0, 0, 3, 0, 0]), rtol=1e-3, atol=1e-3)


def test_a_scale_with_statistics_of_its_own_draws_as_it_was_trained_in_tiles_too():
    torch.manual_seed(2)
    generators = Generators(replace(NARROW, instance_norm_scales=1), ((25, 32), (32, 41)))
    generators.progress[0] = 2
    noise, nothing = torch.randn(1, 1, 60, 70), torch.zeros(1, 3, 60, 70)
    with torch.no_grad():
        trained = generators.train()(0, nothing, noise)
        generators.eval()
        assert_close(generators(0, nothing, noise, tile=16), trained)
        assert (generators(1, nothing, noise) - generators.train()(1, nothing, noise)).abs().max() > 1e-3


def test_side_by_side_or_one_after_another_losses_and_gradients_are_the_same():
    found = []
    for count in (2, 1):
        with threads(count):
            _, training = begun()
        for update in training.recipe.updates(None, seeded(7)):
            parameters = training.recipe.players[update.player].parameters
            found.append((update.loss.detach(), *torch.autograd.grad(update.loss, parameters, materialize_grads=True)))
    for here, there in zip(found[: len(found) // 2], found[len(found) // 2 :], strict=True):
        assert_close(here, there, rtol=1e-4, atol=1e-6)


def test_a_training_holds_no_setting_of_threads_while_others_compute():
    _, training = begun()
    with threads(2):
        counts = []
        for _ in range(4):  # over the end of a scale
            for update in training.recipe.updates(None, seeded(1)):
                counts.append(torch.get_num_threads())
                update.loss.detach()
            counts.append(torch.get_num_threads())
        abandoned = training.recipe.updates(None, seeded(1))
        next(abandoned)
        assert set(counts) == {2} == {torch.get_num_threads()}
    assert torch.get_num_threads() == 1
    abandoned.close()
    assert torch.get_num_threads() == 1


# The course of a training


def test_a_scale_begins_with_the_weights_before_it_and_the_amplitude_of_what_is_missing():
    start, training = begun()
    generators = start.generators
    while generators.trained == 0:
        training.advance()
    next(training.recipe.updates(None, seeded(9)))  # the second scale begins
    for mine, theirs in zip(generators.psi[1].parameters(), generators.psi[0].parameters(), strict=True):
        assert_close(mine, theirs)
    generators.eval()
    with torch.no_grad():
        coarse = generators(0, torch.zeros(1, 3, 25, 32), generators.anchor)
        missing = (resize(coarse, (32, 41)) - start.scales[1]).square().mean().sqrt()
    assert_close(generators.amplitude, torch.stack([torch.ones(()), 0.1 * missing]))


def test_the_anchor_is_any_noise_until_the_coarsest_scale_is_finished_and_then_the_last():
    start, training = begun()
    anchors = [start.generators.anchor.clone()]
    while start.generators.trained < 2:
        training.advance()
        anchors.append(start.generators.anchor.clone())
    same = [torch.equal(before, after) for before, after in itertools.pairwise(anchors)]
    assert same == [False] * 3 + [True] * 3
    spread = torch.cat(anchors[1:4])
    assert spread.mean().item() == pytest.approx(0, abs=0.1)
    assert spread.std().item() == pytest.approx(1, abs=0.1)


def test_a_finished_generator_keeps_the_statistics_of_what_it_was_shown():
    torch.manual_seed(0)
    generators = Generators(NARROW, ((25, 33),))
    noise, nothing = torch.randn(2, 1, 25, 33), torch.zeros(2, 3, 25, 33)
    with torch.no_grad():
        generators.train()
        wanted = generators(0, nothing[:1], noise[:1])
        generators.settle(0, [(nothing[:1], noise[:1], 1.0)])
        assert not generators.psi[0].training
        assert_close(generators(0, nothing[:1], noise[:1]), wanted, atol=2e-3, rtol=0)
        first = generators.psi[0][1].mean.clone()
        generators.settle(0, [(nothing[:1], noise[1:], 1.0)])
        second = generators.psi[0][1].mean.clone()
        generators.settle(0, [(nothing[:1], noise[:1], 0.25), (nothing[:1], noise[1:], 0.75)])
        assert_close(generators.psi[0][1].mean, 0.25 * first + 0.75 * second)


def test_a_wider_scale_begins_with_weights_of_its_own():
    start, training = begun(settings=replace(NARROW, doubled_every=1))
    own = {name: value.clone() for name, value in start.generators.psi[1].state_dict().items()}
    while start.generators.trained == 0:
        training.advance()
    next(training.recipe.updates(None, seeded(9)))
    assert all(torch.equal(value, own[name]) for name, value in start.generators.psi[1].named_parameters())


QUICK = {"critic_steps": 1, "generator_steps": 1, "penalty_every": 2}


@pytest.mark.parametrize(
    "settings",
    [
        replace(NARROW, instance_norm_scales=2),
        replace(NARROW, instance_norm_scales=1, doubled_every=1, **QUICK),
        replace(NARROW, concurrent_stages=2, **QUICK),
    ],
    ids=["published", "quick", "together"],
)
@pytest.mark.parametrize("cut", [2, 3, 4], ids=["inside a scale", "at a boundary", "after it"])
def test_a_training_that_was_cut_ends_the_same(cut, settings):
    def again():
        return begun(settings=settings, seed=3)[1]

    whole = again()
    while not whole.finished:
        whole.advance()
    first = again()
    for _ in range(cut):
        first.advance()
    second = again()
    for parameter in (*second.recipe.kept.parameters(), *second.recipe.companions["critics"].parameters()):
        parameter.data.normal_()  # all of them are in the state
    second.load(first.state())
    while not second.finished:
        second.advance()
    expected, found = whole.recipe.kept.state_dict(), second.recipe.kept.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert found["progress"].tolist() == [2, 0]


@pytest.mark.slow
def test_after_training_the_anchor_gives_the_picture():
    start, training = begun((36, 46), Settings(width=16, iterations=90, rate=2e-3, **QUICK))
    losses = []
    while not training.finished:
        report = training.advance()
        if report.held_out:
            losses.append(report.held_out["loss"])
    model = SinganModel(start.generators)
    again = model.generate((36, 46), NoiseSource(0), variation=0)
    error = (again - start.scales[-1]).square().mean().item()
    assert 10 * math.log10(4 / error) > 25
    assert losses[-1] == pytest.approx(error, rel=0.02)  # which clips nothing


def test_trained_together_the_older_ones_move_slowly_and_the_oldest_not():
    start, training = begun((60, 60), replace(NARROW, concurrent_stages=2, iterations=2))
    assert len(start.scales) == 5
    while start.generators.trained < 3:
        training.advance()
    before = [torch.cat([p.detach().flatten().clone() for p in psi.parameters()]) for psi in start.generators.psi]
    training.advance()
    after = [torch.cat([p.detach().flatten() for p in psi.parameters()]) for psi in start.generators.psi]
    steps = [(b - a).abs().max().item() for a, b in zip(before[:3], after[:3], strict=True)]
    assert steps[:2] == [0, 0]
    assert steps[2] == pytest.approx(2 * 0.1 * 5e-4, rel=0.1)
    optimizers = training.recipe.players["generator 4"].optimizers
    assert {each.factor: len(each.parameters) for each in optimizers} == {0.1: 18, 1.0: 18}


# Drawing


@pytest.mark.parametrize("size", [(32, 41), (64, 20), (17, 90)])
def test_any_size_and_tiles_that_do_not_show(size):
    model = drawing()
    whole = SinganModel(model._generators, tile=1000)
    drawn = model.generate(size, NoiseSource(4))
    assert drawn.shape == (1, 3, *size)
    assert drawn.std() > 0.05
    assert_close(drawn, whole.generate(size, NoiseSource(4)), rtol=0, atol=1e-5)


def test_the_first_scales_are_those_of_the_picture_and_the_others_are_drawn():
    model = drawing((96, 128))
    known = model.generate(model.size, NoiseSource(0), variation=0)
    assert_close(known, model._generators.reconstruct(6).clamp(-1, 1))
    distances = [
        (model.generate(model.size, NoiseSource(1), variation=v) - known).square().mean().item()
        for v in (0.2, 0.5, 1.0)
    ]
    assert 0 < distances[0] < distances[1] < distances[2]
    again = model.generate(model.size, NoiseSource(1), variation=0.6)
    assert torch.equal(again, model.generate(model.size, NoiseSource(1), variation=0.6))


def test_several_together_are_those_that_each_is_alone():
    model, noise = drawing(), NoiseSource(2)
    together = model.generate(model.size, noise.batch(range(3)), variation=0.7)
    for n in range(3):
        assert_close(together[n : n + 1], model.generate(model.size, noise.child(n), variation=0.7), atol=1e-4, rtol=0)


def test_a_given_picture_stays_or_is_drawn_anew():
    model, image = drawing((96, 128)), photograph(96, 128)[None]
    assert torch.equal(model.refine(image, 0.0, NoiseSource(0)), image)
    near, far = (model.refine(image, 1.0, NoiseSource(0), first=first) for first in (5, 1))
    sizes = [tuple(each.shape[2:]) for each in model.scales(image)]
    assert tuple(sizes) == published_sizes((96, 128))
    begins = resize(resize(image, sizes[4]), sizes[5])
    noise = NoiseSource(0).child("scale", 5).normal((1, 3, 96, 128), "noise")
    assert_close(near, model._generators(5, begins, noise, tile=16).clamp(-1, 1))
    assert (near - far).abs().mean() > 0.1
    with pytest.raises(InputError, match="has 6, counted from 0"):
        model.refine(image, 1.0, NoiseSource(0), first=6)


def test_what_is_wanted_holds_at_every_scale():
    model, seen = drawing((60, 60)), []

    def constrain(index):
        def allowed(picture):
            seen.append((index, tuple(picture.shape[2:])))
            return torch.full_like(picture, 0.25)

        return allowed

    drawn = model.generate((60, 60), NoiseSource(0), constrain=constrain)
    assert seen == list(enumerate(published_sizes((60, 60))))
    assert_close(drawn, torch.full_like(drawn, 0.25))


def test_of_a_model_that_is_half_trained_the_last_trained_scale_is_enlarged():
    model = drawing((60, 60), trained=2)
    sizes = published_sizes((60, 60))
    drawn = model.generate((60, 60), NoiseSource(0))
    coarse = torch.zeros(1, 3, *sizes[0])
    for index in range(2):
        noise = NoiseSource(0).child("scale", index).normal((1, 1 if index == 0 else 3, *sizes[index]), "noise")
        coarse = resize(model._generators(index, coarse, noise), sizes[index + 1])
    for size in sizes[3:]:
        coarse = resize(coarse, size)
    assert_close(drawn, coarse.clamp(-1, 1))
    with pytest.raises(InputError, match="no scale of this model is trained yet"):
        drawing((60, 60), trained=0)


def test_progress_is_told_and_bad_shares_are_refused():
    model, reports = drawing(), []
    picture = model.generate((32, 41), NoiseSource(0), on_step=reports.append)
    assert [tuple(report[:4]) for report in reports] == [(0, 2, 1, 1), (1, 2, 1, 1)]
    assert [report.estimate().shape[2:] for report in reports] == list(model._sizes((32, 41)))
    assert torch.equal(reports[-1].estimate(), picture)
    gray = torch.full((1, 3, 1, 1), 0.25)
    model.generate((32, 41), NoiseSource(0), constrain=lambda index: gray.expand_as, on_step=reports.append)
    assert all((report.estimate() == 0.25).all() for report in reports[2:])
    with pytest.raises(InputError, match="between 0 and 1"):
        model.generate((32, 41), NoiseSource(0), variation=1.5)


def test_mixed_each_place_has_one_owner_and_each_owner_its_share():
    field = NoiseSource(0).normal((2, 1, 30, 40), "field")
    found = owned(field, [2, 1, 1])
    assert torch.equal(found.sum(1), torch.ones(2, 30, 40))
    assert_close(found.mean((2, 3)), torch.tensor([[0.5, 0.25, 0.25]]).expand(2, -1), atol=2e-3, rtol=0)
    model, other = drawing((60, 60)), drawing((60, 60))
    for buffer in other._generators.parameters():
        buffer.data.neg_()
    both = model.mixed([other], [1, 1]).generate((60, 60), NoiseSource(0))
    assert all((both - each.generate((60, 60), NoiseSource(0))).abs().max() > 0.01 for each in (model, other))
    # Half of the coarsest scale is as the one model would have it, and half as the other.
    pictures = {}
    for name, some in (("one", model), ("other", other), ("both", model.mixed([other], [1, 1]))):

        def keep(index, name=name):
            return lambda picture: pictures.setdefault((name, index), picture)

        some.generate((60, 60), NoiseSource(0), constrain=keep)
    same = [(pictures["both", 0] - pictures[name, 0]).abs().amax(1) < 1e-6 for name in ("one", "other")]
    assert torch.equal(same[0] | same[1], torch.ones_like(same[0]))
    assert [each.float().mean().item() for each in same] == pytest.approx([0.5, 0.5], abs=0.05)
    with pytest.raises(InputError, match="same number of scales"):
        model.mixed([drawing((32, 41))], [1, 1])


def test_enlarged_and_reduced_it_is_the_picture_again():
    model, picture = drawing((60, 60)), photograph(40, 50)[None]
    reports = []
    large = model.upscale(picture, (80, 100), NoiseSource(0), on_step=reports.append)
    assert large.shape == (1, 3, 80, 100)
    assert_close(resize(large, (40, 50)), picture, atol=2 / 127.5, rtol=0)
    count = math.ceil(math.log(2) / math.log(60 / 48))  # the last two sides of the pyramid are 48 and 60
    assert [tuple(report[:4]) for report in reports] == [(0, 1, step, count) for step in range(1, count + 1)]
    assert torch.equal(reports[-1].estimate(), large)
    assert (large - resize(picture, (80, 100))).abs().mean() > 0.01
    assert torch.equal(model.upscale(picture, (40, 50), NoiseSource(0)), picture)


@pytest.mark.parametrize(("variation", "begins"), [(1, 0), (0.7, 0), (0.5, 1), (0.3, 2), (0.01, 4), (0, 5)])
def test_the_lower_the_variation_the_more_scales_are_of_the_known_picture(variation, begins):
    told = []
    model = drawing((60, 60))
    model.generate((60, 60), NoiseSource(0), variation=variation, on_step=lambda report: told.append(report.part))
    assert told == list(range(begins, 5))


@pytest.mark.parametrize(
    ("strength", "first", "begins"),
    [(1, 0, 0), (1, 1, 1), (0.9, 0, 0), (0.5, 0, 2), (0.5, 1, 2), (0.1, 1, 3), (0.01, 1, 4)],
)
def test_the_lower_the_strength_the_later_a_picture_is_taken_up(strength, first, begins):
    model, told = drawing((60, 60)), []
    picture = photograph(60, 60)[None]
    model.refine(picture, strength, NoiseSource(0), first=first, on_step=lambda report: told.append(report.part))
    assert told == list(range(begins, 5))


def test_where_the_layout_is_known_the_noise_goes_from_that_of_the_picture_to_any():
    generators, noise = drawing((60, 60), replace(NARROW, instance_norm_scales=2))._generators, NoiseSource(5)
    picture = SinganModel(generators).generate((60, 60), noise, variation=0)
    model = SinganModel(generators, picture=picture[0])
    drawn = [model.refine(picture, strength, noise, span=VerticalSpan()) for strength in (0.001, 0.3, 1)]
    far = [(each - picture).square().mean().sqrt().item() for each in drawn]
    assert far[0] < 0.05 * far[2]
    assert far[0] < far[1] < far[2]
    assert torch.equal(drawn[2], model.generate((60, 60), noise, variation=1))
    # Another picture has no noise that is known.
    for other in (resize(picture, (72, 60)), picture.flip(3)):
        assert torch.equal(model.refine(other, 0.3, noise, span=VerticalSpan()), model.refine(other, 0.3, noise))
    assert not torch.equal(drawn[1], model.refine(picture, 0.3, noise))
    with pytest.raises(InputError, match="between 0 and 1"):
        model.refine(picture, 1.5, noise, span=VerticalSpan())


def test_what_is_kept_and_what_is_new_meet_between_the_two():
    model, change = drawing((96, 128)), torch.zeros(1, 1, 96, 128)
    change[..., 5:38, 3:45], change[..., 90:] = 1, 1
    constrain = keeping(model, torch.full((1, 3, 96, 128), 0.3), change)
    for index, scale in enumerate(model.scales(change.expand(-1, 3, -1, -1))):
        met = constrain(index)(torch.full_like(scale, -0.2))
        assert met.min() >= -0.2 - 1e-5
        assert met.max() <= 0.3 + 1e-5
        assert_close(met[scale < 1e-9], torch.tensor(0.3).expand_as(met[scale < 1e-9]))


# The file and the command


def test_a_file_keeps_everything_and_a_wrong_one_is_refused(tmp_path):
    settings = replace(NARROW, factor=0.9)
    _, training = begun((26, 32), settings)
    while not training.finished:
        training.advance()
    content = model_file(settings, training.averages.values, Picture(photograph(26, 32)))
    write_model(tmp_path / "m.safetensors", content)
    trained, again = from_file(content, tmp_path), load(tmp_path / "m.safetensors")
    models = [loaded.build("network", Computing(CPU, torch.float32)) for loaded in (trained, again)]
    first, second = (model.generate((26, 32), NoiseSource(0)) for model in models)
    assert torch.equal(first, second)
    with pytest.raises(InputError, match="no engine hybrid"):
        open_source(Source.accept(tmp_path / "m.safetensors"), "hybrid", 100_000)
    file = read_model(tmp_path / "m.safetensors")
    for broken, said in (
        (replace(file, options={**file.options, "width": 16}), "weights do not fit the options"),
        (replace(file, options={**file.options, "colors": 4}), "options make no sense"),
        (replace(file, options={**file.options, "factor": 1}), "options make no sense"),
        (replace(file, options={**file.options, "layers": "5"}), "layers must be a whole number, not '5'"),
        (replace(file, options={**file.options, "least": True}), "least must be a whole number, not True"),
        (replace(file, options={**file.options, "width": 10**9}), "width must be between 1 and 4096"),
        (replace(file, options={**file.options, "width": -8}), "options make no sense"),
        (replace(file, pictures=()), "holds 0 pictures"),
        (replace(file, weights={**file.weights, "progress": torch.tensor([99, 0])}), "says that 99 scales"),
    ):
        with pytest.raises(InputError, match=said):
            from_file(broken, tmp_path / "m.safetensors")


def test_options_that_another_system_has_are_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "p.png", photograph(26, 32))
    for arguments, said in (
        (["--system", "singan", "--width", "16"], "--width is an option of the system wavelet, not of singan"),
        (["--system", "singan", "--preset", "reference"], "preset must be one of fast, official, not 'reference'"),
        (["--system=singan", "--precision=bfloat16"], "--precision is an option of the system wavelet, not of singan"),
        (["--max-size", "100"], "--max-size is an option of the system singan, not of wavelet"),
        (["--preset", "official"], "preset must be one of fast, reference, not 'official'"),
        ([str(tmp_path / "p.png"), "--system", "singan"], "one picture, not from several"),
    ):
        assert main(["train", str(tmp_path / "p.png"), *arguments]) == 2
        assert said in capsys.readouterr().err
        assert not Path("p.run").exists()


def test_a_picture_that_is_reduced_to_a_strip_is_refused(tmp_path, capsys):
    write(tmp_path / "p.png", photograph(20, 200))
    assert main(["train", str(tmp_path / "p.png"), "--system", "singan", "--max-size", "100"]) == 2
    assert "reduced to 100 x 10" in capsys.readouterr().err


def test_what_is_not_trained_is_not_taken_up():
    model = drawing((60, 60), trained=2)
    with pytest.raises(InputError, match="scale 3 is not trained yet: 2 of 5 are"):
        model.refine(photograph(60, 60)[None], 1.0, NoiseSource(0), first=3)
    with pytest.raises(InputError, match="a model of one scale"):
        drawing((60, 60), trained=1).upscale(photograph(60, 60)[None], (80, 80), NoiseSource(0))
    assert model.refine(photograph(60, 60)[None], 1e-17, NoiseSource(0)).shape == (1, 3, 60, 60)


def test_a_transparent_picture_is_refused():
    hidden = torch.ones(30, 30, dtype=torch.bool)
    hidden[:5] = False
    with pytest.raises(InputError, match="transparent"):
        to_learn([Picture(photograph(30, 30), hidden)], FAST)


def test_the_command_trains_a_file_that_draws(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "p.png", photograph(40, 50))
    command = [
        "train",
        "p.png",
        "--system",
        "singan",
        "--steps",
        "2",
        "--max-size",
        "32",
        "--samples-every",
        "10",
        "-q",
    ]
    assert main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["steps"], told["receptive_field"]) == (4, 11)  # 2 at each of 2 scales
    assert probe(told["samples"]).format == "PNG"
    assert main(["generate", "p.safetensors", "-n", "1", "-o", "out", "-q"]) == 0
    assert read("out/p-0000.png").size == (26, 32)
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"]
    assert main(["generate", "p.safetensors", "-n", "1", "-o", "patches", "--engine", "closed-form", "-q"]) == 0


KILLED = """
import os, signal, sys
import torch
torch.set_num_threads(1)
from sinwave.cli import main
from sinwave.data.batches import Constant
from sinwave.training import checkpoint, loop
saver, advance = checkpoint.Saver, loop.Training.advance
checkpoint.Saver = lambda *places, **settings: saver(*places, **settings | {"seconds": 0.0})
def killed(training):
    if str(training.step) == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
    return advance(training)
loop.Training.advance = killed
sys.exit(main(["train", "p.png", "-q", *sys.argv[2:]]))
"""


@pytest.mark.slow
def test_killed_inside_a_scale_and_between_two_it_ends_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "p.png", photograph(26, 32))
    options = ["--system", "singan", "--steps", "6", "--seed", "4", "-o"]
    assert main(["train", "p.png", "-q", *options, "straight.safetensors"]) == 0
    first, second = read_model(Path("straight.safetensors")).provenance["steps"], 6
    inside, between, after = 3, first - second, first - second + 3  # the coarser scale has more steps than the finest
    codes = []
    for step in (inside, between, after, "never"):
        command = [sys.executable, "-c", KILLED, str(step), *options, "killed.safetensors"]
        codes.append(subprocess.run(command, check=False).returncode)
    assert codes == [-signal.SIGKILL] * 3 + [0]
    one, other = (read_model(Path(f"{name}.safetensors")).weights for name in ("straight", "killed"))
    assert all(torch.equal(one[name], value) for name, value in other.items())
    assert one["progress"].tolist() == [2, 0]


def test_a_picture_that_needs_more_memory_than_there_is_is_refused(tmp_path, capsys, monkeypatch):
    write(tmp_path / "p.png", photograph(26, 32))
    monkeypatch.setattr("sinwave.tasks.base.machine.device_memory", lambda device: 3e8)
    command = ["train", str(tmp_path / "p.png"), "-o", str(tmp_path / "p.safetensors")]
    assert main([*command, "--system", "singan"]) == 2
    assert "32 x 26 pixels needs about 0 GB of memory, and this machine has 0; --max-size" in capsys.readouterr().err
    assert main(command) == 2
    assert "this machine has 0\n" in capsys.readouterr().err


# The norm


def test_the_norm_and_its_first_and_second_derivatives():
    torch.manual_seed(0)
    x = (2 * torch.randn(1, 3, 4, 5, dtype=torch.float64) + 1).requires_grad_()
    weight, bias = (torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    norm = Norm(3, own=False).double()

    def normalized(*given):
        return torch.func.functional_call(norm, dict(zip(("weight", "bias"), given[1:], strict=True)), given[0])

    assert_close(normalized(x, weight, bias), functional.instance_norm(x, weight=weight, bias=bias))
    for given in ((x, weight, bias), (x, weight.detach(), bias.detach()), (x.detach(), weight, bias)):
        assert torch.autograd.gradcheck(normalized, given)
        assert torch.autograd.gradgradcheck(normalized, given)


def test_the_slope_of_a_critic_is_that_of_automatic_differentiation_and_so_are_its_derivatives():
    torch.manual_seed(0)
    critic = critics(NARROW, 1)[0].double()
    picture, weights = torch.randn(1, 3, 20, 22, dtype=torch.float64), torch.randn(1, 3, 20, 22, dtype=torch.float64)
    expected, found = slope(critic, picture), written_out(critic, picture)
    assert_close(found, expected)
    for here, there in zip(
        *(
            torch.autograd.grad((each * weights).sum(), list(critic.parameters()), materialize_grads=True)
            for each in (found, expected)
        ),
        strict=True,
    ):
        assert_close(here, there)
