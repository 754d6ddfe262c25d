"""The figures of benchmarks/fewshot.py see copies, and what has no variety."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sinwave.data.portraits import Portraits
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
    options = argparse.Namespace(shots=4, truth=20, samples=10, sets=1, work=tmp_path / "work")
    torch.manual_seed(0)
    network = EfficientNetLite0().eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
    return fewshot.target_of(str(tmp_path / "kind"), 0, 32, options, network), network


def test_shots_come_first_and_the_truth_is_other_pictures(fewshot, target):
    parts, _ = target
    assert [len(part.pictures) for part in (parts.near, parts.real, parts.truth)] == [4, 10, 20]
    assert sorted(file.name for file in parts.shots.iterdir()) == ["00.png", "01.png", "02.png", "03.png"]
    assert parts.copies.share(parts.truth.pictures.float()) == 0.05


def test_sets_of_shots_are_different_and_have_the_same_truth(fewshot, target, tmp_path, monkeypatch):
    _, network = target
    options = argparse.Namespace(shots=3, truth=6, samples=4, sets=2, work=tmp_path / "work")
    monkeypatch.setattr(fewshot, "_LEARNED", 600)
    first, second = (fewshot.target_of("portraits:sketch", turn, 32, options, network) for turn in range(2))
    assert not (first.near.pictures[:, None] == second.near.pictures).all((2, 3, 4)).any()
    assert torch.equal(first.truth.pictures, second.truth.pictures)
    assert (first.name, second.name) == ("sketch 0", "sketch 1")
    assert first.shots != second.shots
    reading = fewshot.Reading.of("sunglasses", 16)
    assert 4 <= reading.factors.shape[1] <= 15
    own, plain = (
        torch.stack([Portraits(kind)(16, number, 7) for number in range(60)]) for kind in ("sunglasses", "plain")
    )
    assert reading.figures(own)["attribute"] > 0.95 > 0.05 > reading.figures(plain)["attribute"]
    assert reading.figures(own)["factors"] == pytest.approx(1, abs=0.15)
    assert reading.figures(own[:1].expand(9, -1, -1, -1))["factors"] == pytest.approx(0, abs=1e-3)
    row = fewshot.Row("sketch 0", "direct", {"FD": 1.0, "steps": 5.0})
    (mean,) = fewshot.means([row, row._replace(target="sketch 1", figures={"FD": 2.0, "seconds": 3.0})])
    assert mean == ("sketch, mean", "direct", {"FD": 1.5})


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


def test_a_stop_is_near_the_best_mark_with_few_copies_or_not(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    stopping = importlib.import_module("stopping")

    def mark(fd, copies):
        return stopping.Mark(25, 0.0, {"FD": fd, "copies": copies})

    marks = [mark(200, 0), mark(150, 0.02), mark(140, 0.1), mark(100, 0.2)]
    assert stopping.Case("", marks, marks[1]).best is marks[2]
    assert stopping.Case("", marks, marks[1]).near
    assert not stopping.Case("", marks, marks[0]).near
    assert not stopping.Case("", marks, marks[3]).near  # a small FD by copying
    assert stopping.Case("", [mark(200, 0.3), mark(100, 0.4)], marks[0]).best.figures["FD"] == 200
