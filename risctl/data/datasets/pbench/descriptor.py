"""PBench, on the Hugging Face hub as `tiiuae/PBench` (18.7 GB of parquet; its licence was not seen)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.data.datasets.descriptor import DatasetDescriptor

if TYPE_CHECKING:
    from risctl.data.records import Dataset


def _read(source: Path, *, progress: Any = None) -> Dataset:
    from risctl.data.datasets.pbench.reader import read_pbench

    return read_pbench(source, progress=progress)


PBENCH = DatasetDescriptor(
    name="pbench",
    help="PBench: expressions of levels 0 to 4 and dense scenes, every instance of each; with --protocol pbench.",
    example="--from tiiuae/PBench",
    read=_read,
    protocol="pbench",
    hub="tiiuae/PBench",
    source_help="File or folder of parquet files named after their split, or OWNER/NAME on the hub.",
    linkable=False,
)
