"""Files of ADM: what shapes tell, what the table adds, and the refusals."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

from sinwave.errors import InputError
from sinwave.nn.unet import UNetShape
from sinwave.pretrained.files import skeleton
from sinwave.systems.pairwise import checkpoints
from sinwave.systems.pairwise.checkpoints import PUBLISHED, load, recognize, shape_of

SMALL = UNetShape(32, (1, 1, 2), 2, (1,), head=16)
FULL = UNetShape(256, (1, 1, 2, 2, 4, 4), 2, (3, 4, 5))


def shapes(shape):
    return {name: tuple(value.shape) for name, value in skeleton(shape.build).state_dict().items()}


@pytest.mark.parametrize(
    "shape",
    [
        UNetShape(),
        FULL,
        SMALL,
        UNetShape(192, (1, 2, 3, 4), 3, (1, 2, 3)),
        UNetShape(256, (0.5, 1, 1, 2, 2, 4, 4), 2, (4, 5, 6)),
        dataclasses.replace(SMALL, resampling=False),
        dataclasses.replace(SMALL, scales=False, outputs=3),
        dataclasses.replace(SMALL, attention=()),
        UNetShape(32, (1,), 2, (0,)),
    ],
)
def test_shapes_tell_everything_but_heads_and_order(shape):
    read = shape_of(shapes(shape))
    assert dataclasses.replace(read, head=shape.head, groups=shape.groups) == shape


@pytest.mark.parametrize(("shape", "entry"), [(FULL, PUBLISHED[0]), (UNetShape(), PUBLISHED[1])])
def test_the_table_has_the_count_of_each_layout(shape, entry):
    assert sum(value.numel() for value in skeleton(shape.build).state_dict().values()) == entry.parameters


@pytest.fixture
def network():
    torch.manual_seed(0)
    return SMALL.build().eval()


def test_a_file_becomes_its_network(network, tmp_path):
    torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, tmp_path / "a.pt")
    loaded, reading = load(tmp_path / "a.pt", "16,by-head,linear,32")
    x, index = torch.randn(1, 3, 8, 8), torch.tensor([40.0])
    assert torch.equal(loaded(x, index), network(x, index))
    assert reading == (SMALL, "linear", 32)
    assert not any(value.requires_grad for value in loaded.parameters())


@pytest.mark.parametrize("layout", ["", "16", "16,by-hand,linear,32", "16,by-head,linear"])
def test_a_file_of_no_table_needs_what_shapes_do_not_tell(network, tmp_path, layout):
    torch.save(network.state_dict(), tmp_path / "a.pt")
    with pytest.raises(InputError, match="give them with --adm"):
        load(tmp_path / "a.pt", layout)


def test_heads_must_divide_the_channels_that_attend(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "a.pt")
    with pytest.raises(InputError, match="do not divide"):
        load(tmp_path / "a.pt", "24,by-head,linear,32")
    shape = UNetShape(32, (1, 2), 1, (1,), head=64)
    torch.save(shape.build().state_dict(), tmp_path / "b.pt")
    assert load(tmp_path / "b.pt", "64,by-kind,cosine,16")[1] == (
        dataclasses.replace(shape, order="by-kind"),
        "cosine",
        16,
    )


def test_a_file_of_the_table_needs_nothing(network, tmp_path, monkeypatch):
    count = sum(value.numel() for value in network.state_dict().values())
    entry = checkpoints.Published("small.pt", count, 48, 16, "by-kind", "cosine")
    monkeypatch.setattr(checkpoints, "PUBLISHED", (entry,))
    torch.save(network.state_dict(), tmp_path / "a.pt")
    _, reading = load(tmp_path / "a.pt")
    assert reading == (dataclasses.replace(SMALL, order="by-kind"), "cosine", 48)
    with pytest.raises(InputError, match="has that of small"):
        load(tmp_path / "a.pt", "16,by-head,linear,48")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda names: names.pop("middle_block.0.in_layers.2.bias"), "middle_block.0.in_layers.2.bias is missing"),
        (lambda names: names.update(more=torch.ones(1)), "more is not one of its parameters"),
        (lambda names: names.update({"out.0.weight": torch.ones(31)}), r"out.0.weight is (31,) instead of (32,)"),
        (lambda names: names["out.2.weight"].fill_(torch.nan), "out.2.weight holds NaN"),
        (lambda names: names.update({"label_emb.weight": torch.ones(10, 128)}), "needs a class for every picture"),
        (lambda names: names.update({"input_blocks.0.0.weight": torch.ones(32, 6, 3, 3)}), "an upsampler"),
        (lambda names: names.update({"out.2.weight": torch.ones(5, 32, 3, 3)}), "answers 5 channels"),
        (lambda names: names.pop("time_embed.0.weight"), "no U-Net like ADM's"),
        (lambda names: names.pop("input_blocks.1.0.out_layers.3.weight"), "damaged one"),
        (lambda names: names.update({"output_blocks.999999999.0.x": torch.ones(1)}), "damaged one"),
    ],
)
def test_every_fault_is_named(network, tmp_path, change, words):
    names = dict(network.state_dict())
    change(names)
    torch.save(names, tmp_path / "a.pt")
    with pytest.raises(InputError, match=re.escape(words)):
        load(tmp_path / "a.pt", "16,by-head,linear,32")


def test_a_u_net_of_resshift_is_another_one():
    from sinwave.systems.residual_sr.unet import X4

    assert not recognize({name: value.shape for name, value in skeleton(X4.build).state_dict().items()})
    assert recognize(shapes(SMALL))
