"""Pictures that explain samples, uint8 (3, h, w): where a sample comes from, what is copied, where samples differ."""

from __future__ import annotations

import base64
import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from sinwave.metrics.nearest import NearestField

__all__ = ["copied_areas", "data_uri", "differences", "origin", "places"]

_HEAT = ((0.05, 0.06, 0.12), (0.25, 0.22, 0.55), (0.80, 0.29, 0.42), (0.98, 0.65, 0.29), (0.99, 0.95, 0.75))


def places(height: int, width: int) -> Tensor:
    """A color for every place of a picture: warm on the right, light above."""
    y, x = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)[None]
    red, green, blue = 0.2 + 0.8 * x + 0 * y, 0.95 - 0.75 * y + 0 * x, 1.0 - 0.8 * x + 0 * y
    return _bytes(torch.stack([red, green, blue]) * (0.55 + 0.45 * (1 - y)))


def origin(field: NearestField, size: tuple[int, int], source: tuple[int, int]) -> Tensor:
    """A sample of `size` in the colors of the places in the source that its nearest patches come from."""
    middle = field.place + field.patch // 2
    colors = places(*source)[:, middle[..., 0].clamp(max=source[0] - 1), middle[..., 1].clamp(max=source[1] - 1)]
    return functional.interpolate(colors[None].float(), size, mode="nearest")[0].byte()


def copied_areas(sample: Tensor, mask: Tensor) -> Tensor:
    """The sample in gray where it is new, and in color with a bright outline where it is copied."""
    gray = 0.55 * sample.float().mean(0, keepdim=True).expand(3, -1, -1) + 100
    grown = functional.max_pool2d(mask[None].float(), 3, 1, 1)[0] > 0
    outline = torch.tensor([255.0, 64.0, 96.0])[:, None, None]
    shown = torch.where(mask, sample.float(), gray)
    return torch.where(grown & ~mask, outline, shown).byte()


def differences(samples: Tensor) -> Tensor:
    """How much each pixel differs between samples (n, 3, h, w): dark where they agree, light where they do not."""
    deviation = samples.float().mean(1).std(0)
    share = (deviation / deviation.max().clamp(min=1)).clamp(0, 1) * (len(_HEAT) - 1)
    colors, below = torch.tensor(_HEAT), share.floor().long().clamp(max=len(_HEAT) - 2)
    part = (share - below)[..., None]
    return _bytes((colors[below] * (1 - part) + colors[below + 1] * part).movedim(2, 0))


def data_uri(picture: Tensor) -> str:
    """A picture inside a page."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture.movedim(0, 2).numpy())).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _bytes(colors: Tensor) -> Tensor:
    return (255 * colors).round().clamp(0, 255).byte()
