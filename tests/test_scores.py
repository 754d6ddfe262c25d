"""Intervals, against closed forms and against what happens when an experiment is repeated."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import norm

from sinwave.metrics.scores import bootstrap, jackknife, mean_score


def test_the_bootstrap_of_many_values_is_the_normal_interval():
    values = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, high = bootstrap(values.tolist())
    half = norm.ppf(0.975) * values.std(correction=0).item() / math.sqrt(400)
    assert low == pytest.approx(values.mean().item() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean().item() + half, abs=0.1 * half)


def test_the_bootstrap_holds_the_true_mean_as_often_as_it_says():
    drawn = torch.rand(300, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    intervals = [bootstrap(row.tolist()) for row in drawn]
    assert 0.91 < sum(low < 0.5 < high for low, high in intervals) / 300 < 0.975


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = torch.rand(30, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    without = [(values.sum() - value).item() / 29 for value in values]
    low, high = jackknife(values.mean().item(), without)
    error = values.std().item() / math.sqrt(30)  # a classical identity, exact
    assert low == pytest.approx(values.mean().item() - 1.96 * error)
    assert high == pytest.approx(values.mean().item() + 1.96 * error)


def test_the_jackknife_of_a_deviation_covers_it():
    drawn = torch.randn(300, 20, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    kept = [[index for index in range(20) if index != left_out] for left_out in range(20)]
    inside = 0
    for row in drawn:
        low, high = jackknife(row.std().item(), [row[some].std().item() for some in kept])
        inside += low < 1 < high
    assert 0.88 < inside / 300 < 0.98


def test_few_values_and_infinite_ones_have_no_interval():
    assert bootstrap([1.0]) is None
    assert bootstrap([1.0, math.inf]) is None
    assert jackknife(1.0, [1.0, 2.0]) is None
    score = mean_score("psnr_y", "m", {"a": math.inf, "b": 20.0})
    assert score.value == math.inf
    assert score.interval is None
    assert mean_score("swd", "m", {"a": 1.0, "b": 2.0}).value == 1.5
