"""The small network in the forms of other programs, for pictures in [0, 1] instead of [-1, 1], and one factor.

    compact   weights in the layout of Real-ESRGAN's compact networks (SRVGGNetCompact), which spandrel recognizes
    onnx      a graph with inputs of any size, as onnxruntime computes it

With x = 2 u - 1 the first kernel W becomes 2 W with the bias b - sum W, and the last one is halved. What is outside of
the picture is 0 in u, as in those programs, and not in x: along its border the compact form differs a little.
"""

from __future__ import annotations

import io
import warnings
from typing import Literal, TypeAlias, final, get_args

import torch
from torch import Tensor, nn

from sinwave.errors import InputError, MissingError
from sinwave.systems.contracts import Loaded
from sinwave.systems.residual_sr.model import Trained
from sinwave.systems.residual_sr.network import SLOPE, EnlargingNetwork

__all__ = ["Form", "compact", "export", "onnx"]

Form: TypeAlias = Literal["compact", "onnx"]


def export(loaded: Loaded, form: str, factor: int) -> bytes:
    """Encode a model file's network for another program."""
    if not isinstance(loaded, Trained):
        raise InputError("weights of other programs cannot be exported")
    if form not in get_args(Form):
        raise InputError(f"a model that enlarges has the forms {' and '.join(get_args(Form))}, not {form}")
    if factor not in loaded.network.shape.factors:
        raise InputError(f"factor must be one of {', '.join(map(str, loaded.network.shape.factors))}, not {factor}")
    if form == "onnx":
        return onnx(loaded.network, factor)
    from safetensors.torch import save

    data: bytes = save(compact(loaded.network, factor))
    return data


def compact(network: EnlargingNetwork, factor: int) -> dict[str, Tensor]:
    """Name the weights as the layers of that layout: convolution, slopes, convolution, slopes, ..., convolution."""
    tail = network.tails[network.shape.factors.index(factor)]
    layers = [network.head, *network.body, tail]
    kernels = [layer.get_parameter("weight").detach().float() for layer in layers]
    biases = [layer.get_parameter("bias").detach().float() for layer in layers]
    biases[0] = biases[0] - kernels[0].sum((1, 2, 3))
    kernels[0], kernels[-1], biases[-1] = 2 * kernels[0], kernels[-1] / 2, biases[-1] / 2
    named = dict[str, Tensor]()
    for number, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        named |= {f"body.{2 * number}.weight": kernel.contiguous(), f"body.{2 * number}.bias": bias.clone()}
        if number < len(layers) - 1:
            named[f"body.{2 * number + 1}.weight"] = torch.full((network.shape.width,), SLOPE)
    return named


def onnx(network: EnlargingNetwork, factor: int) -> bytes:
    """Trace the network as a graph from `small` (b, 3, h, w) to `large`, both in [0, 1]."""
    try:
        import onnx as _  # noqa: F401
    except ImportError as error:
        raise MissingError.extra("onnx", "onnx") from error
    buffer, sides = io.BytesIO(), {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a newer way to export is there, which needs one more package
        torch.onnx.export(
            _Unit(network, factor).eval(),
            (torch.zeros(1, 3, 16, 16),),
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            input_names=["small"],
            output_names=["large"],
            dynamic_axes={"small": sides, "large": {axis: f"large {name}" for axis, name in sides.items()}},
            opset_version=17,
        )
    return buffer.getvalue()


@final
class _Unit(nn.Module):
    """The network for pictures in [0, 1], with one factor."""

    def __init__(self, network: EnlargingNetwork, factor: int) -> None:
        super().__init__()
        self._network, self._factor = network, factor

    def forward(self, small: Tensor) -> Tensor:
        result: Tensor = (self._network(2 * small - 1, self._factor) + 1) / 2
        return result.clamp(0, 1)
