"""Long-RVOS, on the Hugging Face hub as `iSEE-Laboratory/Long-RVOS` (Apache-2.0)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.data.datasets.descriptor import TOTAL, VIDEOS_AND_SENTENCES, DatasetDescriptor, counts

if TYPE_CHECKING:
    from risctl.data.records import Dataset


def _read(source: Path, *, progress: Any = None) -> Dataset:
    from risctl.data.datasets.long_rvos.reader import read_long_rvos

    return read_long_rvos(source, progress=progress)


LONG_RVOS = DatasetDescriptor(
    name="long-rvos",
    help="Long-RVOS: 2,193 videos of 362 frames in the mean; measured with --protocol long_rvos.",
    example="--from long_rvos",
    read=_read,
    protocol="long_rvos",
    hub="iSEE-Laboratory/Long-RVOS",
    hub_files=(),
    published={"videos": {TOTAL: counts(2_193, None, None)}},
    source_help="Folder of the published files: SPLIT/JPEGImages, SPLIT/Annotations and SPLIT/meta_expressions.json.",
    counted=VIDEOS_AND_SENTENCES,
)
