"""`sinwave export`: what other programs compute is what the network computes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from sinwave.cli import main
from sinwave.rng import NoiseSource
from sinwave.systems import table
from sinwave.systems.residual_sr.export import compact, onnx
from sinwave.systems.residual_sr.network import EnlargingNetwork, Shape


def network() -> EnlargingNetwork:
    source = NoiseSource(0)
    result = EnlargingNetwork(Shape(8, 3), lambda sides, name: source.normal(sides, name))
    for name, parameter in result.named_parameters():
        if "tails" in name or "bias" in name:
            parameter.data.copy_(0.1 * source.normal(parameter.shape, "more", name))
    return result.requires_grad_(False)


def small(height: int = 30, width: int = 41) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))


def compact_network(weights: dict[str, torch.Tensor], factor: int) -> nn.Module:
    """The layout as its publication describes it: convolutions with PReLUs between them."""
    count = max(int(name.split(".")[1]) for name in weights) // 2 + 1
    layers: list[nn.Module] = []
    for number in range(count):
        after, before = weights[f"body.{2 * number}.weight"].shape[:2]
        layers.append(nn.Conv2d(before, after, 3, padding=1))
        if number < count - 1:
            layers.append(nn.PReLU(after))
    module = nn.Sequential(*layers)
    module.load_state_dict({name.removeprefix("body."): value for name, value in weights.items()}, strict=True)
    return nn.Sequential(module, nn.PixelShuffle(factor)).requires_grad_(False)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_compact_layout_computes_the_same_away_from_the_border(factor: int) -> None:
    net, u = network(), small()
    other = compact_network(compact(net, factor), factor)
    large = other(u) + functional.interpolate(u, scale_factor=factor, mode="nearest")
    mine = (net(2 * u - 1, factor) + 1) / 2
    border = factor * net.shape.radius
    inside = (..., slice(border, -border), slice(border, -border))
    torch.testing.assert_close(large[inside], mine[inside], rtol=0, atol=1e-5)
    assert (large - mine).abs().max() > 1e-3  # where the outside counts as black instead of gray


@pytest.mark.parametrize("factor", [2, 4])
def test_onnxruntime_computes_the_same_at_any_size(factor: int) -> None:
    runtime = pytest.importorskip("onnxruntime")
    net = network()
    session = runtime.InferenceSession(onnx(net, factor), providers=["CPUExecutionProvider"])
    for size in ((16, 16), (21, 34)):
        u = small(*size)
        (large,) = session.run(None, {"small": u.numpy()})
        mine = ((net(2 * u - 1, factor) + 1) / 2).clamp(0, 1)
        np.testing.assert_allclose(large, mine.numpy(), rtol=0, atol=1e-5)


def test_the_command_writes_the_model_that_comes_with_the_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", "small", "--factor", "2"]) == 0
    weights = load_file("small-x2.safetensors")
    shipped = table.shipped("small")
    assert shipped is not None
    expected = compact(shipped.network, 2)
    assert weights.keys() == expected.keys()
    assert weights["body.34.weight"].shape == (12, 64, 3, 3)
    assert main(["export", "small", "--factor", "2"]) == 2
    assert main(["export", "small", "--factor", "2", "--overwrite"]) == 0
    capsys.readouterr()
    for line, sentence in {
        ("small", "-o", "x.onnx"): "ends in .safetensors",
        ("smal",): "model must be small or a model file",
        ("small", "--factor", "5"): "factor must be between 2 and 4",
    }.items():
        assert main(["export", *line]) == 2
        assert sentence in capsys.readouterr().err
