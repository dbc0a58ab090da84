"""RefCOCO's families as tables (parquet) of the Hugging Face hub, and RefCOCO-M."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.data.datasets.descriptor import TOTAL, DatasetDescriptor, DatasetOption, counts
from risctl.data.datasets.image_collections import COCO_TRAIN2014

if TYPE_CHECKING:
    from risctl.data.records import Dataset

_SOURCE = "File or folder of parquet files, or OWNER/NAME on the hub."


def _read_table(source: Path, **options: Any) -> Dataset:
    from risctl.data.datasets.refcoco_tables.reader import read_refcoco_table

    return read_refcoco_table(source, **options)


def _read_refcoco_m(source: Path, *, progress: Any = None) -> Dataset:
    from risctl.data.datasets.refcoco_tables.refcoco_m import read_refcoco_m

    return read_refcoco_m(source, progress=progress)


REFCOCO_TABLE = DatasetDescriptor(
    name="refcoco-table",
    help="RefCOCO, RefCOCO+ or RefCOCOg from a table of the hub, jxu124's or its benchmark, with COCO's pictures.",
    example="--from jxu124/refcoco --images coco/train2014",
    read=_read_table,
    images=COCO_TRAIN2014,
    hub="jxu124/refcoco",
    source_help=_SOURCE,
    can_drop=True,
    options=(
        DatasetOption(
            name="dataset",
            type=str,
            help="Which of the sets it is; default: what its name says.",
            metavar="refcoco|refcoco+|refcocog",
        ),
        DatasetOption(
            name="split_by",
            type=str,
            help="The way of splitting, of a table with several; default: the usual one.",
            metavar="unc|umd|google",
        ),
    ),
)
REFCOCO_M = DatasetDescriptor(
    name="refcoco-m",
    help="RefCOCO-M: RefCOCO's val by unc with new masks, its pictures in the table; measured by mIoU.",
    example="--from moondream/refcoco-m",
    read=_read_refcoco_m,
    published={"": {"val": counts(1_190, 2_080, 5_598), TOTAL: counts(1_190, 2_080, 5_598)}},
    source_help=_SOURCE,
    hub="moondream/refcoco-m",
    linkable=False,
)
