"""Pictures: files <-> uint8 [0, 255] <-> float [-1, 1]; the only place where the range changes.

Names load when they are used, so that `probe` costs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sinwave.images.animation import write_frames
    from sinwave.images.header import Header, probe, read_text
    from sinwave.images.moving import Movie, encode_movie, movie
    from sinwave.images.picture import Picture, as_written, read, read_any, read_bytes
    from sinwave.images.pixels import from_uint8, looks_gray, to_uint8
    from sinwave.images.writing import encode, sheet, write

__all__ = ["Header", "Picture", "encode", "from_uint8", "looks_gray", "probe", "read", "read_any", "read_bytes"]
__all__ += ["Movie", "as_written", "encode_movie", "movie", "read_text", "sheet", "to_uint8", "write", "write_frames"]

_HOME = {"write_frames": "animation", **dict.fromkeys(("Header", "probe", "read_text"), "header")}
_HOME |= dict.fromkeys(("encode", "sheet", "write"), "writing")
_HOME |= dict.fromkeys(("Movie", "encode_movie", "movie"), "moving")


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME.get(name, 'picture')}"), name)


def __dir__() -> list[str]:
    return __all__
