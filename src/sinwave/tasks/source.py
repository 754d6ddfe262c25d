"""What new pictures are drawn from: a picture, or a model file, whichever a path leads to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sinwave.errors import InputError
from sinwave.images import probe
from sinwave.systems.files import is_model_file
from sinwave.systems.wavelet.depth import levels_for
from sinwave.tasks.estimate import check_memory
from sinwave.tasks.sizes import MIN_SIDE

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sinwave.images import Picture
    from sinwave.systems.contracts import SingleImageModel
    from sinwave.systems.trainable import TrainedModel

__all__ = ["Source", "alike", "open_source", "size_of"]


@dataclass(frozen=True, eq=False)
class Source:
    """A picture that is known, and the model that was trained on it, if there is one."""

    path: Path
    engine: str
    picture: Picture
    sha256: str
    trained: TrainedModel | None = None
    hidden: Tensor | None = None

    @property
    def name(self) -> str:
        """What results are named after."""
        return self.path.stem

    def check_memory(self, size: tuple[int, int], frames: int = 1) -> None:
        """Refuse a size, or so many frames of it, that this machine cannot hold."""
        check_memory(self.picture.size, size, network=self._drawn_by == "network", frames=frames)

    @property
    def _drawn_by(self) -> str:
        """The engine, whichever `auto` stands for."""
        if self.engine != "auto":
            return self.engine
        # A network has seen what is hidden.
        return "closed-form" if self.trained is None or self.hidden is not None else self.trained.best_engine

    def without(self, hidden: Tensor) -> Source:
        """The same, but nothing is learned from where `hidden` (h, w) is True."""
        picture = self.picture
        opaque = ~hidden if picture.opaque is None else picture.opaque & ~hidden
        if not opaque.any():
            raise InputError(f"{self.path}: nothing is left of the picture to learn from")
        if self.trained is not None and self.engine not in ("auto", "closed-form"):
            raise InputError(
                f"{self.path}: a trained network has seen all of its picture; to leave a part out use "
                "the engine closed-form, or train on a picture that is transparent there"
            )
        return replace(self, picture=replace(picture, opaque=opaque), hidden=hidden)

    def model(
        self,
        device: torch.device,
        dtype: torch.dtype,
        convolutions: torch.dtype | None = None,
        *,
        levels: int | None = None,
        quick: bool = False,
    ) -> SingleImageModel:
        """The model that draws; a network's convolutions are as they were trained, or as is told here.

        The closed form of a picture has as many `levels` as fit it, unless told; one that is `quick` takes fewer steps.
        """
        from sinwave.systems.wavelet.bands import Levels
        from sinwave.systems.wavelet.closed_form import ClosedFormOptions, closed_form_model
        from sinwave.systems.wavelet.hybrid import OPTIONS

        if self.trained is not None and self._drawn_by != "closed-form":
            return self.trained.model(self._drawn_by, device, dtype, convolutions)
        opaque = None if self.picture.opaque is None else self.picture.opaque.to(device)
        progression = None if levels is None else Levels(levels)
        options = OPTIONS if quick else ClosedFormOptions()
        image = self.picture.pixels[None].to(device, dtype)
        return closed_form_model(image, opaque=opaque, progression=progression, options=options)


def alike(sources: Sequence[Source]) -> tuple[list[Source], int | None]:
    """The sources as they can be mixed, and the levels of their closed forms: what one is not drawn by, none is."""
    plain = any(s.engine == "closed-form" or s.trained is None or s.hidden is not None for s in sources)
    if not plain:
        return list(sources), None
    depths = [levels_for(source.picture.size) for source in sources]
    if max(depths) > min(depths) + 1:
        large, little = (sources[depths.index(end(depths))] for end in (max, min))
        raise InputError(f"{large.path}: the picture is too large to be mixed with {little.path}: make it smaller")
    return [replace(source, trained=None) for source in sources], min(depths)


def size_of(path: Path) -> tuple[int, int]:
    """(height, width) of the picture, or of the first that a model was trained on; quick."""
    if is_model_file(path):
        from sinwave.systems.files import read_manifest

        size = read_manifest(path).provenance.get("size")
        if not isinstance(size, list) or len(size) != 2 or not all(isinstance(side, int) for side in size):
            raise InputError(f"{path}: the model does not say how large its picture is")
        return size[0], size[1]
    return probe(path).size


def open_source(path: Path, engine: str, max_pixels: int) -> Source:
    """Read it; `engine` must be one that it has."""
    from sinwave.images import read

    if not is_model_file(path):
        if engine not in ("auto", "closed-form"):
            raise InputError(f"{path}: the engine {engine} needs a model file; 'sinwave train {path}' makes one")
        picture = read(path, max_pixels=max_pixels, min_side=MIN_SIDE)
        return Source(path, engine, picture, picture.sha256)
    from sinwave.systems.table import load

    trained = load(path)
    if engine == "closed-form" and len(trained.pictures) > 1:
        raise InputError(f"{path}: the engine {engine} knows one picture, and this model has {len(trained.pictures)}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Source(path, engine, trained.pictures[0], digest, trained)
