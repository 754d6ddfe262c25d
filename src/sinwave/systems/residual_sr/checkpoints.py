"""Checkpoints of ResShift and SinSR: which there are, and the networks that their files become.

None comes with the package and none is downloaded: all are the work of their authors, under their licenses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from torch import Tensor

from sinwave.pretrained import checkpoint
from sinwave.pretrained.checkpoint import fitting, read, without_prefix
from sinwave.pretrained.files import frozen, skeleton
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
    sides = {name: tuple(shape) for name, shape in without_prefix(shapes).items()}
    for content in _NETWORKS:
        if content.layout is not None and _marks(content.layout).items() <= sides.items():
            return content
    for name, *marks in _FOREIGN:
        if all(any(mark in key for key in sides) for mark in marks):
            return Content(name, None)
    return _UNRECOGNIZED


def shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Read the names and shapes of what is in a file, for `recognize`."""
    return checkpoint.shapes(file, _MOST_BYTES)


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
    content = read(file, _MOST_BYTES)
    wanted = next((network.name for network in _NETWORKS if network.layout == layout), "this network")

    def hint(damaged: bool) -> str:
        """The network that a file seems to hold, if another one."""
        likely = recognize({name: tuple(getattr(value, "shape", ())) for name, value in content.items()})
        same = likely.layout == layout or (likely.layout is None and damaged)
        return "" if same else f"; it seems to hold {likely.name}"

    return fitting(file, wanted, content, parameters, buffers, hint)
