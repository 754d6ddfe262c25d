"""Adapt a model of many pictures to a few."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sinwave.options import option
from sinwave.systems import table
from sinwave.tasks.train import RunOptions, Train

__all__ = ["SYSTEM", "Adapt", "choices"]

SYSTEM = "few-shot"


def choices() -> type[Any]:
    """The options of an adaptation, but for the source, which has a place of its own here."""
    return table.find(SYSTEM).door("options").__base__  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class Adapt(RunOptions):
    """Adapt SOURCE, a model of many pictures, to about ten others in FOLDER.

    Writes NAME.safetensors, and beside it the folder NAME.run with the log and sheets of samples under the pictures of
    FOLDER that are nearest to them. It ends when samples become copies of those pictures, and keeps the weights from
    before, unless --steps or --minutes say how long. With --method lora or local the result is a small file that needs
    SOURCE beside it; local keeps the weights with which pictures that were left out are estimated best.
    """

    source: Path = option(
        help="the model to adapt: a file of train --system ddpm, or an ADM checkpoint (.pt)", positional=True
    )
    folder: Path = option(help="a folder of about ten pictures", positional=True)

    def training(self, options: Any) -> Train:
        """Make the training that this is; `options` are `choices()`."""
        common = {field.name: getattr(self, field.name) for field in fields(RunOptions)}
        own = {field.name: getattr(options, field.name) for field in fields(options)}
        every = table.find(SYSTEM).door("options")(source=self.source, **own)
        return Train(pictures=(self.folder,), system=SYSTEM, options=every, **common)
