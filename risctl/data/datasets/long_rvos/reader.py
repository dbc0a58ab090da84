"""Reads Long-RVOS as published.

`SPLIT/JPEGImages/VIDEO/FRAME.jpg`, `SPLIT/Annotations/VIDEO/OBJECT/FRAME.png` (255 is the object; no file where it is
absent) and `SPLIT/meta_expressions.json`, whose expressions have an `obj_id` and a `type`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from risctl.data.datasets.json_tables import table
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
from risctl.vision.label_images import read_labels

TYPES = ("static", "dynamic", "static+dynamic")


def read_long_rvos(root: Path, *, progress: Progress | None = None) -> Dataset:
    """Reads Long-RVOS: those of its splits that are there; an expression is tagged with its type.

    A split without `Annotations` can be predicted alone.

    Args:
        root: The folder with `train`, `valid` and `test`.
        progress: Called with (done, total) videos.

    Raises:
        DataError: A file is missing or broken.
    """
    files = sorted(root.glob(f"*/{EXPRESSIONS}"))
    if not files:
        raise DataError(
            f"expected SPLIT/{EXPRESSIONS}, SPLIT/JPEGImages and SPLIT/Annotations in {root} for train, valid or test; "
            "found none"
        )
    builder = VideoBuilder("long-rvos")
    videos = {file: videos_in(file) for file in files}
    done, total = 0, sum(map(len, videos.values()))
    for file, own in videos.items():
        masks = file.parent / "Annotations"
        for name, entry in own.items():
            video = VideoFiles(
                name=name,
                split=file.parent.name,
                folder=file.parent / "JPEGImages" / name,
                expressions=tuple(_expressions(entry, where=f"{name} in {file}")),
                frames=frozenset(str(one) for one in table(entry, what=name).get("frames", ())),
                annotated=masks.is_dir(),
            )
            builder.add(video, _ObjectMasks(masks / name, video))
            done += 1
            if progress:
                progress(done, total)
    return builder.build()


class _ObjectMasks:
    """Reads the masks of a frame from the folders of the video's objects."""

    def __init__(self, folder: Path, video: VideoFiles) -> None:
        targets = {target for one in video.expressions for target in one.targets}
        self._folders = {target: folder / target for target in targets}

    def __call__(self, frame: Path, size: tuple[int, int]) -> FrameMasks:
        found = {}
        for target, folder in self._folders.items():
            file = folder / f"{frame.stem}.png"
            if not file.is_file():
                continue
            mask = read_labels(file, size=size, grey=True) != 0
            if np.any(mask):
                found[target] = rle.encode(mask)
        return FrameMasks(masks=found)


def _expressions(entry: Any, *, where: str) -> list[VideoExpression]:
    found = []
    texts = table(table(entry, what=where).get("expressions"), what=f"expressions of {where}")
    for number in sorted(texts, key=lambda one: (len(one), one)):
        one = table(texts[number], what=f"expression {number} of {where}")
        kind, targets = one.get("type"), one.get("obj_id", [])
        if kind is not None and kind not in TYPES:
            raise DataError(f"expression {number} of {where}: expected a type, {', '.join(TYPES)}; got {kind!r:.40}")
        targets = [str(value) for value in (targets if isinstance(targets, list) else [targets])]
        if not all(target.isascii() and target.isalnum() for target in targets):
            raise DataError(f"expression {number} of {where}: expected the number of an object, got {targets!r:.60}")
        found.append(
            VideoExpression(
                text=str(one.get("exp", "")),
                targets=tuple(dict.fromkeys(targets)),
                tags=(kind,) if kind is not None else (),
                number=expression_number(number),
            )
        )
    return found
