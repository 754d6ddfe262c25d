"""Blend: several sources make one picture, each with its share of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sinwave.errors import InputError
from sinwave.options import option
from sinwave.tasks.edits.files import Editing, Plan
from sinwave.tasks.sizes import parse_size

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sinwave.rng import Noise
    from sinwave.systems.contracts import OnStep, SingleImageModel
    from sinwave.tasks.source import Source

__all__ = ["Blend", "BlendFiles", "shares_of"]


@dataclass(frozen=True, kw_only=True)
class Blend:
    """Draw a new picture in which every place is from one of several sources; they meet where that goes best."""

    weights: tuple[float, ...] = option((), "the share of each source, in order (default: equal shares)", low=0)
    variation: float = option(1.0, "0 = the layout of SOURCE, 1 = a new composition", low=0, high=1)

    def run(
        self,
        models: Sequence[SingleImageModel],
        size: tuple[int, int] | None = None,
        noise: Noise | None = None,
        *,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """A picture (1, 3, h, w) of `size`, that of the first model's picture unless told."""
        from sinwave.rng import NoiseSource

        model = self.mixed(models)
        return model.generate(size or model.size, noise or NoiseSource(0), variation=self.variation, on_step=on_step)

    def mixed(self, models: Sequence[SingleImageModel]) -> SingleImageModel:
        """The model of all that have a share; of a single one, itself."""
        shares = shares_of(self.weights, len(models))
        (first, share), *others = ((m, share) for m, share in zip(models, shares, strict=True) if share > 0)
        return first.mixed([m for m, _ in others], [share, *(s for _, s in others)]) if others else first


def shares_of(weights: Sequence[float], count: int) -> list[float]:
    """A share for each of `count` sources; together they are 1."""
    if weights and len(weights) != count:
        raise InputError(f"{len(weights)} weights for {count} sources: one each is needed")
    found = list(weights or [1.0] * count)
    if sum(found) == 0:
        raise InputError("all weights are 0: one source at least must have a share")
    return [weight / sum(found) for weight in found]


@dataclass(frozen=True, kw_only=True)
class BlendFiles(Editing, Blend):
    """Draw a new picture from SOURCE and OTHERS, in which every place is from one of them."""

    others: tuple[Path, ...] = option(help="further pictures, or model files", positional=True, metavar="OTHER")
    size: str | None = option(None, "size of the new picture (default: that of SOURCE)", metavar="WIDTHxHEIGHT")

    def plan(self, source: Source) -> Plan:
        """The sources, and the size."""
        from sinwave.tasks.source import alike, open_source

        others = [open_source(path, self.engine, self.max_pixels) for path in self.others]
        shares_of(self.weights, 1 + len(others))
        size = source.picture.size if self.size is None else parse_size(self.size)
        alike([source, *others])  # refused before anything is drawn

        def made(
            source: Source, device: torch.device, dtype: torch.dtype, convolutions: torch.dtype | None
        ) -> list[SingleImageModel]:
            known, levels = alike([source, *others])
            return [each.model(device, dtype, convolutions, levels=levels) for each in known]

        return Plan(
            size,
            {},
            further={"size": size},
            maker=made,
            effort=lambda models: self.mixed(models).effort(size),
            shown={f"source {number}": each.picture.pixels[None] for number, each in enumerate(others, 2)},
        )
