"""The colors of one picture in the shades of another."""

from __future__ import annotations

import torch
from torch import Tensor

from sinwave.rng import NoiseSource

__all__ = ["few_colors", "recolored", "repainted"]

_TURNS = 24


def recolored(picture: Tensor, palette: Tensor, amount: float = 1.0) -> Tensor:
    """A picture (1, 3, h, w) whose colors are spread as those of `palette` (1, 3, h', w').

    Sliced optimal transport (Pitie et al., 2007): along one direction the best transport of colors matches equal
    quantiles; doing so along the axes of random bases, one after the other, brings the whole distribution there.
    """
    colors, wanted = (_precise(image)[0].flatten(1).T for image in (picture, palette))
    for turn in range(_TURNS):
        chance = NoiseSource(0).normal((3, 3), "palette", turn, like=colors)
        basis = torch.linalg.qr(chance).Q
        moved = [_matched(a, b) for a, b in zip((colors @ basis).T, (wanted @ basis).T, strict=True)]
        colors = torch.stack(moved, 1) @ basis.T
    target = colors.T.reshape(picture.shape[1:])[None].to(picture)
    return picture + amount * (target - picture)


def _precise(picture: Tensor) -> Tensor:
    """Make it float64, on the CPU where the device has none."""
    try:
        return picture.double()
    except TypeError:
        return picture.cpu().double()


def _matched(values: Tensor, wanted: Tensor) -> Tensor:
    """The values with their order kept and the quantiles of `wanted`."""
    quantiles = (torch.arange(len(values), dtype=values.dtype, device=values.device) + 0.5) / len(values)
    place = (quantiles * len(wanted) - 0.5).clamp(0, len(wanted) - 1)
    ordered, low = wanted.sort().values, place.floor().long()
    high = (low + 1).clamp(max=len(wanted) - 1)
    matched = torch.lerp(ordered[low], ordered[high], place - low)
    return torch.empty_like(values).scatter_(0, values.argsort(stable=True), matched)


def repainted(drawing: Tensor, source: Tensor, count: int) -> Tensor:
    """A drawing (1, 3, h, w) with the nearest of the main colors of the source (1, 3, h', w') at each pixel."""
    centers, _ = few_colors(source, count)
    nearest = torch.cdist(drawing[0].flatten(1).T, centers).argmin(1)
    return centers[nearest].T.reshape(drawing.shape)


def few_colors(picture: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The centers (count, 3) of a picture's colors and which of them each pixel (h, w) is nearest to (k-means)."""
    colors = picture[0].flatten(1).T
    centers = _spread_out(colors, count)
    for _ in range(50):
        nearest = torch.cdist(colors, centers).argmin(1)
        sums = torch.zeros_like(centers).index_add_(0, nearest, colors)
        counts = torch.bincount(nearest, minlength=count)[:, None]
        moved = torch.where(counts > 0, sums / counts.clamp(min=1), centers)
        if torch.equal(moved, centers):
            break
        centers = moved
    return centers, torch.cdist(colors, centers).argmin(1).reshape(picture.shape[2:])


def _spread_out(colors: Tensor, count: int) -> Tensor:
    """Colors to begin with: the one nearest to the mean, and then always the one farthest from all."""
    chosen = [colors[(colors - colors.mean(0)).square().sum(1).argmin()]]
    away = torch.full((len(colors),), torch.inf).to(colors)
    while len(chosen) < count:
        away = torch.minimum(away, (colors - chosen[-1]).square().sum(1))
        chosen.append(colors[away.argmax()])
    return torch.stack(chosen)
