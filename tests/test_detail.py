"""Detail drawn in the null space of a reduction: identities, its two trainings, and what a user sees of it."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import wasserstein_distance
from test_residual_small import network, picture
from torch.nn import functional

import sinwave
from sinwave.cli import main
from sinwave.diffusion.process import ResidualShift
from sinwave.diffusion.sample import Ddim, even_times, sample
from sinwave.errors import InputError
from sinwave.reduction import Reduction
from sinwave.resize import resize
from sinwave.rng import NoiseSource
from sinwave.systems.files import ModelFile, read_model
from sinwave.systems.residual_sr.detail import Colored, Detail, DetailDenoiser, DetailNetwork, DetailShape, Gap
from sinwave.systems.residual_sr.detail_recipe import DetailRecipe, Teaching, sliced_distance
from sinwave.systems.residual_sr.deviation import FEATURES, Deviations, bands_of, scaled
from sinwave.systems.residual_sr.error_maps import ErrorMapLoss, ErrorMaps
from sinwave.systems.residual_sr.model import Enlarger, Trained, from_file
from sinwave.systems.residual_sr.options import Settings
from sinwave.systems.residual_sr.pairs import Pairs
from sinwave.threads import threads

SHAPE = DetailShape(8, 2)
PROCESS = ResidualShift.geometric(4, min_noise=0.2)
HALF_A_LEVEL = 0.5 / 127.5
DEVIATIONS = Deviations(
    tuple(0.2 * math.sin(index) - 4.0 * (index % FEATURES == 9) for index in range(3 * 7 * FEATURES))
)
"""Some that change with the place, and are about .02."""


def detail(steps: int = 4, seed: int = 1, shape: DetailShape = SHAPE) -> Detail:
    """A network of random weights, whose tails and clock are not zero as before a training."""
    source = NoiseSource(seed)
    net = DetailNetwork(shape, lambda sides, name: source.normal(sides, name))
    for name, parameter in net.named_parameters():
        if name.startswith(("tails", "clock")):
            parameter.data.copy_(0.1 * source.normal(parameter.shape, "more", name))
    return Detail(net.requires_grad_(False), PROCESS, steps)


def gap(low: torch.Tensor, base: torch.Tensor) -> Gap:
    return Gap(low, base, DEVIATIONS.of(base, base.shape[2] // low.shape[2]))


def denoiser(drawing: Detail, low: torch.Tensor, base: torch.Tensor) -> DetailDenoiser:
    factor = base.shape[2] // low.shape[2]
    guide = base - functional.interpolate(low, scale_factor=factor, mode="nearest")
    return DetailDenoiser(drawing, gap(low, base), lambda state, index: drawing.network(low, guide, state, index))


def setting(factor: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A small picture, its truth, and an enlargement, both of which reduce to it exactly."""
    truth = picture(factor * 10, factor * 12).double()
    low = resize(truth, (10, 12))
    return low, truth, Reduction(low).nearest(resize(low, (factor * 10, factor * 12)))


def reduces(large: torch.Tensor, low: torch.Tensor) -> bool:
    return bool((resize(large, (low.shape[2], low.shape[3])) - low).abs().max() < 1e-9)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_every_state_and_every_estimate_reduces_to_the_small_picture(factor: int) -> None:
    low, truth, base = setting(factor)
    drawing = replace(detail(), network=detail().network.double())
    noise, model = Colored(NoiseSource(0), gap(low, base)), denoiser(drawing, low, base)
    for t in (0.25, 0.5, 0.75, 1.0):
        x_t = PROCESS.diffuse(truth, t, noise.normal(base.shape, str(t), like=base), base)
        assert (x_t - truth).std() > 1e-3
        assert reduces(x_t, low)
        assert reduces(model(x_t, t, anchor=base), low)
    start = PROCESS.diffuse(base, 1.0, noise.normal(base.shape, "start", like=base), base)
    for stochasticity in (0.0, 1.0):
        seen = list[torch.Tensor]()
        drawn = sample(
            model,
            PROCESS,
            Ddim(stochasticity),
            start,
            even_times(4),
            noise,
            anchor=base,
            on_step=lambda index, x, clean, seen=seen: seen.append(x.clone()),
        )
        assert len(seen) == 4
        assert all(reduces(x, low) for x in [*seen, drawn])


def test_the_deterministic_walk_is_the_published_formula() -> None:
    """x_s = k x_0 + m x_t + j y, with the coefficients of SinSR."""
    low, _, base = setting()
    drawing = replace(detail(), network=detail().network.double())
    noise, model = Colored(NoiseSource(0), gap(low, base)), denoiser(drawing, low, base)
    x = PROCESS.diffuse(base, 1.0, noise.normal(base.shape, like=base), base)
    walked = sample(model, PROCESS, Ddim(0.0), x, even_times(4), noise, anchor=base)
    for t, s in pairwise(even_times(4)):
        clean = model(x, t, anchor=base)
        eta_t, eta_s = (PROCESS.at(time).anchor for time in (t, s))
        m = (eta_s / eta_t) ** 0.5
        k, j = 1 - eta_s + (eta_s * eta_t) ** 0.5 - m, eta_s - (eta_s * eta_t) ** 0.5
        x = k * clean + m * x + j * base
    torch.testing.assert_close(walked, x, rtol=0, atol=1e-12)


def test_noise_has_the_deviation_of_its_band_and_place_and_nothing_that_the_reduction_sees() -> None:
    low, base = torch.zeros(1, 3, 64, 64, dtype=torch.float64), torch.zeros(1, 3, 256, 256, dtype=torch.float64)
    white = torch.randn(base.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bands = bands_of(base)
    deviations = [torch.full_like(band[:, :1], 0.01 * (1 + n)) for n, band in enumerate(bands)]
    for deviation in deviations:
        deviation[..., deviation.shape[3] // 2 :] *= 3
    free = Gap(low, base, deviations, reduced=False).colored(white)
    for band, deviation in zip(bands_of(free), deviations, strict=True):
        for half in (slice(None, band.shape[3] // 2), slice(band.shape[3] // 2, None)):
            assert band[..., half].std().item() == pytest.approx(deviation[..., half].mean().item(), rel=0.1)
    bound = Gap(low, base, deviations).colored(white)
    assert resize(bound, (64, 64)).abs().max() < 1e-12
    assert ((free - bound) * bound).sum().abs() < 1e-6 * free.square().sum()  # the part taken away is at right angles
    torch.testing.assert_close(Gap(low, base, deviations).whitened(free), white, rtol=0, atol=1e-12)


def test_the_estimate_is_the_formula_by_hand() -> None:
    low, truth, base = setting()
    drawing, missing = replace(detail(), network=detail().network.double()), gap(low, base)
    x_t = truth + 0.01
    eta, kappa = PROCESS.at(0.5).anchor, PROCESS.kappa
    signal, noise = 1 - eta, kappa * eta**0.5
    total = (signal**2 + noise**2) ** 0.5
    state, guide = x_t - base, base - low.repeat_interleave(4, 2).repeat_interleave(4, 3)
    white = scaled(state, [1 / deviation for deviation in missing.deviations])
    answer = drawing.network(low, guide, white / total, torch.tensor([2]))
    unseen = Reduction(torch.zeros_like(low)).nearest(scaled(noise / total * answer, missing.deviations))
    expected = base + signal / total**2 * state + unseen
    torch.testing.assert_close(denoiser(drawing, low, base)(x_t, 0.5, anchor=base), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 4])
def test_fidelity_is_the_share_of_what_is_not_drawn(steps: int) -> None:
    low = picture()
    enlarger = Enlarger(network(), DEVIATIONS, detail(steps))
    drawn = {f: enlarger.redraw(low, (160, 224), NoiseSource(0), fidelity=f) for f in (0.0, 0.25, 1.0)}
    assert torch.equal(drawn[1.0], Enlarger(network()).upscale(low, (160, 224), NoiseSource(7)))
    base = Reduction(low).nearest(drawn[1.0])
    torch.testing.assert_close(drawn[0.25], 0.25 * base + 0.75 * drawn[0.0])
    assert (drawn[0.0] - base).std() > 1e-3
    other = enlarger.redraw(low, (160, 224), NoiseSource(1), fidelity=0.0)
    assert (drawn[0.0] - other).std() > 1e-3
    for result in (*drawn.values(), other):
        assert (resize(Reduction(low).nearest(result), (40, 56)) - low).abs().max() < HALF_A_LEVEL
    assert (resize(other, (40, 56)) - low).abs().max() < HALF_A_LEVEL


@pytest.mark.parametrize("steps", [1, 4])
def test_what_is_drawn_is_the_end_of_a_walk_of_so_many_steps(steps: int) -> None:
    low, drawing = picture(), detail(steps)
    base = Reduction(low).nearest(network()(low, 4))
    noise = Colored(NoiseSource(0).child("turn", 0), gap(low, base))
    start = PROCESS.diffuse(base, 1.0, noise.normal(base.shape, "start"), base)
    model = denoiser(drawing, low, base)
    expected = sample(model, PROCESS, Ddim(1.0), start, even_times(steps), noise, anchor=base)
    drawn = Enlarger(network(), DEVIATIONS, drawing).redraw(low, (160, 224), NoiseSource(0), fidelity=0.0)
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-5)
    if steps == 1:
        torch.testing.assert_close(drawn, model(start, 1.0, anchor=base), rtol=0, atol=1e-5)


def test_tiles_and_threads_do_not_show_in_what_is_drawn() -> None:
    low, results = picture(), []
    whole = Enlarger(network(), DEVIATIONS, detail(), tile=1000).redraw(low, (160, 224), NoiseSource(0), fidelity=0.0)
    for count in (1, 2):
        with threads(count):
            tiled = Enlarger(network(), DEVIATIONS, detail(), tile=17)
            results.append(tiled.redraw(low, (160, 224), NoiseSource(0), fidelity=0.0))
    assert torch.equal(*results)
    torch.testing.assert_close(results[0], whole, rtol=0, atol=1e-5)


def test_the_sliced_distance_is_that_of_an_independent_library() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(2, 3, 24, 20, generator=generator) for _ in range(2))
    directions = functional.normalize(torch.randn(27, 5, generator=generator), dim=0)
    assert sliced_distance(first, first, directions) == 0
    expected = []
    for one, other in zip(bands_of(first)[:-1], bands_of(2 * second)[:-1], strict=True):
        patches = [functional.unfold(band, 3).movedim(1, 2).reshape(-1, 27).numpy() for band in (one, other)]
        expected += [wasserstein_distance(*(patch @ way.numpy() for patch in patches)) for way in directions.T]
    assert sliced_distance(first, 2 * second, directions).item() == pytest.approx(np.mean(expected), rel=1e-5)


def recipe(teaching: Teaching | None = None) -> DetailRecipe:
    settings = Settings(stage="student" if teaching else "teacher", deviations=DEVIATIONS.table, distribution=0.0)
    learner = detail(1 if teaching else 4)
    learner.network.requires_grad_(True)
    return DetailRecipe(settings, network(), learner, (), teaching)


def test_a_students_loss_is_the_three_terms_by_hand() -> None:
    pairs = Pairs(picture(10, 12).expand(2, -1, -1, -1), picture(40, 48).expand(2, -1, -1, -1), 4)
    teacher = detail(seed=2)
    (update,) = recipe(Teaching(teacher)).updates(pairs, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    base = Reduction(pairs.low).nearest(network()(pairs.low, 4))
    noise = gap(pairs.low, base).colored(torch.randn(pairs.high.shape, generator=generator))
    level, whitened = PROCESS.at(1.0).noise, gap(pairs.low, base).whitened
    start = base + level * noise
    own, other = denoiser(detail(), pairs.low, base), denoiser(teacher, pairs.low, base)
    end = sample(other, PROCESS, Ddim(0.0), start, even_times(4), NoiseSource(0), anchor=base)
    back = base + level * own.noise(pairs.high, base)
    terms = (
        own(start, 1.0, anchor=base) - end,
        own.noise(end, base) - noise,
        own(back, 1.0, anchor=base) - pairs.high,
    )
    assert update.loss.item() == pytest.approx(sum(whitened(term).square().mean().item() for term in terms), rel=1e-4)


def test_a_student_may_have_error_maps_and_a_distribution_term() -> None:
    """Each adds its own loss, which is computed here once more."""
    pairs = Pairs(picture(10, 12), picture(40, 48), 4)
    maps = ErrorMapLoss(ErrorMaps(distance="bands"))
    learner, losses = detail(1), list[float]()
    learner.network.requires_grad_(True)
    for distribution, weight in ((0.0, 0.0), (2.0, 0.0), (0.0, 3.0)):
        weights = {"distribution": distribution, "error_maps": weight}
        settings = Settings(stage="student", deviations=DEVIATIONS.table, **weights)
        course = DetailRecipe(settings, network(), learner, (), Teaching(detail(seed=2), maps if weight else None))
        (update,) = course.updates(pairs, torch.Generator().manual_seed(3))
        losses.append(update.loss.item())
    generator = torch.Generator().manual_seed(3)
    base = Reduction(pairs.low).nearest(network()(pairs.low, 4))
    noise = gap(pairs.low, base).colored(torch.randn(pairs.high.shape, generator=generator))
    torch.randint(1, 5, (1,), generator=generator)
    directions = functional.normalize(torch.randn(27, 64, generator=generator), dim=0)
    drawn = denoiser(learner, pairs.low, base)(base + PROCESS.at(1.0).noise * noise, 1.0, anchor=base)
    whitened = gap(pairs.low, base).whitened
    assert losses[1] - losses[0] == pytest.approx(
        2 * sliced_distance(whitened(drawn), whitened(pairs.high), directions).item(), rel=1e-3
    )
    assert losses[2] - losses[0] == pytest.approx(3 * maps(drawn, pairs.high).item(), rel=1e-2)


def test_error_maps_need_crops_that_are_large_enough_at_every_factor(folder: Path, tmp_path: Path, monkeypatch) -> None:
    """LPIPS needs so many pixels at an eighth of a crop, and the crops of factor 2 are the smallest."""
    from sinwave.systems.residual_sr import train

    class Large:
        least = 20

    monkeypatch.setattr(train.ErrorMapLoss, "load", lambda options, on_remark: Large())
    settings = Settings(stage="student", deviations=DEVIATIONS.table, error_maps=1.0, crop=8)
    with pytest.raises(InputError, match="error maps with bands need crops of 10 pixels: --crop 10"):
        train._error_maps(settings, SimpleNamespace(remark=print))


def test_a_teacher_learns_to_say_what_is_missing() -> None:
    """With one pair of pictures, its loss falls below 1, that of an answer of 0."""
    pairs = Pairs(resize(picture(40, 48), (10, 12)), picture(40, 48), 4)
    enlarger = network(tails=0.0)
    settings = Settings(stage="teacher", deviations=DEVIATIONS.table)
    learner = settings.detail(DetailNetwork(SHAPE, lambda sides, name: NoiseSource(0).normal(sides, name)))
    course = DetailRecipe(settings, enlarger, learner, ())
    (player,) = course.players.values()
    losses = []
    for step in range(80):
        (update,) = course.updates(pairs, torch.Generator().manual_seed(step))
        for parameter in player.parameters:
            parameter.grad = None
        update.loss.backward()
        for optimizer in player.optimizers:
            optimizer.step(3e-3)
        losses.append(update.loss.item())
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:5])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("photos")
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((96, 80)).save(place / f"{number}.png")
    return place


COMMON = ["--system", "residual-sr", "--crop", "8", "--batch", "2", "--precision", "float32", "--leaves", "0", "-q"]


def test_teacher_and_student_are_trained_and_draw(folder: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["--width", "8", "--blocks", "2"]
    assert main(["train", str(folder), *COMMON, *small, "-o", "e.safetensors", "--steps", "2"]) == 0
    train = ["train", str(folder), *COMMON, "--steps", "2"]
    assert main([*train, *small, "--stage", "teacher", "--start", "e.safetensors", "-o", "t.safetensors"]) == 0
    assert main([*train, "--stage", "student", "--start", "t.safetensors", "-o", "s.safetensors"]) == 0
    models = [from_file(read_model(Path(f"{name}.safetensors")), Path(name)) for name in "ets"]
    assert [model.detail and model.detail.steps for model in models] == [None, 4, 1]
    for model in models[1:]:
        for name, value in model.network.state_dict().items():
            assert torch.equal(value, models[0].network.state_dict()[name])
    Image.fromarray((127.5 * (picture()[0].permute(1, 2, 0).numpy() + 1)).round().astype(np.uint8)).save("x.png")
    upscale = ["upscale", "x.png", "--factor", "3", "-q"]
    for name, fidelity in (("t", "0"), ("s", "0"), ("s", "1")):
        options = ["--model", f"{name}.safetensors", "--fidelity", fidelity, "-o", name + fidelity]
        assert main([*upscale, *options]) == 0
    results = [np.asarray(Image.open(f"{place}/x-upscale.png")).astype(int) for place in ("t0", "s0", "s1")]
    assert all(result.shape == (120, 168, 3) for result in results)
    assert np.abs(results[1] - results[2]).mean() > 0.1
    capsys.readouterr()
    for words, sentence in (
        (["--model", "e.safetensors", "--fidelity", "0"], "the model e.safetensors has no use for fidelity"),
        (["--model", "s.safetensors", "-n", "2", "-o", "two"], "2 results would be equal"),
    ):
        assert main([*upscale, *words]) == 2
        assert sentence in capsys.readouterr().err
    assert main([*upscale, "--model", "s.safetensors", "-n", "2", "--fidelity", "0.5", "-o", "two"]) == 0
    for words, sentence in (
        (["--stage", "student"], "a student needs a teacher: --start TEACHER.safetensors"),
        (["--stage", "student", "--start", "e.safetensors"], "a student needs a teacher, and this is one enlarger"),
        (["--stage", "student", "--start", "t.safetensors", "--width", "12"], "other widths or blocks"),
        (["--error-maps", "1"], "error_maps is an option of --stage student, not of enlarger"),
        (
            ["--stage", "student", "--start", "t.safetensors", "--kappa", "3"],
            "kappa is an option of --stage teacher, not of student",
        ),
        (["--stage", "teacher", "--start", "e.safetensors", "--condition", "photo"], "for the condition clean, not"),
    ):
        capsys.readouterr()
        assert main([*train, *words, "-o", "no.safetensors"]) == 2
        assert sentence in capsys.readouterr().err


def test_a_file_without_deviations_is_refused() -> None:
    with pytest.raises(InputError, match="the model has 3 deviations, not 210"):
        Settings(deviations=(1.0, 2.0, 3.0))
    file = ModelFile("residual-sr", Settings(stage="teacher").to_json(), {}, network().state_dict())
    with pytest.raises(InputError, match="needs deviations"):
        from_file(replace(file, options={**file.options, "width": 8, "blocks": network().shape.blocks}), Path("x"))
    assert Trained(Settings(), network()).abilities == {"upscale", "certain"}


def test_the_map_shows_where_the_result_is_unsure(folder: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["--width", "8", "--blocks", "2"]
    train = ["train", str(folder), *COMMON, *small, "--steps", "2"]
    assert main([*train, "-o", "e.safetensors"]) == 0
    assert main([*train, "--stage", "teacher", "--start", "e.safetensors", "-o", "t.safetensors"]) == 0
    Image.fromarray(np.arange(20 * 24 * 3, dtype=np.uint8).reshape(20, 24, 3)).save("x.png")
    command = ["upscale", "x.png", "--factor", "2", "--model", "t.safetensors", "-q"]
    assert main(command) == 0
    before = Path("x-upscale.png").read_bytes()
    assert main([*command, "--map"]) == 0  # the result itself is that of the same command without
    assert Path("x-upscale.png").read_bytes() == before
    with Image.open("x-upscale-map.png") as image:
        assert (image.size, image.mode) == ((48, 40), "L")
        levels = np.asarray(image).astype(int)
    doubt = sinwave.SuperResolver.load("e.safetensors").uncertainty("x.png", 2)  # the drawing network is not asked
    assert np.abs(levels - np.clip(4 * doubt, 0, 255)).max() <= 1
    resolver = sinwave.SuperResolver.load("t.safetensors")
    pixels = np.asarray(resolver.upscale("x.png", 2))
    with Image.open("x-upscale.png") as image:
        assert np.array_equal(pixels, np.asarray(image))
    assert resolver.uncertainty("x.png", 2).shape == (40, 48)
    assert len(resolver.upscale("x.png", 2, fidelity=0.5, n=2, seed=1).results) == 2
    with pytest.raises(InputError, match="cannot tell where it is unsure"):
        sinwave.SuperResolver.load("zero-shot").uncertainty("x.png")
    with pytest.raises(InputError, match="and 'smal' is none"):
        sinwave.SuperResolver.load("smal")
    assert main(["upscale", "x.png", "--model", "zero-shot", "--map", "-q"]) == 2
    assert "cannot tell where it is unsure" in capsys.readouterr().err
