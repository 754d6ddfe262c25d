"""Keyword arguments that methods of a photo share, for type checkers: a call with a wrong one fails before it runs."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sinwave.tasks.base.machine import OnProgress

if TYPE_CHECKING:
    from PIL import Image

    from sinwave.python.photo import Photo

__all__ = ["Common", "Drawn", "Engine", "Enlarged", "Keeping", "OnEstimate", "PictureLike", "SizeLike", "Watched"]

PictureLike: TypeAlias = "str | PathLike[str] | bytes | Image.Image | NDArray[Any] | Tensor | Photo"
SizeLike: TypeAlias = str | tuple[int, int]
Engine: TypeAlias = Literal["auto", "closed-form", "network", "hybrid"]
OnEstimate: TypeAlias = Callable[[NDArray[np.uint8]], None]


class Watched(TypedDict, total=False):
    """Options of every method that draws.

    seed          each seed draws another picture; default: as in `open`
    on_progress   `on_progress(label, done, total)`
    on_estimate   `on_estimate(pixels)`: the latest estimate, uint8 (h, w, 3), at the current scale's size
    """

    seed: int
    on_progress: OnProgress
    on_estimate: OnEstimate | None


class Drawn(Watched, total=False):
    """Options of `Watched`, and:

    engine   default: as in `open`
    """

    engine: Engine | None


class Common(Drawn, total=False):
    """Options of `Drawn`, and:

    n       how many results
    avoid   a mask: where it is white, the picture is not used
    """

    avoid: PictureLike | None
    n: int


class Keeping(Common, total=False):
    """Options of `Common`, and:

    keep   a mask: where it is white, the input stays
    """

    keep: PictureLike | None


class Enlarged(Watched, total=False):
    """Options of `Watched`, and:

    all of them   as in `sinwave upscale --help` or `sinwave restore --help`
    """

    size: SizeLike | None
    longest: int | None
    consistency: float | None
    fidelity: float | None
    tile: int | None
    steps: int | None
    base: str | PathLike[str] | None
    prompt: str | None
    colors: Literal["wavelet", "adain", "none"] | None
    n: int
