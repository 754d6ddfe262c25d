"""The system ddpm: its denoisers against formulas and diffusers, training from a folder, drawing and exporting."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler
from PIL import Image
from torch.testing import assert_close

from sinwave.cli import main
from sinwave.data.squares import Squares, squared
from sinwave.errors import InputError
from sinwave.images import read
from sinwave.rng import NoiseSource
from sinwave.systems.contracts import Computing
from sinwave.systems.files import ModelFile, read_model, write_model
from sinwave.systems.pairwise.model import Drawer, Trained, from_file
from sinwave.systems.pairwise.options import Configuration, Settings
from sinwave.systems.pairwise.recipe import SourceRecipe, drawn, hidden, weights_from
from sinwave.systems.pairwise.source import Source, moments
from sinwave.threads import threads
from sinwave.wavelets import pack

CPU = Computing(torch.device("cpu"), torch.float32)
MEANS = (0.2, -0.1, 0.3) + (0.0,) * 9
DEVIATIONS = (1.0, 0.9, 0.8) + (0.1,) * 9
BANDS = Settings(size=16, width=16, multipliers=(1.0, 2.0), attention=(1,), head=16, means=MEANS, deviations=DEVIATIONS)
NOISE = dataclasses.replace(
    BANDS, prediction="noise", packed=False, variance=True, means=(), deviations=(), width=32, groups=32
)


def source(settings, scale=0.0, seed=0):
    """A network that is nothing yet, or random everywhere."""
    unet = weights_from(settings.shape.build(), NoiseSource(seed)).eval()
    for name, value in unet.named_parameters():
        if scale:
            value.data.add_(NoiseSource(seed + 1).normal(value.shape, name), alpha=scale / value[0].numel() ** 0.5)
    return Source(settings, unet.requires_grad_(False))


def test_an_untrained_network_is_the_best_linear_estimate_of_every_band():
    model, x, sigma = source(BANDS), torch.randn(2, 12, 8, 8), 0.7
    mean, deviation = torch.tensor(MEANS)[:, None, None], torch.tensor(DEVIATIONS)[:, None, None]
    wiener = mean + deviation**2 / (deviation**2 + sigma**2) * (x - mean)
    assert_close(model.denoiser(x, sigma), wiener)


def test_the_network_sees_scaled_numbers_and_the_logarithm_of_the_level():
    model, x = source(BANDS, scale=1.0), torch.randn(2, 12, 8, 8)
    mean, deviation = torch.tensor(MEANS)[:, None, None], torch.tensor(DEVIATIONS)[:, None, None]
    sigma = torch.tensor([0.3, 4.0])[:, None, None, None]
    root = (deviation**2 + sigma**2).sqrt()
    answer = model.unet((x - mean) / root, 100 * sigma.flatten().log())
    there = mean + deviation**2 / root**2 * (x - mean) + sigma * deviation / root * answer
    assert_close(model.denoiser(x, sigma), there)


def test_a_network_that_answers_noise_has_the_index_of_its_step():
    model, x = source(NOISE, scale=1.0), torch.randn(2, 3, 16, 16)
    t = torch.tensor([0.001, 0.5])[:, None, None, None]
    eps = model.unet(x, torch.tensor([0.0, 499.0]))[:, :3]
    abar = torch.tensor([model.chain.alphas_cumprod[k] for k in (1, 500)])[:, None, None, None]
    assert_close(model.denoiser(x, t), (x - (1 - abar).sqrt() * eps) / abar.sqrt(), rtol=1e-4, atol=1e-4)


def test_the_published_walk_has_the_indices_960_920_to_0():
    indices = [round(1000 * t) - 1 for t in source(NOISE).plan(25).times[:-1]]
    assert indices == list(range(960, -1, -40))
    with pytest.raises(InputError, match="2 or more"):
        source(NOISE).plan(1)


@pytest.mark.parametrize(
    ("steps", "chain", "side"), [(2, 2, 0), (3, 2, 1), (6, 5, 1), (12, 8, 2), (25, 9, 4), (100, 36, 8)]
)
def test_two_thirds_of_a_walk_are_means_at_falling_noise(steps, chain, side):
    plan = source(BANDS).plan(steps)
    assert len(plan.times) - 1 == chain and plan.repeats == side and chain + side**2 == steps
    assert plan.steps == steps
    levels = torch.tensor([*plan.times[:-1], *plan.averaged])
    assert levels[0].item() == pytest.approx(40) and plan.times[-2] == pytest.approx(0.3)
    assert (levels.diff() < 0).all() and (levels > 0.02).all()


@pytest.mark.parametrize("settings", [BANDS, NOISE])
def test_what_it_sees_is_shown_again(settings):
    pictures = torch.rand(2, 3, 16, 16) * 2 - 1
    assert_close(source(settings).shown(source(settings).seen(pictures)), pictures)


def test_moments_are_those_of_channels():
    x = torch.randn(50, 12, 4, 4) * torch.arange(1, 13)[:, None, None] + 3
    means, deviations = moments([x[:20], x[20:]])
    assert means == pytest.approx(x.mean((0, 2, 3)).tolist(), abs=1e-5)
    assert deviations == pytest.approx(x.std((0, 2, 3)).tolist(), abs=1e-5)


@pytest.mark.parametrize("settings", [BANDS, NOISE])
def test_times_of_a_batch_are_one_of_each_part(settings):
    model = source(settings)
    draw = drawn(model, torch.zeros(64, model.channels, 8, 8), torch.Generator().manual_seed(0))
    times = draw.times.flatten().sort().values
    if settings.prediction == "noise":
        assert_close(times * 1000, (times * 1000).round(), rtol=0, atol=1e-3)
        shares = (times * 1000 - 0.5) / 1000
    else:
        shares = torch.special.ndtr((times.log() + 1.2) / 1.2)
    assert ((shares * 64).floor() - torch.arange(64)).abs().max() <= (1 if settings.prediction == "noise" else 0)


def test_the_loss_of_noise_is_that_of_the_paper():
    model, pictures = source(NOISE, scale=0.5), torch.rand(8, 3, 16, 16) * 2 - 1
    recipe = SourceRecipe(model, [pictures], 1e-3)
    (update,) = recipe.updates(pictures, torch.Generator().manual_seed(4))
    draw = drawn(model, pictures, torch.Generator().manual_seed(4))
    x_t = model.chain.diffuse(pictures, draw.times, draw.noise)
    answer = model.unet(x_t, draw.times.flatten() * 1000 - 1)
    simple = (answer[:, :3] - draw.noise).square().mean()
    from sinwave.systems.pairwise.losses import variational

    index = (draw.times.flatten() * 1000).round().long() - 1
    bits = variational(model.chain, index, x_t, pictures, answer[:, :3], answer[:, 3:]).mean()
    assert update.loss.item() == pytest.approx((simple + bits).item(), rel=1e-4)
    assert simple.item() > 0.1
    assert bits.item() > 0


def test_matrices_of_blocks_are_for_muon():
    unet = source(BANDS).unet
    names = [name for name, value in unet.named_parameters() if any(value is matrix for matrix in hidden(unet))]
    assert {name.rsplit(".", 2)[-2] for name in names} == {"2", "3", "qkv", "proj_out"}
    assert all(name.endswith("weight") for name in names)


@pytest.mark.slow
def test_a_training_learns_two_colors():
    """Pictures of one of two colors: what is drawn is one of them."""
    settings = dataclasses.replace(
        BANDS,
        size=8,
        multipliers=(1.0,),
        attention=(),
        means=(0.0,) * 12,
        deviations=(1.2,) * 3 + (0.02,) * 9,
        batch=32,
    )
    colors = torch.tensor([[0.6, -0.6, 0.6], [-0.6, 0.6, -0.6]])
    model = Source(settings, weights_from(settings.shape.build(), NoiseSource(0)))
    recipe = SourceRecipe(model, [], 1e-3)
    player = recipe.players["network"]
    for step in range(90):
        generator = torch.Generator().manual_seed(step)
        batch = colors[torch.randint(2, (32,), generator=generator)][:, :, None, None].expand(-1, -1, 8, 8)
        for parameter in player.parameters:
            parameter.grad = None
        (update,) = recipe.updates(batch.contiguous(), generator)
        update.loss.backward()
        for optimizer in player.optimizers:
            optimizer.step(4e-3)
    with torch.no_grad():
        pictures = Drawer(model).generate((8, 8), NoiseSource(0).batch(range(24)))
    apart = (pictures.mean((2, 3))[:, None] - colors).abs().amax(2)
    assert (apart.min(1).values < 0.5).float().mean() > 0.8
    assert {0, 1} == set(apart.argmin(1).tolist())


@pytest.mark.parametrize("settings", [BANDS, NOISE])
def test_a_picture_is_the_same_alone_in_a_batch_and_with_two_threads(settings):
    model = Trained(source(settings, scale=0.3)).build("network", CPU)
    assert model.max_batch == 1
    alone = model.generate((16, 16), NoiseSource(0).child("picture", 3))
    with threads(1):
        assert torch.equal(model.generate((16, 16), NoiseSource(0).child("picture", 3)), alone)
    both = model.generate((16, 16), NoiseSource(0).child("picture").batch([2, 3]))
    assert_close(both[1:], alone, rtol=0, atol=1e-4)
    assert alone.abs().max() <= 1
    assert (both[0] - both[1]).abs().max() > 0.01


def test_a_constraint_holds_at_the_end():
    def half(picture):
        picture = picture.clone()
        picture[:, :, :, :8] = 0.5
        return picture

    model = Trained(source(BANDS, scale=0.3)).build("network", CPU)
    drawn = model.generate((16, 16), NoiseSource(0), constrain=lambda scale: half)
    assert_close(drawn[:, :, :, :8], torch.full((1, 3, 16, 8), 0.5))


def test_diffusers_draws_the_same_picture_from_the_exported_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = source(NOISE, scale=0.5)
    configuration = {name: getattr(NOISE, name) for name in Configuration.__dataclass_fields__}
    write_model(
        Path("m.safetensors"),
        ModelFile("ddpm", Configuration(**configuration).to_json(), {}, dict(model.unet.state_dict())),
    )
    assert main(["export", "m.safetensors", "--to", "diffusers", "-q"]) == 0
    assert main(["export", "m.safetensors", "--to", "diffusers", "-q"]) == 2
    assert "exists" in capsys.readouterr().err
    pipeline = DDIMPipeline.from_pretrained("m-diffusers")
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, timestep_spacing="leading")
    pipeline.set_progress_bar_config(disable=True)
    start = NoiseSource(3).normal((1, 3, 16, 16), "start")
    monkeypatch.setattr("diffusers.pipelines.ddim.pipeline_ddim.randn_tensor", lambda *args, **more: start.clone())
    theirs = torch.from_numpy(
        pipeline(num_inference_steps=25, use_clipped_model_output=True, output_type="np").images
    ).permute(0, 3, 1, 2)
    ours = Trained(model).build("network", CPU).generate((16, 16), NoiseSource(3))
    # The walk here begins with the noise that its first time has, .99997 of theirs.
    assert_close((ours + 1) / 2, theirs, rtol=0, atol=1e-3)


def test_only_a_model_of_noise_has_a_folder(tmp_path, capsys):
    model = source(BANDS)
    write_model(tmp_path / "m.safetensors", ModelFile("ddpm", BANDS.to_json(), {}, dict(model.unet.state_dict())))
    assert main(["export", str(tmp_path / "m.safetensors"), "--to", "diffusers"]) == 2
    assert "--prediction noise" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "m.safetensors")]) == 2
    assert "the form diffusers, not compact" in capsys.readouterr().err
    assert main(["export", str(tmp_path / "m.safetensors"), "--to", "diffusers", "--factor", "2"]) == 2
    assert "leave it out" in capsys.readouterr().err
    assert main(["export", "small", "--to", "diffusers", "-o", str(tmp_path / "x")]) == 2
    assert "compact and onnx, not diffusers" in capsys.readouterr().err


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Pictures of several sizes and shapes, one that is damaged and one that is too small."""
    monkeypatch.chdir(tmp_path)
    Path("pictures/more").mkdir(parents=True)
    for number, (height, width) in enumerate([(16, 16), (40, 30), (20, 60), (33, 33)]):
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(f"pictures/{'more/' if number % 2 else ''}{number}.png")
    Path("pictures/damaged.png").write_bytes(b"no picture")
    Image.new("RGB", (8, 40)).save("pictures/small.png")
    return tmp_path


def test_a_folder_is_trained_on_drawn_from_and_described(folder, capsys):
    options = ["--system", "ddpm", "--size", "16", "--width", "16", "--batch", "4", "--steps", "3"]
    assert main(["train", "pictures", *options]) == 0
    shown = capsys.readouterr().err
    assert "damaged.png" in shown
    assert "small.png" in shown
    assert main(["generate", "pictures.safetensors", "-n", "3", "-o", "out", "-q"]) == 0
    assert sorted(file.name for file in Path("out").iterdir()) == [
        *(f"pictures-{number:04d}.png" for number in range(3)),
        "pictures-sheet.png",
    ]
    assert read("out/pictures-0002.png").size == (16, 16)
    assert main(["generate", "pictures.safetensors", "-n", "1", "-o", "one", "--threads", "1", "-q"]) == 0
    assert Path("one/pictures-0000.png").read_bytes() == Path("out/pictures-0000.png").read_bytes()
    capsys.readouterr()
    assert main(["info", "pictures.safetensors", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert (described["system"], described["size"]) == ("ddpm", [16, 16])
    loaded = from_file(read_model(Path("pictures.safetensors")), Path("pictures.safetensors"))
    assert loaded.size == (16, 16)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["generate", "m.safetensors", "--size", "32x32"], "learned from many pictures and draws 16 x 16"),
        (["generate", "m.safetensors", "--scale", "2"], "leave them out"),
        (["generate", "m.safetensors", "--variation", "0.5"], "leave them out"),
        (["generate", "m.safetensors", "--engine", "hybrid"], "no engine hybrid; it has network"),
        (["generate", "m.safetensors", "--engine", "closed-form"], "no engine closed-form"),
        (["tile", "m.safetensors"], "keeps no picture"),
        (["train", "m.safetensors", "--system", "ddpm"], "learns from folders"),
        (["train", ".", ".", "--system", "ddpm"], "learns from one folder"),
        (["train", ".", "--system", "ddpm", "--size", "20"], "a multiple of 8"),
        (["train", ".", "--system", "ddpm", "--width", "24"], "a multiple of 16"),
    ],
)
def test_bad_commands_are_refused_in_a_sentence(tmp_path, monkeypatch, capsys, command, words):
    monkeypatch.chdir(tmp_path)
    write_model(Path("m.safetensors"), ModelFile("ddpm", BANDS.to_json(), {}, dict(source(BANDS).unet.state_dict())))
    assert main(command) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"means": []}, "0 means and 12 deviations, not 12"),
        ({"deviations": [0.0] * 12}, "make no sense"),
        ({"groups": 7}, "do not divide"),
        ({"multipliers": [1.0] * 13}, "where 1 to 12 can be"),
        ({"width": 10**6}, "make no sense"),
        ({"width": 32}, "do not fit the options"),
    ],
)
def test_damaged_options_are_refused(change, words):
    file = ModelFile("ddpm", BANDS.to_json() | change, {}, dict(source(BANDS).unet.state_dict()))
    with pytest.raises(InputError, match=words):
        from_file(file, Path("m.safetensors"))


def test_the_middle_square_is_reduced_and_mirrored_by_chance():
    picture = torch.rand(3, 12, 20) * 2 - 1
    assert torch.equal(squared(picture, 12), picture[:, :, 4:16])
    assert squared(picture, 8).shape == (3, 8, 8)
    crops = [Squares(12, flips=True)(picture, 0, 0, index) for index in range(20)]
    mirrored = [torch.equal(crop, squared(picture, 12).flip(2)) for crop in crops]
    assert 3 < sum(mirrored) < 17
    assert torch.equal(pack(picture[None, :, :, 4:16]), pack(squared(picture, 12)[None]))
