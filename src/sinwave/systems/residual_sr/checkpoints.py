"""Checkpoints of ResShift and SinSR: which there are, and how their files become networks, exactly or not at all.

    file = zip of tensors by name, perhaps wrapped in {"state_dict": ...}, perhaps with a prefix on every name
         = the parameters of a network, no more and no fewer, in its shapes
         + the buffers of a U-Net, which follow from its layout: compared, then dropped

A file is mapped, not read, until its names and shapes fit, so a wrong one costs no memory; no code in it can run. None
comes with the package and none is downloaded: all are the work of their authors, under their licenses.
"""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from sinwave.errors import InputError, one_line
from sinwave.pretrained.files import UnfitWeightsError, frozen, skeleton
from sinwave.pretrained.published import Weights
from sinwave.systems.residual_sr.autoencoder import VQ_F4, VQ_F8_FACE, Autoencoder, AutoencoderLayout
from sinwave.systems.residual_sr.unet import FACE, INPAINTING, X2, X4, UNet, UNetLayout, derived_buffers

__all__ = ["AUTOENCODER_VQ_F4", "RESSHIFT_BICUBIC_S4", "RESSHIFT_S4_V3", "RESSHIFT_S15_V1", "RESSHIFT_S15_V2"]
__all__ += ["SINSR_V1", "SINSR_V2", "Content", "load_autoencoder", "load_unet", "recognize", "shapes"]

_RESSHIFT = ("https://github.com/zsyOAOA/ResShift/releases", "NTU S-Lab License 1.0: no commercial use")
_SINSR = ("https://github.com/wyf0912/SinSR/releases", "CC BY-NC-SA 4.0, as its authors state: no commercial use")

RESSHIFT_S15_V1 = Weights("resshift_realsrx4_s15_v1.pth", "the U-Net of ResShift v1, 15 steps", *_RESSHIFT)
RESSHIFT_S15_V2 = Weights("resshift_realsrx4_s15_v2.pth", "the U-Net of ResShift v2, 15 steps", *_RESSHIFT)
RESSHIFT_S4_V3 = Weights("resshift_realsrx4_s4_v3.pth", "the U-Net of ResShift v3, 4 steps", *_RESSHIFT)
RESSHIFT_BICUBIC_S4 = Weights(
    "resshift_bicsrx4_s4.pth", "the U-Net of ResShift for bicubic reductions, 4 steps", *_RESSHIFT
)
SINSR_V1 = Weights("SinSR_v1.pth", "the U-Net of SinSR v1, one step", *_SINSR)
SINSR_V2 = Weights("SinSR_v2.pth", "the U-Net of SinSR v2, one step", *_SINSR)
AUTOENCODER_VQ_F4 = Weights("autoencoder_vq_f4.pth", "the autoencoder of ResShift and SinSR", *_RESSHIFT)

_MOST_BYTES = 1 << 30
"""A U-Net in float32 has half of that."""

_PREFIXES = ("module._orig_mod.", "module.", "_orig_mod.")
_NAMED = 3
_ALMOST = 1e-2
"""Difference of a mask that was averaged with the weights."""

Layout: TypeAlias = UNetLayout | AutoencoderLayout


class Content(NamedTuple):
    """A network in a file, in words, and its layout if it is one of this folder."""

    name: str
    layout: Layout | None


_NETWORKS = (
    Content("the U-Net x4 of ResShift and SinSR", X4),
    Content("the U-Net x2 of ResShift", X2),
    Content("ResShift's U-Net for inpainting", INPAINTING),
    Content("ResShift's U-Net for faces", FACE),
    Content("the autoencoder VQ-f4", VQ_F4),
    Content("the autoencoder VQ-f8 of faces", VQ_F8_FACE),
)

_FOREIGN = (
    ("adapters of OSEDiff", "state_dict_unet", "rank_unet"),
    ("adapters (LoRA)", ".lora_A."),
    ("a whole latent diffusion model", "model.diffusion_model."),
    ("a VQModel of diffusers", "down_blocks.", "quantize.embedding."),
    ("an autoencoder of diffusers without codes", "down_blocks.", "quant_conv."),
    ("a U-Net of diffusers", "down_blocks.", "time_embedding."),
    ("a U-Net like ResShift's with other channels", "input_blocks.", ".patch_embed."),
    ("a diffusion U-Net without Swin layers, such as ADM's", "input_blocks.", "middle_block."),
    ("a VQ autoencoder with other channels", "encoder.down.", "quantize.embedding."),
    ("an autoencoder without codes, such as Stable Diffusion's", "encoder.down.", "decoder.up."),
    ("weights in a wrapper of BasicSR, such as Real-ESRGAN's", "params_ema"),
    ("an RRDB network, such as Real-ESRGAN's", ".rdb1."),
    ("SwinIR", ".residual_group.blocks."),
    ("heads of LPIPS", "lin0.model."),
)
_UNRECOGNIZED = Content("weights of a network that is not recognized", None)


def recognize(shapes: Mapping[str, Sequence[int]]) -> Content:
    """Tell by names and shapes, no network being built, which one they belong to; whether they are all is not said."""
    sides = {name: tuple(shape) for name, shape in _without_prefix(shapes).items()}
    for content in _NETWORKS:
        if content.layout is not None and _marks(content.layout).items() <= sides.items():
            return content
    for name, *marks in _FOREIGN:
        if all(any(mark in key for key in sides) for mark in marks):
            return Content(name, None)
    return _UNRECOGNIZED


def shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Read the names and shapes of what is in a file, for `recognize`."""
    content = _without_prefix(_unwrapped(_read(file)))
    return {name: tuple(getattr(value, "shape", ())) for name, value in content.items()}


def load_unet(file: Path, layout: UNetLayout = X4) -> UNet:
    """Load a U-Net, frozen."""
    network = skeleton(layout.build)
    return frozen(network, _parameters(file, layout, network.state_dict(), derived_buffers(network)))


def load_autoencoder(file: Path, layout: AutoencoderLayout = VQ_F4) -> Autoencoder:
    """Load an autoencoder, frozen."""
    network = skeleton(layout.build)
    return frozen(network, _parameters(file, layout, network.state_dict(), {}))


def _marks(layout: Layout) -> dict[str, tuple[int, ...]]:
    """The parameters by which a network differs from all others."""
    first = layout.widths[0]
    if isinstance(layout, AutoencoderLayout):
        return {
            "quantize.embedding.weight": (layout.codes, layout.latent),
            "encoder.conv_in.weight": (first, 3, 3, 3),
        }
    return {
        "input_blocks.0.0.weight": (first, layout.inputs, 3, 3),
        "input_blocks.1.1.patch_embed.proj.weight": (layout.swin, first, 1, 1),
        "out.2.weight": (layout.latent, first, 3, 3),
    }


def _parameters(
    file: Path, layout: Layout, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The parameters in a file as float32, if it has these names and shapes and these buffers."""
    content, expected = _without_prefix(_unwrapped(_read(file))), {**parameters, **buffers}
    _refuse(file, layout, content, expected, [_misfit(name, content, expected) for name in {**expected, **content}])
    _refuse(file, layout, content, expected, [_difference(name, content[name], buffers[name]) for name in buffers])
    values = {name: _single(content[name]) for name in parameters}
    _refuse(file, layout, content, expected, [_not_finite(name, value) for name, value in values.items()])
    return values


def _refuse(
    file: Path, layout: Layout, content: Mapping[str, Any], expected: Mapping[str, Tensor], faults: Sequence[str]
) -> None:
    faults = [fault for fault in faults if fault]
    if not faults:
        return
    wanted = next((network.name for network in _NETWORKS if network.layout == layout), "this network")
    more = f", and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
    raise UnfitWeightsError(
        f"{file} is not {wanted}: {', '.join(faults[:_NAMED])}{more}{_hint(layout, content, expected)}"
    )


def _hint(layout: Layout, content: Mapping[str, Any], expected: Mapping[str, Tensor]) -> str:
    """The network that a file seems to hold, if another one; most names of a damaged file are right."""
    likely = recognize({name: tuple(getattr(value, "shape", ())) for name, value in content.items()})
    damaged = likely.layout is None and 2 * len(content.keys() & expected.keys()) > len(expected)
    return "" if likely.layout == layout or damaged else f"; it seems to hold {likely.name}"


def _misfit(name: str, content: Mapping[str, Any], expected: Mapping[str, Tensor]) -> str:
    """The fault of a name, its type or its shape; nothing if there is none."""
    shown = one_line(name[:120])
    if name not in content:
        return f"{shown} is missing"
    if name not in expected:
        return f"{shown} is not one of its parameters"
    value = content[name]
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta or value.is_complex():
        return f"{shown} is no tensor of plain numbers"
    if expected[name].is_floating_point() and not value.is_floating_point():
        return f"{shown} is {value.dtype}, where a parameter has fractions"
    if value.shape != expected[name].shape:
        return f"{shown} is {tuple(value.shape)} instead of {tuple(expected[name].shape)}"
    return ""


def _difference(name: str, value: Tensor, expected: Tensor) -> str:
    """The fault of a buffer: an index is exact, a mask was averaged."""
    apart = (value.double() - expected.double()).abs().max()
    near = apart == 0 if not expected.is_floating_point() else apart <= _ALMOST
    return "" if near else f"the values of {name} are not the ones that follow from the layout"


def _not_finite(name: str, value: Tensor) -> str:
    return "" if value.isfinite().all() else f"{name} holds NaN or infinite values"


def _single(value: Tensor) -> Tensor:
    """A copy as float32, so that the file may change and nothing of it stays mapped."""
    return torch.empty(value.shape, dtype=torch.float32).copy_(value)


def _without_prefix(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Strip what parallel and compiled training put before every name."""
    for prefix in _PREFIXES:
        if content and all(name.startswith(prefix) for name in content):
            return {name.removeprefix(prefix): value for name, value in content.items()}
    return content


def _unwrapped(content: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = content.get("state_dict")
    return {str(name): value for name, value in (inner if isinstance(inner, dict) else content).items()}


def _read(file: Path) -> Mapping[str, Any]:
    _check_size(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about foreign files, which are then refused
            mapped = zipfile.is_zipfile(file)
            content = torch.load(os.fspath(file), map_location="cpu", weights_only=True, mmap=mapped)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can raise anything
        fault = "it is damaged, or holds more than tensors"
        raise UnfitWeightsError(f"{file} cannot be read as weights: {fault}") from error
    if not isinstance(content, dict):
        raise UnfitWeightsError(f"{file} holds a {type(content).__name__}, where weights are tensors by their names")
    return content


def _check_size(file: Path) -> None:
    """Refuse a file that is absent, larger than any of these, or packed, so that it might become larger."""
    if not file.is_file():
        raise InputError(f"{file}: there is no such file")
    size = file.stat().st_size
    if size > _MOST_BYTES:
        raise UnfitWeightsError(f"{file} has {size / 1e9:.1f} GB, more than any of these networks")
    try:
        with zipfile.ZipFile(file) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise UnfitWeightsError(f"{file} is compressed, as no file of weights is")
    except zipfile.BadZipFile:
        pass  # of an older form, or damaged: reading it tells
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from error
