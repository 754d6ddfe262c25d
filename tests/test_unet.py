"""ADM's U-Net: counts of the published files, the same numbers as diffusers, and the order of q, k and v."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from diffusers import UNet2DModel
from torch.testing import assert_close

from sinwave.errors import InputError
from sinwave.nn.unet import UNetShape
from sinwave.pretrained.files import skeleton
from sinwave.systems.pairwise import diffusers_folder

LIGHT = UNetShape()
FULL = UNetShape(256, (1, 1, 2, 2, 4, 4), 2, (3, 4, 5))
SMALL = UNetShape(32, (1, 2, 2), 1, (1, 2), head=16)


def random(shape):
    """A network in which every block counts: what begins at 0 is random as well."""
    torch.manual_seed(3)
    network = shape.build().eval()
    for value in network.parameters():
        torch.nn.init.normal_(value, std=0.2 if value.ndim == 1 else (3 / value[0].numel()) ** 0.5)
    return network.requires_grad_(False)


def in_diffusers(network, size, variance=True):
    values = diffusers_folder.config(network.shape, size, variance)
    model = UNet2DModel(**{name: value for name, value in values.items() if not name.startswith("_")})
    model.load_state_dict(diffusers_folder.parameters(network, variance))
    return model.eval()


@pytest.mark.parametrize(
    ("shape", "parameters", "tensors"),
    [
        (FULL, 552_814_086, 566),
        (LIGHT, 93_563_910, 362),
        (UNetShape(256, (1, 1, 2, 3, 4), 2, (2, 3, 4)), 421_529_606 - 1_024_000, 493 - 1),
        (UNetShape(192, (1, 2, 3, 4), 3, (1, 2, 3), order="by-kind"), 295_904_454 - 768_000, 541 - 1),
        (UNetShape(256, (0.5, 1, 1, 2, 2, 4, 4), 2, (4, 5, 6)), 558_997_638 - 1_024_000, 645 - 1),
    ],
)
def test_the_counts_are_those_of_the_published_files_but_for_classes(shape, parameters, tensors):
    network = skeleton(shape.build)
    assert sum(value.numel() for value in network.parameters()) == parameters
    assert len(network.state_dict()) == tensors


def test_the_parts_have_the_published_sums():
    network = skeleton(FULL.build)
    parts = (network.time_embed, network.input_blocks, network.middle_block, network.output_blocks, network.out)
    sums = [sum(value.numel() for value in part.parameters()) for part in parts]
    assert sums == [1_312_768, 163_431_424, 46_159_872, 341_895_680, 14_342]


@pytest.mark.parametrize("order", ["by-head", "by-kind"])
@pytest.mark.parametrize(
    "shape",
    [SMALL, UNetShape(64, (1, 1, 2), 2, (2,), head=64), UNetShape(32, (1, 1, 2), 1, (0, 1), head=16, groups=16)],
)
def test_it_computes_what_diffusers_computes(shape, order):
    network = random(dataclasses.replace(shape, order=order))
    x, index = torch.randn(2, 3, 16, 24), torch.tensor([7.0, 481.0])
    ours, theirs = network(x, index), in_diffusers(network, (16, 24))(x, index).sample
    assert ours.abs().max() > 0.3
    assert_close(ours, theirs, rtol=0, atol=1e-5 * ours.abs().max().item())


def test_a_split_in_thirds_fits_and_is_wrong():
    network = random(SMALL)
    x, index = torch.randn(2, 3, 16, 16), torch.tensor([7.0, 481.0])
    swapped = random(dataclasses.replace(SMALL, order="by-kind"))
    swapped.load_state_dict(network.state_dict())
    assert (network(x, index) - swapped(x, index)).abs().max() > 0.01
    one_head = dataclasses.replace(SMALL, head=32).build().eval()
    one_head.load_state_dict(network.state_dict())
    assert (network(x, index) - one_head(x, index)).abs().max() > 0.01


def test_the_cut_network_answers_the_noise_alone():
    network = random(SMALL)
    x, index = torch.randn(1, 3, 16, 16), torch.tensor([250.0])
    cut = in_diffusers(network, 16, variance=False)
    assert_close(cut(x, index).sample, network(x, index)[:, :3], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "shape",
    [
        dataclasses.replace(SMALL, resampling=False),
        dataclasses.replace(SMALL, scales=False),
        dataclasses.replace(SMALL, multipliers=(0.5, 1, 1), groups=16),
    ],
)
def test_older_blocks_keep_the_size_and_have_no_counterpart(shape):
    network = random(shape)
    x = torch.randn(1, 3, 16, 8)
    assert network(x, torch.tensor([3.0])).shape == (1, 6, 16, 8)
    assert network(x, torch.tensor([3.0])).sub(network(x, torch.tensor([400.0]))).abs().max() > 1e-3
    with pytest.raises(InputError, match="has no counterpart"):
        diffusers_folder.config(shape, 16)


def test_silenced_it_answers_zero_and_learns():
    network = SMALL.build().silence()
    answer = network(torch.randn(2, 3, 8, 8), torch.tensor([1.0, 2.0]))
    assert answer.abs().max() == 0
    (answer - 1).square().mean().backward()
    assert network.out[2].weight.grad.abs().max() > 0


def test_a_size_that_cannot_be_halved_is_refused():
    with pytest.raises(InputError, match="multiples of 4"):
        SMALL.build()(torch.randn(1, 3, 8, 10), torch.tensor([1.0]))


def test_dropout_moves_in_training_alone():
    network = random(dataclasses.replace(SMALL, dropout=0.5))
    x, index = torch.randn(1, 3, 8, 8), torch.tensor([5.0])
    assert torch.equal(network(x, index), network(x, index))
    network.train()
    assert not torch.equal(network(x, index), network(x, index))
