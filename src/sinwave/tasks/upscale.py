"""Upscale: a larger picture with new detail which, reduced, is the small one again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, final

from sinwave.option_kinds import Source
from sinwave.options import option
from sinwave.systems.contracts import Loaded
from sinwave.tasks.base.enlarging import Enlarging

if TYPE_CHECKING:
    from sinwave.resize import Kind

__all__ = ["Upscale"]

_UNSURE = 0.6
"""The share of the projection where a camera has reduced the picture, nobody knows how."""


@final
@dataclass(frozen=True, kw_only=True)
class Upscale(Enlarging):
    """Enlarge SOURCE with detail that is not in it; reduced again, the result is SOURCE within a gray level.

    The model small comes with sinwave and takes a moment. Two others know nothing but SOURCE: zero-shot trains a
    network on it for some seconds, and patches puts in patches of SOURCE, sharp and invented. Or name a model file: one
    that `sinwave train --system residual-sr` has made, or one of a picture like SOURCE.
    """

    default_factor: ClassVar[float] = 4.0
    default_model: ClassVar[str] = "small"
    untrained: ClassVar[Mapping[str, str]] = {"zero-shot": "zero-shot", "patches": "wavelet"}

    source: Source = option(help="the picture to enlarge, or a folder of pictures", positional=True)
    factor: float | None = option(
        None, "how many times larger each side becomes (default: 4)", low=1, high=16, metavar="FACTOR"
    )
    model: str = option(
        "small", "small, photo, zero-shot, patches, a model file, or published weights, such as sinsr-v2"
    )
    reduction: Literal["bicubic", "area", "lanczos", "camera"] = option(
        "bicubic", "how SOURCE was reduced, as far as you know; camera: not reduced, from a camera"
    )
    consistency: float | None = option(
        None,
        "how closely the result, downsampled, equals SOURCE; 1 = within a gray level "
        f"(default: 1; {_UNSURE} for --reduction camera and models like photo)",
        low=0,
        high=1,
    )

    def default_share(self, loaded: Loaded) -> float:
        return _UNSURE if self.reduction == "camera" or "restore" in loaded.abilities else 1.0

    @property
    def kind(self) -> Kind:
        return "bicubic" if self.reduction == "camera" else self.reduction
