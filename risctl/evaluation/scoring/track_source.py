"""Reads predicted tracks, as SAM 3 writes them for SA-Co/VEval: a JSON list, one track in memory at a time.

`NAME_preds.json`: `[{video_id, category_id, score, segmentations: [RLE or null a frame]}]`; `bboxes` and `areas` are
not needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risctl.errors import DataError
from risctl.evaluation.scoring.json_source import JsonSource, Position, mask_of, score_of
from risctl.evaluation.scoring.source import BrokenEntry, Entry, UnreadableMaskError
from risctl.json_text import parse_json
from risctl.metrics.tracks import Track
from risctl.vision import rle

FORM = '[{"video_id": 0, "category_id": 1, "score": 0.9, "segmentations": [RLE or null a frame]}]'
KEY = "video_id + category_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackEntry:
    """A predicted track, without its masks.

    Attributes:
        position: Where it lies in the file.
        pair: The (video_id, category_id) that it is of.
        score: Its confidence; 1 where none came with it.
    """

    position: Position
    pair: tuple[int, int]
    score: float


class TrackSource(JsonSource):
    """A file of predicted tracks."""

    def __init__(self, path: Path) -> None:
        """Opens a file. Raises `DataError` if it cannot be read, or is another kind of file."""
        if not path.is_file():
            raise DataError(f"{path} is no file of tracks; cgf1 of videos takes a JSON list such as {FORM}")
        super().__init__(path)
        if not self.is_list:
            self.close()
            raise DataError(
                f"{path} is no JSON list of tracks such as {FORM}; masks without tracks are measured by -p videos"
            )
        self.kind = "tracks (a JSON list)"

    def tracks(self) -> Iterator[TrackEntry | BrokenEntry]:
        """Yields all tracks in order."""
        for one in self.entries():
            yield one if isinstance(one, BrokenEntry) else _of(one)

    def masks(self, position: Position, *, frames: int, height: int, width: int) -> Track:
        """Returns the masks of a track by the place of the frame.

        Raises:
            UnreadableMaskError: It is damaged, or has another number of frames.
            DataError: A mask is of another size.
        """
        self._file.seek(position[0])
        try:
            segmentations = parse_json(self._file.read(position[1]))["segmentations"]
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableMaskError("the file has changed since it was opened") from error
        if not isinstance(segmentations, list) or len(segmentations) != frames:
            got = f"{len(segmentations)}" if isinstance(segmentations, list) else "no list"
            raise UnreadableMaskError(f"expected segmentations of {frames} frames, null where none shows it; got {got}")
        found: dict[int, rle.RLE] = {}
        for place, one in enumerate(segmentations):
            mask = mask_of(one, height=height, width=width)
            if mask is None:
                continue
            if list(mask["size"]) != [height, width]:
                tall, wide = mask["size"]
                swapped = "; they are exchanged: sizes are [height, width]" if [wide, tall] == [height, width] else ""
                raise DataError(
                    f"{self.path}, {self.where(position)}, mask {place + 1} has {tall}x{wide} pixels, its frame "
                    f"{height}x{width} (height x width){swapped}"
                )
            if rle.area(mask):
                found[place] = mask
        return found

    def _checked(self, position: Position, record: dict[str, Any]) -> Entry:
        if "segmentations" not in record:
            raise ValueError("it has no segmentations, a list of one RLE or null a frame")
        fields: dict[str, int | str] = {}
        for name in ("video_id", "category_id"):
            value = record.get(name)
            if type(value) is not int or not 0 <= value < 2**53:
                raise ValueError(f"{name} is a whole number, got {value!r:.40}")
            fields[name] = value
        return Entry(position=position, fields=fields, score=score_of(record))


def _of(entry: Entry) -> TrackEntry:
    video, category = (int(entry.fields[name]) for name in ("video_id", "category_id"))
    return TrackEntry(
        position=entry.position, pair=(video, category), score=1.0 if entry.score is None else entry.score
    )
