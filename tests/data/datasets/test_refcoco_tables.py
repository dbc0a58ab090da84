"""RefCOCO from tables of the hub: jxu124's, its benchmark, RefCOCO-M, and those that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import refer_files
from typer.testing import CliRunner

from risctl.cli.app import app
from risctl.data.datasets.refcoco_tables.reader import read_refcoco_table
from risctl.data.datasets.refcoco_tables.refcoco_m import read_refcoco_m
from risctl.data.datasets.refer.reader import read_refer
from risctl.data.store.reader import Store
from risctl.errors import DataError, UsageError
from risctl.vision import rle

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def write_table(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def entries() -> list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Returns (ref, annotation, image) of a small set, of COCO's categories."""
    refs, instances = refer_files.published()
    annotations = {one["id"]: one for one in instances["annotations"]}
    images = {one["id"]: one for one in instances["images"]}
    return [(ref, annotations[ref["ann_id"]], images[ref["image_id"]]) for ref in refs]


def write_jxu124(root: Path) -> Path:
    """A row a ref, testA called test, annotations and images as JSON texts."""
    rows = [
        {
            **{key: ref[key] for key in ("ref_id", "ann_id", "image_id", "category_id", "sentences")},
            "split": {"val": "validation", "testA": "test"}.get(ref["split"], ref["split"]),
            "raw_anns": json.dumps(annotation),
            "raw_image_info": json.dumps(image),
            "bbox": [0.0, 0.0, 1.0, 1.0],
        }
        for ref, annotation, image in entries()
    ]
    write_table(root / "data" / "train-00000-of-00001.parquet", rows[:2])
    write_table(root / "data" / "rest-00000-of-00001.parquet", rows[2:])
    return root


def write_benchmark(root: Path) -> Path:
    """A row an image, a file a split."""
    for ref, annotation, image in entries():
        row = {"ref_list": [{"ann_info": annotation, "ref_info": ref}], "image_info": image}
        if ref["split"] != "train":
            write_table(root / f"refcoco_unc_{ref['split']}-00000-of-00001.parquet", [row])
    write_table(root / "refcocog_umd_val-00000-of-00001.parquet", [row])
    return root


def test_a_table_of_refs_reads_as_the_published_files(tmp_path: Path) -> None:
    published = read_refer(refer_files.write(tmp_path / "refer"), name="refcoco")
    table = write_jxu124(tmp_path / "jxu124-refcoco")
    dataset = read_refcoco_table(table, images=tmp_path / "refer" / "images" / "train2014")
    assert (dataset.name, dataset.split_by) == ("refcoco", "unc")
    assert {record.ref_id: record.split for record in dataset.records} == {
        record.ref_id: record.split for record in published.records
    }
    for record in published.records:
        own = next(one for one in dataset.records if one.ref_id == record.ref_id)
        assert own.expressions == record.expressions
        assert [dataset.annotations[one].mask for one in own.annotation_ids] == [
            published.annotations[one].mask for one in record.annotation_ids
        ]
    assert any("nothing but what is referred to" in note for note in dataset.notes)


def test_a_benchmark_is_read_by_set_and_way(tmp_path: Path) -> None:
    refer_files.write(tmp_path / "refer")
    table = write_benchmark(tmp_path / "refcoco-benchmark")
    images = tmp_path / "refer" / "images" / "train2014"
    dataset = read_refcoco_table(table, images=images)
    assert sorted(record.split for record in dataset.records) == ["testA", "val"]
    assert read_refcoco_table(table, dataset="refcocog", images=images).split_by == "umd"
    with pytest.raises(DataError, match=r"nothing of refcoco\+ split by unc; it has refcoco_unc_testA"):
        read_refcoco_table(table, dataset="refcoco+", images=images)
    with pytest.raises(UsageError, match="split by unc or google; got --split-by 'umd'"):
        read_refcoco_table(table, split_by="umd", images=images)


def test_the_command_compares_with_the_counts_of_the_published_set(tmp_path: Path) -> None:
    refer_files.write(tmp_path / "refer")
    arguments = ["--from", str(write_jxu124(tmp_path / "refcoco")), "--out", str(tmp_path / "set.h5")]
    images = ["--images", str(tmp_path / "refer" / "images" / "train2014")]
    done = CliRunner().invoke(app, ["prepare", "refcoco-table", *arguments, *images])
    assert done.exit_code == 0, done.output
    assert "refcoco (unc) testA: 1 images, 1 refs, 1 sentences; published: 750 images" in done.stderr


def test_a_captioning_benchmark_and_other_tables_are_refused(tmp_path: Path) -> None:
    row = {"question_id": "1", "answer": ["cup"], "segmentation": [1.0] * 6, "bbox": [0.0] * 4}
    file = write_table(tmp_path / "RefCOCO" / "val.parquet", [row])
    with pytest.raises(DataError, match=r"one polygon an object.*jxu124/refcoco"):
        read_refcoco_table(file)
    with pytest.raises(DataError, match="no table of RefCOCO that is known here; it has a"):
        read_refcoco_table(write_table(tmp_path / "other.parquet", [{"a": 1}]))
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match=r"damaged\.parquet cannot be read as a table"):
        read_refcoco_table(tmp_path / "damaged.parquet")
    with pytest.raises(UsageError, match="does not say which set"):
        read_refcoco_table(write_jxu124(tmp_path / "copy"))


def refcoco_m_row() -> dict[str, Any]:
    mask = np.zeros((40, 60), dtype=bool)
    mask[3:9, 4:30] = True
    encoded = rle.encode(mask)
    sample = {"id": 3, "category": "cup", "sentences": ["Left cup", "the cup"], "bbox": [4.0, 3.0, 26.0, 6.0]}
    return {
        "image": {"bytes": refer_files.jpeg(40, 60), "path": "a.jpg"},
        "image_id": 17,
        "file_name": "a.jpg",
        "samples": [sample | {"mask": {"counts": encoded["counts"], "size": encoded["size"]}}],
    }


def test_refcoco_m_brings_its_pictures(tmp_path: Path) -> None:
    table = write_table(tmp_path / "m" / "validation.parquet", [refcoco_m_row()])
    out = tmp_path / "set.h5"
    done = CliRunner().invoke(app, ["prepare", "refcoco-m", "--from", str(table.parent), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "2 (5,598)" in done.stdout
    with Store(out) as store:
        assert store.pixels(0).shape == (40, 60, 3) and store.image(0).image_id == 17
        assert [store.sentence(row).raw for row in store.sentences("val")] == ["Left cup", "the cup"]
        assert rle.area(store.mask(0)) == 6 * 26


def test_a_broken_row_of_refcoco_m_is_named(tmp_path: Path) -> None:
    row = refcoco_m_row()
    row["samples"][0]["mask"]["size"] = [40, 59]
    with pytest.raises(DataError, match=r"image 17, object 1: an RLE of size \[40, 59\]"):
        read_refcoco_m(write_table(tmp_path / "a.parquet", [row]))
    with pytest.raises(DataError, match="image 17 is there twice"):
        read_refcoco_m(write_table(tmp_path / "b.parquet", [refcoco_m_row()] * 2))
