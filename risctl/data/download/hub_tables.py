"""Reads RefCOCO from its tables on the Hugging Face hub, for when no mirror of the published archives answers.

A table has a row for each ref with its annotation, its image's entry and its sentences. It lacks what nobody refers
to: the images have no other objects, and a store made from it says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from risctl.data.download.hub import copies_from_hub
from risctl.data.download.mirrors import sha256_of
from risctl.errors import DataError, MachineError
from risctl.files import replacing
from risctl.json_text import parse_json
from risctl.language.coco_classes import CLASSES

# The hub's names of splits that are not the published ones; "test" is one of several in two of the sets.
_SPLITS = {"validation": "val"}
_COLUMNS = ("ref_id", "ann_id", "image_id", "category_id", "split", "sentences", "raw_anns", "raw_image_info")


def fetch_table(repository: str, root: Path, *, name: str, split_by: str) -> None:
    """Writes `name/refs(SPLITBY).json` and `name/instances.json` under `root` from the table `repository`.

    What was read is recorded under `root/downloads`. Raises `NotOnHubError` if it cannot be had, `DataError` if it is
    of another form, `MachineError` if pyarrow, which reads tables, is not installed.
    """
    require_pyarrow(repository)
    paths = copies_from_hub(repository, ".parquet")
    refs, instances = refs_and_instances(paths, repository, name=name)
    files = [{"file": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in paths]
    _write(root / "downloads" / f"{name}.table.json", {"dataset": repository, "files": files})
    _write(root / name / f"refs({split_by}).json", refs)
    # The last, as it is what tells that the set is there.
    _write(root / name / "instances.json", instances)


def refs_and_instances(
    paths: Sequence[Path], repository: str, *, name: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Returns REFER's refs and the content of `instances.json` from the files of a table.

    Args:
        paths: The files.
        repository: What the table is called in messages.
        name: The dataset.

    Raises:
        DataError: The table is of another form.
    """
    refs: dict[int, dict[str, Any]] = {}
    images: dict[int, dict[str, Any]] = {}
    annotations: dict[int, dict[str, Any]] = {}
    try:
        for row in rows_of_tables(paths, columns=_COLUMNS):
            annotation, image = _entry(row["raw_anns"]), _entry(row["raw_image_info"])
            ref = {key: row[key] for key in ("ref_id", "ann_id", "image_id", "category_id", "sentences")}
            refs[row["ref_id"]] = ref | {"split": _split(row["split"], name)}
            images[image["id"]] = {key: image[key] for key in ("id", "file_name", "height", "width")}
            annotations[annotation["id"]] = annotation
    except (KeyError, TypeError, ValueError, OSError) as error:
        # ValueError: also pyarrow's own errors.
        raise DataError(f"the table {repository} is of another form than expected: {error!r:.200}") from error
    return list(refs.values()), instances_content(repository, images=images, annotations=annotations)


def instances_content(
    repository: str, *, images: dict[int, dict[str, Any]], annotations: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    """Returns the content of an `instances.json` that says that it lacks what nobody refers to."""
    return {
        "info": {"only_referred": True, "source": repository},
        "images": list(images.values()),
        "annotations": list(annotations.values()),
        "categories": [{"id": number, "name": category} for number, category in CLASSES.items()],
    }


def require_pyarrow(table: str) -> None:
    """Raises `MachineError` if pyarrow, which reads tables, is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise MachineError(f"the table {table} needs pyarrow: pip install 'risctl[tables]'") from error


def rows_of_tables(paths: Sequence[Path], *, columns: Sequence[str], batch: int = 2000) -> Iterator[dict[str, Any]]:
    """Yields the rows of parquet files, some in memory at a time.

    Args:
        paths: The files.
        columns: The columns that are read.
        batch: Rows in memory.

    Raises:
        OSError: A file cannot be read.
        ValueError: It is no table, or is damaged: pyarrow's own errors are such.
    """
    from pyarrow import parquet

    for path in paths:
        with parquet.ParquetFile(path) as file:
            for rows in file.iter_batches(batch_size=batch, columns=list(columns)):
                yield from rows.to_pylist()


def _entry(text: str) -> dict[str, Any]:
    """Returns the object of a JSON column, alone or as the only one of a list."""
    value = parse_json(text)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, got {value!r:.60}")
    return value


def _split(split: str, name: str) -> str:
    if split == "test" and name != "refcocog":
        return "testA"
    return _SPLITS.get(split, split)


def _write(path: Path, content: Any) -> None:
    with replacing(path) as beside:
        beside.write_text(json.dumps(content), encoding="utf-8")
