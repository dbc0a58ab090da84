"""Ref-YouTube-VOS and Ref-DAVIS17: videos with expressions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.data.datasets.descriptor import OBJECTS_AND_SENTENCES, DatasetDescriptor

if TYPE_CHECKING:
    from risctl.data.records import Dataset


def _read_ref_youtube_vos(source: Path, *, progress: Any = None) -> Dataset:
    from risctl.data.datasets.ref_video.reader import read_ref_youtube_vos

    return read_ref_youtube_vos(source, progress=progress)


def _read_ref_davis17(source: Path, *, progress: Any = None) -> Dataset:
    from risctl.data.datasets.ref_video.reader import read_ref_davis17

    return read_ref_davis17(source, progress=progress)


REF_YOUTUBE_VOS = DatasetDescriptor(
    name="ref-youtube-vos",
    help="Ref-YouTube-VOS: SPLIT/JPEGImages, SPLIT/Annotations and meta_expressions, as published.",
    example="--from ref-youtube-vos",
    read=_read_ref_youtube_vos,
    protocol="videos",
    counted=OBJECTS_AND_SENTENCES,
)
REF_DAVIS17 = DatasetDescriptor(
    name="ref-davis17",
    help="Ref-DAVIS17: DAVIS 2017 with davis_text_annotations, or in Ref-YouTube-VOS's layout; four annotators.",
    example="--from ref-davis",
    read=_read_ref_davis17,
    protocol="videos",
    counted=OBJECTS_AND_SENTENCES,
)
