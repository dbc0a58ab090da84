"""A2D-Sentences and JHMDB-Sentences: single annotated frames of videos, measured as images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.data.datasets.descriptor import OBJECTS_AND_SENTENCES, DatasetDescriptor, DatasetOption
from risctl.errors import UsageError

if TYPE_CHECKING:
    from risctl.data.records import Dataset


def _read_a2d(source: Path, *, window: int = 3, progress: Any = None) -> Dataset:
    from risctl.data.datasets.a2d.reader import read_a2d

    return read_a2d(source, window=_checked(window), progress=progress)


def _read_jhmdb(source: Path, *, window: int = 3, progress: Any = None) -> Dataset:
    from risctl.data.datasets.a2d.reader import read_jhmdb

    return read_jhmdb(source, window=_checked(window), progress=progress)


def _checked(window: int) -> int:
    if window < 0:
        raise UsageError(f"--window takes the number of frames to keep on either side, 0 or more; got {window}")
    return window


_WINDOW = DatasetOption(
    name="window",
    type=int,
    help="Frames kept before and after each annotated one, for video backbones; 0: none.",
    default=3,
)


A2D = DatasetDescriptor(
    name="a2d",
    help="A2D-Sentences: its annotated frames as pictures, out of the videos; measured with --protocol a2d.",
    options=(_WINDOW,),
    example="--from a2d_sentences",
    read=_read_a2d,
    protocol="a2d",
    linkable=False,
    stored_as=("a2d-sentences",),
    counted=OBJECTS_AND_SENTENCES,
)
JHMDB = DatasetDescriptor(
    name="jhmdb",
    help="JHMDB-Sentences: its annotated frames as pictures, split test; measured with --protocol a2d.",
    options=(_WINDOW,),
    example="--from jhmdb_sentences",
    read=_read_jhmdb,
    protocol="a2d",
    stored_as=("jhmdb-sentences",),
    counted=OBJECTS_AND_SENTENCES,
)
