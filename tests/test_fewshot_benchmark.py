"""The figures of benchmarks/fewshot.py see copies, and what has no variety."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sinwave.pretrained.efficientnet import EfficientNetLite0

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def fewshot(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return pytest.importorskip("fewshot")


@pytest.fixture
def target(fewshot, tmp_path, monkeypatch):
    """Smooth random pictures, four of them shots, and a network of random weights."""
    monkeypatch.setattr(fewshot, "_SIDE", 32)
    (tmp_path / "kind").mkdir()
    draws = np.random.default_rng(0)
    for number in range(34):
        pixels = draws.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC).save(tmp_path / f"kind/{number:02d}.png")
    options = argparse.Namespace(shots=4, truth=20, samples=10, work=tmp_path / "work")
    torch.manual_seed(0)
    network = EfficientNetLite0().eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
    return fewshot.target_of(tmp_path / "kind", 32, options, network), network


def test_shots_come_first_and_the_truth_is_other_pictures(fewshot, target):
    parts, _ = target
    assert [len(part.pictures) for part in (parts.near, parts.real, parts.truth)] == [4, 10, 20]
    assert sorted(file.name for file in parts.shots.iterdir()) == ["00.png", "01.png", "02.png", "03.png"]
    apart = torch.cdist(parts.truth.features, parts.near.features).min(1).values
    assert ((apart < parts.threshold).sum()) == 1  # five in a hundred


@pytest.mark.slow
def test_shots_themselves_are_copies_and_one_picture_has_no_spread(fewshot, target):
    parts, network = target
    again = parts.near.pictures.repeat(3, 1, 1, 1).float() / 127.5 - 1
    copied = fewshot.figures(fewshot.measured(again, network), parts)
    assert copied["copies"] == 1
    real = fewshot.figures(parts.real, parts)
    assert real["copies"] <= 0.3
    assert real["spread"] == pytest.approx(1, abs=0.3)
    same = fewshot.measured(again[:1].expand(6, -1, -1, -1), network)
    assert fewshot.figures(same, parts)["spread"] == pytest.approx(0, abs=1e-3)
    assert fewshot.figures(same, parts)["patch FD"] > real["patch FD"]
