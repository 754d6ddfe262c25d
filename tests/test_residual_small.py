"""The small network for super-resolution: what it computes, how it is trained, and pictures in tiles."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torch.nn import functional

from sinwave.cli import main
from sinwave.data.batches import Constant
from sinwave.errors import InputError
from sinwave.images import from_uint8, read, to_uint8
from sinwave.reduction import Reduction
from sinwave.resize import resize
from sinwave.rng import NoiseSource
from sinwave.systems import table
from sinwave.systems.contracts import Computing
from sinwave.systems.files import read_model
from sinwave.systems.residual_sr.model import Enlarger, from_file, shipped
from sinwave.systems.residual_sr.network import SLOPE, EnlargingNetwork, Shape, hidden
from sinwave.systems.residual_sr.options import Settings
from sinwave.systems.residual_sr.pairs import PairBatches, Pairs
from sinwave.systems.residual_sr.recipe import EnlargingRecipe
from sinwave.threads import threads

SMALL = Shape(8, 3)


def network(shape: Shape = SMALL, seed: int = 0, tails: float = 0.1) -> EnlargingNetwork:
    """A network of random weights; before training its tails are zero."""
    source = NoiseSource(seed)
    result = EnlargingNetwork(shape, lambda sides, name: source.normal(sides, name))
    for name, parameter in result.tails.named_parameters():
        parameter.data.copy_(tails * source.normal(parameter.shape, "tails", name))
    return result.requires_grad_(False)


def picture(height: int = 40, width: int = 56) -> torch.Tensor:
    pixels = torch.from_numpy(np.asarray(data.astronaut())).movedim(-1, 0)[None] / 127.5 - 1
    return from_uint8(to_uint8(resize(pixels[..., :300, 100:460], (height, width))))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_an_output_is_what_plain_convolutions_and_a_rearrangement_give(factor: int) -> None:
    net, low = network().double(), picture(7, 9).double()
    x = functional.leaky_relu(functional.conv2d(low, net.head.weight, net.head.bias, padding=1), SLOPE)
    for layer in net.body:
        x = functional.leaky_relu(functional.conv2d(x, layer.weight, layer.bias, padding=1), SLOPE)
    tail = net.tails[factor - 2]
    channels = functional.conv2d(x, tail.weight, tail.bias, padding=1)
    large = low.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    for channel in range(3):
        for down in range(factor):
            for right in range(factor):
                index = factor**2 * channel + factor * down + right
                large[:, channel, down::factor, right::factor] += channels[:, index]
    torch.testing.assert_close(net(low, factor), large, rtol=0, atol=1e-12)


def test_before_training_it_repeats_pixels_and_layers_are_nearly_sums() -> None:
    net = network(tails=0.0)
    low = picture(6, 7)
    assert torch.equal(net(low, 3), low.repeat_interleave(3, 2).repeat_interleave(3, 3))
    for kernel in hidden(net.body):
        middle = kernel[:, :, 1, 1]
        assert (middle.diagonal() - 1).abs().max() < 0.2
        assert (kernel - torch.nn.init.dirac_(torch.empty_like(kernel))).std() < 0.1


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("tile", [5, 16, 31])
def test_tiles_give_what_the_whole_gives(factor: int, tile: int) -> None:
    net, low, noise = network(), picture(), NoiseSource(0)
    size = (factor * 40, factor * 56)
    whole = Enlarger(net, tile=1000).upscale(low, size, noise)
    assert whole.std() > 0.1
    torch.testing.assert_close(Enlarger(net, tile=tile).upscale(low, size, noise), whole, rtol=0, atol=1e-5)


def test_the_seams_of_tiles_are_no_steeper_than_the_picture_around_them() -> None:
    """At a hundred random places along the borders of tiles."""
    low = picture(90, 120)
    model = table.shipped("small")
    assert model is not None
    large = Enlarger(model.network, tile=30).upscale(low, (360, 480), NoiseSource(0))[0].mean(0)
    steps = large.diff(dim=1).abs()
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(360, (100,), generator=generator)
    borders = 120 * torch.randint(1, 4, (100,), generator=generator) - 1
    across = steps[rows, borders]
    whole = Enlarger(model.network, tile=1000).upscale(low, (360, 480), NoiseSource(0))[0].mean(0).diff(dim=1).abs()
    assert (across - whole[rows, borders]).abs().max() < 1e-5 < across.mean()


def test_an_output_depends_on_the_radius_and_no_further() -> None:
    net = network(Shape(8, 3, (2,)))
    low = torch.zeros(1, 3, 31, 31)
    changed = low.clone()
    changed[..., 15, 15] = 1
    moved = (net(changed, 2) - net(low, 2)).abs().amax((0, 1)).nonzero() // 2
    assert moved.min().item() == 15 - net.shape.radius
    assert moved.max().item() == 15 + net.shape.radius


def test_larger_factors_are_reached_in_steps() -> None:
    low, sizes = picture(16, 17), [(16 * 8, 17 * 8), (43, 47), (16 * 5, 17 * 9)]
    for size in sizes:
        assert tuple(Enlarger(network()).upscale(low, size, NoiseSource(0)).shape[2:]) == size


def test_no_bit_depends_on_threads() -> None:
    low, results = picture(), []
    for count in (1, 2):
        with threads(count):
            results.append(Enlarger(network(Shape(16, 4)), tile=20).upscale(low, (160, 224), NoiseSource(0)))
    assert torch.equal(*results)


def pairs(step: int = 0, condition: str = "clean", seed: int = 0) -> Pairs:
    crops = Constant(picture(32, 32).expand(4, -1, -1, -1))
    return PairBatches([crops], 8, condition, 0.5, seed).at(step)  # type: ignore[arg-type]


def test_pairs_are_pure_in_their_step_and_their_small_pictures_are_reductions() -> None:
    factors = set()
    for step in range(30):
        batch = pairs(step)
        assert batch.low.shape == (4, 3, 8, 8)
        assert batch.high.shape == (4, 3, 8 * batch.factor, 8 * batch.factor)
        assert torch.equal(batch.low, from_uint8(to_uint8(resize(batch.high, (8, 8)))))
        assert torch.equal(batch.high, pairs(step).high)
        factors.add(batch.factor)
    assert factors == {2, 3, 4}


def test_in_the_condition_photo_small_pictures_are_worse_than_reductions() -> None:
    batch = pairs(3, "photo")
    assert batch.low.shape == (4, 3, 8, 8)
    assert (batch.low - resize(batch.high, (8, 8))).abs().mean() > 0.02
    assert torch.equal(batch.low, pairs(3, "photo").low)


def test_the_loss_is_that_of_the_projected_answer() -> None:
    net, batch = network(), pairs(1)
    recipe = EnlargingRecipe(Settings(width=8, blocks=3), net.requires_grad_(True), [batch])
    answer = net(batch.low, batch.factor)
    result = torch.cat([Reduction(low[None]).nearest(a[None]) for low, a in zip(batch.low, answer, strict=True)])
    error = (result - batch.high).double()
    luma = (error * torch.tensor([65.481, 128.553, 24.966], dtype=torch.float64)[:, None, None] / 255).sum(1)
    free = (answer - batch.high).abs().mean()
    expected = error.abs().mean() + luma.abs().mean() + 0.1 * free
    assert recipe.held_out()["loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_a_gradient_is_the_same_in_shares_by_any_number_of_threads() -> None:
    batch, gradients = pairs(1), []
    for count in (1, 2):
        with threads(count):
            net = network().requires_grad_(True)
            recipe = EnlargingRecipe(Settings(width=8, blocks=3), net, [])
            (update,) = recipe.updates(batch, torch.Generator())
            update.loss.backward()
            gradients.append(net.head.weight.grad.clone())
    assert torch.equal(*gradients)
    net = network().requires_grad_(True)
    recipe = EnlargingRecipe(Settings(width=8, blocks=3), net, [])
    recipe._loss(batch.low, batch.high, batch.factor).mean().backward()
    torch.testing.assert_close(net.head.weight.grad, gradients[0], rtol=1e-4, atol=1e-6)


def folder(path: Path) -> Path:
    path.mkdir()
    pixels = data.astronaut()
    for number, (top, left) in enumerate([(0, 150), (100, 100), (200, 300)]):
        Image.fromarray(pixels[top : top + 100, left : left + 120]).save(path / f"{number}.png")
    (path / "notes.txt").write_text("no picture")
    return path


OPTIONS = ["--system", "residual-sr", "--width", "8", "--blocks", "2", "--crop", "16", "--batch", "4", "--json"]


def test_a_folder_is_learned_from_by_the_command_and_enlarges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.safetensors"
    line = ["train", str(folder(tmp_path / "photos")), *OPTIONS, "-o", str(model), "--steps", "40"]
    assert main(line) == 0
    shown = capsys.readouterr()
    assert "notes.txt" in shown.err
    assert json.loads(shown.out)["steps"] == 40
    log = [json.loads(row) for row in (tmp_path / "model.run/log.jsonl").read_text().splitlines()]
    assert log[-1]["held_out"]["loss"] < log[0]["losses"]["network"]
    small = tmp_path / "small.png"
    Image.fromarray(data.astronaut()[100:140, 150:206]).save(small)
    assert main(["upscale", str(small), "--model", str(model), "--factor", "3", "-o", str(tmp_path)]) == 0
    large = read(tmp_path / "small-upscale.png").pixels[None]
    assert tuple(large.shape[2:]) == (120, 168)
    assert (127.5 * Reduction(read(small).pixels[None]).misfit(large)).max() <= 1
    assert main(["generate", str(model), "-o", str(tmp_path)]) == 2
    assert "model.safetensors" in capsys.readouterr().err
    assert main(["info", str(model)]) == 0
    assert "residual-sr" in capsys.readouterr().out


def test_a_training_goes_on_from_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, first, second = folder(tmp_path / "photos"), tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    assert main(["train", str(photos), *OPTIONS, "-o", str(first), "--steps", "5"]) == 0
    more = ["--steps", "1", "--rate", "1e-6", "--start", str(first)]
    assert main(["train", str(photos), *OPTIONS, "-o", str(second), *more]) == 0
    before, after = (read_model(path).weights for path in (first, second))
    assert all((after[name] - before[name]).abs().max() < 1e-4 for name in before)
    capsys.readouterr()
    wide = ["--width", "12", "-o", str(tmp_path / "third.safetensors"), *more]
    assert main(["train", str(photos), *OPTIONS, *wide]) == 2
    assert "first.safetensors: the model has other widths or blocks" in capsys.readouterr().err


def test_the_model_of_the_package_is_small_and_better_than_what_needs_no_weights() -> None:
    model = shipped("small")
    assert sum(parameter.numel() for parameter in model.network.parameters()) < 1e6
    truth = picture(256, 256)
    small = from_uint8(to_uint8(resize(truth, (64, 64))))
    enlarger = model.build("network", Computing(torch.device("cpu"), torch.float32))
    reduction = Reduction(small)
    results = [enlarger.upscale(small, (256, 256), NoiseSource(0)), resize(small, (256, 256))]
    errors = [(reduction.in_range(reduction.nearest(large)) - truth).square().mean().item() for large in results]
    assert errors[0] < 0.8 * errors[1]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    file = read_model(Path(str(shipped.__code__.co_filename)).with_name("small.safetensors"))
    with pytest.raises(InputError, match="the weights do not fit the options of the model"):
        from_file(file.__class__(file.system, {**file.options, "width": 32}, {}, file.weights), tmp_path / "x")
    with pytest.raises(InputError, match="tile is 0"):
        Enlarger(network(), tile=0)
