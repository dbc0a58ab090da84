"""Reads RefCOCO, RefCOCO+ and RefCOCOg from tables of the hub that hold no pixels.

`jxu124/refcoco` (`refcocoplus`, `refcocog`) has a row a ref; its split "test" of two of the sets is testA.
`jxu124/refcoco-benchmark` has a row an image, in files named after set, way and split, such as `refcoco_unc_testA`.
`lmms-lab/RefCOCO` is refused: of each object it has one polygon, so that parts are lost, it has no sentence ids, and
its val joins two ways of splitting.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from risctl.data.datasets.coco_instances import Progress, instances_of
from risctl.data.datasets.parquet_tables import columns_of, table_files
from risctl.data.datasets.problems import OnMissing, Problems
from risctl.data.datasets.refer.layout import SPLIT_BY
from risctl.data.datasets.refer.reader import dataset_of
from risctl.data.datasets.refer.refs import refs_of
from risctl.data.download.hub_tables import instances_content, refs_and_instances, rows_of_tables
from risctl.data.records import Dataset
from risctl.errors import DataError, UsageError, unknown_name

SETS = ("refcoco", "refcoco+", "refcocog")
_OF_REFS = {"ref_id", "raw_anns", "raw_image_info", "sentences"}
_OF_IMAGES = {"ref_list", "image_info"}
_OF_CAPTIONING = {"question_id", "answer", "segmentation"}
_FILE = re.compile(
    r"(?P<set>refcoco\+|refcoco_?plus|refcocog|refcoco)_(?P<split_by>unc|umd|google)_(?P<split>[A-Za-z]+)"
)
_SPLITS = {"validation": "val"}


def read_refcoco_table(
    source: Path,
    *,
    dataset: str | None = None,
    split_by: str | None = None,
    images: Path | None = None,
    on_missing: OnMissing = "refuse",
    progress: Progress | None = None,
) -> Dataset:
    """Reads a set from a table. It lacks objects that nobody refers to, which a note says.

    Args:
        source: A parquet file, a folder with such, or the table's name on the hub.
        dataset: One of `SETS`; None: what the name of the table says.
        split_by: The way of splitting; None for the usual one.
        images: The folder of COCO train2014, looked for around `source` if None.
        on_missing: Whether refs whose image or annotation is missing are refused or left out.
        progress: Called with (done, total) annotations.

    Raises:
        DataError: It is no such table, or a part is missing.
        UsageError: The set or the way of splitting is unknown.
        MachineError: The table cannot be had, or pyarrow is not installed.
    """
    if dataset is not None and dataset not in SETS:
        raise UsageError(unknown_name("set", dataset, SETS))
    files = table_files(source)
    columns = columns_of(files)
    if columns >= _OF_REFS:
        name = dataset or _named(source)
        split_by = _split_by(name, split_by, known=SPLIT_BY[name][:1])
        refs, instances = refs_and_instances(files, str(source), name=name)
    elif columns >= _OF_IMAGES:
        name = dataset or "refcoco"
        split_by = _split_by(name, split_by, known=SPLIT_BY[name])
        refs, instances = _of_images(files, source, name=name, split_by=split_by)
    elif columns >= _OF_CAPTIONING:
        raise DataError(
            f"{source} is a captioning benchmark: one polygon an object, so that masks lack parts, no sentence ids, "
            "and val is unc's with google's; masks from it give no published figures. Take the files as published "
            "(risctl prepare refcoco), or jxu124/refcoco"
        )
    else:
        raise DataError(f"{source} is no table of RefCOCO that is known here; it has {', '.join(sorted(columns)[:8])}")
    problems = Problems()
    return dataset_of(
        refs_of(refs, source=str(source), generalised=False, problems=problems),
        instances_of(instances, source, problems),
        name=name,
        split_by=split_by,
        around=(source if source.is_dir() else source.parent,),
        images=images,
        on_missing=on_missing,
        overlaps="object",
        problems=problems,
        progress=progress,
    )


def _named(source: Path) -> str:
    """Returns the set that a table's name says."""
    text = source.as_posix().lower()
    for name, pattern in (("refcocog", r"cocog(?![a-z])"), ("refcoco+", r"coco(\+|_?plus)"), ("refcoco", r"refcoco")):
        if re.search(pattern, text):
            return name
    raise UsageError(f"{source} does not say which set it is; name it with --dataset {'|'.join(SETS)}")


def _split_by(name: str, chosen: str | None, *, known: Sequence[str]) -> str:
    if chosen is not None and chosen not in known:
        raise UsageError(f"the table of {name} is split by {' or '.join(known)}; got --split-by {chosen!r:.20}")
    return chosen or known[0]


def _of_images(
    files: Sequence[Path], source: Path, *, name: str, split_by: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    refs: dict[int, dict[str, Any]] = {}
    images: dict[int, dict[str, Any]] = {}
    annotations: dict[int, dict[str, Any]] = {}
    held = []
    for file in files:
        match = _FILE.search(file.name)
        if match is None:
            raise DataError(f"{file}: expected a file named after set, way and split, such as refcoco_unc_testA")
        held.append(match[0])
        if (_plain(match["set"]), match["split_by"]) != (name, split_by):
            continue
        split = _SPLITS.get(match["split"], match["split"])
        try:
            for row in rows_of_tables([file], columns=("ref_list", "image_info"), batch=200):
                image = row["image_info"]
                images[image["id"]] = {key: image[key] for key in ("id", "file_name", "height", "width")}
                for one in row["ref_list"]:
                    annotation, ref = one["ann_info"], one["ref_info"]
                    annotations[annotation["id"]] = annotation
                    own = {key: ref[key] for key in ("ref_id", "ann_id", "image_id", "category_id", "sentences")}
                    refs[ref["ref_id"]] = own | {"split": split}
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise DataError(f"{file} is of another form than expected: {error!r:.200}") from error
    if not refs:
        raise DataError(f"{source} has nothing of {name} split by {split_by}; it has {', '.join(sorted(set(held)))}")
    return list(refs.values()), instances_content(str(source), images=images, annotations=annotations)


def _plain(name: str) -> str:
    return "refcoco+" if re.fullmatch(r"refcoco(\+|_?plus)", name) else name
