"""Few-shot adaptation: the adapter, the pool of noisy shots, DDPM-PA's step, and the system as users see it."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from sinwave.cli import main
from sinwave.data.shots import shots_of
from sinwave.data.squares import squared
from sinwave.diffusion.denoise import scalings
from sinwave.errors import InputError, MissingError, Stop
from sinwave.images import read
from sinwave.nn.local import LocalNetwork
from sinwave.nn.unet import UNetShape
from sinwave.rng import NoiseSource
from sinwave.systems import table
from sinwave.systems.contracts import Computing
from sinwave.systems.files import ModelFile, read_model, write_model
from sinwave.systems.pairwise.adapt_options import AdapterConfiguration
from sinwave.systems.pairwise.adapt_options import Settings as AdaptSettings
from sinwave.systems.pairwise.adapt_recipe import Best, LocalRecipe, PairwiseRecipe, folds_of
from sinwave.systems.pairwise.adapter import Adapted, Adapter
from sinwave.systems.pairwise.guided import Guided, Walk
from sinwave.systems.pairwise.losses import details, pairwise, snr_weights
from sinwave.systems.pairwise.marks import MarkedRecipe, Marks
from sinwave.systems.pairwise.model import Drawer, source_in, with_base
from sinwave.systems.pairwise.options import Settings
from sinwave.systems.pairwise.pool import Indices, Pool
from sinwave.systems.pairwise.recipe import SourceRecipe, drawn, weights_from
from sinwave.systems.pairwise.source import Source
from sinwave.tasks.train import train_files

MEANS = (0.2, -0.1, 0.3) + (0.0,) * 9
DEVIATIONS = (1.0, 0.9, 0.8) + (0.1,) * 9
BANDS = Settings(size=16, width=16, multipliers=(1.0, 2.0), attention=(1,), head=16, means=MEANS, deviations=DEVIATIONS)
NOISE = dataclasses.replace(BANDS, prediction="noise", packed=False, variance=True, means=(), deviations=())
ADAPTER = AdapterConfiguration(size=16, width=8, blocks=2, means=MEANS, deviations=DEVIATIONS)


def source(settings, scale=0.5):
    unet = weights_from(settings.shape.build(), NoiseSource(0)).eval()
    for name, value in unet.named_parameters():
        value.data.add_(NoiseSource(1).normal(value.shape, name), alpha=scale / value[0].numel() ** 0.5)
    return Source(settings, unet.requires_grad_(False))


def adapter(scale=0.0):
    network = LocalNetwork(ADAPTER.shape)
    for name, value in network.named_parameters():
        value.data.copy_(NoiseSource(2).normal(value.shape, name) * 0.3)
    for value in network.tail.parameters():
        value.data.mul_(scale)
    return Adapter(ADAPTER, network.requires_grad_(False))


def shots(count=4):
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_an_adapter_begins_as_its_source_and_adds_what_it_answers():
    model, x = source(BANDS), torch.randn(2, 12, 8, 8)
    t = torch.tensor([0.3, 5.0])[:, None, None, None]
    assert torch.equal(Adapted(model, adapter())(x, t), model.estimate(x, t))
    change = adapter(scale=1.0)
    mean, deviation = torch.tensor(MEANS)[:, None, None], torch.tensor(DEVIATIONS)[:, None, None]
    estimate = model.estimate(x, t)
    seen = torch.cat([(x - mean) / (deviation**2 + t**2).sqrt(), ((estimate - mean) / deviation).clamp(-5, 5)], 1)
    answer = change.network(seen, torch.zeros(2, 1, 8, 8), t.flatten().log(), torch.zeros(2))
    out = t * deviation / (deviation**2 + t**2).sqrt()
    assert answer.abs().max() > 0.1
    assert_close(Adapted(model, change)(x, t), estimate + out * answer)


def test_what_an_adapter_changes_is_local():
    """Beyond its field an input changes nothing."""
    change, x = adapter(scale=1.0), torch.randn(1, 12, 20, 20)
    estimate, t = torch.randn(1, 12, 20, 20), torch.tensor(1.0)[None, None, None, None]
    moved = x.clone()
    moved[:, :, 10, 10] += 1
    model = source(BANDS)
    apart = (change.answer(model, x, t, estimate)[0] - change.answer(model, moved, t, estimate)[0]).abs().amax((0, 1))
    radius = ADAPTER.shape.radius
    assert radius == 2
    assert apart[10 - radius : 11 + radius, 10 - radius : 11 + radius].min() > 0
    apart[10 - radius : 11 + radius, 10 - radius : 11 + radius] = 0
    assert apart.max() == 0


@pytest.mark.parametrize("settings", [BANDS, NOISE])
def test_a_pool_holds_noisy_shots_and_what_the_source_estimates(settings):
    model, pictures = source(settings), shots()
    pool = Pool(model, pictures, 40, seed=3)
    assert len(pool) == 40
    assert pool.shots.bincount().tolist() == [10] * 4
    assert torch.equal(pool.clean, model.seen(pictures)[pool.shots])
    noise = model.process.noise_in(pool.x_t, pool.times, pool.clean)
    assert noise.mean().abs() < 0.05
    assert noise.std() == pytest.approx(1, abs=0.05)
    if settings is BANDS:  # every octave from .02 to 40 is as often as another
        logs = (pool.times.flatten() / 0.02).log2().sort().values
        assert (logs - torch.linspace(0, 10.966, 40)).abs().max() < 0.6
    estimate = model.denoiser(pool.x_t[5:9], pool.times[5:9])
    estimate = estimate.clamp(-1, 1) if settings is NOISE else estimate
    assert_close(pool.estimate[5:9], estimate, rtol=1e-4, atol=1e-4)
    assert torch.equal(Pool(model, pictures, 40, seed=3).x_t, pool.x_t)
    assert not torch.equal(Pool(model, pictures, 40, seed=4).x_t, pool.x_t)


def test_every_pass_over_a_pool_leaves_out_nothing():
    batches = [Indices(10, 4, 0).at(step) for step in range(5)]
    first, second = torch.cat(batches).split(10)
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(10))
    assert first.tolist() != second.tolist()


def test_the_loss_of_an_adapter_is_that_of_the_scaled_error():
    model, change = source(BANDS), adapter(scale=1.0)
    pool = Pool(model, shots(), 32, seed=0)
    recipe = LocalRecipe(AdaptSettings(), model, change, pool, pool)
    (update,) = recipe.updates(torch.arange(8), torch.Generator())
    out = scalings(1.0, pool.times[:8], torch.tensor(DEVIATIONS)[:, None, None]).out
    there = ((Adapted(model, change)(pool.x_t[:8], pool.times[:8]) - pool.clean[:8]) / out).square().mean()
    assert update.loss.item() == pytest.approx(there.item(), rel=1e-4)


@pytest.mark.parametrize(("count", "folds"), [(1, 0), (2, 2), (4, 4), (7, 5)])
def test_every_shot_is_left_out_once_and_never_seen_by_that_fold(count, folds):
    model, pictures = source(BANDS), shots(count)
    pool, looks = Pool(model, pictures, 64, seed=0), Pool(model, pictures, 32, seed=1)
    made = folds_of(lambda number: adapter(), pool, looks)
    assert len(made) == folds
    left_out = [set(looks.shots[fold.left_out].tolist()) for fold in made]
    assert sorted(shot for shots in left_out for shot in shots) == (list(range(count)) if folds else [])
    for fold, left in zip(made, left_out, strict=True):
        assert set(pool.shots[fold.seen].tolist()) == set(range(count)) - left


def test_the_weights_of_the_best_mark_are_kept():
    model = source(BANDS)
    pool = Pool(model, shots(), 32, seed=0)
    change = adapter()
    change.network.requires_grad_(True)
    recipe = LocalRecipe(AdaptSettings(), model, change, pool, pool, folds_of(lambda number: adapter(), pool, pool))
    first = recipe.held_out()
    good = {name: value.clone() for name, value in change.network.named_parameters()}
    for network in recipe.kept.values():
        for value in network.tail.parameters():
            value.data.fill_(3.0)
    second = recipe.held_out()
    assert second["left out"] > first["left out"]
    assert second["loss"] == first["loss"] == pytest.approx(first["left out"])
    assert second["shots"] != second["left out"]
    assert recipe.best.loss.item() == pytest.approx(first["loss"])
    assert all(torch.equal(value, good[name]) for name, value in recipe.best.weights.items())
    again = Best(adapter().network.requires_grad_(True))
    again.load_state_dict(recipe.best.state_dict())
    assert all(torch.equal(value, good[name]) for name, value in again.weights.items())


def test_pairwise_terms_are_those_of_the_losses_and_the_source_does_not_move():
    frozen = source(NOISE)
    moved = dataclasses.replace(frozen, unet=copy.deepcopy(frozen.unet).requires_grad_(True))
    for value in moved.unet.parameters():
        value.data.mul_(1.05)
    settings = AdaptSettings(method="pairwise", batch=4, pairs=2.0, details=3.0, detail_errors=0.5)
    recipe = PairwiseRecipe(settings, moved, frozen, [])
    before = copy.deepcopy(frozen.unet.state_dict())
    draw = drawn(moved, shots(), torch.Generator().manual_seed(1))
    terms = recipe.terms(shots(), draw)
    x_t = moved.chain.diffuse(shots(), draw.times, draw.noise)
    ours, theirs = moved.denoiser(x_t, draw.times), frozen.denoiser(x_t, draw.times)
    weights = snr_weights(moved.chain, draw.times)
    assert terms["pairs"].item() == pytest.approx(2 * pairwise(ours, theirs).item(), rel=1e-3)
    assert terms["details"].item() == pytest.approx(3 * pairwise(details(ours), details(theirs)).item(), rel=1e-3)
    errors = (weights * (details(ours) - details(shots())).square()).mean()
    assert terms["detail errors"].item() == pytest.approx(0.5 * errors.item(), rel=1e-3)
    assert set(terms) == {"simple", "pairs", "details", "detail errors", "variance"}
    (update,) = recipe.updates(shots(), torch.Generator().manual_seed(1))
    update.loss.backward()
    assert all(value.grad is None for value in frozen.unet.parameters())
    assert all(torch.equal(value, before[name]) for name, value in frozen.unet.state_dict().items())
    assert max(value.grad.abs().max() for value in moved.unet.parameters() if value.grad is not None) > 0


def test_the_source_has_no_dropout_and_the_adapted_network_has():
    frozen = source(NOISE)
    shape = dataclasses.replace(NOISE.shape, dropout=0.5)
    with_dropout = [shape.build() for _ in range(2)]
    for unet in with_dropout:
        unet.load_state_dict(frozen.unet.state_dict())
    theirs, ours = (dataclasses.replace(frozen, unet=unet.train()) for unet in with_dropout)
    recipe = PairwiseRecipe(AdaptSettings(method="pairwise"), ours, theirs, [])
    draw = drawn(ours, shots(), torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    first = recipe.terms(shots(), draw)
    assert not theirs.unet.training
    assert ours.unet.training
    assert first["pairs"].item() != recipe.terms(shots(), draw)["pairs"].item()


def test_printed_weights_let_details_rule_where_there_is_no_signal():
    frozen = source(NOISE)
    draw = drawn(frozen, shots(), torch.Generator().manual_seed(1))
    draw = draw._replace(times=torch.full_like(draw.times, 0.9))
    errors = []
    for weighting in ("snr", "paper"):
        settings = AdaptSettings(method="pairwise", weighting=weighting)
        errors.append(PairwiseRecipe(settings, frozen, frozen, []).terms(shots(), draw)["detail errors"].item())
    abar = frozen.chain.alphas_cumprod[900]
    assert errors[1] / errors[0] == pytest.approx((1 - abar) / abar, rel=1e-3)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A source and a folder of shots in several sizes, one twice, one damaged, one too small."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sinwave.systems.pairwise.adapt._POOL", 100)
    monkeypatch.setattr("sinwave.tasks.reporting.adaptation.OF_MODEL", 6)
    monkeypatch.setattr("sinwave.tasks.reporting.adaptation._BETWEEN", 3)
    monkeypatch.setattr("sinwave.systems.pairwise.marks._SAMPLES", 16)
    monkeypatch.setattr("sinwave.systems.pairwise.marks._STEPS", 3)
    Path("shots").mkdir()
    for number, size in enumerate([(16, 16), (60, 40), (16, 30)]):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).resize((max(size), max(size))).save(f"shots/{number}.png")
    Image.open("shots/1.png").save("shots/again.webp", lossless=True)
    Path("shots/damaged.jpg").write_bytes(b"no picture")
    write_model(
        Path("source.safetensors"), ModelFile("ddpm", BANDS.to_json(), {}, dict(source(BANDS).unet.state_dict()))
    )
    write_model(
        Path("noise.safetensors"), ModelFile("ddpm", NOISE.to_json(), {}, dict(source(NOISE).unet.state_dict()))
    )
    return tmp_path


def adapted(*options):
    method = [] if "--method" in options else ["--method", "local"]
    return main(["train", "shots", "--system", "few-shot", "--steps", "3", "--batch", "4", *method, *options])


@pytest.mark.parametrize("method", ["local", "lora"])
def test_an_adapter_is_small_names_its_source_and_is_drawn_from(place, capsys, method):
    assert adapted("--source", "source.safetensors", "-o", "new.safetensors", "--method", method) == 0
    remarks = capsys.readouterr().err
    assert "damaged.jpg" in remarks
    assert "again.webp: this is the same picture as 1.png" in remarks
    assert Path("new.safetensors").stat().st_size < 1e6
    file = read_model(Path("new.safetensors"))
    assert file.base == ("source.safetensors", "", hashlib.sha256(Path("source.safetensors").read_bytes()).hexdigest())
    assert main(["generate", "new.safetensors", "-n", "2", "-o", "out", "-q"]) == 0
    assert main(["generate", "source.safetensors", "-n", "2", "-o", "out", "-q"]) == 0
    pictures = [read(f"out/{name}-0001.png").pixels for name in ("new", "source")]
    assert pictures[0].shape == (3, 16, 16)
    # Few steps have changed little: the same noise gives nearly the same picture.
    assert 0 < (pictures[0] - pictures[1]).abs().mean() < 0.1
    capsys.readouterr()
    assert main(["info", "new.safetensors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["system"] == "few-shot"


def test_of_the_same_picture_the_larger_file_is_used(tmp_path):
    one, other = np.random.default_rng(3).integers(0, 256, (2, 4, 4, 3), np.uint8)
    for name, side, pixels in (("a.png", 24, one), ("b.png", 96, one), ("c.png", 24, other)):
        Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(tmp_path / name)
    remarks = list[str]()
    shots = shots_of(tmp_path, 32, remarks.append)
    assert shots.names == ("b.png", "c.png")
    for name, square in zip(shots.names, shots.pictures, strict=True):
        assert_close(square, squared(read(tmp_path / name).pixels, 32))
    assert remarks == [
        f"{tmp_path / 'a.png'}: this is the same picture as b.png, which is larger; it is left out",
        f"{tmp_path / 'c.png'}: the picture has 24 x 24 pixels, and is enlarged to 32 a side",
    ]


def test_another_source_or_none_is_refused_by_name(place, capsys):
    assert adapted("--source", "source.safetensors", "-o", "new.safetensors", "-q") == 0
    before = Path("source.safetensors").read_bytes()
    write_model(
        Path("source.safetensors"),
        ModelFile("ddpm", BANDS.to_json(), {"another": 1}, dict(source(BANDS).unet.state_dict())),
        overwrite=True,
    )
    hashes = [hashlib.sha256(data).hexdigest()[:16] for data in (before, Path("source.safetensors").read_bytes())]
    with pytest.raises(InputError, match=rf"hash {hashes[0]}, and that of .*source.safetensors is {hashes[1]}"):
        with_base(read_model(Path("new.safetensors")), Path("new.safetensors"))
    Path("source.safetensors").unlink()
    with pytest.raises(MissingError, match=r"its source source\.safetensors is in none of"):
        with_base(read_model(Path("new.safetensors")), Path("new.safetensors"))


@pytest.mark.parametrize("method", ["direct", "pairwise"])
def test_whole_networks_are_adapted_from_the_weights_of_the_source(place, method):
    name = "noise.safetensors" if method == "pairwise" else "source.safetensors"
    assert adapted("--source", name, "--method", method, "-o", "new.safetensors", "-q", "--rate", "1e-5") == 0
    there, here = (read_model(Path(file)).weights for file in (name, "new.safetensors"))
    apart = max((here[key] - there[key]).abs().max().item() for key in there)
    assert 0 < apart < 1e-3
    assert main(["generate", "new.safetensors", "-n", "1", "-q"]) == 0


@pytest.mark.parametrize("method", ["local", "direct", "lora"])
def test_a_killed_adaptation_ends_as_if_it_had_not_been(place, method):
    command = ["--source", "source.safetensors", "-q", "--method", method]
    assert adapted(*command, "-o", "whole.safetensors") == 0

    def stop(label, done, total):
        if label.startswith("step") and done >= 2:
            raise Stop

    options = {"source": Path("source.safetensors"), "steps": 3, "batch": 4, "method": method}
    with pytest.raises(Stop):
        train_files((Path("shots"),), Path("parts.safetensors"), "few-shot", options).run(stop)
    train_files((Path("shots"),), Path("parts.safetensors"), "few-shot", options).run()
    whole, parts = (read_model(Path(f"{name}.safetensors")).weights for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "needs the model to adapt"),
        (["--source", "noise.safetensors", "--method", "pairwise", "--batch", "2"], "at least 3"),
        (["--source", "noise.safetensors", "--method", "pairwise", "--batch", "8", "--group", "3"], "divide the batch"),
        (["--source", "source.safetensors", "--method", "pairwise"], "needs a source that answers noise"),
        (
            ["--source", "source.safetensors", "--method", "lora", "--rank", "64"],
            "layers of source.safetensors",
        ),
        (["--source", "source.safetensors", "--rank", "8"], "rank is an option of --method lora, not of direct"),
        (["--source", "source.safetensors", "--field", "9"], "field is an option of --method local, not of direct"),
        (["--source", "source.safetensors", "--group", "3"], "group is an option of --method pairwise, not of direct"),
        (["--source", "shots/0.png"], "cannot be read as weights"),
        (["--source", "absent.pt"], "there is no such file"),
        (["--source", "source.safetensors", "--adm", "16,by-head,linear,16"], "about unpublished checkpoints"),
        (["--source", "source.safetensors", "-o", "source.safetensors", "--overwrite"], "would replace it"),
    ],
)
def test_bad_adaptations_are_refused_in_a_sentence(place, capsys, options, words):
    assert main(["train", "shots", "--system", "few-shot", "--steps", "3", *options]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("rank", [1, 3])
def test_changes_of_low_rank_fit_their_source_and_their_rank_strictly(place, rank):
    options = ["--source", "source.safetensors", "--method", "lora", "--rank", str(rank), "-q", "-o", "new.safetensors"]
    assert adapted(*options) == 0
    path = Path("new.safetensors")
    file = read_model(path)
    name, *_, last = sorted(file.weights)
    assert name.endswith("down.weight")
    assert file.weights[name].shape[0] == rank
    assert with_base(file, path).adapter is None
    spoiled = [
        {**file.weights, name: file.weights[name][:, 1:]},
        {key: value for key, value in file.weights.items() if key != last},
        {**file.weights, "another": torch.zeros(1)},
        {**file.weights, "time_embed.0.bias": torch.zeros(64)},
    ]
    sentences = [name, last, "another", r"weights of its source, such as time_embed\.0\.bias"]
    for weights, words in zip(spoiled, sentences, strict=True):
        with pytest.raises(InputError, match=words):
            with_base(dataclasses.replace(file, weights=weights), path)


@pytest.mark.parametrize("count", [1, 2])
def test_one_picture_or_two_are_enough(place, count):
    for file in sorted(Path("shots").iterdir())[count:]:
        file.unlink()
    assert len(shots_of(Path("shots"), 16, lambda sentence: None).pictures) == count
    assert adapted("--source", "source.safetensors", "-q") == 0
    assert adapted("--source", "noise.safetensors", "--method", "pairwise", "-o", "pairs.safetensors", "-q") == 0


def test_a_source_may_lie_elsewhere_and_a_wrong_one_beside_does_not_hide_it(place):
    Path("models").mkdir()
    Path("source.safetensors").rename("models/source.safetensors")
    assert adapted("--source", "models/source.safetensors", "-o", "new.safetensors", "-q") == 0
    Path("noise.safetensors").rename("source.safetensors")
    assert main(["generate", "new.safetensors", "-n", "1", "-q"]) == 0
    Path("models/source.safetensors").unlink()
    assert main(["generate", "new.safetensors", "-n", "1", "-q", "-o", "more"]) == 2


def test_another_source_of_the_same_name_is_another_adaptation(place, capsys):
    command = ["--source", "source.safetensors", "-o", "new.safetensors", "-q"]
    assert adapted(*command) == 0
    assert adapted(*command) == 0  # done before
    changed = ModelFile("ddpm", BANDS.to_json(), {"another": 1}, dict(source(BANDS).unet.state_dict()))
    write_model(Path("source.safetensors"), changed, overwrite=True)
    assert adapted(*command) == 2
    assert "--overwrite begins anew" in capsys.readouterr().err


def test_groups_need_not_divide_the_pictures_of_a_look(place):
    options = ["--method", "pairwise", "--batch", "6", "--group", "3", "-q"]
    assert adapted("--source", "noise.safetensors", "-o", "new.safetensors", *options) == 0


def test_a_checkpoint_of_adm_is_a_source(place):
    shape = UNetShape(32, (1, 1), 1, (1,), head=16)
    torch.manual_seed(0)
    torch.save(shape.build().state_dict(), "adm.pt")
    layout = "16,by-head,linear,16"
    loaded = source_in(Path("adm.pt"), layout)
    assert (loaded.configuration.prediction, loaded.configuration.packed, loaded.configuration.variance) == (
        "noise",
        False,
        True,
    )
    pictures = Drawer(loaded, walk=Walk(steps=3)).generate((16, 16), NoiseSource(0))
    assert pictures.shape == (1, 3, 16, 16)
    assert loaded.configuration.shape == shape
    assert adapted("--source", "adm.pt", "--adm", layout, "-o", "new.safetensors", "-q") == 0
    assert main(["generate", "new.safetensors", "-n", "1", "-q"]) == 0


def test_adapt_is_the_same_training_by_a_shorter_name(place, capsys):
    options = ["--steps", "3", "--batch", "4", "--method", "local", "-q"]
    assert main(["adapt", "source.safetensors", "shots", "-o", "a.safetensors", *options]) == 0
    assert adapted("--source", "source.safetensors", "-o", "b.safetensors", "-q") == 0
    ours, theirs = (read_model(Path(f"{name}.safetensors")) for name in "ab")
    assert all(torch.equal(ours.weights[name], theirs.weights[name]) for name in theirs.weights)
    assert main(["adapt", "source.safetensors", "--steps", "3"]) == 2
    assert "FOLDER is missing" in capsys.readouterr().err
    assert main(["adapt", "source.safetensors", "shots", "--source", "x"]) == 2


@pytest.mark.parametrize("settings", [BANDS, NOISE])
def test_guidance_is_the_line_through_both_estimates_and_the_source_draws_above_a_level(settings):
    before, after = source(settings), source(settings, scale=1.0)
    process, x = before.process, torch.randn(2, before.channels, 8, 8)
    times = before.plan(5).times

    def estimate(walk, t):
        return Guided(before.denoiser, after.denoiser, process, walk)(x, t)

    for t in times[:-1]:
        first, second = before.denoiser(x, t), after.denoiser(x, t)
        assert torch.equal(estimate(Walk(guidance=0.0), t), first)
        assert_close(estimate(Walk(guidance=1.0), t), second)
        assert_close(estimate(Walk(guidance=2.5), t), first + 2.5 * (second - first))
        level = process.at(t).noise / process.at(t).signal
        assert torch.equal(estimate(Walk(above=0.99 * level), t), first)
        assert_close(estimate(Walk(above=1.01 * level), t), second)


@pytest.mark.parametrize("method", ["direct", "local", "lora"])
def test_an_adapted_model_is_guided_by_its_source(place, capsys, method):
    assert adapted("--source", "source.safetensors", "--method", method, "--rate", "0.01", "-o", "new.safetensors") == 0
    model, theirs = (table.load(Path(f"{name}.safetensors")) for name in ("new", "source"))

    def picture(loaded, guidance=1.0, above=None):
        drawer = loaded.steered(3, guidance, above).build("network", Computing(torch.device("cpu"), torch.float32))
        return drawer.generate((16, 16), NoiseSource(0))

    plain, unadapted = picture(model), picture(theirs)
    assert not torch.equal(plain, unadapted)
    assert torch.equal(picture(model, guidance=0.0), unadapted)
    assert torch.equal(picture(model, above=0.0), unadapted)
    assert torch.equal(picture(model, above=1000.0), plain)
    assert not torch.equal(picture(model, guidance=3.0), plain)
    line = ["generate", "new.safetensors", "-n", "1", "--guidance", "2", "-q"]
    assert main([*line, "--steps", "3", "--source-above", "2"]) == 0
    write_model(
        Path("source.safetensors"),
        ModelFile("ddpm", BANDS.to_json(), {"another": 1}, dict(source(BANDS).unet.state_dict())),
        overwrite=True,
    )
    assert main([*line, "--overwrite"]) == 2
    assert "hash" in capsys.readouterr().err


def test_a_model_that_was_not_adapted_is_not_guided(place, capsys):
    assert main(["generate", "source.safetensors", "--guidance", "2"]) == 2
    assert "this one was not adapted" in capsys.readouterr().err
    assert main(["generate", "shots/0.png", "--steps", "9"]) == 2
    assert "are for models of many pictures" in capsys.readouterr().err


def near_shares(monkeypatch, values, source=0.0):
    """Let the samples of every mark be so near, and those of the source."""
    shares = iter(values)
    place = "sinwave.systems.pairwise.marks"
    monkeypatch.setattr(
        f"{place}.Marks.at", lambda self, drawer: {"copies": 0.0, "near": next(shares, 0.0), "spread": 1.0}
    )
    monkeypatch.setattr(f"{place}.Copies.share", lambda self, pictures, within=1.0: source)


def test_an_adaptation_ends_when_it_copies_and_keeps_weights_from_before(place, monkeypatch, capsys):
    near_shares(monkeypatch, 2 * [0.0, 0.02, 0.03, 0.3])
    options = ["--source", "source.safetensors", "--method", "direct", "--batch", "2"]
    assert main(["train", "shots", "--system", "few-shot", "-o", "new.safetensors", *options]) == 0
    assert "30% of the samples are copies or nearly" in capsys.readouterr().err
    lines = [json.loads(line) for line in Path("new.run/log.jsonl").read_text().splitlines()]
    marks = [(line["step"], line["held_out"]["near"]) for line in lines if "held_out" in line]
    assert marks == [(25, 0.0), (50, 0.02), (75, 0.03), (100, 0.3)]
    assert all(line["held_out"]["spread"] > 0 for line in lines if "held_out" in line)
    assert lines[-1]["step"] == 100
    file = read_model(Path("new.safetensors"))
    kept = file.weights
    assert (file.provenance["steps"], file.provenance["kept_step"]) == (100, 83)

    def stop(label, done, total):
        if label.startswith("step") and done >= 60:
            raise Stop

    training = train_files(
        (Path("shots"),),
        Path("parts.safetensors"),
        "few-shot",
        {"source": Path("source.safetensors"), "method": "direct", "batch": 2},
    )
    with pytest.raises(Stop):
        training.run(stop)
    assert training.run().steps == 100
    parts = read_model(Path("parts.safetensors")).weights
    assert all(torch.equal(kept[name], parts[name]) for name in kept)
    marks = list[Mapping[str, torch.Tensor]]()
    for steps in ("75", "100"):
        place, exact = Path(f"exact-{steps}.safetensors"), ["-o", f"exact-{steps}.safetensors", "--steps", steps]
        assert main(["train", "shots", "--system", "few-shot", *exact, *options]) == 0
        marks.append(read_model(place).weights)
    for name, value in kept.items():
        assert_close(value, torch.lerp(marks[0][name], marks[1][name], 0.09 / 0.27))


@pytest.mark.parametrize("method", ["direct", pytest.param("lora", marks=pytest.mark.slow)])
def test_the_report_on_a_model_is_one_file_about_its_samples_and_what_they_copy(place, capsys, monkeypatch, method):
    training = ["--system", "few-shot", "--source", "source.safetensors", "--method", method, "--steps", "50"]
    assert main(["train", "shots", *training, "--batch", "2", "-o", "new.safetensors", "-q"]) == 0
    capsys.readouterr()
    assert main(["report", "new.safetensors", "--shots", "shots", "-o", "new.html", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 6
    page = Path("new.html").read_text(encoding="utf-8")
    assert page.count("<img") == 6 + 3 + 2 * 6 + 2 * 6 + 3  # samples, shots, nearest, before and after, between
    assert page.count("<svg") == 2
    assert "http" not in page
    assert f"by the method {method} in 50 steps" in page
    again = page.encode()
    assert main(["report", "new.safetensors", "--shots", "shots", "-o", "again.html", "-q", "--threads", "1"]) == 0
    assert Path("again.html").read_bytes() == again
    # Without the source and the log there is less to show.
    Path("source.safetensors").unlink()
    Path("new.run/log.jsonl").unlink()
    code = main(["report", "new.safetensors", "--shots", "shots", "-o", "less.html"])
    if method == "lora":
        assert code == 2
        return
    assert code == 0
    assert "its source source.safetensors is in none of" in capsys.readouterr().err
    assert Path("less.html").read_text(encoding="utf-8").count("<img") == 6 + 3 + 2 * 6 + 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["source.safetensors", "--shots", "shots"], "this is no adapted model"),
        (["new.safetensors"], "--shots is missing"),
        (["new.safetensors", "--shots", "absent"], "there is no such folder"),
        (["new.safetensors", "--shots", "others"], "adapted to other pictures"),
        (["new.safetensors", "--shots", "shots", "--samples", "shots"], "samples has no use"),
        (["new.safetensors", "--shots", "shots", "--peers", "a=shots"], "peers has no use"),
        (["shots/0.png"], "--samples is missing"),
        (["shots/0.png", "--samples", "shots", "--shots", "shots"], "shots has no use"),
        (["new.safetensors", "--shots", "shots", "-o", "shots/0.png", "--overwrite"], "this is read here"),
    ],
)
def test_a_report_on_a_model_that_cannot_be_is_refused(place, capsys, arguments, words):
    training = ["--system", "few-shot", "--source", "source.safetensors", "--method", "direct", "--steps", "1"]
    assert main(["train", "shots", *training, "--batch", "2", "-o", "new.safetensors", "-q"]) == 0
    Path("others").mkdir()
    Image.open("shots/0.png").save("others/0.png")
    assert main(["report", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not Path("report.html").exists()


def test_marks_judge_anew_and_not_harder_than_the_source(monkeypatch):
    near_shares(monkeypatch, [0.2, 0.7, 0.5, 0.0], source=0.3)
    moved = source(BANDS)
    moved.unet.requires_grad_(True)
    recipe = SourceRecipe(moved, [shots()], 1e-3, muon=False)
    marked = MarkedRecipe(recipe, Drawer(moved), Marks(Drawer(source(BANDS)), shots()), stops=True)
    seen = []
    for _ in range(4):
        marked.held_out()
        seen.append((marked.reason is not None, marked.kept_look))
    assert seen == [(False, 1), (True, pytest.approx(1.8)), (False, 3), (False, 4)]


def test_weights_between_two_marks_are_kept_where_the_limit_is_due(monkeypatch):
    near_shares(monkeypatch, [0.06, 0.16])
    moved = source(BANDS)
    moved.unet.requires_grad_(True)
    recipe = SourceRecipe(moved, [shots()], 1e-3, muon=False)
    marked = MarkedRecipe(recipe, Drawer(moved), Marks(Drawer(source(BANDS)), shots()), stops=True)
    weights = list[dict[str, torch.Tensor]]()
    for value in (0.0, 1.0):
        for parameter in moved.unet.parameters():
            parameter.data.fill_(value)
        marked.held_out()
        weights.append({name: x.clone() for name, x in marked.best.weights.items()})
    assert all(not x.any() for x in weights[0].values())
    for x in weights[1].values():
        assert_close(x, torch.full_like(x, 0.6))
    assert marked.kept_look == pytest.approx(1.6)
    kept = "the weights of some steps before, where about 12% are due, are kept"
    assert marked.reason == f"16% of the samples are copies or nearly: {kept}"


def test_copies_at_the_first_mark_are_said_to_be_in_what_is_kept(monkeypatch):
    near_shares(monkeypatch, [0.5])
    moved = source(BANDS)
    moved.unet.requires_grad_(True)
    recipe = SourceRecipe(moved, [shots()], 1e-3, muon=False)
    marked = MarkedRecipe(recipe, Drawer(moved), Marks(Drawer(source(BANDS)), shots()), stops=True)
    marked.held_out()
    assert marked.reason == "50% of the samples are copies or nearly: already at the first mark, whose weights are kept"
    assert marked.kept_look == 1


def test_a_large_source_has_few_samples_at_a_mark():
    small = Drawer(source(BANDS))
    large = Drawer(dataclasses.replace(source(BANDS), configuration=dataclasses.replace(BANDS, size=4096)))
    assert Marks(small, shots())._count == 64
    assert Marks(large, shots())._count == 24


def test_half_of_the_samples_are_enough_where_none_is_near(monkeypatch):
    drawer = Drawer(source(BANDS))
    samples = Marks(drawer, shots())._samples(drawer, range(64))
    ranges = list[range]()

    def recorded(self, drawer, numbers):
        ranges.append(numbers)
        return samples[numbers.start : numbers.stop]

    monkeypatch.setattr(Marks, "_samples", recorded)
    far = Marks(drawer, shots()).at(drawer)
    assert (far["near"], far["copies"]) == (0, 0)
    assert ranges == [range(32), range(32)]  # the second are those of the source
    ranges.clear()
    near = Marks(drawer, samples[20:21]).at(drawer)
    assert near["near"] >= near["copies"] > 0
    assert ranges == [range(32), range(32, 64), range(32)]


def test_shots_of_one_name_in_two_folders_are_two(place):
    for name in "ab":
        Path("nested", name).mkdir(parents=True)
        Image.open(f"shots/{'ab'.index(name)}.png").save(f"nested/{name}/0.png")
    assert shots_of(Path("nested"), 16, lambda sentence: None).names == ("a/0.png", "b/0.png")
    training = ["--system", "few-shot", "--source", "source.safetensors", "--method", "direct", "--steps", "1"]
    assert main(["train", "nested", *training, "--batch", "2", "-o", "new.safetensors", "-q"]) == 0
    # Another file under the name of the source is no reason for no report.
    Path("source.safetensors").write_bytes(Path("noise.safetensors").read_bytes())
    assert main(["report", "new.safetensors", "--shots", "nested", "-o", "new.html", "-q"]) == 0
    page = Path("new.html").read_text(encoding="utf-8")
    assert "adapted to 2 pictures" in page
    assert "b/0.png" in page


def test_marks_are_of_the_same_noise_and_compare_with_shots_and_source():
    model = source(BANDS)
    drawer = Drawer(model)
    own = drawer.generate((16, 16), NoiseSource(0).child("mark").batch(range(4)))
    marks = Marks(drawer, shots())
    assert marks.at(drawer)["spread"] == 1.0
    assert marks.at(drawer) == marks.at(drawer)
    steps = dataclasses.replace(drawer, walk=Walk(12)).generate((16, 16), NoiseSource(0).child("mark").batch(range(4)))
    assert not torch.equal(own, steps)
    assert Marks(drawer, steps).at(drawer)["copies"] >= 4 / 96
    broken = source(BANDS)
    next(broken.unet.parameters()).data.fill_(float("nan"))
    assert marks.at(Drawer(broken)) == {}
