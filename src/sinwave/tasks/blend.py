"""Blend: several sources make one picture, each with its share of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sinwave.errors import InputError
from sinwave.option_kinds import Size, Source
from sinwave.options import option
from sinwave.systems.contracts import Computing, Generator
from sinwave.tasks.base.task import Drawing, EditTask, Inputs, Opened, open_source

__all__ = ["Blend", "shares_of"]


@dataclass(frozen=True, kw_only=True)
class Blend(EditTask):
    """Draw a new picture from SOURCE and OTHERS, in which every place is from one of them; they meet where it fits."""

    others: tuple[Source, ...] = option(help="further pictures, or model files", positional=True, metavar="OTHER")
    weights: tuple[float, ...] = option((), "the share of each source, in order (default: equal shares)", low=0)
    size: Size | None = option(None, "size of the new picture (default: that of SOURCE)")
    variation: float = option(1.0, "0 = the layout of SOURCE, 1 = a new composition", low=0, high=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        shares_of(self.weights, 1 + len(self.others))

    def prepare(self, inputs: Inputs) -> Drawing:
        others = [open_source(source, self.engine, inputs.max_pixels) for source in self.others]
        shares = shares_of(self.weights, 1 + len(others))
        size = self.size or inputs.size
        inputs.check(size)

        def build(sources: Sequence[Opened], computing: Computing) -> tuple[Generator, tuple[str, ...]]:
            parts = [(source, share) for source, share in zip(sources, shares, strict=True) if share > 0]
            (first, _), *rest = parts
            if not rest:
                return first.build(computing), ()
            loaded = [source.loaded for source, _ in rest]
            return first.loaded.mix(loaded, [share for _, share in parts], first.engine, computing), ()

        shown = {f"source {number}": other.picture.pixels[None] for number, other in enumerate(others, 2)}
        return Drawing(
            size,
            lambda model, noise, on_step: model.generate(size, noise, variation=self.variation, on_step=on_step),
            shown,
            build=build,
            others=tuple(others),
        )


def shares_of(weights: Sequence[float], count: int) -> list[float]:
    """Give each of `count` sources a share; together they are 1."""
    if weights and len(weights) != count:
        raise InputError(f"{len(weights)} weights for {count} sources: one each is needed")
    shares = list(weights or [1.0] * count)
    if sum(shares) == 0:
        raise InputError("all weights are 0: one source at least must have a share")
    return [share / sum(shares) for share in shares]
