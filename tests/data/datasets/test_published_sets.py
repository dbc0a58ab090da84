"""RefClef, gRefCOCO and PhraseCut as they are published, from the disk and from a server; what would be done at all."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import http_server, refer_files
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from risctl.cli.app import app
from risctl.data.datasets.coco_phrases.descriptor import COCO_PHRASES
from risctl.data.datasets.counts import counted, differences, store_counts
from risctl.data.datasets.image_collections import COCO_TRAIN2014, VISUAL_GENOME
from risctl.data.datasets.phrasecut.reader import _mask
from risctl.data.datasets.refer.layout import SPLIT_BY
from risctl.data.datasets.registry import DATASETS, find_dataset
from risctl.data.download import hub
from risctl.data.download.fetching import Downloads
from risctl.data.download.mirrors import RetryPolicy
from risctl.data.download.source import Source
from risctl.data.dry_run import dry_run
from risctl.data.prepare import prepare_dataset
from risctl.data.store.reader import Store
from risctl.errors import DataError, UsageError
from risctl.vision import rle

# RefClef.

SIZES = {25: (40, 60), 19579: (30, 30), 31: (50, 40)}


def refclef(root: Path, *, pictures: str = "images/saiapr_tc-12/{name}", split_by: str = "unc") -> Path:
    """Write a small RefClef: masks as lists of RLEs, three test splits, one of the images that are broken."""
    images, annotations, refs = [], [], []
    for number, (image_id, (height, width)) in enumerate(SIZES.items()):
        mask = np.zeros((height, width), dtype=bool)
        mask[5:15, 4 + number : 20] = True
        halves = [mask & (np.arange(width) < 10), mask & (np.arange(width) >= 8)]
        images.append({"id": image_id, "file_name": f"{image_id}.jpg", "height": height, "width": width})
        annotations.append(
            {
                "id": number,
                "image_id": image_id,
                "category_id": 1,
                "segmentation": [dict(rle.encode(half)) for half in halves],
                "bbox": [4 + number, 5, 16 - number, 10],
            }
        )
        refs.append(
            refer_files.ref(
                number,
                image=image_id,
                annotation=number,
                split=("train", "testA", "testBC")[number],
                sentences=[refer_files.sentence(number, "the sky")],
            )
        )
        path = root / pictures.format(name=f"{image_id}.jpg", folder=f"{image_id % 40:02d}")
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = refer_files.jpeg(height, width, seed=image_id)
        path.write_bytes(whole if image_id != 19579 else whole[:20])
    instances = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "sky"}]}
    (root / "refclef").mkdir(exist_ok=True)
    (root / "refclef" / f"refs({split_by}).p").write_bytes(pickle.dumps(refs, protocol=0))
    (root / "refclef" / "instances.json").write_text(json.dumps(instances))
    return root


@pytest.mark.parametrize(
    "pictures",
    ["images/saiapr_tc-12/{name}", "saiapr_tc-12/{folder}/images/{name}", "images/saiapr_tc-12/{folder}/images/{name}"],
)
def test_refclef_is_prepared_whatever_way_its_images_lie(tmp_path: Path, pictures: str) -> None:
    root = refclef(tmp_path / "root", pictures=pictures)
    prepared = prepare_dataset(find_dataset("refclef"), source=root, out=tmp_path / "s.h5", verify=True)
    assert prepared.warnings == ("1 pictures broken as published, left out with their refs",)
    assert prepared.counts["total"] == {"images": 2, "refs": 2, "sentences": 2}
    assert prepared.differences == ("refclef (unc) total: 2 images; published: 19,997 images",)
    assert prepared.verification and prepared.verification.checked["masks compared with their polygons"] == 2
    with Store(tmp_path / "s.h5") as store:
        assert len(store.refs("testB")) == len(store.refs("testC")) == len(store.refs("test")) == 1
        # The parts of a mask overlap; their union is the mask.
        assert rle.area(store.mask(0)) == 10 * 16


def test_refclef_is_split_by_berkeley_too(tmp_path: Path) -> None:
    root = refclef(tmp_path / "root", split_by="berkeley")
    prepared = prepare_dataset(find_dataset("refclef"), source=root, out=tmp_path / "s.h5", split_by="berkeley")
    assert prepared.split_by == "berkeley"
    with pytest.raises(DataError, match="try --split-by berkeley"):
        prepare_dataset(find_dataset("refclef"), source=root, out=tmp_path / "s.h5")


def test_an_image_of_refclef_that_is_not_known_to_be_broken_is_missed(tmp_path: Path) -> None:
    root = refclef(tmp_path / "root")
    (root / "images/saiapr_tc-12/31.jpg").unlink()
    with pytest.raises(DataError, match=r"1 pictures missing \(.*31\.jpg\)"):
        prepare_dataset(find_dataset("refclef"), source=root, out=tmp_path / "s.h5")


# gRefCOCO.


def gref(**changes: Any) -> list[dict[str, Any]]:
    """Refs of one thing, of two, of none, of none in test; sentences without a raw form as in the published file."""
    sentence = {"sent_id": 0, "sent": "left cup", "tokens": ["left", "cup"]}
    refs = [
        {"ref_id": 0, "ann_id": [100], "category_id": [1], "image_id": 1, "split": "train", "sentences": [sentence]},
        {
            "ref_id": 1,
            "ann_id": [100, 101],
            "category_id": [1, 1],
            "image_id": 1,
            "split": "train",
            "sentences": [{**sentence, "sent_id": 1, "sent": "both cups"}, {**sentence, "sent_id": 2, "raw": "All"}],
        },
        {
            "ref_id": 2,
            "ann_id": [-1],
            "category_id": [-1],
            "image_id": 2,
            "split": "val",
            "no_target": True,
            "sentences": [{**sentence, "sent_id": 3, "sent": "a zebra"}],
        },
        {"ref_id": 3, "ann_id": 103, "category_id": 1, "image_id": 3, "split": "testA", "sentences": [sentence]},
    ]
    refs[0] |= changes
    return refs


def grefcoco(root: Path, refs: list[dict[str, Any]], *, pickled: bool = False) -> Path:
    """Write a small gRefCOCO, as JSON or as a pickle."""
    refer_files.write(root, folder="grefcoco")
    (root / "grefcoco" / "refs(unc).p").unlink()
    if pickled:
        (root / "grefcoco" / "grefs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    else:
        (root / "grefcoco" / "grefs(unc).json").write_text(json.dumps(refs))
    return root


@pytest.mark.parametrize("pickled", [False, True])
def test_grefcoco_has_targets_of_several_things_and_of_nothing(tmp_path: Path, pickled: bool) -> None:
    root = grefcoco(tmp_path / "root", gref(), pickled=pickled)
    prepared = prepare_dataset(find_dataset("grefcoco"), source=root, out=tmp_path / "s.h5", verify=True)
    total = {"images": 3, "refs": 4, "sentences": 5, "of_nothing": 1, "of_several": 2}
    assert prepared.counts["total"] == total
    assert prepared.warnings == ("1 repeated sentence ids, renumbered",)
    (line,) = prepared.differences
    assert "2 sentences about several objects; published: " in line and "32,202 sentences about nothing" in line
    with Store(tmp_path / "s.h5") as store:
        assert store_counts(store) == prepared.counts
        assert store.ref(1).category_ids == (1, 1)
        both = rle.decode(store.mask(1))
        assert both.sum() == sum(rle.area(store.annotation(row).mask) for row in store.ref(1).annotations) > 100
        assert rle.area(store.mask(2)) == 0 and store.ref(2).annotations == ()
        assert [store.sentence(row).raw for row in range(3)] == ["left cup", "both cups", "All"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ann_id": [100, "x"]}, r"refs\[0\] has ann_id 'x'; expected int"),
        ({"ann_id": None}, r"refs\[0\] has ann_id None"),
        ({"ann_id": [100, 999]}, "refs to an annotation that instances.json lacks .ref 0 to 100, 999"),
        ({"ann_id": [100, 102]}, "refs to an annotation of another picture"),
        # No target beside a target is neither.
        ({"ann_id": [100, -1]}, "instances.json lacks"),
        ({"category_id": [{}]}, "category_id"),
    ],
)
def test_refs_of_grefcoco_that_are_none_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    root = grefcoco(tmp_path / "root", gref(**changes))
    with pytest.raises(DataError, match=message):
        prepare_dataset(find_dataset("grefcoco"), source=root, out=tmp_path / "s.h5")


def test_lists_of_annotations_are_grefcocos_alone(tmp_path: Path) -> None:
    refs, _ = refer_files.published()
    refs[0]["ann_id"] = [100]
    root = refer_files.write(tmp_path / "root", refs=refs)
    with pytest.raises(DataError, match=r"ann_id \[100\]; expected int"):
        prepare_dataset(find_dataset("refcoco"), source=root, out=tmp_path / "s.h5")


def test_json_that_is_none_is_refused(tmp_path: Path) -> None:
    root = grefcoco(tmp_path / "root", gref())
    (root / "grefcoco" / "grefs(unc).json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="is not valid JSON"):
        prepare_dataset(find_dataset("grefcoco"), source=root, out=tmp_path / "s.h5")


def test_grefcoco_is_read_as_rela_reads_it(tmp_path: Path) -> None:
    """Crowds are left out of a ref, and polygons of fewer than three points out of an annotation, both counted."""
    refs = gref()
    refs[1]["ann_id"] = [100, 101]
    refs.append({**refs[0], "ref_id": 9, "ann_id": [101]})
    root = grefcoco(tmp_path / "root", refs)
    path = root / "grefcoco" / "instances.json"
    content = json.loads(path.read_text())
    entries = {entry["id"]: entry for entry in content["annotations"]}
    entries[100]["segmentation"] += [[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]
    entries[101]["iscrowd"] = 1
    path.write_text(json.dumps(content))
    prepared = prepare_dataset(find_dataset("grefcoco"), source=root, out=tmp_path / "s.h5", verify=True)
    for told in (
        "1 annotations with polygons of fewer than three points, which are dropped",
        "1 refs to crowds and others, of which the others are taken",
        "1 refs to nothing but crowds, dropped",
    ):
        assert told in prepared.warnings
    with Store(tmp_path / "s.h5") as store:
        assert [len(store.ref(row).annotations) for row in range(4)] == [1, 1, 0, 1]


def test_grefcoco_without_its_test_splits_is_told_to_be_of_the_first_release(tmp_path: Path) -> None:
    prepared = prepare_dataset(
        find_dataset("grefcoco"), source=grefcoco(tmp_path / "root", gref()[:3]), out=tmp_path / "s.h5"
    )
    assert any("withheld" in line for line in prepared.warnings)


# RefCOCO and RefCOCOg split by Google.


@pytest.mark.parametrize("name", ["refcoco", "refcocog"])
def test_googles_splits_are_prepared_and_what_they_share_is_told(tmp_path: Path, name: str) -> None:
    refs, _ = refer_files.published()
    # Google splits things, not images: the first image is both trained on and tested on.
    for ref, split in zip(refs, ("train", "val", "val", "train" if name == "refcocog" else "test"), strict=True):
        ref["split"] = split
    root = refer_files.write(tmp_path / "root", refs=refs, folder=name, split_by="google")
    command = ["prepare", name, "--from", str(root), "--split-by", "google", "--data-root", str(tmp_path), "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["store"] == str(tmp_path / f"{name}_google.h5") and told["split_by"] == "google"
    assert set(told["published"]) == {"train", "val", "total"} | ({"test"} if name == "refcoco" else set())
    assert "1 pictures shared by train and another split, kept" in told["warnings"]
    assert any("has no test split" in line for line in told["warnings"]) == (name == "refcocog")
    differing = {line.split(":")[0] for line in told["differences"]}
    assert {f"{name} (google) train", f"{name} (google) val"} <= differing
    with Store(told["store"]) as store:
        assert (store.name, store.split_by) == (name, "google")
        assert len(store.refs("val")) == 2


# PhraseCut.


def task(task_id: str, image_id: int, phrase: str, instances: list[Any], name: str = "cup") -> dict[str, Any]:
    """Return a published phrase."""
    return {
        "task_id": task_id,
        "image_id": image_id,
        "ann_ids": list(range(len(instances))),
        "instance_boxes": [[0, 0, 5, 5] for _ in instances],
        "Polygons": instances,
        "phrase": phrase,
        "phrase_structure": {"name": name, "attributes": [], "type": "name"},
    }


SQUARE = [[2.9, 3.2], [12.9, 3.0], [12.1, 13.7], [2.5, 13.9]]
TASKS = {
    "train": [
        task("1__1", 1, "Red cups", [[SQUARE], [[[30, 10], [50, 10], [50, 30], [30, 30]]]]),
        task("1__2", 1, "dog", [[[[1, 1], [4, 1]]]], name="dog"),
    ],
    "val": [task("2__1", 2, "cup", [[SQUARE]]), task("2__1", 2, "cup again", [[SQUARE]])],
    "miniv": [task("3__1", 3, "cup on table", [[SQUARE, [[20, 20], [25, 20], [25, 25]]]])],
}


def phrase_cut(root: Path, tasks: Any = TASKS, *, images: tuple[str, ...] = ("images",)) -> Path:
    """Write a small PhraseCut; images go to the folders in turn."""
    root.mkdir(parents=True, exist_ok=True)
    for split, listed in tasks.items():
        (root / f"refer_{split}.json").write_text(json.dumps(listed, indent=1))
    for place, (image_id, (height, width)) in enumerate(refer_files.SIZES.items()):
        path = root / images[place % len(images)] / f"{image_id}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(refer_files.jpeg(height, width, seed=image_id))
    return root


@pytest.mark.parametrize("pictures", [("images",), ("VG_100K", "VG_100K_2"), ("images/VG_100K", "images/VG_100K_2")])
def test_phrasecut_is_prepared_from_one_folder_of_images_or_two(tmp_path: Path, pictures: tuple[str, ...]) -> None:
    root = phrase_cut(tmp_path / "root" / "VGPhraseCut_v0", images=pictures)
    prepared = prepare_dataset(find_dataset("phrasecut"), source=root, out=tmp_path / "s.h5", verify=True)
    assert prepared.warnings == ("1 phrases published twice, first kept",)
    assert prepared.counts["val + miniv"] == {"images": 2, "refs": 2, "sentences": 2}
    assert prepared.counts["total"] == {"images": 3, "refs": 4, "sentences": 4, "of_several": 1}
    told = "\n".join(prepared.differences)
    assert "no split test" in told and "val + miniv: 2 images, 2 sentences; published: 2,971 images" in told
    assert "val + miniv  2 (2,971)" in prepared.table()
    with Store(tmp_path / "s.h5") as store:
        assert store.splits == ["train", "val", "miniv"]
        assert store.categories == {1: "cup", 2: "dog"}
        first = store.sentence(0)
        assert (first.raw, first.sent, first.tokens) == ("Red cups", "red cups", ("red", "cups"))
        # Points are cut off to (2, 3), (12, 3), (12, 13), (2, 13), and PIL's fill takes its outline in.
        assert store.annotation(0).box == (2, 3, 11, 11)
        assert rle.area(store.mask(0)) == 11 * 11 + 21 * 21
        # A polygon of two points is a line, as published.
        assert rle.area(store.mask(1)) == 4
        assert rle.area(store.mask(3)) == 11 * 11 + 21
        assert store_counts(store) == prepared.counts
    # `--from` may be the folder around it, too.
    assert DATASETS["phrasecut"].read(root.parent, images=root).counts() == DATASETS["phrasecut"].read(root).counts()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (task("9", 1, "x", [[[[1, 2], [float("nan"), 3]]]]), "a polygon is a list of points.*nan"),
        (task("9", 1, "x", [[[[1, 2], [3]]]]), "a polygon is a list of points"),
        (task("9", 1, "x", [[[[1, 2], [10**400, 3]]]]), "pixels"),
        (task("9", 1, "x", [[7]]), "a polygon is a list of points"),
        (task("9", 1, "x", [7]), "an instance is a list of polygons"),
        (task("9", 1, "x", []), "1 phrases without a valid mask .9."),
        (task("9", 1, "x", [[[[1, 2]]]]), "phrases without a valid mask"),
        (task("9", 1, "x", [[[[900, 900], [950, 900], [950, 950]]]]), "phrases without a valid mask"),
        (task("9", 77, "x", [[SQUARE]]), r"1 pictures missing \(.*77\.jpg\)"),
        ({**task("9", 1, "x", []), "Polygons": None}, "line 2, phrase 0 has Polygons None"),
        ({**task("9", 1, "x", []), "image_id": "1"}, "image_id '1'; expected a whole number"),
        ({**task("9", 1, "x", []), "phrase": None}, "phrase None"),
        ([], "is not an object"),
    ],
)
def test_phrases_that_are_none_are_refused_by_name(tmp_path: Path, entry: Any, message: str) -> None:
    root = phrase_cut(tmp_path / "root", {"val": TASKS["val"][:1], "test": [entry]})
    with pytest.raises(DataError, match=message):
        prepare_dataset(find_dataset("phrasecut"), source=root, out=tmp_path / "s.h5")


@pytest.mark.parametrize("content", ["", "{}", "[{]", "[] []", "<html>", "[" * 100_000])
def test_files_that_are_no_lists_of_phrases_are_refused(tmp_path: Path, content: str) -> None:
    root = phrase_cut(tmp_path / "root", {})
    (root / "refer_val.json").write_text(content)
    with pytest.raises(DataError, match=r"refer_val\.json is not (valid JSON|a list)"):
        prepare_dataset(find_dataset("phrasecut"), source=root, out=tmp_path / "s.h5")
    with pytest.raises(DataError, match="no PhraseCut under"):
        prepare_dataset(find_dataset("phrasecut"), source=tmp_path, out=tmp_path / "s.h5")
    with pytest.raises(DataError, match="is not a folder"):
        prepare_dataset(find_dataset("phrasecut"), source=tmp_path / "none", out=tmp_path / "s.h5")


POINT = st.tuples(st.floats(-20, 60), st.floats(-20, 60))


@given(st.lists(st.lists(POINT, max_size=6), max_size=4))
def test_masks_of_phrasecut_are_pils_fill_of_whole_numbered_points(polygons: list[list[tuple[float, float]]]) -> None:
    expected = np.zeros((30, 40), dtype=bool)
    for polygon in polygons:
        if len(polygon) > 1:
            canvas = Image.new("L", (40, 30))
            ImageDraw.Draw(canvas).polygon([(int(x), int(y)) for x, y in polygon], outline=1, fill=1)
            expected |= np.asarray(canvas) > 0
    assert np.array_equal(
        rle.decode(_mask([[list(one) for one in polygon] for polygon in polygons], height=30, width=40)), expected
    )


def test_the_published_counts_of_phrasecut_are_met_by_what_meets_them() -> None:
    counts = {
        "train": {"images": 71_746, "sentences": 310_816},
        "val": {"images": 2_871, "sentences": 19_495},
        "test": {"images": 2_545, "sentences": 14_354},
        "miniv": {"images": 100, "sentences": 821},
        "val + miniv": {"images": 2_971, "sentences": 20_316},
        "total": {"images": 77_262, "sentences": 345_486},
    }
    assert differences("phrasecut", "published", counts) == []


# From a server, and before anything is fetched.


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[http_server.Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http_server.running() as running:
        yield running


def test_phrasecut_is_fetched_file_by_file_and_its_images_in_two_archives(
    site: http_server.Site, tmp_path: Path
) -> None:
    published = phrase_cut(tmp_path / "published", images=("VG_100K", "VG_100K_2"))
    annotations, images = [], []
    for split in ("train", "val", "test", "miniv"):
        name = f"refer_{split}.json"
        body = (published / name).read_bytes() if split in TASKS else b"[]"
        site.answers[f"/{name}"] = http_server.serve(body, drop_after=300)
        site.answers[f"/page/{name}"] = http_server.serve(b"<html>Confirm the download</html>")
        mirrors = (site.url(f"/page/{name}"), site.url(f"/{name}"))
        provides = f"phrasecut/{name}"
        annotations.append(Source(file_name=name, mirrors=mirrors, folder="phrasecut", about=1000, provides=provides))
    for key, folder in (("vg-1", "VG_100K"), ("vg-2", "VG_100K_2")):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for path in (published / folder).iterdir():
                archive.write(path, f"{folder}/{path.name}")
        site.answers[f"/{key}.zip"] = http_server.serve(buffer.getvalue())
        mirrors = (site.url(f"/{key}.zip"),)
        images.append(Source(file_name=f"{key}.zip", mirrors=mirrors, folder="images", about=len(buffer.getvalue())))
    dataset = replace(
        find_dataset("phrasecut"), sources=tuple(annotations), images=replace(VISUAL_GENOME, sources=tuple(images))
    )
    downloads = Downloads(
        root=tmp_path / "data",
        agree=lambda question: "Visual Genome" in question,
        retries=RetryPolicy(sleep=lambda seconds: None),
    )
    options = {"root": downloads.root}
    plan = dry_run(dataset, out=tmp_path / "s.h5", **options)
    assert [download.file_name for download in plan.downloads] == [
        *(f"refer_{split}.json" for split in SPLITS),
        "vg-1.zip",
        "vg-2.zip",
    ]
    assert not site.requests and not (tmp_path / "data").exists()
    prepared = prepare_dataset(dataset, out=tmp_path / "s.h5", downloads=downloads)
    assert prepared.counts["total"]["sentences"] == 4
    record = json.loads((tmp_path / "data/phrasecut/refer_train.json.json").read_text())
    assert record["url"].endswith("/refer_train.json") and len(record["sha256"]) == 64
    asked = len(site.requests)
    plan = dry_run(dataset, out=tmp_path / "t.h5", **options)
    assert (plan.downloads, plan.present, plan.wanted) == ((), 3, 3)
    assert plan.store_bytes == sum(path.stat().st_size for path in (tmp_path / "data/images").rglob("*.jpg"))
    prepare_dataset(dataset, out=tmp_path / "t.h5", downloads=downloads)
    assert len(site.requests) == asked
    # What an interrupted run did not come to is fetched; what is there is not.
    (tmp_path / "data/phrasecut/refer_val.json").unlink()
    plan = dry_run(dataset, out=tmp_path / "t.h5", **options)
    assert [download.file_name for download in plan.downloads] == ["refer_val.json"]
    again = prepare_dataset(dataset, out=tmp_path / "t.h5", downloads=downloads)
    assert again.counts == prepared.counts
    assert {path for path, *_ in site.requests[asked:]} == {"/page/refer_val.json", "/refer_val.json"}


SPLITS = ("train", "val", "test", "miniv")


def test_instances_of_coco_are_fetched_with_their_images(site: http_server.Site, tmp_path: Path) -> None:
    published = refer_files.write(tmp_path / "published")
    files = {
        "annotations.zip": {"annotations/instances_train2014.json": published / "refcoco/instances.json"},
        "train2014.zip": {f"train2014/{one.name}": one for one in (published / "images/train2014").iterdir()},
    }
    sources = {}
    for name, entries in files.items():
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for entry, path in entries.items():
                archive.write(path, entry)
        site.answers[f"/{name}"] = http_server.serve((tmp_path / name).read_bytes())
        sources[name] = Source(file_name=name, mirrors=(site.url(f"/{name}"),), folder="", about=1000)
    instances = "annotations/instances_train2014.json"
    dataset = replace(
        COCO_PHRASES,
        sources=(replace(sources["annotations.zip"], provides=instances),),
        images=replace(COCO_TRAIN2014, sources=(replace(sources["train2014.zip"], folder="images"),)),
    )
    downloads = Downloads(root=tmp_path / "data", agree=lambda question: "COCO train2014" in question)
    written = set()
    for number in range(2):
        prepared = prepare_dataset(dataset, out=tmp_path / f"{number}.h5", downloads=downloads)
        written.add(prepared.store.fingerprint)
        assert (downloads.root / instances).read_bytes() == (published / "refcoco/instances.json").read_bytes()
    assert len(site.requests) == 2 and len(written) == 1
    given = {"source": downloads.root / instances, "images": downloads.root / "images" / "train2014"}
    for files in ({}, given):
        plan = dry_run(dataset, out=tmp_path / "s.h5", root=downloads.root, **files)
        assert plan.downloads == () and plan.present == plan.wanted == 3


def test_grefcoco_is_fetched_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = grefcoco(tmp_path / "published", gref())
    asked = []

    def downloaded(repository: str, wanted: Callable[[str], bool], *, what: str) -> list[Path]:
        asked.append((repository, what))
        return [path for path in (published / "grefcoco").iterdir() if wanted(path.name)]

    monkeypatch.setattr(hub, "_downloaded", downloaded)
    downloads = Downloads(root=tmp_path / "data")
    images = published / "images" / "train2014"
    prepared = prepare_dataset(find_dataset("grefcoco"), out=tmp_path / "s.h5", images=images, downloads=downloads)
    assert prepared.counts["total"]["of_nothing"] == 1
    assert asked == [("FudanCVL/gRefCOCO", "grefs(unc).json"), ("FudanCVL/gRefCOCO", "instances.json")]
    assert len(json.loads((tmp_path / "data/grefcoco/instances.json.json").read_text())["sha256"]) == 64
    prepare_dataset(find_dataset("grefcoco"), out=tmp_path / "s.h5", images=images, downloads=downloads)
    assert len(asked) == 2


def test_a_hub_that_cannot_be_reached_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def downloaded(repository: str, wanted: Callable[[str], bool], *, what: str) -> list[Path]:
        raise hub.NotOnHubError("no network")

    monkeypatch.setattr(hub, "_downloaded", downloaded)
    with pytest.raises(DataError, match=r"hf://datasets/FudanCVL/gRefCOCO.*no network.*--from"):
        prepare_dataset(find_dataset("grefcoco"), out=tmp_path / "s.h5", downloads=Downloads(root=tmp_path / "data"))


# The tables on the hub, where no mirror of the archives answers.


def table(root: Path, name: str, folder: Path, *, change: Callable[[dict[str, Any]], None] | None = None) -> Path:
    """Write refs and instances as a table of the hub's form has them, a row a ref, HF's names of splits for files."""
    parquet = pytest.importorskip("pyarrow.parquet")
    from pyarrow import Table

    refs = pickle.loads((root / name / f"refs({SPLIT_BY[name][0]}).p").read_bytes())
    instances = json.loads((root / name / "instances.json").read_text())
    images = {instance["id"]: instance for instance in instances["images"]}
    annotations = {instance["id"]: instance for instance in instances["annotations"]}
    rows = []
    for ref in refs:
        row = {key: ref[key] for key in ("ref_id", "ann_id", "image_id", "category_id", "split", "sentences")}
        row |= {
            "raw_anns": json.dumps(annotations[ref["ann_id"]]),
            "raw_image_info": json.dumps(images[ref["image_id"]]),
            "captions": ["not used"],
        }
        if change:
            change(row)
        rows.append(row)
    folder.mkdir()
    for split in sorted({row["split"] for row in rows}):
        own = [row for row in rows if row["split"] == split]
        parquet.write_table(Table.from_pylist(own), folder / f"{split}-00000-of-00001-1a2b3c.parquet")
    return folder


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Path], dict[str, Any]]:
    """Return RefCOCO, its archives nowhere and its tables on a hub that has those of a folder, and the downloads."""

    def offer(folder: Path) -> dict[str, Any]:
        def downloaded(repository: str, wanted: Callable[[str], bool], *, what: str) -> list[Path]:
            assert repository == "jxu124/refcoco"
            return sorted(path for path in folder.iterdir() if wanted(path.name))

        monkeypatch.setattr(hub, "_downloaded", downloaded)
        refcoco = find_dataset("refcoco")
        nowhere = replace(refcoco.sources[0], mirrors=("http://127.0.0.1:9/refcoco.zip",))
        retries = RetryPolicy(attempts=1, sleep=lambda seconds: None)
        downloads = Downloads(root=tmp_path / "data", retries=retries)
        return {"dataset": replace(refcoco, sources=(nowhere,)), "downloads": downloads}

    return offer


def test_the_hubs_table_stands_in_where_no_archive_is_to_be_had(
    refer_mini: Path, tmp_path: Path, tables: Callable[[Path], dict[str, Any]]
) -> None:
    offered = tables(table(refer_mini, "refcoco", tmp_path / "hub"))
    images = refer_mini / "images" / "train2014"
    prepared = prepare_dataset(**offered, out=tmp_path / "s.h5", images=images, verify=True)
    whole = prepare_dataset(find_dataset("refcoco"), out=tmp_path / "whole.h5", source=refer_mini)
    assert prepared.counts == whole.counts
    assert any("10 pictures with nothing but what is referred to" in line for line in prepared.warnings)
    with Store(tmp_path / "s.h5") as store, Store(tmp_path / "whole.h5") as other:
        for split in other.splits:
            assert Counter(store.texts(split, "raw")) == Counter(other.texts(split, "raw"))
        masks = [Counter(one.mask(int(row))["counts"] for row in one.refs("all")) for one in (store, other)]
        assert masks[0] == masks[1]
        named = {number: store.categories[number] for number in store.numbers("annotations/category").tolist()}
        assert named.items() <= other.categories.items()
        assert len(store.numbers("annotations/id")) < len(other.numbers("annotations/id"))
    record = json.loads((tmp_path / "data/downloads/refcoco.table.json").read_text())
    assert record["dataset"] == "jxu124/refcoco" and all(len(one["sha256"]) == 64 for one in record["files"])
    # It is there now: nothing is asked for again.
    again = prepare_dataset(**offered, out=tmp_path / "t.h5", images=images)
    assert again.store.fingerprint == prepared.store.fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.update(raw_anns="{"), "of another form"),
        (lambda row: row.update(raw_image_info="3"), "of another form"),
        (lambda row: row.pop("sentences"), "of another form"),
    ],
)
def test_a_table_of_another_form_is_refused(
    refer_mini: Path, tmp_path: Path, tables: Callable[[Path], dict[str, Any]], change: Any, message: str
) -> None:
    offered = tables(table(refer_mini, "refcoco", tmp_path / "hub", change=change))
    with pytest.raises(DataError, match=message):
        prepare_dataset(**offered, out=tmp_path / "s.h5")
    assert not (tmp_path / "data" / "refcoco").exists()


def test_the_table_has_one_way_of_splitting(tmp_path: Path, tables: Callable[[Path], dict[str, Any]]) -> None:
    with pytest.raises(DataError, match=r"127\.0\.0\.1:9"):
        prepare_dataset(**tables(tmp_path), out=tmp_path / "s.h5", split_by="google")


def test_a_plan_says_sizes_before_anything_moves(tmp_path: Path) -> None:
    options: dict[str, Any] = {"root": tmp_path / "data"}
    plan = dry_run(find_dataset("refcoco"), out=tmp_path / "s.h5", source=None, **options)
    told = plan.as_text()
    assert "refcoco.zip, about 50.0 MB" in told and "train2014.zip, about 13.5 GB" in told
    assert "https://web.archive.org/web/20220413011718id_" in told
    assert plan.needed == 2 * (50_000_000 + 13_500_000_000) and plan.as_json()["needed_bytes"] == plan.needed
    assert "NOT ENOUGH" in replace(plan, free=1000).as_text()
    root = refer_files.write(tmp_path / "root")
    plan = dry_run(find_dataset("refcoco"), out=tmp_path / "s.h5", source=root, **options)
    assert (plan.downloads, plan.present, plan.wanted) == ((), 3, 3)
    assert "3 of 3 are there in" in plan.as_text()
    (root / "images/train2014" / refer_files.file_name(2)).unlink()
    plan = dry_run(find_dataset("refcoco"), out=tmp_path / "s.h5", source=root, **options)
    assert (plan.present, plan.wanted) == (2, 3)
    with pytest.raises(DataError, match="no refcocog under"):
        dry_run(find_dataset("refcocog"), out=tmp_path / "s.h5", source=root, **options)
    with pytest.raises(UsageError, match="did you mean 'grefcoco'"):
        find_dataset("grefcocoo")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root"]


@pytest.mark.parametrize("name", [name for name, one in DATASETS.items() if one.sources])
def test_every_set_has_a_command_that_plans_without_a_network(tmp_path: Path, name: str) -> None:
    command = ["prepare", name, "--dry-run", "--data-root", str(tmp_path / "data")]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert plan["downloads"] and all(one["mirrors"] for one in plan["downloads"])
    assert plan["download_bytes"] == sum(one["about_bytes"] for one in plan["downloads"]) > 10**9
    assert "a plan only" in CliRunner().invoke(app, command).stdout
    assert not (tmp_path / "data").exists()


def test_counts_of_a_dataset_and_of_its_store_agree(refer_mini: Path, tmp_path: Path) -> None:
    prepared = prepare_dataset(find_dataset("refcoco"), source=refer_mini, out=tmp_path / "s.h5")
    with Store(tmp_path / "s.h5") as store:
        assert store_counts(store) == prepared.counts == counted(DATASETS["refcoco"].read(refer_mini))
