"""Reads MeViS as published, and sets in its form: expressions that name masks of a table by frame.

`SPLIT/JPEGImages/VIDEO/FRAME.jpg`, `SPLIT/meta_expressions.json` (of the second version `meta_expressions_v2.json`)
and, where the masks are published, `SPLIT/mask_dict.json`: anno_id -> one compressed RLE or null a frame. The target of
an expression is the union of the masks that it names; with an empty list of them it refers to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risctl.data.datasets.json_tables import read_json, table
from risctl.data.datasets.video_builder import (
    EXPRESSIONS,
    FrameMasks,
    Progress,
    VideoBuilder,
    VideoExpression,
    VideoFiles,
    expression_number,
    videos_in,
)
from risctl.data.records import Dataset
from risctl.errors import DataError
from risctl.vision import rle

MASKS = "mask_dict.json"
_V2 = "meta_expressions_v2.json"

Tags = Callable[[dict[str, Any]], tuple[str, ...]]
"""Returns the tags of an expression from its entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskTableSplit:
    """The files of a split.

    Attributes:
        name: The split.
        expressions: The file of expressions.
        masks: The file of masks, which need not be there.
        frames: The folder with a folder of frames for each video.
    """

    name: str
    expressions: Path
    masks: Path
    frames: Path


def read_mevis(root: Path, *, version: int = 1, progress: Progress | None = None) -> Dataset:
    """Reads MeViS: those of its splits that are there. Those without masks, as `valid`, can be predicted alone.

    Args:
        root: The folder with `train`, `valid_u` and `valid`, or the one above.
        version: 1 or 2, which has other expressions, some of them about nothing.
        progress: Called with (done, total) videos.

    Raises:
        DataError: A file is missing or broken.
    """
    names = (EXPRESSIONS,) if version == 1 else (_V2, EXPRESSIONS)
    found: dict[str, Path] = {}
    for name in names:
        for file in (*sorted(root.glob(f"*/{name}")), *sorted(root.glob(f"*/*/{name}"))):
            found.setdefault(file.parent.name, file)
    if not found:
        raise DataError(
            f"expected SPLIT/{names[0]}, SPLIT/{MASKS} and SPLIT/JPEGImages/VIDEO/FRAME.jpg in {root} for train, "
            "valid_u or valid, as MeViS publishes them; found none"
        )
    splits = [
        MaskTableSplit(name=split, expressions=file, masks=file.parent / MASKS, frames=file.parent / "JPEGImages")
        for split, file in sorted(found.items())
    ]
    return read_mask_tables("mevis" if version == 1 else "mevis-v2", splits, progress=progress)


def read_mask_tables(
    name: str, splits: list[MaskTableSplit], *, tags_of: Tags | None = None, progress: Progress | None = None
) -> Dataset:
    """Reads splits in MeViS's form.

    Args:
        name: The name of the dataset.
        splits: The files of its splits.
        tags_of: Returns the tags of an expression; None for none.
        progress: Called with (done, total) videos.

    Raises:
        DataError: A file is missing or broken.
    """
    builder = VideoBuilder(name)
    videos = {split.name: videos_in(split.expressions) for split in splits}
    done, total = 0, sum(map(len, videos.values()))
    for split in splits:
        masks = read_json(split.masks) if split.masks.is_file() else None
        for video, entry in videos[split.name].items():
            where = f"{video} in {split.expressions}"
            files = VideoFiles(
                name=video,
                split=split.name,
                folder=split.frames / video,
                expressions=tuple(_expressions(entry, where=where, annotated=masks is not None, tags_of=tags_of)),
                frames=frozenset(_frames(entry, where=where)),
                annotated=masks is not None,
            )
            of_frames = _FrameMaskTable(files, _frames(entry, where=where), masks or {}, file=split.masks)
            builder.add(files, of_frames)
            done += 1
            if progress:
                progress(done, total)
    return builder.build()


class _FrameMaskTable:
    """Returns the masks of a video's frames out of the table."""

    def __init__(self, video: VideoFiles, frames: list[str], masks: Mapping[str, Any], *, file: Path) -> None:
        self._places = {frame: place for place, frame in enumerate(frames)}
        self._file = file
        self._masks: dict[str, list[Any]] = {}
        wanted = {target for one in video.expressions for target in one.targets}
        for target in sorted(wanted):
            own = masks.get(target)
            if not isinstance(own, list) or len(own) != len(frames):
                found = f"{len(own)} of them" if isinstance(own, list) else "no such list"
                raise DataError(f"{file}: expected masks {target} of the {len(frames)} frames of {video.name}, {found}")
            self._masks[target] = own

    def __call__(self, frame: Path, size: tuple[int, int]) -> FrameMasks:
        place = self._places[frame.stem]
        found = {}
        for target, own in self._masks.items():
            if own[place] is None:
                continue
            try:
                mask = rle.from_segmentation(own[place], height=size[0], width=size[1])
            except DataError as error:
                raise DataError(f"{self._file}: mask {target} of {frame}: {error}") from error
            # A mask without a pixel says the same as none.
            if rle.area(mask):
                found[target] = mask
        return FrameMasks(masks=found)


def _frames(entry: Any, *, where: str) -> list[str]:
    frames = table(entry, what=where).get("frames")
    if not isinstance(frames, list) or not frames or len(set(map(str, frames))) < len(frames):
        raise DataError(f"expected the frames of {where}, each once; got {frames!r:.60}")
    return [str(one) for one in frames]


def _expressions(entry: dict[str, Any], *, where: str, annotated: bool, tags_of: Tags | None) -> list[VideoExpression]:
    found = []
    texts = table(table(entry, what=where).get("expressions"), what=f"expressions of {where}")
    for number in sorted(texts, key=lambda one: (len(one), one)):
        one = table(texts[number], what=f"expression {number} of {where}")
        ids = one.get("anno_id", []) if annotated else []
        ids = ids if isinstance(ids, list) else [ids]
        if not all(isinstance(value, int | str) and not isinstance(value, bool) for value in ids):
            raise DataError(f"expression {number} of {where}: expected a list of numbers, anno_id; got {ids!r:.60}")
        if annotated and "anno_id" not in one:
            raise DataError(
                f"expression {number} of {where} has no anno_id; an empty list says that there is no target"
            )
        found.append(
            VideoExpression(
                text=str(one.get("exp", "")),
                targets=tuple(dict.fromkeys(str(value) for value in ids)),
                tags=tags_of(one) if tags_of is not None else (),
                number=expression_number(number),
            )
        )
    return found
