"""Animate: a living still, a loop of pictures that the model draws from noise that walks in a circle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from sinwave.options import option
from sinwave.tasks.edits.files import Editing, Plan, quick

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave.rng import Noise
    from sinwave.systems.contracts import OnStep, SingleImageModel
    from sinwave.tasks.source import Source

__all__ = ["Animate", "AnimateFiles", "evenly"]


@dataclass(frozen=True, kw_only=True)
class Animate:
    """Bring a picture to life: a loop whose every frame is a redrawing of it, each from nearly the noise before."""

    frames: int = option(16, "how many different frames the loop has", low=2, high=1000, metavar="N")
    fps: float = option(8.0, "frames a second", low=1, high=60, metavar="FPS")
    strength: float = option(0.5, "how far all frames are from the picture itself", low=0, high=1)
    amount: float = option(0.25, "how far the frames are from each other: the radius of the walk", low=0, high=1)
    first: int = option(
        0, "the first scale that moves: 0 for shapes, later ones for texture only", low=0, high=16, metavar="SCALE"
    )

    def run(
        self,
        model: SingleImageModel,
        picture: Tensor,
        noise: Noise | None = None,
        *,
        keep: Tensor | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """The frames (n + 1, 3, h, w) of the picture (1, 3, h, w); the last is the first again."""
        import torch

        from sinwave.rng import NoiseSource, Orbit
        from sinwave.systems.contracts import VerticalSpan
        from sinwave.tasks.edits.canvas import Canvas, redraw

        source, canvas = noise or NoiseSource(0), Canvas(picture).but(keep)
        told = _Told(on_step, self.frames * len(model.effort(model.size)))
        no_gradients = torch.is_inference_mode_enabled()

        def drawn(frame: int) -> Tensor:
            here = Orbit(source, frame / self.frames, self.amount)
            with torch.inference_mode(no_gradients):  # which another thread does not know
                return redraw(
                    model, canvas, self.strength, here, first=self.first, span=VerticalSpan(), on_step=told.of(frame)
                )

        return evenly(torch.cat(_on_all_cores(drawn, self.frames, picture)))


def _on_all_cores(draw: Callable[[int], Tensor], count: int, picture: Tensor) -> list[Tensor]:
    """Small frames are drawn at the same time, one on each core."""
    import torch

    from sinwave.tasks.numbered import FEW_PIXELS
    from sinwave.tasks.parallel import in_parallel

    small = picture.device.type == "cpu" and picture.shape[2] * picture.shape[3] <= FEW_PIXELS
    workers = min(torch.get_num_threads(), count) if small else 1
    return list(in_parallel(draw, range(count), workers, lambda: None))


class _Told:
    """Adds up the steps of frames that are drawn at the same time."""

    def __init__(self, on_step: OnStep | None, scales: int) -> None:
        self._on_step, self._whole, self._parts = on_step, scales, dict[tuple[int, int], float]()

    def of(self, frame: int) -> OnStep | None:
        """The `on_step` of a frame."""
        if self._on_step is None:
            return None
        told = self._on_step

        def tell(scale: int, step: int, steps: int) -> None:
            self._parts[frame, scale] = step / steps
            told(0, round(100 * sum(list(self._parts.values()))), 100 * self._whole)

        return tell


def evenly(frames: Tensor) -> Tensor:
    """A loop (n, c, h, w) at an even pace, (n + 1, c, h, w): what changes at once is faded over, what rests is passed.

    Between a frame and the next one lies their mean difference; of that way every new frame is as far as the others.
    """
    import torch

    loop = torch.cat([frames, frames[:1]])
    way = torch.stack([(b - a).abs().mean() for a, b in pairwise(loop)]).cpu().double().cumsum(0)
    if way[-1] == 0:
        return loop
    way = torch.cat([way.new_zeros(1), way])
    found = [frames[:1]]
    for place in torch.linspace(0, float(way[-1]), len(loop), dtype=way.dtype)[1:-1]:
        index = int(torch.searchsorted(way, place, right=True)) - 1
        share = float((place - way[index]) / (way[index + 1] - way[index]))
        found.append(torch.lerp(loop[index, None], loop[index + 1, None], share))
    return torch.cat([*found, frames[:1]])


@dataclass(frozen=True, kw_only=True)
class AnimateFiles(Editing, Animate):
    """Bring SOURCE to life: a loop whose every frame is a redrawing of it, each from nearly the noise before."""

    format: Literal["gif", "webp", "mp4"] = option(
        "gif", "gif is shown everywhere, webp has all colors, mp4 needs sinwave[video] and is drawn again each time"
    )

    def plan(self, source: Source) -> Plan:
        """The picture."""
        from sinwave.images.video import need_video

        if self.format == "mp4":
            need_video()
        size = source.picture.size
        return Plan(
            size,
            {"picture": source.picture.pixels[None]} | self.kept(size),
            maker=quick,
            effort=lambda model: (1.0,),
            suffix=f".{self.format}",
            fps=self.fps,
            frames=self.frames,
        )
