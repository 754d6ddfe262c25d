"""The terms of DDPM-PA against numpy, closed forms and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import erf, log_softmax
from torch.testing import assert_close

from sinwave.diffusion.process import VariancePreserving
from sinwave.errors import InputError
from sinwave.systems.pairwise.losses import details, divergence, pairwise, snr_weights, variational, weighted

LINEAR = VariancePreserving.linear()


def normal(seed, *shape, dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).to(dtype)


def by_loops(adapted, source):
    """L_img, picture by picture."""
    n = len(adapted)
    flat = [x.reshape(n, -1) / np.linalg.norm(x.reshape(n, -1), axis=1, keepdims=True) for x in (adapted, source)]
    total = 0.0
    for i in range(n):
        p, q = (log_softmax([x[i] @ x[j] for j in range(n) if j != i]) for x in flat)
        total += np.sum(np.exp(p) * (p - q))
    return (n - 1) / (n - 2) * total / n


@pytest.mark.parametrize("n", [3, 4, 8])
def test_pairwise_is_the_mean_divergence_by_loops(n):
    adapted, source = normal(1, n, 3, 4, 4), normal(2, n, 3, 4, 4)
    assert pairwise(adapted, source).item() == pytest.approx(by_loops(adapted.numpy(), source.numpy()), rel=1e-5)
    turned = pairwise(adapted, source, direction="source").item()
    assert turned == pytest.approx(by_loops(source.numpy(), adapted.numpy()), rel=1e-5)
    assert pairwise(source, source).item() == pytest.approx(0, abs=1e-9)


def test_groups_are_averaged():
    adapted, source = normal(1, 9, 3, 4, 4), normal(2, 9, 3, 4, 4)
    parts = [pairwise(adapted[k : k + 3], source[k : k + 3]).item() for k in (0, 3, 6)]
    assert pairwise(adapted, source, group=3).item() == pytest.approx(np.mean(parts), rel=1e-6)


@pytest.mark.parametrize(("n", "group"), [(2, None), (1, None), (6, 2), (8, 3)])
def test_a_group_of_two_is_refused(n, group):
    with pytest.raises(InputError, match="at least 3"):
        pairwise(torch.randn(n, 4), torch.randn(n, 4), group=group)


def test_the_loss_is_free_of_the_number_of_pictures():
    """Small independent differences of cosines have the same mean loss for 3 and for 24 pictures."""

    def mean_loss(n):
        generator = torch.Generator().manual_seed(n)
        logits = 0.02 * torch.randn(2, 8_000_000 // (n - 1), n - 1, generator=generator)
        return divergence(*logits.double().log_softmax(-1)).item()

    sizes = [mean_loss(n) for n in (3, 6, 12, 24)]
    assert max(sizes) / min(sizes) < 1.003


def test_no_gradient_reaches_the_source():
    adapted, source = normal(1, 4, 12).requires_grad_(), normal(2, 4, 12).requires_grad_()
    pairwise(adapted, source).backward()
    assert adapted.grad.abs().max() > 0
    assert source.grad is None


def test_the_sum_of_details_is_one_pixel_of_each_block():
    x = normal(3, 2, 3, 6, 8)
    blocks = x.reshape(2, 3, 3, 2, 4, 2)
    mean = blocks.mean((3, 5))
    assert_close(details(x, "sum"), 2 * (blocks[:, :, :, 1, :, 1] - mean))
    # The paper's filters: low [1, 1] and high [-1, 1], over the root of 2.
    low, high = np.array([1, 1]) / math.sqrt(2), np.array([-1, 1]) / math.sqrt(2)
    kernel = np.outer(low, high) + np.outer(high, low) + np.outer(high, high)
    there = torch.einsum("bchiwj,ij->bchw", blocks, torch.from_numpy(kernel))
    assert_close(details(x, "sum"), there)


def test_all_details_are_the_three_bands():
    x = normal(3, 2, 3, 6, 8)
    assert details(x).shape == (2, 9, 3, 4)
    flat = x - x.reshape(2, 3, 3, 2, 4, 2).mean((3, 5)).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert details(x).square().sum() == pytest.approx(flat.square().sum().item())


@pytest.mark.parametrize(
    ("v", "bits"),
    [(-1.0, (0.0, 0.0, 0.0)), (0.0, (0.0493, 0.0202, 0.00189)), (1.0, (0.1751, 0.0746, 0.00736))],
)
def test_the_variational_term_has_its_values_for_the_true_noise(v, bits):
    index = torch.tensor([1, 2, 10])
    clean, noise = normal(4, 3, 3, 8, 8, dtype=torch.float32).clamp(-1, 1), normal(5, 3, 3, 8, 8, dtype=torch.float32)
    x_t = LINEAR.diffuse(clean, (index + 1)[:, None, None, None] / 1000, noise)
    answer = variational(LINEAR, index, x_t, clean, noise, torch.full_like(clean, v))
    assert answer.tolist() == pytest.approx(bits, abs=6e-5)


def test_the_variational_term_by_numpy():
    """KL and NLL written with tables of betas, for wrong noise and any v."""
    betas = np.linspace(1e-4, 0.02, 1000)
    abar = np.cumprod(1 - betas)
    index = torch.tensor([0, 0, 1, 300, 999])
    clean = torch.from_numpy(np.random.default_rng(6).integers(0, 256, (5, 3, 4, 4)) / 127.5 - 1)
    noise, guess, v = normal(7, 5, 3, 4, 4), normal(8, 5, 3, 4, 4), normal(9, 5, 3, 4, 4) / 3
    guess = 0.8 * noise + 0.2 * guess
    rows = []
    for k, i in enumerate(index.tolist()):
        x0, before = clean[k].numpy(), abar[i - 1] if i else 1.0
        x = math.sqrt(abar[i]) * x0 + math.sqrt(1 - abar[i]) * noise[k].numpy()
        hat = (x - math.sqrt(1 - abar[i]) * guess[k].numpy()) / math.sqrt(abar[i])
        c1, c2 = betas[i] * math.sqrt(before) / (1 - abar[i]), (1 - before) * math.sqrt(1 - betas[i]) / (1 - abar[i])
        tilde = betas[max(i, 1)] * (1 - abar[max(i, 1) - 1]) / (1 - abar[max(i, 1)])
        share = (v[k].numpy() + 1) / 2
        logs = share * np.log(betas[i]) + (1 - share) * np.log(tilde)
        if i:
            q, p = c1 * x0 + c2 * x, c1 * hat + c2 * x
            values = 0.5 * (logs - np.log(tilde) - 1 + tilde / np.exp(logs) + (q - p) ** 2 / np.exp(logs))
        else:
            spread = np.exp(0.5 * logs)
            mean = c1 * hat + c2 * x
            below = lambda edge: 0.5 * (1 + erf((edge - mean) / spread / math.sqrt(2)))  # noqa: B023, E731
            upper = np.where(x0 > 0.999, 1.0, below(x0 + 1 / 255))
            lower = np.where(x0 < -0.999, 0.0, below(x0 - 1 / 255))
            values = -np.log(np.maximum(upper - lower, np.finfo(np.float32).tiny))
        rows.append(values.mean() / math.log(2))
    x_t = LINEAR.diffuse(clean, (index + 1)[:, None, None, None] / 1000, noise)
    answer = variational(LINEAR, index, x_t, clean, guess, v)
    assert answer.tolist() == pytest.approx(rows, rel=2e-3)


def test_the_variational_term_trains_the_variance_alone():
    clean, noise = normal(1, 1, 3, 4, 4).clamp(-1, 1), normal(2, 1, 3, 4, 4).requires_grad_()
    v = torch.zeros(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    variational(LINEAR, torch.tensor([50]), clean, clean, noise, v).sum().backward()
    assert noise.grad is None
    assert v.grad.abs().max() > 0


def test_weights_are_the_signal_to_noise_ratio_up_to_one():
    t = torch.tensor([0.001, 0.3, 1.0])[:, None, None, None].double()
    abar = [LINEAR.alphas_cumprod[k] for k in (1, 300, 1000)]
    ratios = [min(1.0, a / (1 - a)) for a in abar]
    assert snr_weights(LINEAR, t).flatten().tolist() == pytest.approx(ratios, rel=1e-6)


def test_a_weighted_prediction_keeps_its_value_and_a_part_of_its_gradient():
    x = normal(1, 2, 3).requires_grad_()
    weights = torch.tensor([[0.25], [1.0]], dtype=torch.float64)
    y = weighted(x, weights)
    assert torch.equal(y, x)
    (y**2).sum().backward()
    assert_close(x.grad, weights * 2 * x.detach())
