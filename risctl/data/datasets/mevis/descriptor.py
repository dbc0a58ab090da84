"""MeViS, version 1 and 2.

The masks of `valid` are not published, so that it can be predicted alone; `valid_u` has them. MeViS is on
`github.com/henghuiding/MeViS`, version 2 on the Hugging Face hub as `FudanCVL/MeViSv2`; both CC BY-NC-SA 4.0.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.data.datasets.descriptor import TOTAL, VIDEOS_AND_SENTENCES, Counts, DatasetDescriptor, counts

if TYPE_CHECKING:
    from risctl.data.records import Dataset


def _reader(version: int) -> Callable[..., Dataset]:
    def read(source: Path, *, progress: Any = None) -> Dataset:
        from risctl.data.datasets.mevis.reader import read_mevis

        return read_mevis(source, version=version, progress=progress)

    return read


def _published(*sentences: int) -> dict[str, dict[str, Counts]]:
    videos = (1_662, 50, 140)
    own = {
        split: counts(number, None, texts)
        for split, number, texts in zip(("train", "valid_u", "valid"), videos, sentences, strict=True)
    }
    return {"videos": own | {TOTAL: counts(sum(videos), None, sum(sentences))}}


MEVIS = DatasetDescriptor(
    name="mevis",
    obtain="github.com/henghuiding/MeViS links to drives that need a browser; unpack its archives into one folder",
    help="MeViS: 1,852 videos, 26,080 expressions of motion about one object or several; with --protocol mevis.",
    example="--from MeViS",
    read=_reader(1),
    protocol="mevis",
    published=_published(23_051, 793, 2_236),
    source_help="Folder of the published files: SPLIT/JPEGImages, SPLIT/meta_expressions.json, SPLIT/mask_dict.json.",
    counted=VIDEOS_AND_SENTENCES,
)
MEVIS_V2 = DatasetDescriptor(
    name="mevis-v2",
    hub="FudanCVL/MeViSv2",
    hub_files=(),
    help="MeViS v2: MeViS's videos with 30,932 expressions, some of them about nothing; with --protocol mevis.",
    example="--from MeViSv2",
    read=_reader(2),
    protocol="mevis",
    published=_published(27_502, 907, 2_523),
    source_help="Folder of the published files: SPLIT/JPEGImages, SPLIT/meta_expressions_v2.json, SPLIT/mask_dict.json "
    "(the hub's FudanCVL/MeViSv2, with JPEGImages.tar unpacked).",
    counted=VIDEOS_AND_SENTENCES,
)
