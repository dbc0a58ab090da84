"""Holds the encoded images of a generated dataset: in memory while they are few, then in a temporary file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace

from risctl.data.records import ImageRecord

IN_MEMORY = 256 * 2**20
"""The bytes of images that are kept in memory."""


class ImageBuffer(Mapping[int, ImageRecord]):
    """Image records by id, whose `data` is read back on access."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 (lives as long as the mapping)
        self._spans: dict[int, tuple[ImageRecord, int, int]] = {}
        self._end = 0

    def add(self, record: ImageRecord) -> None:
        """Adds `record`, which has `data`."""
        data = record.data or b""
        self._file.seek(self._end)
        self._file.write(data)
        self._spans[record.image_id] = (replace(record, data=None), self._end, len(data))
        self._end += len(data)

    def __getitem__(self, image_id: int) -> ImageRecord:
        record, start, length = self._spans[image_id]
        self._file.seek(start)
        return replace(record, data=self._file.read(length))

    def __iter__(self) -> Iterator[int]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)
