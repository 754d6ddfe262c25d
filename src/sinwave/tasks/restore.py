"""Restore: a photograph without its noise, its blur and the blocks of its compression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from sinwave.errors import InputError
from sinwave.option_kinds import Source
from sinwave.options import option
from sinwave.systems.contracts import Loaded
from sinwave.tasks.base.enlarging import Enlarging

__all__ = ["Restore"]


@final
@dataclass(frozen=True, kw_only=True)
class Restore(Enlarging):
    """Repair a damaged SOURCE: less noise, blur and compression, in the same size or a larger one.

    The model photo comes with sinwave. It has learned from pictures that were blurred, noisy and compressed by turns.
    """

    default_factor: ClassVar[float] = 1.0
    default_model: ClassVar[str] = "photo"
    repairs: ClassVar[bool] = True

    source: Source = option(help="the picture to repair, or a folder of pictures", positional=True)
    factor: float | None = option(
        None, "how many times larger each side becomes (default: 1)", low=1, high=16, metavar="FACTOR"
    )
    model: str = option("photo", "photo, a file of train --condition photo, or published weights, such as sinsr-v2")
    consistency: float | None = option(
        None,
        "how closely the result equals SOURCE, damage included, from 0 to 1 (default: 0)",
        low=0,
        high=1,
    )

    def default_share(self, loaded: Loaded) -> float:
        return 0.0

    def check_model(self, loaded: Loaded) -> None:
        if "restore" not in loaded.abilities:
            raise InputError(
                f"the model {self.model} has not learned to repair pictures: take photo, or leave out model"
            )
