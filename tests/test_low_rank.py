"""Changes of low rank: they begin as nothing, are what their equation says, and can be merged."""

from __future__ import annotations

import torch
from torch import nn
from torch.testing import assert_close

from sinwave.nn.low_rank import LowRank, changed, drawn_from, merged, of_low_rank
from sinwave.nn.unet import UNetShape
from sinwave.rng import NoiseSource

SHAPE = UNetShape(16, (1, 2), 1, (1,), head=16, groups=16)
X, INDEX = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([3.0, 700.0])


def network():
    unet = SHAPE.build()
    for name, value in unet.named_parameters():
        value.data.copy_(NoiseSource(0).normal(value.shape, name) * 0.1)
    return unet


def moved():
    unet = drawn_from(of_low_rank(network(), 2), NoiseSource(1))
    for name, change in changed(unet).items():
        change.up.weight.data.copy_(NoiseSource(2).normal(change.up.weight.shape, name) * 0.1)
    return unet


def test_the_changed_network_begins_as_the_network_and_only_changes_learn():
    before, after = network(), drawn_from(of_low_rank(network(), 2), NoiseSource(1))
    assert torch.equal(after(X, INDEX), before(X, INDEX))
    moving = {name for name, value in after.named_parameters() if value.requires_grad}
    assert moving == {f"{name}.{part}.weight" for name in changed(after) for part in ("down", "up")}
    # Every convolution that is wide enough, those of attention among them.
    wide = [m for m in before.modules() if isinstance(m, nn.Conv1d | nn.Conv2d) and m.in_channels > 2]
    assert len(changed(after)) == len(wide)
    assert any(name.endswith("qkv") for name in changed(after))


def test_a_change_is_a_product_of_two_matrices():
    layer = nn.Conv2d(5, 7, 3, stride=2, padding=1)
    both = LowRank(layer, 3)
    x = torch.randn(2, 5, 9, 8)
    a, b = both.down.weight.reshape(3, 45), both.up.weight.reshape(7, 3)
    patches = nn.functional.unfold(x, 3, padding=1, stride=2)
    due = layer(x) + (b @ a @ patches).reshape(2, 7, 5, 4)
    assert_close(both(x), due)
    assert_close(both.merge()(x), due)
    assert int(torch.linalg.matrix_rank(b @ a)) == 3


def test_merging_changes_no_answer_and_leaves_the_original_alone():
    unet = moved()
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    whole = merged(unet)
    assert sorted(whole.state_dict()) == sorted(network().state_dict())
    assert_close(whole(X, INDEX), unet(X, INDEX))
    assert (whole(X, INDEX) - network()(X, INDEX)).abs().max() > 0.01
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())
