"""Sizes as people write them, WIDTHxHEIGHT, and as everything below has them, (height, width)."""

from __future__ import annotations

import math
import re

from sinwave.errors import InputError

__all__ = ["MIN_SIDE", "check_size", "parse_scale", "parse_size"]

MIN_SIDE = 16
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"


def parse_size(text: str) -> tuple[int, int]:
    """`640x480` -> (480, 640)."""
    match = re.fullmatch(r"(\d{1,9})[xX](\d{1,9})", text.strip(), re.ASCII)
    if match is None:
        raise InputError(f"size must be WIDTHxHEIGHT in pixels such as 640x480, not {text!r}")
    width, height = (int(side) for side in match.groups())
    return height, width


def parse_scale(text: str, size: tuple[int, int]) -> tuple[int, int]:
    """`1.5x1` -> `size` with its width times 1.5; `2` -> both sides times 2."""
    match = re.fullmatch(f"{_NUMBER}(?:[xX]{_NUMBER})?", text.strip(), re.ASCII)
    if match is None:
        raise InputError(f"scale must be a factor such as 2, or two such as 1.5x1 for width and height, not {text!r}")
    across = float(match[1])
    down = float(match[2] or match[1])
    if not math.isfinite(across * down):
        raise InputError(f"scale must be finite, not {text!r}")
    return round(size[0] * down), round(size[1] * across)


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Refuse a size that is too small to hold a picture or larger than allowed."""
    height, width = size
    if min(size) < MIN_SIDE:
        raise InputError(
            f"a picture of {width} x {height} pixels is too small: each side must have at least {MIN_SIDE}"
        )
    if height * width > max_pixels:
        raise InputError(f"a picture of {width} x {height} pixels is larger than the {max_pixels:,} pixels allowed")
