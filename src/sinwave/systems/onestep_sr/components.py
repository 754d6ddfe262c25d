"""The base of a one-step model, the parts of a latent diffusion pipeline, with the changes added to its weights.

z = s (mean + deviation eps),   (mean, deviation) = encode(picture)
eps(z) = unet(z, T - 1, features of the prompt)
picture = decode(z / s)                                                 s: the scale of the autoencoder's latents
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from sinwave.errors import InputError, one_line
from sinwave.pretrained.folder import config
from sinwave.pretrained.networks import class_of, network, text_encoder
from sinwave.systems.onestep_sr.adapters import Adapters, fuse
from sinwave.systems.schedule import Schedule

__all__ = ["Components", "features", "load"]


@final
@dataclass(frozen=True, eq=False)
class Components:
    """Networks, frozen, and what is around them; they compute in their own precision, and answer in that of the input.

    features    of the prompt (1, words, width)
    scale       of latents
    factor      pixels along a side of a picture for one number of its latent
    """

    unet: nn.Module
    autoencoder: nn.Module
    schedule: Schedule
    features: Tensor
    scale: float
    factor: int

    @property
    def dtype(self) -> torch.dtype:
        return next(self.unet.parameters()).dtype

    def moments(self, picture: Tensor) -> Tensor:
        """Mean and deviation (b, 2 c, h, w) of the latents of a picture (b, 3, f h, f w)."""
        encode: Any = self.autoencoder.encode
        distribution = encode(picture.to(self.dtype)).latent_dist
        return torch.cat([distribution.mean, distribution.std], 1).to(picture)

    def noise_in(self, latent: Tensor) -> Tensor:
        """The U-Net's answer at the last time."""
        index = torch.full((len(latent),), self.schedule.total - 1, device=latent.device)
        words = self.features.to(latent.device, self.dtype).expand(len(latent), -1, -1)
        answer: Tensor = self.unet(latent.to(self.dtype), index, encoder_hidden_states=words).sample
        return answer.to(latent)

    def decode(self, latent: Tensor) -> Tensor:
        """The picture of a latent."""
        decode: Any = self.autoencoder.decode
        picture: Tensor = decode((latent / self.scale).to(self.dtype)).sample
        return picture.to(latent)


def load(folder: Path, adapters: Adapters, prompt: str, of: str) -> Components:
    """Load a base, and add the changes of the model `of`; a sentence says what does not fit."""
    schedule = Schedule.read(folder)
    if schedule.prediction != "epsilon":
        raise InputError(
            f"{of} changes a base that answers noise (epsilon), and {folder} answers {schedule.prediction}"
        )
    unet, codes = network("UNet2DConditionModel", folder, "unet"), network("AutoencoderKL", folder, "vae")
    try:
        fuse(unet, adapters.unet, adapters.alpha)
        fuse(codes, adapters.vae, adapters.alpha)
    except InputError as error:
        raise InputError(f"{of} was not trained on a base such as {folder}: {error}") from error
    layout = config(folder, "vae", "AutoencoderKL")
    scale, factor = layout.get("scaling_factor", 0.18215), 1 << len(layout["block_out_channels"]) - 1
    if not isinstance(scale, (int, float)) or not 0 < scale < math.inf:
        raise InputError(f"{folder}: the scaling_factor of the autoencoder is {one_line(str(scale)[:40])}")
    words = features(folder, prompt)
    width = config(folder, "unet", "UNet2DConditionModel").get("cross_attention_dim")
    if words.shape[2] != width:
        raise InputError(f"{folder}: the text encoder gives {words.shape[2]} features, and the U-Net takes {width}")
    return Components(unet, codes, schedule, words, float(scale), factor)


def features(folder: Path, prompt: str) -> Tensor:
    """The features of a prompt (1, words, width); the text encoder is not kept."""
    tokenizer = _tokenizer(folder)
    length = tokenizer.model_max_length
    numbers = tokenizer(prompt, max_length=length, padding="max_length", truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        result: Tensor = text_encoder(folder)(numbers)[0]
    return result


def _tokenizer(folder: Path) -> Any:
    place = folder / "tokenizer"
    if not place.is_dir():
        raise InputError(f"{folder} lacks the folder tokenizer")
    try:
        return class_of("transformers", "CLIPTokenizer").from_pretrained(str(place), local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{place} holds no tokenizer of CLIP ({one_line(str(error))[:200]})") from error
