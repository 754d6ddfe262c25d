"""Regions and places as people write them, 64x48+10+20 and 30+40; told without torch."""

from __future__ import annotations

import re
from typing import NamedTuple

from sinwave.errors import InputError

__all__ = ["Place", "Region", "parse_place", "parse_region"]


class Region(NamedTuple):
    """A rectangle of pixels."""

    top: int
    left: int
    height: int
    width: int


class Place(NamedTuple):
    """A pixel."""

    top: int
    left: int


def parse_region(text: str) -> Region:
    """`64x48+10+20`: 64 wide and 48 high, 10 from the left and 20 from the top."""
    match = re.fullmatch(r"(\d{1,9})x(\d{1,9})\+(\d{1,9})\+(\d{1,9})", text.strip(), re.ASCII)
    if match is None:
        raise InputError(f"region must be WxH+X+Y in pixels such as 64x48+10+20, not {text!r}")
    width, height, left, top = map(int, match.groups())
    if not width or not height:
        raise InputError(f"region must be at least 1 pixel wide and high, not {text!r}")
    return Region(top, left, height, width)


def parse_place(text: str) -> Place:
    """`30+40`: 30 from the left and 40 from the top."""
    match = re.fullmatch(r"([+-]?\d{1,9})([+-]\d{1,9})", text.strip(), re.ASCII)
    if match is None:
        raise InputError(f"a place must be X+Y in pixels such as 30+40, not {text!r}")
    return Place(int(match[2]), int(match[1]))
