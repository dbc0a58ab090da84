"""Reads the wire format of protocol buffers, as far as weight files need it: the fields of a message, one by one."""

from __future__ import annotations

import struct
from collections.abc import Iterator

Field = tuple[int, int | bytes]
"""(number, value): an int for varints and fixed widths, bytes for everything of a length."""


def fields(data: bytes | memoryview) -> Iterator[Field]:
    """Yields the fields of a message in their order.

    Raises:
        ValueError: The bytes are no message, or are truncated.
    """
    view = memoryview(data)
    place = 0
    while place < len(view):
        key, place = varint(view, place)
        number, kind = key >> 3, key & 7
        value: int | bytes
        if kind == 0:
            value, place = varint(view, place)
        elif kind == 2:
            length, place = varint(view, place)
            value, place = _slice(view, place, length), place + length
        elif kind in (1, 5):
            width = 8 if kind == 1 else 4
            value = struct.unpack("<Q" if width == 8 else "<I", _slice(view, place, width))[0]
            place += width
        else:
            raise ValueError(f"no protocol buffer: a field of kind {kind}")
        yield number, value


def varint(view: memoryview, place: int) -> tuple[int, int]:
    """Returns the number at `place` and the offset behind it.

    Raises:
        ValueError: The number does not end.
    """
    value = shift = 0
    while True:
        if place >= len(view) or shift > 63:
            raise ValueError("no protocol buffer, or one cut short")
        byte = view[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, place


def numbers(value: int | bytes) -> list[int]:
    """Returns the integers of a repeated field, packed or not."""
    if isinstance(value, int):
        return [value]
    view, place, found = memoryview(value), 0, []
    while place < len(view):
        number, place = varint(view, place)
        found.append(number)
    return found


def message(value: int | bytes) -> bytes:
    """Returns the bytes of a nested message.

    Raises:
        ValueError: The value is a plain number.
    """
    if isinstance(value, int):
        raise ValueError("no protocol buffer of this kind: a number where a message belongs")
    return value


def _slice(view: memoryview, place: int, length: int) -> bytes:
    if place + length > len(view):
        raise ValueError("a protocol buffer cut short")
    return bytes(view[place : place + length])
