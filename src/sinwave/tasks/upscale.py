"""Upscale: a larger picture whose detail is that of the picture itself, and which, reduced, is that picture again."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sinwave.errors import InputError
from sinwave.options import option
from sinwave.systems import table
from sinwave.systems.contracts import Computing, OnStep, PictureConstraint, Size, SuperResolver
from sinwave.tasks.task import Drawing, EditTask, Inputs, Opened

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave.rng import Noise

__all__ = ["Upscale"]

_PROBE = 160
"""Pixels along a side of the part of a picture on which engines are compared."""


@dataclass(frozen=True, kw_only=True)
class Upscale(EditTask):
    """Enlarge SOURCE with detail that it has elsewhere; reduced again, it is SOURCE within a gray level.

    Two engines know nothing but SOURCE. network is a small one that learns in seconds, from SOURCE itself, how to
    enlarge it: nearest to what a better camera would have seen. closed-form puts in patches of SOURCE: sharper. auto
    reduces a part of SOURCE, enlarges it with both, and takes the one that comes nearer.
    """

    learns: ClassVar[bool] = True
    quick: ClassVar[bool] = True

    factor: float = option(2.0, "how many times larger each side becomes", low=1, high=8, metavar="FACTOR")
    strength: float = option(
        0.05, "0 = only what can be told from the picture, 1 = much new detail; not for the network", low=0, high=1
    )
    engine: Literal["auto", "closed-form", "network", "hybrid"] = option(
        "auto",
        "closed-form; network: a small one that is trained on SOURCE now; hybrid, for a model file; auto: the best of "
        "them for SOURCE",
    )

    def prepare(self, inputs: Inputs) -> Drawing:
        source = inputs.pixels
        sizes = turns(inputs.size, self.factor)
        inputs.check(*sizes or [inputs.size])
        if self.engine == "network" and (self.avoid is not None or inputs.opened.picture.opaque is not None):
            raise InputError(
                "the network learns from all of the picture, what is avoided or transparent too: use the closed form"
            )
        return Drawing(
            sizes[-1] if sizes else inputs.size,
            lambda model, noise, on_step: self.drawn(model, source, noise, on_step),
            build=lambda sources, computing: self._built(sources[0], computing),
        )

    def drawn(self, model: Any, picture: Tensor, noise: Noise, on_step: OnStep | None = None) -> Tensor:
        """Enlarge a picture (1, 3, h, w), by a network in one go, or turn by turn from the patches of a model."""
        from sinwave.reduction import Reduction
        from sinwave.resize import resize
        from sinwave.tasks.canvas import Canvas, redraw, turned_into

        reduction, large = Reduction(picture), picture
        sizes = turns((picture.shape[2], picture.shape[3]), self.factor)
        if isinstance(model, SuperResolver):
            return model.upscale(picture, sizes[-1], noise, on_step=on_step) if sizes else picture
        for turn, size in enumerate(sizes):
            guess = reduction.nearest(resize(large, size))
            finest = len(model.scales(guess)) - 1

            def reduced(scale: int, last: int = finest) -> PictureConstraint | None:
                return reduction.nearest if scale == last else None

            chance, report = noise.child("turn", turn), turned_into(on_step, turn, len(sizes))
            drawn = redraw(model, Canvas(guess), self.strength, chance, first=finest, also=[reduced], on_step=report)
            large = reduction.in_range(drawn)
        return large

    def _built(self, opened: Opened, computing: Computing) -> tuple[Any, tuple[str, ...]]:
        """Choose the engine; auto takes a measurement."""
        if self.engine == "network":
            return _learner(opened, computing), ()
        if self.engine != "auto" or opened.trained or opened.picture.opaque is not None or self.factor == 1:
            return opened.build(computing), ()
        fidelity = {engine: self._fidelity(engine, opened, computing) for engine in ("network", "closed-form")}
        best, other = sorted(fidelity, key=lambda engine: -fidelity[engine])
        note = (
            f"the engine {best} draws: it gives a part of the picture, reduced, back with {fidelity[best]:.1f} dB, "
            f"and {other} with {fidelity[other]:.1f}"
        )
        return _learner(opened, computing) if best == "network" else opened.build(computing), (note,)

    def _fidelity(self, engine: str, opened: Opened, computing: Computing) -> float:
        """PSNR of luma of a part of the picture, reduced and enlarged again."""
        from sinwave.images import from_uint8, to_uint8
        from sinwave.metrics.fidelity import psnr_y
        from sinwave.resize import resize
        from sinwave.rng import NoiseSource

        part = _busiest(opened.picture.pixels)
        height, width = (max(16, round(side / self.factor)) for side in part.shape[1:])
        small = from_uint8(to_uint8(resize(part[None], (height, width))))
        picture = replace(opened.picture, pixels=small[0])
        loaded = table.of_picture(picture, "zero-shot" if engine == "network" else "wavelet")
        low = small.to(computing.device, computing.dtype)
        again = self.drawn(loaded.build(loaded.engines[0], computing), low, NoiseSource(0))
        size = (again.shape[2], again.shape[3])
        return psnr_y(to_uint8(again[0].float().cpu()), to_uint8(resize(part[None], size)[0]))


def _learner(opened: Opened, computing: Computing) -> Any:
    return table.of_picture(opened.picture, "zero-shot").build("network", computing)


def _busiest(picture: Tensor) -> Tensor:
    """Cut the part of a picture (3, h, w) that varies most out of nine."""
    height, width = (min(_PROBE, side) for side in picture.shape[1:])
    rows, columns = ((picture.shape[1] - height), (picture.shape[2] - width))
    parts = [
        picture[:, rows * i // 2 : rows * i // 2 + height, columns * j // 2 : columns * j // 2 + width]
        for i in range(3)
        for j in range(3)
    ]
    return max(parts, key=lambda part: float(part.std()))


def turns(small: Size, factor: float) -> list[Size]:
    """List the sizes on the way, by equal factors of 2 at the most."""
    large = [round(factor * side) for side in small]
    actual = max(b / a for a, b in zip(small, large, strict=True))
    count = max(0, math.ceil(math.log2(actual) - 1e-9))
    parts = [(turn + 1) / count for turn in range(count)]
    return [
        (round(small[0] * math.pow(large[0] / small[0], part)), round(small[1] * math.pow(large[1] / small[1], part)))
        for part in parts
    ]
