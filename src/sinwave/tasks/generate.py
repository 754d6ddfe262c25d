"""Draw new pictures that look like one picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sinwave.errors import InputError
from sinwave.options import check, option
from sinwave.tasks.numbered import Drawing, Generated, Numbered, OnProgress, Request
from sinwave.tasks.sizes import check_size, parse_scale, parse_size

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sinwave.rng import Noise
    from sinwave.systems.contracts import OnStep
    from sinwave.tasks.source import Source

__all__ = ["Generate"]


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What to draw; apart from `Generate` so that these options stand first in its help."""

    source: Path = option(
        help="the picture to learn from (PNG, JPEG, WebP, TIFF, BMP, GIF, PPM), or a model file of sinwave train",
        positional=True,
    )
    size: str | None = option(
        None, "size of the new pictures in pixels (default: that of SOURCE)", metavar="WIDTHxHEIGHT"
    )
    scale: str | None = option(
        None, "size as a multiple of SOURCE's: 2, or 1.5x1 for width and height", metavar="FACTOR"
    )
    variation: float = option(
        0.7, "0 = SOURCE itself, 0.5 = other details, 0.7 = other objects, 1 = a new composition", low=0, high=1
    )
    engine: Literal["auto", "closed-form", "network", "hybrid"] = option(
        "auto",
        "closed-form: the picture's own patches, nothing to train; from a model file also network, what was trained, "
        "or hybrid, the network's layout with patches for the detail; auto: hybrid if there is a network",
    )


@dataclass(frozen=True, kw_only=True)
class Generate(Numbered, _Wanted):
    """Draw new pictures that look like SOURCE, of any size: a picture, with nothing to train, or a trained model.

    Writes NAME-0000.png, NAME-0001.png, ... and the contact sheet NAME-sheet.png. The same seed draws the same
    pictures: picture 5 of 8 is picture 5 of 100. Run the same command again to go on after an interruption.
    """

    def __post_init__(self) -> None:
        """Check what can be checked without the picture."""
        check(self)
        if self.size is not None and self.scale is not None:
            raise InputError("size and scale exclude each other: give one of them")
        if self.size is not None:
            check_size(parse_size(self.size), self.max_pixels)
        if self.scale is not None:
            parse_scale(self.scale, (1, 1))

    def run(self, on_progress: OnProgress = lambda label, done, total: None) -> Generated:
        """Read, draw, write."""
        from sinwave.tasks.source import open_source, size_of

        on_progress("reading", 0, 1)
        known = size_of(self.source)
        size = self.size_for(known)
        if size != known:
            check_size(size, self.max_pixels)
        source = open_source(self.source, self.engine, self.max_pixels)
        source.check_memory(size)
        return self.make(self._request(source, size), on_progress)

    def size_for(self, source: tuple[int, int]) -> tuple[int, int]:
        """The (height, width) of the new pictures for a source of that size."""
        if self.size is not None:
            return parse_size(self.size)
        return source if self.scale is None else parse_scale(self.scale, source)

    def _request(self, source: Source, size: tuple[int, int]) -> Request:
        words = ["generate", self.source.name, "--size", f"{size[1]}x{size[0]}"]
        words += ["--variation", f"{self.variation:g}"]
        words += ["--engine", self.engine] if self.engine != "auto" else []

        def prepare(device: torch.device, dtype: torch.dtype, convolutions: torch.dtype | None) -> Drawing:
            model = source.model(device, dtype, convolutions)

            def draw(noise: Noise, on_step: OnStep) -> Tensor:
                return model.generate(size, noise, variation=self.variation, on_step=on_step)

            return Drawing(draw, model.effort(size), model.max_batch)

        return Request(source.name, words, source.picture, source.sha256, size, prepare)
