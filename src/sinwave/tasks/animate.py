"""Animate: a living still, a loop of pictures that the model draws from noise that walks in a circle."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal

from sinwave.options import option
from sinwave.systems.contracts import OnStep, Progress, SingleImageModel, VerticalSpan
from sinwave.tasks.base.machine import in_parallel, workers_for
from sinwave.tasks.base.task import Drawing, Inputs, KeepingTask, first_scale

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave.rng import Noise

__all__ = ["Animate", "evenly"]


@dataclass(frozen=True, kw_only=True)
class Animate(KeepingTask):
    """Bring SOURCE to life: a loop whose every frame is a redrawing of it, each from nearly the noise before."""

    quick: ClassVar[bool] = True

    frames: int = option(16, "how many different frames the loop has", low=2, high=1000, metavar="N")
    fps: float = option(8.0, "frames a second", low=1, high=60, metavar="FPS")
    strength: float = option(0.5, "how far all frames are from the picture itself", low=0, high=1)
    amount: float = option(0.25, "how far the frames are from each other", low=0, high=1)
    first: int = first_scale(0, "the coarsest scale that moves: 0 = shapes too, higher = texture only (default: 0)")
    format: Literal["gif", "webp", "mp4"] = option(
        "gif", "gif is shown everywhere, webp has all colors, mp4 needs sinwave[video]"
    )

    @property
    def suffix(self) -> str:
        return f".{self.format}"

    def prepare(self, inputs: Inputs) -> Drawing:
        import torch

        from sinwave.images.video import need_video
        from sinwave.rng import Orbit
        from sinwave.tasks.base.canvas import redraw

        if self.format == "mp4":
            need_video()
        inputs.check(inputs.size, frames=self.frames)
        canvas, span = self.canvas(inputs, inputs.pixels), VerticalSpan()

        def draw(model: SingleImageModel, noise: Noise, on_step: OnStep | None) -> Tensor:
            report_of, no_gradients = _adding_up(on_step, self.frames), torch.is_inference_mode_enabled()

            def frame(number: int) -> Tensor:
                chance, report = Orbit(noise, number / self.frames, self.amount), report_of(number)
                with torch.inference_mode(no_gradients):  # which another thread does not inherit
                    return redraw(model, canvas, self.strength, chance, first=self.first, span=span, on_step=report)

            workers = workers_for(canvas.pixels.device, self.frames, math.prod(canvas.size))
            return evenly(torch.cat(list(in_parallel(frame, range(self.frames), workers, lambda: None))))

        return Drawing(inputs.size, draw, frames=self.frames, fps=self.fps)


def _adding_up(on_step: OnStep | None, count: int) -> Callable[[int], OnStep | None]:
    """Make an `on_step` for each of `count` frames, which are drawn at the same time."""
    parts = dict[tuple[int, int], float]()

    def of_frame(frame: int) -> OnStep | None:
        def report(progress: Progress) -> None:
            assert on_step is not None
            parts[frame, progress.part] = progress.step / progress.steps
            done = sum(list(parts.values())) / (count * progress.parts)
            on_step(progress._replace(part=0, parts=1, step=round(100 * done), steps=100))

        return None if on_step is None else report

    return of_frame


def evenly(frames: Tensor) -> Tensor:
    """Bring a loop (n, c, h, w) to an even pace, (n + 1, c, h, w): what changes at once is faded over.

    Between a frame and the next one lies their mean difference; of that way every new frame is as far as the others.
    """
    import torch

    loop = torch.cat([frames, frames[:1]])
    way = torch.stack([(b - a).abs().mean() for a, b in pairwise(loop)]).cpu().double().cumsum(0)
    if way[-1] == 0:
        return loop
    way = torch.cat([way.new_zeros(1), way])
    even = [frames[:1]]
    for place in torch.linspace(0, float(way[-1]), len(loop), dtype=way.dtype)[1:-1]:
        index = int(torch.searchsorted(way, place, right=True)) - 1
        share = float((place - way[index]) / (way[index + 1] - way[index]))
        even.append(torch.lerp(loop[index, None], loop[index + 1, None], share))
    return torch.cat([*even, frames[:1]])
