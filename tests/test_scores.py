"""Intervals, against closed forms and against what happens when an experiment is repeated."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import norm, t

from sinwave.metrics.scores import LEAST, bootstrap, jackknife, mean_score, student


def test_the_bootstrap_of_many_values_is_the_normal_interval():
    values = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, high = bootstrap(values.tolist())
    half = norm.ppf(0.975) * values.std(correction=0).item() / math.sqrt(400)
    assert low == pytest.approx(values.mean().item() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean().item() + half, abs=0.1 * half)


@pytest.mark.parametrize(("n", "least"), [(LEAST, 0.87), (10, 0.91), (40, 0.92)])
def test_the_bootstrap_holds_the_true_mean_as_often_as_it_says(n, least):
    drawn = torch.randn(400, n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    intervals = [bootstrap(row.tolist()) for row in drawn]
    assert least < sum(low < 0 < high for low, high in intervals) / 400 < 0.98


@pytest.mark.parametrize("freedom", [4, 5, 9, 49, 999])
def test_the_quantile_of_student(freedom):
    assert student(freedom) == pytest.approx(t.ppf(0.975, freedom), rel=1e-3)


def test_chunks_of_resamples_are_all_counted(monkeypatch):
    values = torch.randn(30, generator=torch.Generator().manual_seed(4)).tolist()
    whole = bootstrap(values)
    monkeypatch.setattr("sinwave.metrics.scores._CHUNK", 1000)
    assert bootstrap(values) == pytest.approx(whole, abs=0.05)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = torch.rand(30, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    without = [(values.sum() - value).item() / 29 for value in values]
    low, high = jackknife(values.mean().item(), without)
    error = values.std().item() / math.sqrt(30)  # a classical identity, exact
    assert low == pytest.approx(values.mean().item() - t.ppf(0.975, 29) * error, rel=1e-3)
    assert high == pytest.approx(values.mean().item() + t.ppf(0.975, 29) * error, rel=1e-3)


def test_the_jackknife_of_a_deviation_covers_it():
    drawn = torch.randn(300, 20, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    kept = [[index for index in range(20) if index != left_out] for left_out in range(20)]
    inside = 0
    for row in drawn:
        low, high = jackknife(row.std().item(), [row[some].std().item() for some in kept])
        inside += low < 1 < high
    assert 0.88 < inside / 300 < 0.98


def test_few_values_and_infinite_ones_have_no_interval():
    assert bootstrap([1.0] * (LEAST - 1)) is None
    assert bootstrap([1.0] * LEAST) == (1.0, 1.0)
    assert bootstrap([1.0] * LEAST + [math.inf]) is None
    assert jackknife(1.0, [1.0] * (LEAST - 1)) is None
    score = mean_score("psnr_y", "m", {"a": math.inf, "b": 20.0})
    assert score.value == math.inf
    assert score.interval is None
    assert mean_score("swd", "m", {"a": 1.0, "b": 2.0}).value == 1.5
