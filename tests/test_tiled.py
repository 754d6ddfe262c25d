"""Enlarging by overlapping tiles: blending, and one field of noise."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import torch
from test_residual_small import picture
from torch.nn import functional

from sinwave.errors import InputError
from sinwave.resize import resize
from sinwave.rng import Noise, NoiseSource
from sinwave.systems.contracts import OnStep, Progress, Size
from sinwave.systems.tiled import Part, Tiled, _weight, starts


@dataclass
class Drawn:
    """A network that repeats pixels and adds noise and, as with norms, a `level` that depends on the tile."""

    factor: int = 4
    level: float = 0.0
    border: bool = False
    sizes: list[Size] = field(default_factory=list)

    def upscale(self, low: torch.Tensor, size: Size, noise: Noise, *, on_step: OnStep | None = None) -> torch.Tensor:
        assert size == (4 * low.shape[2], 4 * low.shape[3])
        self.sizes.append((low.shape[2], low.shape[3]))
        if on_step is not None:
            on_step(Progress(0, 1, 1, 1, lambda: low))
        # With a border of its own, as networks have that need sides of a multiple.
        extra = 0.1 * noise.normal((1, 3, low.shape[2] + 5 * self.border, low.shape[3]), "start", like=low)
        low = low + extra[:, :, : low.shape[2], : low.shape[3]] + self.level * low.mean()
        return functional.interpolate(low, scale_factor=4, mode="nearest").clamp(-1, 1)


def test_a_picture_of_one_tile_is_what_the_network_makes_of_it() -> None:
    low, network = 0.5 * picture(), Drawn()
    result = Tiled(network).upscale(low, (160, 224), NoiseSource(3))
    assert torch.equal(result, Drawn().upscale(low, (160, 224), NoiseSource(3)))
    assert network.sizes == [(40, 56)]
    other = Tiled(network).upscale(low, (100, 130), NoiseSource(3))
    torch.testing.assert_close(other, resize(result, (100, 130)).clamp(-1, 1))


def test_tiles_of_a_network_that_looks_at_pixels_are_the_whole() -> None:
    """The noise as well is that of the place, whatever the tile: one field, of which every tile has a part."""
    low, network, steps = 0.5 * picture(90, 130), Drawn(border=True), list[Progress]()
    result = Tiled(network, 40).upscale(low, (360, 520), NoiseSource(3), on_step=steps.append)
    assert len(network.sizes) == 3 * 4
    assert set(network.sizes) == {(40, 40)}
    whole = Part(NoiseSource(3), (0, 0)).normal((1, 3, 90, 130), "start")
    expected = functional.interpolate(low + 0.1 * whole, scale_factor=4, mode="nearest").clamp(-1, 1)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)
    assert [(step.part, step.parts) for step in steps] == [(turn, 12) for turn in range(12)]
    assert steps[-1].estimate().shape == (1, 3, 360, 520)


def test_where_tiles_differ_they_are_blended_without_a_step() -> None:
    """Everywhere the step between neighbors is no larger than the ramp of the blending explains."""
    low = torch.zeros(1, 3, 80, 120)
    low[..., 60:] = 0.2
    result = Tiled(Drawn(level=1.0), 40).upscale(low, (320, 480), NoiseSource(0))
    plain = Tiled(Drawn(level=0.0), 40).upscale(low, (320, 480), NoiseSource(0))
    offset = (result - plain)[..., 4:-4, 4:-4]
    assert offset.std() > 0.03  # the tiles do differ
    assert offset.diff(dim=3).abs().max() < 0.2 / (4 * 5) + 1e-4  # 5 pixels of overlap, by 4
    assert offset.diff(dim=2).abs().max() < 0.2 / (4 * 5) + 1e-4


@pytest.mark.parametrize("length", [32, 33, 61, 100, 257])
def test_tiles_cover_a_side_evenly(length: int) -> None:
    places = starts(length, 32)
    assert places[0] == 0
    assert places[-1] == max(0, length - 32)
    assert all(28 >= after - before > 0 for before, after in pairwise(places))
    total = torch.zeros(length)
    for start in places:
        weight = _weight((32, 32), (length, 32), (start, 0), 1, 32)
        assert weight.max() <= 1
        total[start : start + 32] += weight[0, 0, :, 0]
    assert total.min() > 0
    assert total[0] == total[-1] == 1  # at the borders of the picture there is nothing to blend with


def test_parts_of_noise_are_of_one_field() -> None:
    whole = Part(NoiseSource(1), (0, 0)).child("a").normal((1, 2, 150, 200), "k", 2)
    part = Part(NoiseSource(1), (60, 7)).child("a").normal((1, 2, 80, 150), "k", 2)
    assert torch.equal(part, whole[:, :, 60:140, 7:157])
    assert torch.equal(whole[..., :64, :64], NoiseSource(1).child("a").normal((1, 2, 64, 64), "k", 2, "block", 0, 0))
    assert abs(whole.std().item() - 1) < 0.02
    assert torch.corrcoef(whole[0, :, :64, :64].reshape(2, -1))[0, 1].abs() < 0.1
    assert not torch.equal(whole[..., :64, :64], whole[..., :64, 64:128])
    assert Part(NoiseSource(1), (5, 7)).count == 1


def test_tiles_that_are_too_small_are_refused() -> None:
    with pytest.raises(InputError, match="tile is 31: it must be 32 or more"):
        Tiled(Drawn(), 31)
