"""ReasonSeg, as LISA published it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.data.datasets.descriptor import TOTAL, DatasetDescriptor, counts

if TYPE_CHECKING:
    from risctl.data.records import Dataset


def _read(source: Path, **options: Any) -> Dataset:
    from risctl.data.datasets.reasonseg.reader import read_reasonseg

    return read_reasonseg(source, **options)


REASONSEG = DatasetDescriptor(
    name="reasonseg",
    help="ReasonSeg: 1,218 pictures with questions that take reasoning; measured with --protocol reasonseg.",
    example="--from ReasonSeg",
    read=_read,
    protocol="reasonseg",
    obtain="LISA's repository (github.com/dvlab-research/LISA) links to a drive that needs a browser; unpack its "
    "archives into one folder",
    # A picture is one object, whatever its number of sentences.
    published={
        "": {
            "train": counts(239, 239, None),
            "val": counts(200, 200, None),
            "test": counts(779, 779, None),
            TOTAL: counts(1_218, 1_218, None),
        }
    },
    source_help="Folder of the published files: train/, val/ and test/ with NAME.jpg and NAME.json.",
    can_drop=True,
)
