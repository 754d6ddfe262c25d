"""Tasks that users ask for, a file each (`base` has what they share), and the table of all that draw.

Options load without torch; running a task loads the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from sinwave.tasks.base.task import Task

__all__ = ["DRAWING", "task_of"]

DRAWING: Mapping[str, str] = {
    "generate": "draw new pictures from a picture or a trained model",
    "harmonize": "make a pasted object look like the picture around it",
    "edit": "repair a picture in which things were moved, copied or erased",
    "paint": "turn a drawing into a picture of the source's kind",
    "inpaint": "remove what a mask covers, and fill the hole",
    "extend": "grow the canvas by margins that continue the picture",
    "retarget": "another shape, with the layout kept and objects in proportion",
    "tile": "a texture that repeats without a seam",
    "place": "a new picture with a region of SOURCE where you want it",
    "restyle": "redraw a picture in the texture and the colors of another",
    "upscale": "a larger picture, consistent with the small one",
    "restore": "remove noise, blur and compression from a photograph",
    "animate": "an animated loop of redrawings, as GIF, WebP or MP4",
    "blend": "a new picture made of several, each with its share",
}
"""A summary for each; the task is the class of that name in the module of that name."""


def task_of(verb: str) -> type[Task]:
    """Load the declaration of a task."""
    return cast("type[Task]", getattr(import_module(f"sinwave.tasks.{verb}"), verb.capitalize()))
