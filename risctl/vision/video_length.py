"""Tells a video file that breaks off from a whole one, by the lengths that its container states.

FFmpeg reads what there is of such a file and stops without a word, so a truncated video would pass for a short one.
MP4 and QuickTime, Matroska and WebM, AVI, FLV, ASF, Ogg and GIF state their lengths, and MPEG-TS is made of packets of
one length; of other formats nothing is known.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

# Of a file that has more parts than this, the rest is not looked at.
_MAX_PARTS = 1_000_000
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"sidx", b"uuid")
_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def missing_part(path: Path) -> str | None:
    """Returns what a video file lacks at its end, None if nothing or if its format does not tell."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(12)
            for fits, ends_at in _FORMATS:
                if fits(start):
                    end = ends_at(file, size)
                    return None if end is None or end <= size else _stated(end, size)
    except (OSError, OverflowError):
        return None
    return None


def _stated(end: int, size: int) -> str:
    if end == size + 1:  # where the format states no length, but that there is an end
        return f"the file ends after {size:,} bytes, before its last part is complete"
    return f"the file ends after {size:,} bytes, and its parts need {end:,}"


def _end_of_mp4(file: BinaryIO, size: int) -> int | None:
    """Returns where the top-level boxes end."""
    position = 0
    for _ in range(_MAX_PARTS):
        file.seek(position)
        head = file.read(16)
        if len(head) < 8:
            return size + 1 if any(head) else position
        length, kind = struct.unpack(">I4s", head[:8])
        if not kind.isalnum() and kind not in _MP4_BOXES and not kind.strip(b" ").isalnum():
            return position  # something else was appended
        if length == 1:
            if len(head) < 16:
                return size + 1
            length = struct.unpack(">Q", head[8:])[0]
        elif length == 0:  # to the end of the file
            return size
        if length < 8:
            return position
        position += length
        if position > size:
            return position
    return None


def _end_of_matroska(file: BinaryIO, size: int) -> int | None:
    """Returns where the segment ends, or its last element where the segment's length is not stated."""
    position = 0
    for _ in range(_MAX_PARTS):
        file.seek(position)
        head = file.read(12)
        if not head:
            return position
        number, used = _vint(head, keep_marker=True)
        length, more = _vint(head[used:], keep_marker=False)
        if not used or not more:
            return size + 1 if len(head) < 12 else None
        position += used + more
        unknown = length == (1 << 7 * more) - 1
        if number == _SEGMENT and unknown:
            continue
        if unknown:  # of a cluster: its blocks follow one another, as far as they were written
            return None
        position += length
        if number == _SEGMENT or position > size:
            return position
    return None


def _vint(data: bytes, *, keep_marker: bool) -> tuple[int, int]:
    """Returns an EBML number and how many bytes it takes; 0 bytes if it is none."""
    if not data or not data[0]:
        return 0, 0
    used = 9 - data[0].bit_length()
    if len(data) < used:
        return 0, 0
    value = int.from_bytes(data[:used], "big")
    return (value if keep_marker else value & ((1 << 7 * used) - 1)), used


def _end_of_riff(file: BinaryIO, size: int) -> int | None:
    """Returns where the RIFF chunks end, of which a large AVI has several."""
    position = 0
    for _ in range(_MAX_PARTS):
        file.seek(position)
        head = file.read(8)
        if len(head) < 8 or head[:4] != b"RIFF":
            return position
        length = struct.unpack("<I", head[4:])[0]
        if length in (0, 0xFFFFFFFF):  # written to a pipe
            return None
        if position + 8 + length > size:
            return position + 8 + length
        position += 8 + length + length % 2
    return None


def _end_of_flv(file: BinaryIO, size: int) -> int | None:
    """Returns where the last tag ends."""
    file.seek(5)
    position = int.from_bytes(file.read(4), "big") + 4
    for _ in range(_MAX_PARTS):
        file.seek(position)
        head = file.read(11)
        if not head:
            return position
        if len(head) < 11:
            return size + 1
        if head[0] not in (8, 9, 18):
            return position
        position += 11 + int.from_bytes(head[1:4], "big") + 4
        if position > size:
            return position
    return None


def _end_of_asf(file: BinaryIO, size: int) -> int | None:
    """Returns the file's length as its properties state it."""
    file.seek(0)
    head = file.read(1 << 16)
    at = head.find(_ASF_PROPERTIES) + 40
    if at < 40 or len(head) < at + 8:
        return None
    return int(struct.unpack("<Q", head[at : at + 8])[0]) or None


def _end_of_ogg(file: BinaryIO, size: int) -> int | None:
    """Returns where the last page ends."""
    position = 0
    for _ in range(_MAX_PARTS):
        file.seek(position)
        head = file.read(27)
        if head[:4] != b"OggS":
            return position
        lengths = file.read(head[26]) if len(head) == 27 else b""
        if len(head) < 27 or len(lengths) < head[26]:
            return size + 1
        position += 27 + head[26] + sum(lengths)
        if position > size:
            return position
    return None


def _end_of_transport_stream(file: BinaryIO, size: int) -> int | None:
    """Returns where the last packet ends."""
    file.seek(188)
    return -(-size // 188) * 188 if file.read(1) == b"G" else None


def _end_of_gif(file: BinaryIO, size: int) -> int | None:
    """Returns `size` if there is a trailer, which ends a GIF, else more."""
    file.seek(0)
    head = file.read(13)
    if len(head) < 13:
        return size + 1
    position = 13 + _colours(head[10])
    for _ in range(_MAX_PARTS):
        file.seek(position)
        block = file.read(10)
        if not block:
            return size + 1
        if block[0] == 0x3B:
            return size
        if block[0] == 0x21:
            position += 2
        elif block[0] == 0x2C and len(block) == 10:
            position += 11 + _colours(block[9])
        else:
            return size + 1 if block[0] == 0x2C else None
        while True:  # the data, in parts of at most 255 bytes
            file.seek(position)
            length = file.read(1)
            if not length:
                return size + 1
            position += 1 + length[0]
            if not length[0]:
                break
    return None


def _colours(flags: int) -> int:
    """Returns the bytes of the colour table that `flags` announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


_FORMATS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, int], int | None]], ...] = (
    (lambda start: start[4:8] in _MP4_BOXES, _end_of_mp4),
    (lambda start: start[:4] == _EBML.to_bytes(4, "big"), _end_of_matroska),
    (lambda start: start[:4] == b"RIFF" and start[8:] == b"AVI ", _end_of_riff),
    (lambda start: start[:3] == b"FLV", _end_of_flv),
    (lambda start: start[:3] == b"GIF", _end_of_gif),
    (lambda start: start == _ASF_HEADER, _end_of_asf),
    (lambda start: start[:4] == b"OggS", _end_of_ogg),
    (lambda start: start[:1] == b"G", _end_of_transport_stream),
)
