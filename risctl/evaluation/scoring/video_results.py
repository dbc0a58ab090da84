"""Reads the masks of videos from one JSON file, as Sa2VA's evaluation writes it.

`{VIDEO: {EXPRESSION: {"exp": …, "frames": [FRAME, …], "prediction_masks": [RLE, …]}}}`, one mask a frame, null where
nothing is predicted.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from risctl.errors import DataError
from risctl.evaluation.scoring.matching import Tally
from risctl.evaluation.scoring.source import UnreadableMaskError, check_size
from risctl.json_text import parse_json
from risctl.vision import rle

MAX_BYTES = 2**31
"""The length of a file, at most: it is read as a whole."""

_FORM = '{"VIDEO": {"EXPRESSION": {"frames": [names], "prediction_masks": [RLEs]}}}'


class VideoResults:
    """The masks of a JSON file of videos, in the place of a `VideoSubmission`.

    Attributes:
        path: The file.
        kind: What it is, in words.
        frames: The place of each frame's mask by the frame's name, by expression.
        misnamed: Expressions that are no number.
    """

    def __init__(self, path: Path) -> None:
        """Reads a file. Raises `DataError` if it cannot be read, or is of another form."""
        self.path = path
        self.kind = "a JSON file of videos' masks"
        self.misnamed = Tally()
        self.frames: dict[tuple[str, int], dict[str, tuple[str, str, int]]] = {}
        self._masks: dict[tuple[str, str], list[Any]] = {}
        try:
            if path.stat().st_size > MAX_BYTES:
                raise DataError(f"{path} is larger than {MAX_BYTES:,} bytes; write a folder or zip of PNG files")
            content = parse_json(path.read_bytes())
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from error
        except ValueError as error:
            raise DataError(f"{path} is not JSON ({error}); write the file again") from error
        for video, expressions in self._table(content, where="it").items():
            for number, entry in self._table(expressions, where=video).items():
                self._add(video, number, self._table(entry, where=f"{video}/{number}"))
        if not self.frames:
            raise DataError(f"{path} holds no masks of videos; expected {_FORM}")

    def mask(self, position: tuple[str, str, int], *, height: int, width: int) -> np.ndarray:
        """Returns a mask, bool (H, W). Raises `DataError` if it is damaged or of another size."""
        video, number, place = position
        where = f"{self.path}, {video}/{number}, mask {place + 1}"
        segmentation = self._masks[video, number][place]
        if segmentation is None:
            return np.zeros((height, width), dtype=bool)
        size = segmentation.get("size") if isinstance(segmentation, dict) else None
        if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
            raise DataError(f"{where}: expected an RLE with its size, got {segmentation!r:.60}")
        try:
            check_size((size[0], size[1]), height=height, width=width)
        except UnreadableMaskError as error:
            raise DataError(f"{where}: {error}") from error
        if size != [height, width]:
            exchanged = "; they are exchanged: sizes are [height, width]" if size == [width, height] else ""
            raise DataError(
                f"{where} has {size[0]}x{size[1]} pixels, its frame {height}x{width} (height x width){exchanged}"
            )
        try:
            return rle.decode(rle.from_segmentation(segmentation, height=height, width=width))
        except DataError as error:
            raise DataError(f"{where}: {error}") from error

    def close(self) -> None:
        """Does nothing: the file was read as a whole."""

    def _add(self, video: str, number: str, entry: Mapping[str, Any]) -> None:
        frames, masks = entry.get("frames"), entry.get("prediction_masks")
        where = f"{self.path}, {video}/{number}"
        if not isinstance(frames, list) or not isinstance(masks, list):
            raise DataError(f"{where}: expected lists of frames and prediction_masks, as in {_FORM}")
        if len(frames) != len(masks):
            raise DataError(
                f"{where}: {len(frames):,} frames and {len(masks):,} prediction_masks; one each is expected"
            )
        if not number.isascii() or not number.isdecimal() or len(number) > 9:
            self.misnamed.add(f"{video}/{number}")
            return
        names = [PurePosixPath(str(frame)).stem for frame in frames]
        if len(set(names)) < len(names):
            raise DataError(f"{where} has a frame twice")
        self._masks[video, number] = masks
        self.frames[video, int(number)] = {name: (video, number, place) for place, name in enumerate(names)}

    def _table(self, value: Any, *, where: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise DataError(f"{self.path}: {where} is no object; expected {_FORM}")
        return value
