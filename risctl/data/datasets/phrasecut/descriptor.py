"""PhraseCut: phrases for regions of Visual Genome.

Its files lie on Google Drive, where its own downloader gets them; `confirm=t` skips the page that warns of large files.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.data.datasets.descriptor import JOINED, TOTAL, AnnotationFiles, DatasetDescriptor, counts
from risctl.data.datasets.image_collections import VISUAL_GENOME
from risctl.data.datasets.phrasecut.layout import NAME, SPLIT_BY, SPLITS, file_names, find_tasks, search_folders
from risctl.data.download.source import Source

if TYPE_CHECKING:
    from risctl.data.records import Dataset


def _on_drive(split: str, *, key: str, about: int) -> Source:
    return Source(
        file_name=f"refer_{split}.json",
        mirrors=(f"https://drive.usercontent.google.com/download?id={key}&export=download&confirm=t",),
        folder="phrasecut",
        about=about,
        provides=f"phrasecut/refer_{split}.json",
    )


def _find(root: Path, split_by: str) -> AnnotationFiles:
    tasks = find_tasks(root)
    return AnnotationFiles(
        files=tuple(tasks.values()),
        instances=None,
        search_folders=search_folders(root, tasks),
        complete=len(tasks) == len(SPLITS),
    )


def _read(source: Path, **options: Any) -> Dataset:
    from risctl.data.datasets.phrasecut.reader import read_phrasecut

    return read_phrasecut(source, **options)


PHRASECUT = DatasetDescriptor(
    name=NAME,
    help="PhraseCut: 345,486 phrases for regions of 77,262 pictures of Visual Genome; split as published.",
    example="--from VGPhraseCut_v0 --images VGPhraseCut_v0/images",
    read=_read,
    protocol="phrasecut",
    split_by=(SPLIT_BY,),
    # A ref is a phrase. The 100 images of miniv belong to val, and have a file of their own.
    published={
        SPLIT_BY: {
            "train": counts(71_746, None, 310_816),
            f"val{JOINED}miniv": counts(2_971, None, 20_316),
            "test": counts(2_545, None, 14_354),
            "miniv": counts(100, None, 821),
            TOTAL: counts(77_262, None, 345_486),
        }
    },
    missing_splits={
        (SPLIT_BY, "miniv"): "PhraseCut's val is without the 100 pictures of miniv, which have a file of their own, "
        "refer_miniv.json; the published counts have them in val",
        (SPLIT_BY, "train"): "PhraseCut without refer_train.json: there is nothing to train on",
    },
    sources=(
        _on_drive("train", key="1qx-0q6r9r0YUGpoyT0B8HJKmUFWQDSu7", about=400_000_000),
        _on_drive("val", key="1UyojArOFPlsSeNbA9fHWjCjOOU-OCohG", about=46_000_000),
        _on_drive("test", key="1jrzXm1gcq6f5hNDeamZd0UmyyHUv61IZ", about=46_000_000),
        _on_drive("miniv", key="1oLcTQ1blTIQyu5ZMelQN2HSniuQaxM4E", about=1_000_000),
    ),
    images=VISUAL_GENOME,
    find=_find,
    image_names=lambda found: file_names({path.stem: path for path in found.files}),
    can_drop=True,
)
