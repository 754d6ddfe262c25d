"""Pictures: files <-> uint8 [0, 255] <-> float [-1, 1]; the only place where the range changes.

    header.py     what a file says about itself, with no pixel decoded: probe, read_text
    pixels.py     uint8 <-> float: from_uint8, to_uint8; looks_grey
    decoding.py   every kind of picture users have -> colors and opacity
    picture.py    Picture, read, read_bytes
    writing.py    encode, write: whole or not at all
    moving.py     write_frames: animations; video.py those that need an extra
    contact.py    sheet: a source and its samples side by side

Names load when they are used, so that `probe` costs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sinwave.images.contact import sheet
    from sinwave.images.header import Header, probe, read_text
    from sinwave.images.moving import write_frames
    from sinwave.images.picture import Picture, read, read_bytes
    from sinwave.images.pixels import from_uint8, looks_grey, to_uint8
    from sinwave.images.writing import encode, write

__all__ = [
    "Header",
    "Picture",
    "encode",
    "from_uint8",
    "looks_grey",
    "probe",
    "read",
    "read_bytes",
    "read_text",
    "sheet",
    "to_uint8",
    "write",
    "write_frames",
]

_HOME = {
    "sheet": "contact",
    "Header": "header",
    "probe": "header",
    "read_text": "header",
    "Picture": "picture",
    "read": "picture",
    "read_bytes": "picture",
    "from_uint8": "pixels",
    "looks_grey": "pixels",
    "to_uint8": "pixels",
    "encode": "writing",
    "write": "writing",
    "write_frames": "moving",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
