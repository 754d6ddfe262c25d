"""Low-rank changes of a pipeline's U-Net and of its autoencoder's encoder, named as PEFT names them.

    W' = W + (alpha / r) B A        A (r, inputs, k, k) or (r, inputs),  B (outputs, r, 1, 1) or (outputs, r)

    MODULE.lora_A.ADAPTER.weight, MODULE.lora_B.ADAPTER.weight
    conv_in.base_layer.weight, conv_in.base_layer.bias                  the first layer, trained in full beside its own

The U-Net has three adapters: default_encoder changes the blocks down and the first layer, default_decoder the blocks up
and the last one, default_others the block between. All belong together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from sinwave.errors import InputError

__all__ = ["ALPHA", "UNET", "VAE", "Adapters", "Factors", "adapter_of", "factors", "fuse", "is_changed"]

ALPHA = 8.0
"""PEFT's default, with which the published files were trained; they do not hold it."""

UNET = ("default_encoder", "default_decoder", "default_others")
VAE = "default_encoder"

_LAYERS = (
    *("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"),
    *("conv", "conv1", "conv2", "conv_shortcut", "conv_in", "conv_out"),
)
_FULL = ("conv_in.base_layer.weight", "conv_in.base_layer.bias")
_NAME = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])\.(?P<adapter>\w+)\.weight")


class Factors(NamedTuple):
    """The two factors of a layer's change, and the adapter they belong to."""

    adapter: str
    down: Tensor
    up: Tensor

    def change(self, alpha: float) -> Tensor:
        """Multiply them: the shape is that of the layer's weight."""
        product = self.up.flatten(1).double() @ self.down.flatten(1).double()
        return (alpha / len(self.down) * product).reshape(len(self.up), *self.down.shape[1:])


@final
@dataclass(frozen=True, eq=False)
class Adapters:
    """The changes of both networks; those of the U-Net with its first layer in full."""

    unet: Mapping[str, Tensor]
    vae: Mapping[str, Tensor]
    alpha: float = ALPHA

    def __post_init__(self) -> None:
        if missing := [name for name in _FULL if name not in self.unet]:
            raise InputError(f"the changes of the U-Net lack {missing[0]}")
        assert self.ranks

    @cached_property
    def ranks(self) -> tuple[int, int]:
        """Of the changes of the U-Net and of the autoencoder."""
        return _rank("U-Net", self.unet), _rank("autoencoder", self.vae)

    @property
    def parameters(self) -> int:
        return sum(value.numel() for part in (self.unet, self.vae) for value in part.values())


def _rank(name: str, state: Mapping[str, Tensor]) -> int:
    ranks = {len(pair.down) for pair in factors(state).values()}
    if len(ranks) != 1:
        raise InputError(f"the changes of the {name} have the ranks {sorted(ranks)}: one is needed")
    return ranks.pop()


def adapter_of(module: str) -> str:
    """The adapter of the U-Net that changes a layer."""
    if module.startswith(("down_blocks.", "conv_in")):
        return UNET[0]
    return UNET[1] if module.startswith(("up_blocks.", "conv_out")) else UNET[2]


def is_changed(module: str, *, autoencoder: bool) -> bool:
    """Whether a layer of the U-Net, or of the autoencoder, is one of those that are changed."""
    if autoencoder and not module.startswith("encoder."):
        return module == "quant_conv"
    return any(module == layer or module.endswith(f".{layer}") for layer in _LAYERS)


def factors(state: Mapping[str, Tensor]) -> dict[str, Factors]:
    """Pair the factors by the names of their layers; an `InputError` names what has no partner or does not fit."""
    sides = dict[tuple[str, str], dict[str, Tensor]]()
    for name, value in state.items():
        if name in _FULL:
            continue
        if (match := _NAME.fullmatch(name)) is None:
            raise InputError(f"{name[:120]} is no low-rank change")
        sides.setdefault((match["module"], match["adapter"]), {})[match["side"]] = value
    pairs = dict[str, Factors]()
    for (module, adapter), pair in sides.items():
        if module in pairs:
            raise InputError(f"{module} is changed by {pairs[module].adapter} and by {adapter}")
        if len(pair) < 2:
            raise InputError(f"{module} lacks lora_{'B' if 'A' in pair else 'A'}")
        down, up = pair["A"], pair["B"]
        if up.shape[1:].numel() != len(down) or up.ndim != down.ndim:
            raise InputError(f"{module}: lora_A is {tuple(down.shape)} and lora_B {tuple(up.shape)}")
        pairs[module] = Factors(adapter, down, up)
    return pairs


def fuse(network: nn.Module, state: Mapping[str, Tensor], alpha: float) -> None:
    """Add the changes to a network's weights; an `InputError` names what it does not have."""
    with torch.no_grad():
        for name, value in _in_full(state):
            parameter = _parameter(network, name)
            if parameter.shape != value.shape:
                raise InputError(f"{name} is {tuple(value.shape)} and in the base {tuple(parameter.shape)}")
            parameter.copy_(value)
        for module, pair in factors(state).items():
            weight, change = _parameter(network, f"{module}.weight"), pair.change(alpha)
            if weight.shape != change.shape:
                raise InputError(f"the change of {module} is {tuple(change.shape)} and the base {tuple(weight.shape)}")
            weight.add_(change.to(weight))


def _in_full(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    return ((name.replace(".base_layer", ""), state[name]) for name in _FULL if name in state)


def _parameter(network: nn.Module, name: str) -> Tensor:
    try:
        return network.get_parameter(name)
    except AttributeError:
        raise InputError(f"the base has no {name[:120]}") from None
