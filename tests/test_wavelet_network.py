"""The thesis's equations against the code on random tensors, the bounded field, and the network on tiles."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from sinwave.data.batches import Constant
from sinwave.diffusion.denoise import FromNoise, Preconditioned, scalings, signals
from sinwave.diffusion.process import Anchored, Flow, VariancePreserving
from sinwave.diffusion.sample import Ddim, Multistep, Step, sample
from sinwave.errors import InputError
from sinwave.images import Picture
from sinwave.nn.local import LocalNetwork, LocalShape
from sinwave.rng import NoiseSource
from sinwave.systems.contracts import VerticalSpan
from sinwave.systems.wavelet.bands import Bands, Levels
from sinwave.systems.wavelet.closed_form import QUICK, ClosedForm
from sinwave.systems.wavelet.combined import PATCHES, HybridPrior, MixedPrior, Relay
from sinwave.systems.wavelet.expectation import Sight
from sinwave.systems.wavelet.material import MARGIN, Material
from sinwave.systems.wavelet.model import RatioSchedule, WaveletModel
from sinwave.systems.wavelet.network import NetworkPrior
from sinwave.systems.wavelet.options import FAST, REFERENCE, Configuration, Options
from sinwave.systems.wavelet.recipe import WaveletRecipe
from sinwave.systems.wavelet.train import begin, fastest
from sinwave.threads import threads
from sinwave.training.loop import Budget, Training, train

T = 100


def normal(*key, shape=(2, 12, 6, 7)):
    return NoiseSource(3).normal(shape, *key).double()


def low_of(x, known=3):
    return torch.cat([x[:, :known], torch.zeros_like(x[:, known:])], 1)


def abar(step):
    """The cosine schedule written out once more (Nichol and Dhariwal, equation 17)."""
    curve = [math.cos((k / T + 0.008) / 1.008 * math.pi / 2) ** 2 for k in range(T + 1)]
    product = 1.0
    for k in range(1, step + 1):
        product *= 1 - min(1 - curve[k] / curve[k - 1], 0.999)
    return product


def anchored(start=55):
    return Anchored(VariancePreserving.cosine(T), start / T)


def gamma(step, start=55):
    return 0.55 * min(step / start, 1)


@pytest.mark.parametrize("step", [1, 20, 54, 55])
def test_forward_mix_of_the_thesis(step):
    x, eps = normal("x"), normal("eps")
    g, a = gamma(step), abar(step)
    mixed = math.sqrt(a) * ((1 - g) * x + g * low_of(x)) + math.sqrt(1 - a) * eps
    assert_close(anchored().diffuse(x, step / T, eps, low_of(x)), mixed)
    assert_close(anchored().diffuse(x, step / T, eps, x[:, :3]), mixed)  # the channels that the anchor lacks are zero


@pytest.mark.parametrize("step", [1, 20, 55])
def test_clean_signal_is_recovered_from_the_noise(step):
    x_t, eps, low = normal("x"), normal("eps"), low_of(normal("low"))
    g, a = gamma(step), abar(step)
    mixture = (x_t - math.sqrt(1 - a) * eps) / math.sqrt(a)
    clean = (mixture - g * low) / (1 - g)
    assert_close(anchored().clean_in(x_t, step / T, eps, low), clean)
    high = torch.full((12, 1, 1), 0.7, dtype=torch.float64)
    denoiser = FromNoise(lambda x, log_ratio: eps, anchored(), -high, high)
    assert_close(denoiser(x_t, step / T, anchor=low[:, :3]), clean.clamp(-0.7, 0.7))


@pytest.mark.parametrize("step", [1, 20, 55])
def test_reverse_step_is_the_ddim_update_of_the_thesis(step):
    x_t, eps, low = normal("x"), normal("eps"), low_of(normal("low"))
    process, far = anchored(), torch.full((12, 1, 1), 1e9, dtype=torch.float64)
    denoiser = FromNoise(lambda x, log_ratio: eps, process, -far, far)
    t, s = step / T, (step - 1) / T
    found = sample(denoiser, process, Ddim(), x_t, (t, s), NoiseSource(0), anchor=low)
    g, a, h, b = gamma(step), abar(step), gamma(step - 1), abar(step - 1)
    mixture = (x_t - math.sqrt(1 - a) * eps) / math.sqrt(a)
    clean = (mixture - g * low) / (1 - g)
    noise = (x_t - math.sqrt(a) * mixture) / math.sqrt(1 - a)
    assert_close(found, math.sqrt(b) * ((1 - h) * clean + h * low) + math.sqrt(1 - b) * noise)


def test_reverse_mean_at_the_coarsest_scale_is_that_of_ddpm():
    process, step = VariancePreserving.cosine(T), 40
    x_t, eps = normal("x"), normal("eps")
    far = torch.full((12, 1, 1), 1e9, dtype=torch.float64)

    class Still(NoiseSource):
        def child(self, *path):
            return self

        def normal(self, shape, *key, like=None):
            return torch.zeros(tuple(shape), dtype=torch.float64)

    found = sample(FromNoise(lambda x, r: eps, process, -far, far), process, Ddim(1.0), x_t, (0.4, 0.39), Still(0))
    alpha = abar(step) / abar(step - 1)
    assert_close(found, (x_t - (1 - alpha) / math.sqrt(1 - abar(step)) * eps) / math.sqrt(alpha))


def test_gamma_rises_from_0_to_its_largest():
    process = anchored(43)
    values = [process.gamma(step / T) for step in range(T + 1)]
    assert values[0] == 0
    assert_close(max(values), 0.55)
    assert all(a < b for a, b in pairwise(values[:44]))
    assert values[43:] == [values[43]] * 58
    assert_close(process.gamma(torch.tensor([0.0, 0.43, 0.9])), torch.tensor([0.0, 0.55, 0.55]))


@pytest.mark.parametrize(("start", "strongest"), [(0.0, 0.5), (0.5, 1.0), (0.5, -0.1)])
def test_a_mixture_of_nothing_or_of_the_anchor_alone_is_refused(start, strongest):
    with pytest.raises(InputError, match="start is"):
        Anchored(Flow(), start, strongest)


def test_reference_has_the_published_constants():
    assert [REFERENCE.schedule(index).times[0] for index in range(4)] == [1.0, 0.55, 0.43, 0.33]
    assert [len(REFERENCE.schedule(index).times) - 1 for index in range(3)] == [100, 55, 43]
    assert [REFERENCE.schedule(index).sampler for index in range(3)] == [Ddim(1.0), Ddim(0.0), Ddim(0.0)]
    assert REFERENCE.shape.field == 65
    assert 0.9e6 < sum(p.numel() for p in LocalNetwork(REFERENCE.shape).parameters()) < 1.15e6
    assert all(REFERENCE.process(index).strongest == 0.55 for index in (1, 2))


def test_scalings_make_the_best_linear_estimate_of_gaussian_data():
    generator = torch.Generator().manual_seed(0)
    deviation, signal, noise = 0.3, 0.6, 0.2
    x = deviation * torch.randn(400_000, generator=generator, dtype=torch.float64)
    z = signal * x + noise * torch.randn(400_000, generator=generator, dtype=torch.float64)
    scale = scalings(signal, noise, torch.tensor(deviation, dtype=torch.float64))
    slope = (z @ x / (z @ z)).item()
    assert scale.skip.item() == pytest.approx(slope, rel=0.01)
    assert (scale.into * z).std().item() == pytest.approx(1, rel=0.01)
    assert ((x - scale.skip * z) / scale.out).std().item() == pytest.approx(1, rel=0.01)


def test_a_network_that_answers_the_target_leads_to_the_clean_signal():
    process = Anchored(Flow(), 0.5)
    mean, deviation = normal("mean", shape=(12, 1, 1)), normal("deviation", shape=(12, 1, 1)).abs() + 0.1
    x, t = normal("x"), 0.3
    x_t = process.diffuse(x, t, normal("eps"), x[:, :3])
    signal, noise = signals(process, t, 12, 3, like=x)
    scale = scalings(signal, noise, deviation)
    z = x_t - signal * mean
    target = (x - mean - scale.skip * z) / scale.out
    denoiser = Preconditioned(lambda seen, log_ratio: target, process, mean, deviation, follows=3)
    assert_close(denoiser(x_t, t, anchor=x[:, :3]), x)


def awake(shape, seed=0):
    """A network none of whose weights is zero."""
    torch.manual_seed(seed)
    network = LocalNetwork(shape)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return network


@pytest.mark.parametrize(
    "shape",
    [LocalShape(width=8, blocks=1), LocalShape(width=8, blocks=5, second=3), LocalShape(width=8, blocks=2, spread=5)],
)
def test_the_field_is_what_differentiation_finds(shape):
    network, side = awake(shape).double(), shape.field + 8
    x = normal("x", shape=(1, 12, side, side)).requires_grad_()
    clock = torch.zeros(1)
    network(x, torch.zeros(1, 1, side, side, dtype=torch.float64), clock, clock)[
        0, :, side // 2, side // 2
    ].sum().backward()
    reached = x.grad.abs().sum((0, 1)) > 0
    rows, columns = reached.any(1).nonzero(), reached.any(0).nonzero()
    assert (rows.max() - rows.min() + 1).item() == (columns.max() - columns.min() + 1).item() == shape.field


def photograph(height, width):
    """A smooth picture with some texture."""
    rows, columns = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 4, width), indexing="ij")
    plain = torch.stack([rows.sin(), (rows * columns).cos(), columns.cos()])
    return (0.7 * plain + 0.1 * NoiseSource(1).normal((3, height, width)))[None].clamp(-1, 1)


def model_of(configuration, image, *, tile=512, seed=0):
    material = Material([image], configuration.pyramid, crop=16)
    seen = [Sight(configuration.pyramid.split(image))] if configuration.answers == "clean" else ()
    prior = NetworkPrior(awake(configuration.shape, seed), configuration, material.statistics, seen, tile=tile)
    return WaveletModel(image, configuration.pyramid, prior)


SMALL = replace(FAST, width=8, blocks=2, levels=2, coarse_steps=4, fine_steps=3, finest_steps=3)
SMALL_REFERENCE = replace(REFERENCE, width=8, blocks=1, levels=2)


@pytest.mark.parametrize("configuration", [SMALL, replace(SMALL, progression="bands"), SMALL_REFERENCE])
def test_tiles_make_no_difference(configuration):
    image = photograph(70, 91)
    whole, tiled = (model_of(configuration, image, tile=tile) for tile in (512, 11))
    noise = NoiseSource(0)
    with torch.inference_mode():
        assert_close(whole.generate((83, 60), noise), tiled.generate((83, 60), noise), rtol=0, atol=1e-5)


@pytest.mark.parametrize("progression", ["levels", "bands"])
def test_a_batch_draws_what_its_pictures_draw_alone(progression):
    model = model_of(replace(SMALL, progression=progression), photograph(48, 60))
    noise = NoiseSource(5)
    with torch.inference_mode():
        together = model.generate((40, 52), noise.batch(range(3)), variation=0.6)
        alone = [model.generate((40, 52), noise.child(index), variation=0.6) for index in range(3)]
    assert together.shape == (3, 3, 40, 52)
    assert_close(together, torch.cat(alone), rtol=0, atol=1e-4)  # sums are taken in another order


@pytest.mark.parametrize("size", [(16, 16), (33, 47), (16, 128), (128, 16), (200, 25)])
def test_any_size_is_drawn(size):
    model = model_of(SMALL, photograph(48, 60))
    with torch.inference_mode():
        picture = model.generate(size, NoiseSource(0))
    assert picture.shape == (1, 3, *size)
    assert picture.isfinite().all()


def test_nothing_changes_at_strength_0():
    """At the least noise the estimate is the input, whatever the network says, but for the network's share of it."""
    image = photograph(48, 60)
    configuration = replace(SMALL, low=1e-4, start=2e-4)
    with torch.inference_mode():
        same = model_of(configuration, image).generate((48, 60), NoiseSource(0), variation=0.0)
    # The details of the finer scales are drawn anew, those of the coarsest are kept.
    assert_close(Levels(2).split(same)[0].picture, Levels(2).split(image)[0].picture, rtol=0, atol=0.02)


def test_crops_lie_where_they_say():
    image = photograph(64, 80)
    material = Material([image], Levels(2), crop=12)
    assert material.crop == (12, 12)
    generator = torch.Generator().manual_seed(0)
    framed = torch.nn.functional.pad(Levels(2).split(image)[1].bands, (MARGIN,) * 4)
    found = 0
    for _ in range(60):
        batch = material.draw([1], generator)
        windows = framed.unfold(2, 12, 1).unfold(3, 12, 1)
        differences = (windows - batch.bands[0][None, :, None, None]).abs().amax((1, 4, 5))
        inside = batch.outside[0].sum() == 0
        found += bool(differences.min() < 1e-6 and inside)
    assert 3 < found < 40  # about a quarter are of the phase that was not moved


def test_the_margin_is_outside_and_empty():
    material = Material([photograph(64, 80)], Levels(3), crop=48)
    batch = material.draw([0, 0, 0, 0], torch.Generator().manual_seed(0))
    assert batch.outside[:, :, :MARGIN].all() and batch.outside[:, :, :, -MARGIN:].all()
    assert not (batch.bands * batch.outside).any()


def test_what_is_transparent_is_outside():
    image, opaque = photograph(64, 64), torch.ones(64, 64, dtype=torch.bool)
    opaque[:, 40:] = False
    image[..., 40:] = 9.0
    material = Material([image], Levels(2), crop=64, opaque=[opaque])
    batch = material.draw([0, 1] * 8, torch.Generator().manual_seed(0))
    assert batch.bands.abs().max() < 4
    assert material.statistics.high.max() < 4


def test_missing_bands_are_zero():
    material = Material([photograph(48, 48)], Bands(), crop=16)
    batch = material.draw([0, 1, 2, 3], torch.Generator().manual_seed(0))
    for index in range(4):
        assert not batch.bands[index, 3 * (index + 1) :].any()
        assert batch.bands[index, 3 * index : 3 * (index + 1)].any()


def test_a_field_that_no_number_of_blocks_has_is_refused():
    settings = Options(receptive_field=29).settings(levels=3)
    assert settings.shape.field == settings.receptive_field == 29
    with pytest.raises(InputError, match="for instance 21 or 23, not 22"):
        Options(receptive_field=22)


def test_configuration_survives_json_and_names_what_is_wrong():
    again = Configuration.from_json(REFERENCE.to_json())
    assert again.to_json() == REFERENCE.to_json()
    assert not hasattr(again, "rate")
    assert REFERENCE.receptive_field == REFERENCE.shape.field == 65
    for wrong in ({"depth": 3}, {"low": 2.0, "start": 1.0}, {"low": math.nan}, {"width": True}, {"gamma": "0"}):
        with pytest.raises(InputError, match="make no sense"):
            Configuration.from_json(wrong)


def hybrid_of(configuration, image):
    material = Material([image], configuration.pyramid, crop=16)
    seen = [Sight(configuration.pyramid.split(image))]
    network = NetworkPrior(awake(configuration.shape), configuration, material.statistics, seen)
    closed_form = ClosedForm(configuration.pyramid.split(image), configuration.pyramid, None, QUICK)
    return HybridPrior(network, closed_form)


def test_hybrid_asks_the_network_while_there_is_much_noise_and_then_the_patches():
    image = photograph(48, 60)
    prior, noise = hybrid_of(SMALL, image), NoiseSource(0)
    size = (12, 15)
    whole = prior.begin(noise, 1.0, span=VerticalSpan(), given=False).stage(0, size, None)
    network = prior.network.begin(noise, 1.0, span=VerticalSpan(), given=False).stage(0, size, None)
    patches = prior.closed_form.begin(noise, 1.0, span=None, given=True).stage(0, size, None)
    x = NoiseSource(1).normal((1, 12, *size))
    handover = PATCHES.times[0]
    assert handover in whole.schedule.times
    for t in whole.schedule.times[:-1]:
        asked = network if t > handover else patches
        assert_close(whole.denoiser(x, t), asked.denoiser(x, t))


def test_a_relay_is_one_walk_and_the_later_it_begins_the_less_is_left_of_it():
    relay = Relay.of(RatioSchedule(10, 20.0, PATCHES.low), PATCHES)
    assert relay.times[-len(PATCHES.times) :] == PATCHES.times
    for strength in (1.0, 0.7, 0.3, 0.01, 0.0):
        times = relay.starting_at(strength).times
        assert list(times) == sorted(times, reverse=True)
        alone = RatioSchedule(10, 20.0, PATCHES.low).starting_at(strength).times[0]
        assert times[0] == pytest.approx(alone)
    assert len(relay.starting_at(0.0).times) == 2


def test_a_new_picture_is_given_energy_and_a_foreign_one_has_its_own():
    prior, noise = hybrid_of(SMALL, photograph(48, 60)).network, NoiseSource(0)
    stages = [
        prior.begin(noise, 1.0, span=span, given=False).stage(0, (12, 15), None) for span in (VerticalSpan(), None)
    ]
    assert [stage.balance is None for stage in stages] == [False, True]


def test_a_part_of_a_picture_is_not_given_the_energy_of_a_whole_one():
    prior, noise, t = hybrid_of(SMALL, photograph(48, 60)).network, NoiseSource(0), 0.4
    mixed = MixedPrior([prior, prior], [1, 2]).begin(noise, 1.0, span=VerticalSpan(), given=False)
    stage, x_t = mixed.stage(0, (12, 15), None), noise.normal((1, 12, 12, 15), "x")
    assert stage.balance is None
    assert_close(stage.denoiser(x_t, t), prior.denoiser(0)(x_t, t))


@pytest.mark.parametrize(
    ("strength", "size", "given"), [(0.7, (12, 15), True), (0.7, (24, 15), False), (1, (24, 15), True)]
)
def test_what_is_left_of_a_stretched_picture_is_not_given_its_energy(strength, size, given):
    descent = hybrid_of(SMALL, photograph(48, 60)).network.begin(
        NoiseSource(0), strength, span=VerticalSpan(), given=False
    )
    assert (descent.stage(0, size, None).balance is not None) == given


def test_the_fast_walks_are_of_the_second_order_and_half_of_a_picture_comes_back_from_the_middle():
    for index in range(FAST.scales):
        assert FAST.schedule(index).sampler == Multistep(FAST.stochasticity)
    time = FAST.schedule(0).starting_at(0.5).times[0]
    assert time / (1 - time) == pytest.approx(FAST.middle)


def test_each_part_of_a_relay_has_its_own_sampler():
    first = RatioSchedule(10, 20.0, 0.02, sampler=Multistep(1.0))
    relay, handover = Relay.of(first, PATCHES), PATCHES.times[0]
    x, clean, before, drawn = (NoiseSource(index).normal((1, 12, 4, 5)) for index in range(4))
    for t, mine in ((0.9, first.sampler), (handover, PATCHES.sampler), (0.1, PATCHES.sampler)):
        step = Step(Flow(), t, t / 2, x, clean, None, lambda x, t: clean, lambda shape: drawn, (0.95, before))
        assert torch.equal(relay.sampler.step(step), mine.step(step))
    assert not torch.equal(first.sampler.step(step), PATCHES.sampler.step(step))


def test_hybrid_draws_any_size_and_needs_the_process_of_the_closed_form():
    image = photograph(48, 60)
    model = WaveletModel(image, SMALL.pyramid, hybrid_of(SMALL, image))
    with torch.inference_mode():
        assert model.generate((35, 80), NoiseSource(0)).shape == (1, 3, 35, 80)
    with pytest.raises(InputError, match="no hybrid"):
        hybrid_of(SMALL_REFERENCE, image)


def test_a_step_is_a_function_of_its_seed():
    image = photograph(48, 60)
    material = Material([image], SMALL.pyramid, crop=16)
    recipe = WaveletRecipe(replace(SMALL, positions=16 * 16 * 4), material, awake(SMALL.shape))
    (update,) = recipe.updates(None, torch.Generator().manual_seed(3))
    update.loss.backward()
    assert update.loss.item() > 0
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in recipe.kept.parameters())
    assert set(update.logs) <= {"scale 1", "scale 2"}
    assert recipe.held_out() == recipe.held_out()
    (again,) = recipe.updates(None, torch.Generator().manual_seed(3))
    assert again.loss.item() == update.loss.item()


def test_a_silent_network_has_the_loss_of_the_best_linear_estimate():
    """With an answer of 0, each band's squared error is out^2 on average for Gaussian data: the loss is near 1."""
    noise = NoiseSource(4).normal((1, 3, 96, 96)).clamp(-3, 3) / 3
    material = Material([noise], SMALL.pyramid, crop=48)
    torch.manual_seed(0)
    recipe = WaveletRecipe(replace(SMALL, positions=48 * 48 * 8), material, LocalNetwork(SMALL.shape))
    assert recipe.held_out()["loss"] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("cost", "chosen", "steps"),
    [
        ({"float32": (5, 4), "bfloat16": (90, 80)}, "float32", 4 + 4 + 1),
        ({"float32": (5, 4), "bfloat16": (3, 2)}, "bfloat16", 4 + 4 + 4 + 4),
    ],
)
def test_the_fastest_way_is_found_and_a_hopeless_one_tried_once(monkeypatch, cost, chosen, steps):
    clock = [0.0]

    def updates(recipe, batch, generator):
        dtype = str(recipe._dtype).removeprefix("torch.")
        clock.append(clock[-1] + cost[dtype][recipe._layout is torch.channels_last])
        return iter(())

    monkeypatch.setattr(WaveletRecipe, "updates", updates)
    monkeypatch.setattr("sinwave.systems.wavelet.train.time.perf_counter", lambda: clock[-1])
    small = replace(FAST, levels=2, width=8, blocks=1)
    picture = Picture(pixels=normal(shape=(3, 32, 40)).float().clamp(-1, 1))
    result = fastest(begin([picture], small, 0, torch.device("cpu")), small)
    assert result == replace(small, precision=chosen, channels_last=True)
    assert len(clock) == 1 + steps


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_bit_of_a_training_depends_on_the_number_of_threads(dtype):
    material = Material([photograph(64, 80)], SMALL.pyramid, crop=48)
    found = []
    for count in (1, 2, 4):
        with threads(count):
            settings = replace(SMALL, precision=dtype, channels_last=True)
            recipe = WaveletRecipe(settings, material, awake(SMALL.shape))
            training = Training(recipe, Constant(None), Budget(3), 5)
            train(training)
        found.append((*recipe.kept.state_dict().values(), *training.averages.values.values()))
    for other in found[1:]:
        assert_close(other, found[0], atol=0, rtol=0)
