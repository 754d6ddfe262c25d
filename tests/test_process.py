import math
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import pytest
import torch
from diffusers import DDPMScheduler
from gaussian import GaussianDenoiser
from hypothesis import given
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode

from sinwave.diffusion.denoise import FromNoise, Preconditioned, signals
from sinwave.diffusion.process import (
    Anchored,
    Coefficients,
    Flow,
    Process,
    ResidualShift,
    VarianceExploding,
    VariancePreserving,
)
from sinwave.errors import InputError

PROCESSES = [
    Flow(),
    VarianceExploding(),
    VariancePreserving.cosine(50),
    VariancePreserving.linear(1000),
    VariancePreserving.scaled_linear(1000),
    ResidualShift.geometric(),
    ResidualShift.geometric(4, min_noise=0.2),
]
processes = pytest.mark.parametrize("process", PROCESSES, ids=lambda process: type(process).__name__)


@final
@dataclass(frozen=True)
class ByBand(Process):
    """Two bands, of which the first moves to its anchor while the second does not."""

    def at(self, t):
        share = torch.tensor([0.5, 0.0], dtype=torch.float64).reshape(1, 2, 1, 1) * t
        return Coefficients((1 - t) * (1 - share), (1 - t) * share, t)


def tensors(count, shape=(2, 2, 3, 4)):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, *shape, generator=generator, dtype=torch.float64).unbind()


@processes
@pytest.mark.parametrize("t", [0.013, 0.5, 0.987])
def test_each_term_can_be_solved_for(process, t):
    clean, noise, anchor = tensors(3)
    x_t = process.diffuse(clean, t, noise, anchor)
    torch.testing.assert_close(process.noise_in(x_t, t, clean, anchor), noise)
    torch.testing.assert_close(process.clean_in(x_t, t, noise, anchor), clean)


@processes
def test_the_clean_end_is_exact(process):
    clean, noise, anchor = tensors(3)
    assert torch.equal(process.diffuse(clean, 0.0, noise, anchor), clean)
    assert torch.equal(process.diffuse(clean, 0.0, noise), clean)


@processes
@given(t=st.floats(0, 1))
def test_a_tensor_of_times_agrees_with_its_floats(process, t):
    times = torch.tensor([t, 0.25], dtype=torch.float64).reshape(2, 1, 1, 1)
    clean, noise, anchor = tensors(3)
    together = process.diffuse(clean, times, noise, anchor)
    for row, time in enumerate((t, 0.25)):
        alone = process.diffuse(clean[row], time, noise[row], anchor[row])
        torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-9)


@processes
def test_single_precision_stays_single(process):
    x = torch.ones(2, 1, 2, 2)
    assert process.diffuse(x, 0.3, x, x).dtype == torch.float32
    assert process.diffuse(x, torch.rand(2, 1, 1, 1), x, x).dtype == torch.float32


@processes
@given(s=st.floats(0, 0.99), step=st.floats(0.001, 0.5))
def test_the_chain_adds_noise_and_never_removes_any(process, s, step):
    t = min(s + step, 1.0)
    fresh = process.at(t).noise ** 2 - (process.carry(s, t) * process.at(s).noise) ** 2
    assert fresh > -1e-12


@processes
def test_the_chain_goes_any_way_to_the_same_place(process):
    assert math.isclose(process.carry(0.2, 0.8), process.carry(0.2, 0.5) * process.carry(0.5, 0.8))


def test_the_carry_of_the_known_chains():
    assert ResidualShift.geometric().carry(0.2, 0.8) == pytest.approx(1)
    assert VarianceExploding().carry(0.2, 0.8) == 1
    assert Flow().carry(0.2, 0.8) == pytest.approx(0.2 / 0.8)
    process = VariancePreserving.linear(10, 0.1, 0.2)
    assert process.carry(0.2, 0.3) ** 2 == pytest.approx(1 - (0.1 + 2 * 0.1 / 9))


@processes
def test_signal_falls_and_noise_rises(process):
    rows = [process.at(k / 200) for k in range(201)]
    assert all(a.noise < b.noise and a.signal >= b.signal for a, b in pairwise(rows))


@pytest.mark.parametrize(
    ("process", "schedule", "limits"),
    [
        (VariancePreserving.cosine(100), "squaredcos_cap_v2", {}),
        (VariancePreserving.linear(100), "linear", {"beta_start": 1e-4, "beta_end": 0.02}),
        (VariancePreserving.scaled_linear(100), "scaled_linear", {"beta_start": 0.00085, "beta_end": 0.012}),
    ],
)
def test_step_k_of_a_variance_preserving_table_is_at_k_over_its_length(process, schedule, limits):
    scheduler = DDPMScheduler(num_train_timesteps=100, beta_schedule=schedule, **limits)
    for index, expected in enumerate(scheduler.alphas_cumprod.double().tolist()):
        signal, anchor, noise = process.at((index + 1) / 100)
        assert signal**2 == pytest.approx(expected, rel=1e-4, abs=1e-7)
        assert signal**2 == pytest.approx(process.alphas_cumprod[index + 1], rel=1e-12, abs=1e-12)
        assert noise**2 == pytest.approx(1 - process.alphas_cumprod[index + 1], rel=1e-12)
        assert anchor == 0


@given(t=st.floats(0, 1))
def test_variance_is_preserved_between_the_steps_too(t):
    signal, _, noise = VariancePreserving.cosine(7).at(t)
    assert signal**2 + noise**2 == pytest.approx(1)


@pytest.mark.parametrize(
    ("process", "published"),
    [
        (
            ResidualShift.geometric(),
            "0.02 0.1172 0.1763 0.2336 0.2916 0.351 0.4124 0.4759 0.5417 0.6099 0.6807 0.754 0.83 0.9086 0.99",
        ),
        (ResidualShift.geometric(4, min_noise=0.2), "0.1 0.5201 0.7614 0.99"),
    ],
)
def test_the_published_tables_of_resshift(process, published):
    roots = [float(root) for root in published.split()]
    for k, root in enumerate(roots, start=1):
        signal, anchor, noise = process.at(k / len(roots))
        assert math.sqrt(anchor) == pytest.approx(root, abs=5e-5)
        assert signal + anchor == pytest.approx(1)
        assert noise == pytest.approx(2 * math.sqrt(anchor))


def test_a_process_may_treat_each_band_differently():
    clean, noise, anchor = tensors(3)
    x_t = ByBand().diffuse(clean, 0.4, noise, anchor)
    torch.testing.assert_close(x_t[:, 1], 0.6 * clean[:, 1] + 0.4 * noise[:, 1])
    torch.testing.assert_close(x_t[:, 0], 0.6 * (0.8 * clean[:, 0] + 0.2 * anchor[:, 0]) + 0.4 * noise[:, 0])
    torch.testing.assert_close(ByBand().clean_in(x_t, 0.4, noise, anchor), clean)
    torch.testing.assert_close(ByBand().carry(0.2, 0.6), torch.full((1, 2, 1, 1), 0.5, dtype=torch.float64))


@pytest.mark.parametrize("t", [0.5, torch.tensor(0.5)])
def test_a_missing_anchor_is_an_error_where_it_counts(t):
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(InputError, match="the anchor is None"):
        ResidualShift.geometric().diffuse(x, t, x)


@pytest.mark.parametrize("table", [(1.0,), (0.9, 0.5), (1.0, 0.5, 0.6), (1.0, -0.1)])
def test_bad_tables_of_alphas_are_refused(table):
    with pytest.raises(InputError, match="alphas_cumprod is"):
        VariancePreserving(table)


@pytest.mark.parametrize("table", [(0.0,), (0.1, 0.5), (0.0, 0.5, 0.4), (0.0, 1.1)])
def test_bad_tables_of_shifts_are_refused(table):
    with pytest.raises(InputError, match="sqrt_eta is"):
        ResidualShift(table)


class TablesMade(TorchFunctionMode):
    """Counts the tensors that are made from Python's numbers."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.tensor
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("process", [VariancePreserving.cosine(37), ResidualShift.geometric(13)])
def test_the_table_of_a_process_is_copied_to_a_device_once(process):
    times = torch.rand(4, 1, 1, 1)
    with torch.inference_mode():
        drawn = process.at(times)
    with TablesMade() as made:
        for _ in range(3):
            again = process.at(times)
    assert made.count == 0
    torch.testing.assert_close(again.noise, drawn.noise.clone())
    times.requires_grad_()  # although the table is from inference mode
    process.at(times).noise.sum().backward()
    assert times.grad.isfinite().all()
    assert process.at(times.double()).noise.dtype == torch.float64


def test_bad_constants_of_the_residual_shift_are_refused():
    with pytest.raises(InputError, match="kappa is -1"):
        ResidualShift((0.0, 0.5), kappa=-1)
    with pytest.raises(InputError, match="steps is 1"):
        ResidualShift.geometric(1)


TIMES = torch.tensor([0.13, 0.5, 0.87], dtype=torch.float64).reshape(3, 1, 1, 1)


def denoisers(process, follows=0):
    """Of each kind, with a network that depends on its clock."""

    def network(x, log_ratio):
        return (x + log_ratio).sin()

    mean, deviation = torch.linspace(-0.3, 0.3, 5)[:, None, None].double(), torch.linspace(0.2, 0.9, 5)[:, None, None]
    bound = torch.full((1, 5, 1, 1), 1e6, dtype=torch.float64)
    return {
        "gaussian": GaussianDenoiser(process, 0.2, 0.4),
        "clean": Preconditioned(network, process, mean, deviation.double(), follows),
        "noise": FromNoise(network, process, -bound, bound, follows),
    }


@processes
@pytest.mark.parametrize("kind", ["gaussian", "clean", "noise"])
def test_samples_may_have_times_of_their_own(process, kind):
    x_t, anchor = tensors(2, (3, 5, 4, 4))
    denoiser = denoisers(process)[kind]
    together = denoiser(x_t, TIMES, anchor=anchor)
    for row, t in enumerate(TIMES.flatten().tolist()):
        alone = denoiser(x_t[row : row + 1], t, anchor=anchor[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone)
        single = denoiser(x_t[row : row + 1], TIMES[row : row + 1], anchor=anchor[row : row + 1])
        torch.testing.assert_close(single, alone)


@processes
@pytest.mark.parametrize("kind", ["clean", "noise"])
def test_the_loss_is_the_error_of_the_denoiser_that_draws(process, kind):
    """What a network lacks of its target is the error of x_0 over its scale, and of the noise itself."""
    clean, eps, anchor = tensors(3, (3, 5, 4, 4))
    denoiser = denoisers(process)[kind]
    x_t = process.diffuse(clean, TIMES, eps, anchor)
    estimate, weight = denoiser(x_t, TIMES, anchor=anchor), torch.rand(3, 5, 4, 4, dtype=torch.float64)
    if kind == "clean":
        signal, _, noise = process.at(TIMES)
        out = (noise * denoiser.deviation) / (signal**2 * denoiser.deviation**2 + noise**2).sqrt()
        error = ((estimate - clean) / out).square()
    else:
        error = (process.noise_in(x_t, TIMES, estimate, anchor) - eps).abs()
    losses = denoiser.loss(clean, TIMES, eps, anchor)
    torch.testing.assert_close(losses, error.mean((1, 2, 3)))
    weighted = (error * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))
    torch.testing.assert_close(denoiser.loss(clean, TIMES, eps, anchor, weight=weight), weighted)


@pytest.mark.parametrize("kind", ["clean", "noise"])
def test_channels_that_follow_their_anchor_are_noised_as_if_they_were_it(kind):
    process, (clean, eps) = Anchored(Flow(), 0.6), tensors(2, (3, 5, 4, 4))
    follows = torch.tensor([0, 2, 2]).reshape(3, 1, 1, 1)
    losses = denoisers(process, follows)[kind].loss(clean, TIMES, eps)
    for row, count in enumerate(follows.flatten().tolist()):
        rows = slice(row, row + 1)
        alone = denoisers(process, count)[kind]
        own = clean[rows, :count] if count else None
        torch.testing.assert_close(losses[rows], alone.loss(clean[rows], TIMES[row].item(), eps[rows], own))
    denoiser, anchor = denoisers(process, 2)["clean"], clean[:, :2]
    x_t = process.diffuse(clean, TIMES, eps, anchor)
    signal, noise = signals(process, TIMES, 5, 2, like=clean)
    out = noise * denoiser.deviation / (signal**2 * denoiser.deviation**2 + noise**2).sqrt()
    error = ((denoiser(x_t, TIMES, anchor=anchor) - clean) / out).square().mean((1, 2, 3))
    torch.testing.assert_close(denoiser.loss(clean, TIMES, eps, anchor), error)


@processes
def test_a_silent_network_is_the_gaussian_denoiser(process):
    """With an anchor too, which the scalings must not take for signal."""
    x_t, anchor = tensors(2, (3, 5, 4, 4))
    mean, deviation = (torch.full((5, 1, 1), value, dtype=torch.float64) for value in (0.2, 0.4**0.5))
    silent = Preconditioned(lambda x, log_ratio: torch.zeros_like(x), process, mean, deviation)
    expected = GaussianDenoiser(process, 0.2, 0.4)(x_t, TIMES, anchor=anchor)
    torch.testing.assert_close(silent(x_t, TIMES, anchor=anchor), expected)


@processes
@pytest.mark.parametrize("t", [0.1, 0.9])
def test_the_gaussian_denoiser_is_bayes_rule(process, t):
    """Against numerical integration of p(x_0) p(x_t | x_0)."""
    mean, variance, anchor, x_t = 0.7, 0.3, -0.4, 1.1
    signal, shift, noise = process.at(t)
    x_0 = torch.linspace(-8, 8, 40001, dtype=torch.float64)
    log_posterior = -((x_0 - mean) ** 2) / (2 * variance) - (x_t - signal * x_0 - shift * anchor) ** 2 / (2 * noise**2)
    expected = (log_posterior.softmax(0) * x_0).sum()
    denoiser = GaussianDenoiser(process, mean, variance)
    as_tensor = torch.full((1, 1, 1, 1), x_t, dtype=torch.float64)
    estimate = denoiser(as_tensor, t, anchor=torch.full_like(as_tensor, anchor))
    torch.testing.assert_close(estimate.squeeze(), expected, rtol=1e-6, atol=1e-6)
