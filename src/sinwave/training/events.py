"""TensorBoard's file format, written without TensorBoard.

A file is a row of records (TFRecord), each an `Event` in the encoding of protocol buffers:

    record    length (8 bytes), masked CRC-32C of it (4), event, masked CRC-32C of it (4); little-endian
    Event     1 wall time (double), 2 step (int64), 3 version (text, in the first event only), 5 Summary
    Summary   1 Value: 1 tag (text), 2 number (float), 4 Image: 1 height, 2 width, 3 colors, 4 the bytes of a PNG

    mask(c) = ((c >> 15) | (c << 17)) + 0xa282ead8   mod 2^32
"""

from __future__ import annotations

import itertools
import os
import struct
import time
from functools import cache
from pathlib import Path
from typing import final

__all__ = ["EventFile", "crc32c"]

_STARTS = itertools.count()


@final
class EventFile:
    """A new file of events in `folder`; TensorBoard puts all files of a folder together."""

    def __init__(self, folder: Path) -> None:
        name = f"events.out.tfevents.{int(time.time())}.{os.getpid()}.{next(_STARTS)}.sinwave"
        self._file = (folder / name).open("xb")
        self._put(0, _text(3, "brain.Event:2"))

    def scalar(self, tag: str, value: float, step: int) -> None:
        """A number."""
        self._put(step, _message(5, _message(1, _text(1, tag) + _key(2, 5) + struct.pack("<f", value))))

    def image(self, tag: str, png: bytes, height: int, width: int, step: int) -> None:
        """A picture in color."""
        shown = _number(1, height) + _number(2, width) + _number(3, 3) + _message(4, png)
        self._put(step, _message(5, _message(1, _text(1, tag) + _message(4, shown))))

    def close(self) -> None:
        """Nothing comes any more."""
        self._file.close()

    def _put(self, step: int, content: bytes) -> None:
        event = _key(1, 1) + struct.pack("<d", time.time()) + _number(2, step) + content
        length = struct.pack("<Q", len(event))
        self._file.write(length + _check(length) + event + _check(event))
        self._file.flush()


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _number(field: int, value: int) -> bytes:
    return _key(field, 0) + _varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _key(field, 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())


def _check(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def crc32c(data: bytes) -> int:
    """The checksum of Castagnoli's polynomial (RFC 3720, appendix B.4)."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        found.append(value)
    return tuple(found)
