"""Enlarging in Python with one model for many pictures.

model = sinwave.SuperResolver.load("small")
model.upscale("photo.jpg", 4).save("large.png")
"""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from sinwave.option_kinds import Source
from sinwave.python.photo import MAX_PIXELS, Photo, open_photo
from sinwave.systems.contracts import Redrawer
from sinwave.tasks.base.machine import Hardware
from sinwave.tasks.base.run import prepared
from sinwave.tasks.upscale import Upscale

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from sinwave.python.keywords import Enlarged, PictureLike

__all__ = ["SuperResolver"]


@final
@dataclass(frozen=True)
class SuperResolver:
    """A model that enlarges pictures."""

    model: str = "small"
    hardware: Hardware = field(default_factory=Hardware)

    @classmethod
    def load(
        cls, model: str | PathLike[str] = "small", *, device: str = "auto", threads: int | None = None
    ) -> SuperResolver:
        """`SuperResolver.load("small")`: load a model by its name or file."""
        resolver = cls(fspath(model), Hardware(device=device, threads=threads))
        resolver._task(np.zeros((16, 16, 3), np.uint8), 2.0).open(MAX_PIXELS)
        return resolver

    def upscale(
        self,
        image: PictureLike,
        factor: float | None = None,
        **options: Unpack[Enlarged],
    ) -> Photo:
        """Return the picture enlarged, the first result; `.results` has all `n`."""
        photo = open_photo(image, device=self.hardware.device, threads=self.hardware.threads)
        return photo.upscale(factor, model=self.model, **options)

    def uncertainty(self, image: PictureLike, factor: float = 4.0) -> NDArray[np.float32]:
        """Estimate the error of each pixel of the result in gray levels, (h, w)."""
        import torch

        with self.hardware.computing(quick=True) as computing, torch.inference_mode():
            ready = prepared(self._task(image, factor, map=True), computing, MAX_PIXELS)
            model, _ = ready.model()
            assert isinstance(model, Redrawer)
            picture = ready.picture.pixels[None].to(computing.device, computing.dtype)
            doubt = model.uncertainty(picture, ready.drawing.size)
        levels: NDArray[np.float32] = doubt[0, 0].float().cpu().numpy()
        return levels

    def _task(self, image: PictureLike, factor: float, **options: Any) -> Upscale:
        return Upscale(source=Source(open_photo(image).opened), model=self.model, factor=factor, **options)
