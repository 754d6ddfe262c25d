import math
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import ClassVar, final

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from gaussian import GaussianDenoiser

from sinwave.diffusion.process import (
    Anchored,
    Coefficients,
    Flow,
    Process,
    ResidualShift,
    VarianceExploding,
    VariancePreserving,
)
from sinwave.diffusion.sample import (
    Ddim,
    Denoiser,
    Heun,
    Multistep,
    Sampler,
    Step,
    by_strips,
    compose,
    even_times,
    karras_times,
    sample,
)
from sinwave.errors import InputError
from sinwave.rng import Noise, NoiseSource

SHAPE = (2, 3, 4, 4)
SAMPLERS = [Ddim(), Ddim(0.5), Ddim(1.0), Multistep(), Multistep(1.0), Heun()]
PROCESSES = [Flow(), VariancePreserving.cosine(20), VarianceExploding(), ResidualShift.geometric()]


@final
@dataclass(frozen=True)
class Wavy(Denoiser):
    """An arbitrary smooth function of everything that a denoiser is given."""

    def __call__(self, x_t, t, *, anchor=None, condition=None):
        offset = sum(0.2 * given for given in (anchor, condition) if given is not None)
        return torch.tanh(1.3 * x_t.roll(1, -1) - 0.4 * x_t + t) + offset


@final
@dataclass(frozen=True)
class Amplitude(Noise):
    """Noise that is the same number everywhere, so that its weight in a step can be read off."""

    value: float
    count: ClassVar[int] = 1

    def child(self, *path):
        return self

    def normal(self, shape, *key, like=None):
        return torch.full(tuple(shape), self.value, dtype=torch.float64)


@final
@dataclass(frozen=True)
class FromGenerator(Noise):
    """The draws of a generator one after another, as other libraries use it."""

    generator: torch.Generator
    dtype: torch.dtype = torch.float64
    count: ClassVar[int] = 1

    def child(self, *path):
        return self

    def normal(self, shape, *key, like=None):
        return torch.randn(tuple(shape), generator=self.generator, dtype=self.dtype)


@final
@dataclass(frozen=True)
class ByBand(Process):
    """Only the first of three bands moves to its anchor."""

    def at(self, t):
        share = torch.tensor([0.6, 0.0, 0.0], dtype=torch.float64).reshape(1, 3, 1, 1) * t
        return Coefficients((1 - t) * (1 - share), (1 - t) * share, t)


@final
@dataclass(frozen=True)
class Recorder:
    """A constraint, and a hook, that keep what they see."""

    seen: list = field(default_factory=list)

    def __call__(self, *seen):
        self.seen.append(seen)
        return seen[0]


@final
@dataclass(frozen=True)
class Remembering(Sampler):
    """Another sampler that keeps what it is told of the step before."""

    sampler: Sampler
    seen: list = field(default_factory=list)

    @property
    def looks_back(self):
        return self.sampler.looks_back

    def step(self, step):
        self.seen.append(step.before)
        return self.sampler.step(step)


def normal(key, shape=SHAPE):
    return NoiseSource(0).normal(shape, key).double()


def one_step(process, sampler, x_t, t, s, noise, anchor=None):
    return sample(Wavy(), process, sampler, x_t, (t, s), noise, anchor=anchor)


@pytest.mark.parametrize("k", [1, 2, 8, 15])
def test_ancestral_step_is_the_posterior_of_resshift(k):
    process, x_t, y = ResidualShift.geometric(), normal("x"), normal("y")
    t, s = k / 15, (k - 1) / 15
    still = one_step(process, Ddim(1.0), x_t, t, s, Amplitude(0.0), y)
    moved = one_step(process, Ddim(1.0), x_t, t, s, Amplitude(1.0), y)

    eta_t, eta_s = process.sqrt_eta[k] ** 2, process.sqrt_eta[k - 1] ** 2
    alpha = eta_t - eta_s
    mean = eta_s / eta_t * x_t + alpha / eta_t * Wavy()(x_t, t, anchor=y)
    variance = process.kappa**2 * eta_s / eta_t * alpha
    torch.testing.assert_close(still, mean)
    torch.testing.assert_close(moved - still, torch.full_like(mean, math.sqrt(variance)))


@pytest.mark.parametrize("k", [1, 2, 8, 15])
def test_deterministic_step_is_that_of_sinsr(k):
    process, x_t, y = ResidualShift.geometric(), normal("x"), normal("y")
    t, s = k / 15, (k - 1) / 15
    eta_t, eta_s = process.sqrt_eta[k] ** 2, process.sqrt_eta[k - 1] ** 2
    m = math.sqrt(eta_s / eta_t)
    j = eta_s - math.sqrt(eta_s * eta_t)
    expected = (1 - eta_s + math.sqrt(eta_s * eta_t) - m) * Wavy()(x_t, t, anchor=y) + m * x_t + j * y
    torch.testing.assert_close(one_step(process, Ddim(), x_t, t, s, Amplitude(1.0), y), expected)


@pytest.mark.parametrize("stochasticity", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("steps", [5, 20])
def test_ddim_equals_diffusers(stochasticity, steps):
    scheduler = DDIMScheduler(
        20, beta_schedule="squaredcos_cap_v2", clip_sample=False, prediction_type="sample", timestep_spacing="trailing"
    )
    scheduler.set_timesteps(steps)
    expected, generator = normal("x"), torch.Generator().manual_seed(1)
    for index in scheduler.timesteps.tolist():
        clean = Wavy()(expected, (index + 1) / 20)
        expected = scheduler.step(clean, index, expected, eta=stochasticity, generator=generator).prev_sample
    noise = FromGenerator(torch.Generator().manual_seed(1))
    process = VariancePreserving.cosine(20)
    x = sample(Wavy(), process, Ddim(stochasticity), normal("x"), even_times(steps), noise)
    torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-5)


def test_ancestral_sampling_equals_the_ddpm_of_diffusers():
    scheduler = DDPMScheduler(20, variance_type="fixed_small", clip_sample=False, prediction_type="sample")
    expected, generator = normal("x"), torch.Generator().manual_seed(1)
    for index in reversed(range(20)):
        clean = Wavy()(expected, (index + 1) / 20)
        expected = scheduler.step(clean, index, expected, generator=generator).prev_sample
    noise = FromGenerator(torch.Generator().manual_seed(1))
    x = sample(Wavy(), VariancePreserving.linear(20), Ddim(1.0), normal("x"), even_times(20), noise)
    torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers
@pytest.mark.parametrize(("stochasticity", "name"), [(0.0, "dpmsolver++"), (1.0, "sde-dpmsolver++")])
@pytest.mark.parametrize("steps", [5, 20])
def test_multistep_equals_diffusers(stochasticity, name, steps):
    scheduler = DPMSolverMultistepScheduler(
        20,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        algorithm_type=name,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(steps)
    expected = normal("x")
    for index in scheduler.timesteps.tolist():
        clean = Wavy()(expected, (index + 1) / 20)
        drawn = torch.full_like(expected, 0.7)
        expected = scheduler.step(clean, index, expected, variance_noise=drawn).prev_sample
    process = VariancePreserving.cosine(20)
    x = sample(Wavy(), process, Multistep(stochasticity), normal("x"), even_times(steps), Amplitude(0.7))
    torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-5)


def test_multistep_obeys_an_affine_constraint_at_every_step():
    """An affine constraint on every estimate holds for the value that a step uses: here for the first band."""
    process, truth, hook = Flow(), normal("truth"), Recorder()
    start = process.diffuse(truth, 0.9, normal("eps"))

    def constrain(clean, t):
        return torch.cat([truth[:, :1], clean[:, 1:]], 1)

    walk = (Multistep(), start, even_times(6, 0.9), Amplitude(1.0))
    sample(Wavy(), process, *walk, constrain=constrain, on_step=hook)
    for (_, x, _), s in zip(hook.seen, even_times(6, 0.9)[1:], strict=True):
        torch.testing.assert_close(x[:, :1], process.diffuse(truth, s, normal("eps"))[:, :1])


def test_only_a_sampler_that_looks_back_is_told_the_estimate_before():
    for sampler in SAMPLERS:
        remembering = Remembering(sampler)
        sample(Wavy(), Flow(), remembering, normal("x"), (0.9, 0.5, 0.2, 0.0), NoiseSource(0))
        assert [before and before[0] for before in remembering.seen] == (
            [None, 0.9, 0.5] if sampler.looks_back else [None] * 3
        )


def test_heun_equals_the_algorithm_of_edm():
    sigmas = karras_times(6)
    steps = np.arange(6)
    schedule = (80 ** (1 / 7) + steps / 5 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    np.testing.assert_allclose(sigmas, np.append(schedule, 0), rtol=1e-12)

    def denoise(x, sigma):
        return np.tanh(1.3 * np.roll(x, 1, -1) - 0.4 * x + sigma)

    start = 80 * normal("x")
    x = start.numpy()
    for sigma, lower in pairwise([*schedule, 0]):
        slope = (x - denoise(x, sigma)) / sigma
        euler = x + (lower - sigma) * slope
        if lower > 0:
            slope = (slope + (euler - denoise(euler, lower)) / lower) / 2
        x = x + (lower - sigma) * slope
    ours = sample(Wavy(), VarianceExploding(), Heun(), start, sigmas, Amplitude(1.0))
    np.testing.assert_allclose(ours.numpy(), x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("sampler", "order"), [(Ddim(), 1), (Multistep(), 2), (Heun(), 2)])
@pytest.mark.parametrize("process", [*PROCESSES, ByBand()], ids=lambda process: type(process).__name__)
def test_order_of_convergence(process, sampler, order):
    """Against the exact solution for N(mean, variance): the distance to the mean shrinks like the deviation."""
    mean, variance, x, y = 0.3, 0.5, normal("x"), normal("y")
    # Within one interval of a table, where the process is smooth.
    first, last = (0.99, 0.94) if isinstance(process, ResidualShift | VariancePreserving) else (0.9, 0.3)
    a, b = process.at(first), process.at(last)
    deviation = [(c.signal**2 * variance + c.noise**2) ** 0.5 for c in (a, b)]
    center = [c.signal * mean + c.anchor * y for c in (a, b)]
    exact = center[1] + deviation[1] / deviation[0] * (x - center[0])

    denoiser, counts, errors = GaussianDenoiser(process, mean, variance), (16, 32, 64, 128), []
    for count in counts:
        times = np.linspace(first, last, count + 1).tolist()
        walked = sample(denoiser, process, sampler, x, times, Amplitude(0.0), anchor=y)
        errors.append((walked - exact).abs().max().item())
    slope = np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert -slope == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
@pytest.mark.parametrize("process", PROCESSES, ids=lambda process: type(process).__name__)
def test_sampling_a_gaussian_gets_its_mean_and_deviation_right(process, sampler):
    shape, mean, variance = (1, 1, 100, 100), 0.4, 0.09
    y = torch.full(shape, mean, dtype=torch.float64)
    times = karras_times(400, 0.01, 20.0) if isinstance(process, VarianceExploding) else even_times(400)
    start = process.diffuse(mean + 0.3 * normal("x_0", shape), times[0], normal("eps", shape), y)
    denoiser = GaussianDenoiser(process, mean, variance)
    x = sample(denoiser, process, sampler, start, times, NoiseSource(3), anchor=y)
    assert x.mean().item() == pytest.approx(mean, abs=0.02)
    assert x.std().item() == pytest.approx(0.3, rel=0.03)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
@pytest.mark.parametrize("process", [*PROCESSES, ByBand()], ids=lambda process: type(process).__name__)
def test_the_walk_ends_exactly_at_the_last_constrained_estimate(process, sampler):
    hook = Recorder()
    x = sample(
        *(Wavy(), process, sampler, normal("x"), even_times(4), NoiseSource(0)),
        anchor=normal("y"),
        constrain=lambda clean, t: clean.clamp(-0.5, 0.5),
        on_step=hook,
    )
    assert torch.equal(x, hook.seen[-1][2])
    assert x.abs().max() == 0.5


@pytest.mark.parametrize(("sampler", "asked"), [(Ddim(1.0), [0.9, 0.5, 0.2]), (Heun(), [0.9, 0.5, 0.5, 0.2, 0.2])])
def test_the_constraint_sees_every_estimate(sampler, asked):
    constraint = Recorder()
    sample(Wavy(), Flow(), sampler, normal("x"), (0.9, 0.5, 0.2, 0.0), NoiseSource(0), constrain=constraint)
    assert [t for _, t in constraint.seen] == asked


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_the_constraint_takes_the_place_of_the_estimate(sampler):
    """With the estimate replaced by the truth, the walk from a diffused picture leads back to it."""
    process, truth = Flow(), normal("truth")
    hook = Recorder()
    sample(
        *(Wavy(), process, sampler, process.diffuse(truth, 0.9, normal("eps")), even_times(5, 0.9), Amplitude(1.0)),
        constrain=lambda clean, t: truth,
        on_step=hook,
    )
    for (index, x, clean), s in zip(hook.seen, even_times(5, 0.9)[1:], strict=True):
        assert torch.equal(clean, truth), index
        if sampler in (Ddim(), Multistep(), Heun()):
            torch.testing.assert_close(x, process.diffuse(truth, s, normal("eps")))
    assert torch.equal(hook.seen[-1][1], truth)


def test_constraints_compose_in_order():
    both = compose(lambda clean, t: clean + t, lambda clean, t: clean * 2)
    assert both(torch.ones(1), 0.5).item() == 3
    assert compose()(torch.ones(1), 0.5).item() == 1


def test_the_hook_sees_each_step_in_order():
    hook = Recorder()
    times = (0.9, 0.5, 0.0)
    x = sample(Wavy(), Flow(), Ddim(), normal("x"), times, NoiseSource(0), on_step=hook)
    middle = one_step(Flow(), Ddim(), normal("x"), 0.9, 0.5, NoiseSource(0))
    assert [index for index, *_ in hook.seen] == [0, 1]
    assert torch.equal(hook.seen[0][1], middle)
    assert torch.equal(hook.seen[1][2], Wavy()(middle, 0.5))
    assert torch.equal(hook.seen[1][1], x)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_the_denoiser_is_told_the_condition(sampler):
    walk, condition = (normal("x"), even_times(3), NoiseSource(0)), normal("known")
    hidden = sample(Wavy(), Flow(), sampler, *walk, constrain=lambda clean, t: clean + 0.2 * condition)
    torch.testing.assert_close(sample(Wavy(), Flow(), sampler, *walk, condition=condition), hidden)


def test_same_seed_same_picture_alone_and_in_a_batch():
    noise = NoiseSource(8)

    def pictures(which):
        batch = noise.batch(which)
        start = batch.normal((len(which), 3, 4, 4), "start")
        return sample(Wavy(), Flow(), Ddim(1.0), start, even_times(5), batch)

    together, alone = pictures([4, 17, 5]), pictures([17])
    assert torch.equal(together[1:2], alone)
    assert not torch.equal(together[0], together[1])


@pytest.mark.parametrize("stochasticity", [0.0, 0.7])
def test_large_pictures_go_strip_by_strip_with_the_same_result(stochasticity, monkeypatch):
    process = Anchored(Flow(), 0.6)
    x, clean, before = (normal(name) for name in ("x", "clean", "before"))
    for anchor in (normal("y"), normal("y")[:, :1]):  # it may know the leading channels only
        for sampler in (Ddim(stochasticity), Multistep(stochasticity)):
            step = Step(process, 0.6, 0.3, x, clean, anchor, lambda x, t: clean, Amplitude(0.7).normal, (0.9, before))
            whole = sampler.step(step)
            with monkeypatch.context() as patch:
                patch.setattr("sinwave.diffusion.sample.STRIP", x[0, :, :2].numel() + 1)
                assert torch.equal(sampler.step(step), whole)
                own = x.clone()
                assert sampler.step(replace(step, x_t=own, owned=True)) is own
                assert torch.equal(own, whole)


def test_strips_cover_every_row_once(monkeypatch):
    x, seen = torch.arange(2 * 3 * 7 * 5.0).reshape(2, 3, 7, 5), []
    monkeypatch.setattr("sinwave.diffusion.sample.STRIP", 30)

    def compute(x, other, missing):
        seen.append(x.shape[2])
        assert missing is None
        return x + other

    assert torch.equal(by_strips(compute, x, x[:1, :1], None), x + x[:1, :1])
    assert seen == [2, 2, 2, 1]


def test_noise_of_a_large_picture_is_drawn_strip_by_strip_and_whoever_else_is_in_the_batch(monkeypatch):
    monkeypatch.setattr("sinwave.diffusion.sample.STRIP", 30)
    batch = NoiseSource(8).batch([4, 17, 5])
    x = torch.zeros(3, 3, 7, 5)
    drawn = by_strips(lambda x, drawn: x + drawn, x, draw=batch.normal)
    alone = by_strips(lambda x, drawn: x + drawn, x[:1], draw=NoiseSource(8).batch([17]).normal)
    assert torch.equal(drawn[1:2], alone)
    assert len(drawn.unique()) == drawn.numel()


def test_no_walk_overwrites_what_it_was_given(monkeypatch):
    monkeypatch.setattr("sinwave.diffusion.sample.STRIP", 30)
    x = normal("x")
    for sampler in SAMPLERS:
        sample(Wavy(), Flow(), sampler, x, (0.9, 0.5, 0.2, 0.0), NoiseSource(0), anchor=normal("y"))
        assert torch.equal(x, normal("x"))


def test_each_step_has_noise_of_its_own():
    hook = Recorder()
    zero = torch.zeros(SHAPE)
    sample(
        *(Wavy(), VarianceExploding(), Ddim(1.0), zero, (9.0, 1.0, 0.1), NoiseSource(0)),
        constrain=lambda clean, t: zero,
        on_step=hook,
    )
    first, second = (x.flatten() for _, x, _ in hook.seen)
    # A tenth of the second is left from the first; were the noise the same, they would be almost equal.
    assert torch.corrcoef(torch.stack([first, second]))[0, 1].abs() < 0.5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_the_dtype_is_kept_and_no_gradient_is(sampler, dtype):
    start = normal("x").to(dtype).requires_grad_()
    x = sample(Wavy(), Flow(), sampler, start, even_times(3), NoiseSource(0))
    assert x.dtype == dtype
    assert not x.requires_grad


def test_a_step_may_be_as_small_as_rounding():
    t = 0.6998315143049134  # where the share of fresh noise is rounded to less than 0
    x = one_step(VariancePreserving.cosine(20), Ddim(1.0), normal("x"), t, math.nextafter(t, 0), NoiseSource(0))
    torch.testing.assert_close(x, normal("x"))


@pytest.mark.parametrize("times", [(), (1.0,), (0.0, 1.0), (1.0, 0.5, 0.5)])
def test_times_must_fall(times):
    with pytest.raises(InputError, match="times are"):
        sample(Wavy(), Flow(), Ddim(), normal("x"), times, NoiseSource(0))


def test_times():
    assert even_times(4, 0.8) == pytest.approx((0.8, 0.6, 0.4, 0.2, 0.0))
    assert karras_times(2, 0.1, 3.0) == pytest.approx((3.0, 0.1, 0.0))
    assert karras_times(3, 1.0, 4.0, rho=1.0) == pytest.approx((4.0, 2.5, 1.0, 0.0))
    with pytest.raises(InputError, match="0 steps from 1"):
        even_times(0)
    with pytest.raises(InputError, match=r"3 steps from 1\.0 to 2\.0"):
        karras_times(3, 2.0, 1.0)


@pytest.mark.parametrize("sampler", [Ddim, Multistep])
def test_stochasticity_has_a_range(sampler):
    with pytest.raises(InputError, match=r"stochasticity is 1\.5: it must be between 0 and 1"):
        sampler(1.5)
