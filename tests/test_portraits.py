"""Procedural portraits: the same by seed, with even factors, and each kind with what it is named for."""

from __future__ import annotations

from dataclasses import astuple, fields, replace

import numpy as np
import pytest
import torch

from sinwave.data.portraits import KINDS, Factors, Portraits
from sinwave.errors import InputError

SIDE = 32


@pytest.mark.parametrize("kind", KINDS)
def test_a_portrait_depends_on_number_and_seed_alone(kind):
    portraits = Portraits(kind)
    picture = portraits(SIDE, 3, 5)
    assert picture.shape == (3, SIDE, SIDE)
    assert picture.min() >= -1
    assert picture.max() <= 1
    assert torch.equal(picture, Portraits(kind)(SIDE, 3, 5))
    assert not torch.equal(picture, portraits(SIDE, 4, 5))
    assert not torch.equal(picture, portraits(SIDE, 3, 6))
    # In another size it is the same drawing.
    large = portraits(2 * SIDE, 3, 5)
    assert (torch.nn.functional.avg_pool2d(large[None], 2)[0] - picture).abs().mean() < 0.05


def test_factors_are_even_and_independent():
    values = np.array([astuple(Factors.drawn(number, 0)) for number in range(2000)])
    assert np.abs(values.mean(0) - 0.5).max() < 0.03
    assert np.abs(values.var(0) - 1 / 12).max() < 0.01
    assert np.abs(np.corrcoef(values.T) - np.eye(values.shape[1])).max() < 0.1


@pytest.mark.parametrize("name", [field.name for field in fields(Factors)])
def test_every_factor_can_be_seen(name):
    middle = Factors(*(0.5 for _ in fields(Factors)))
    low, high = (Portraits().drawing(replace(middle, **{name: value}), 128) for value in (0.0, 1.0))
    assert np.abs(np.asarray(low, int) - np.asarray(high, int)).max() > 30


def test_kinds_are_what_their_names_say():
    plain, glasses, baby, long, sketch, palette = (
        torch.stack([Portraits(kind)(SIDE, number, 0) for number in range(20)]) for kind in KINDS
    )
    changed = (plain != glasses).any(1).any(0)
    rows = changed.any(1).nonzero().flatten()
    assert 8 <= rows.min() < rows.max() <= 18  # about the eyes, and nowhere else
    assert glasses[:, :, 12:16].min() < -0.8
    assert torch.equal(sketch[:, 0], sketch[:, 2])
    assert sketch.mean() > 0.5
    # Hair is blue there, and nowhere else.
    blue = [(pictures[:, 2] - pictures[:, 0])[:, 3:8, 14:18].mean() for pictures in (palette, plain)]
    assert blue[0] > 0.3 > blue[1]
    assert (baby != plain).float().mean() > 0.1
    assert (long != plain).float().mean() > 0.1


def test_another_kind_is_refused():
    with pytest.raises(InputError, match="portraits are plain, sunglasses"):
        Portraits("robot")  # type: ignore[arg-type]
