"""Reading RefCOCO's published files: layouts, and everything that can be wrong with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import refer_files
from pycocotools.coco import COCO
from typer.testing import CliRunner

from risctl.cli.app import app
from risctl.data.datasets.counts import differences, explanation
from risctl.data.datasets.descriptor import JOINED, TOTAL
from risctl.data.datasets.refer.descriptor import REFCOCO
from risctl.data.datasets.refer.reader import read_refer
from risctl.data.datasets.registry import DATASETS
from risctl.data.store.reader import Store
from risctl.data.store.verify import verify_masks
from risctl.data.store.writer import write_store
from risctl.errors import DataError, UsageError
from risctl.vision import rle

MINI = {
    "refcoco": {
        "testB": {"images": 2, "refs": 4, "sentences": 14},
        "val": {"images": 3, "refs": 8, "sentences": 21},
        "train": {"images": 5, "refs": 9, "sentences": 10},
    },
    "refcoco+": {
        "testB": {"images": 2, "refs": 4, "sentences": 12},
        "val": {"images": 3, "refs": 8, "sentences": 24},
    },
    "refcocog": {
        "test": {"images": 4, "refs": 4, "sentences": 7},
        "val": {"images": 1, "refs": 1, "sentences": 2},
    },
}


@pytest.mark.parametrize("name", MINI)
def test_the_published_extract_reads_with_its_counts(refer_mini: Path, name: str) -> None:
    dataset = DATASETS[name].read(refer_mini)
    print(name, dataset.counts(), dataset.notes)
    assert dataset.counts() == MINI[name]
    ids = [expression.sentence_id for record in dataset.records for expression in record.expressions]
    assert len(set(ids)) == len(ids)
    repeated = 2 if name == "refcoco" else 0
    assert dataset.notes.get("repeated sentence ids, renumbered", 0) == repeated


@pytest.mark.parametrize("name", MINI)
def test_masks_are_those_of_pycocotools(refer_mini: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = DATASETS[name].read(refer_mini)
    coco = COCO(refer_mini / name / "instances.json")
    capsys.readouterr()
    assert len(dataset.annotations) > 50
    for annotation in dataset.annotations.values():
        expected = coco.annToMask(coco.anns[annotation.annotation_id]).astype(bool)
        assert np.array_equal(rle.decode(annotation.mask), expected)


LAYOUTS = [
    {"folder": "refcoco", "images": "images/train2014"},
    {"folder": "data/refcoco", "images": "images/mscoco/images/train2014"},
    {"folder": "data/refcoco", "images": "data/images/mscoco/images/train2014"},
    {"folder": "refcoco", "images": "train2014"},
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("direct", [False, True])
def test_every_public_layout_is_found(tmp_path: Path, layout: dict[str, str], direct: bool) -> None:
    root = refer_files.write(tmp_path / "root", **layout)
    dataset = read_refer(root / layout["folder"] if direct else root, name="refcoco")
    assert {image.path for image in dataset.images.values()} == set((root / layout["images"]).iterdir())
    assert [record.ref_id for record in dataset.records] == [10, 11, 12, 13]


@pytest.mark.parametrize("given", ["mine", "mine/images", "mine/images/train2014"])
def test_images_elsewhere_are_found_by_their_folder_or_one_around_it(tmp_path: Path, given: str) -> None:
    root = refer_files.write(tmp_path / "root")
    (tmp_path / "mine").mkdir()
    shutil.move(root / "images", tmp_path / "mine" / "images")
    with pytest.raises(DataError, match="--images"):
        read_refer(root, name="refcoco")
    dataset = read_refer(root, name="refcoco", images=tmp_path / given)
    assert all(image.path and image.path.is_file() for image in dataset.images.values())


def test_a_folder_of_another_set_is_not_taken(tmp_path: Path) -> None:
    root = refer_files.write(tmp_path / "root", folder="refcocog", split_by="umd")
    with pytest.raises(DataError, match="no refcoco under"):
        read_refer(root / "refcocog", name="refcoco")
    with pytest.raises(DataError, match=r"split by umd: try --split-by umd"):
        read_refer(root, name="refcocog", split_by="google")
    with pytest.raises(UsageError, match="did you mean 'refcocog'"):
        read_refer(root, name="refcocg")
    with pytest.raises(DataError, match="is not a folder"):
        read_refer(tmp_path / "absent", name="refcoco")


def test_only_images_that_refs_are_about_are_kept_with_all_their_annotations(tmp_path: Path) -> None:
    refs, instances = refer_files.published()
    root = refer_files.write(tmp_path, refs=[ref for ref in refs if ref["image_id"] != 1], instances=instances)
    dataset = read_refer(root, name="refcoco")
    assert list(dataset.images) == [2, 3]
    assert list(dataset.annotations) == [102, 103, 104]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_any_pickle_protocol_reads_the_same(tmp_path: Path, protocol: int) -> None:
    root = refer_files.write(tmp_path, protocol=protocol)
    assert read_refer(root, name="refcoco").counts()["train"] == {"images": 1, "refs": 2, "sentences": 3}


def test_repeated_ids_are_renumbered_and_no_sentence_is_lost(tmp_path: Path) -> None:
    refs, _ = refer_files.published()
    refs[0]["sentences"][1]["sent_id"] = 0
    refs[2]["sentences"][0]["sent_id"] = 0
    refs[3]["ref_id"] = 10
    dataset = read_refer(refer_files.write(tmp_path, refs=refs), name="refcoco")
    ids = [expression.sentence_id for record in dataset.records for expression in record.expressions]
    assert ids == [0, 6, 2, 7, 4, 5]
    assert [record.ref_id for record in dataset.records] == [10, 11, 12, 13]
    assert dataset.notes == {"repeated sentence ids, renumbered": 2, "repeated ref ids, renumbered": 1}


def _missing_image(root: Path, refs: list[Any], instances: dict[str, Any]) -> None:
    (root / "images/train2014" / refer_files.file_name(2)).unlink()


def _no_image(root: Path, refs: list[Any], instances: dict[str, Any]) -> None:
    (root / "images/train2014" / refer_files.file_name(2)).write_text("<html>")


def _other_size(root: Path, refs: list[Any], instances: dict[str, Any]) -> None:
    (root / "images/train2014" / refer_files.file_name(2)).write_bytes(refer_files.jpeg(25, 15))


def _no_image_entry(root: Path, refs: list[Any], instances: dict[str, Any]) -> None:
    instances["images"] = [instance for instance in instances["images"] if instance["id"] != 2]


def _no_annotation(root: Path, refs: list[Any], instances: dict[str, Any]) -> None:
    instances["annotations"] = [instance for instance in instances["annotations"] if instance["id"] != 102]


def _of_another_image(root: Path, refs: list[Any], instances: dict[str, Any]) -> None:
    refs[2]["ann_id"] = 103


def _two_points(root: Path, refs: list[Any], instances: dict[str, Any]) -> None:
    instances["annotations"][2]["segmentation"] = [[1, 1, 2, 2]]


def _runs_that_do_not_fill(root: Path, refs: list[Any], instances: dict[str, Any]) -> None:
    instances["annotations"][2]["segmentation"] = {"size": [50, 30], "counts": [5, 5]}


LOSSES = {
    "pictures missing": _missing_image,
    "files that are no pictures": _no_image,
    "pictures of another size than annotated": _other_size,
    "refs to a picture that instances.json lacks": _no_image_entry,
    "refs to an annotation that instances.json lacks": _no_annotation,
    "refs to an annotation of another picture": _of_another_image,
    "refs to an annotation without a valid mask": _two_points,
    "refs to an annotation without a valid mask ": _runs_that_do_not_fill,
}


@pytest.mark.parametrize("what", LOSSES)
def test_a_loss_is_refused_by_name_or_left_out_and_counted(tmp_path: Path, what: str) -> None:
    refs, instances = refer_files.published()
    refer_files.write(tmp_path)
    LOSSES[what](tmp_path, refs, instances)
    image = (tmp_path / "images/train2014" / refer_files.file_name(2)).read_bytes() if "missing" not in what else None
    refer_files.write(tmp_path, refs=refs, instances=instances)
    lost = tmp_path / "images/train2014" / refer_files.file_name(2)
    if image is None:
        lost.unlink()
    else:
        lost.write_bytes(image)
    with pytest.raises(DataError, match=f"1 {what.strip()}.*--allow-missing") as caught:
        read_refer(tmp_path, name="refcoco")
    assert "12" in str(caught.value) or "000000000002" in str(caught.value)
    dataset = read_refer(tmp_path, name="refcoco", on_missing="drop")
    assert [record.ref_id for record in dataset.records] == [10, 11, 13]
    assert 2 not in dataset.images
    assert dataset.notes == {f"{what.strip()}, left out": 1}


def test_what_can_be_mended_is_mended_and_counted(tmp_path: Path) -> None:
    refs, instances = refer_files.published()
    refs[0]["sentences"][0] |= {"sent": " ", "raw": "Left CUP"}
    refs[0]["sentences"][1]["tokens"] = None
    refs[1]["category_id"] = 2
    refs[2]["sentences"][1] |= {"sent": "", "raw": " "}
    refs[3]["sentences"] = []
    instances["annotations"] += [instances["annotations"][0], refer_files.square(105, 2, 0, 0, 3)]
    instances["annotations"][-1]["segmentation"] = [[1, 2]]
    dataset = read_refer(refer_files.write(tmp_path, refs=refs, instances=instances), name="refcoco")
    first, second = dataset.records[0].expressions
    assert (first.sent, first.raw) == ("left cup", "Left CUP")
    assert second.tokens == ("the", "cup")
    assert len(dataset.records[2].expressions) == 1
    assert len(dataset.records) == 3
    assert sorted(dataset.notes.values()) == [1] * 7, dataset.notes


def test_a_referred_mask_without_a_pixel_is_kept_and_counted(tmp_path: Path) -> None:
    refs, instances = refer_files.published()
    instances["annotations"][0]["segmentation"] = [[100, 100, 110, 100, 110, 110]]
    dataset = read_refer(refer_files.write(tmp_path, refs=refs, instances=instances), name="refcoco")
    assert rle.area(dataset.annotations[100].mask) == 0
    assert dataset.notes == {"refs whose mask has no pixel, kept": 1}


def test_images_shared_by_train_and_val_are_told(tmp_path: Path) -> None:
    refs, _ = refer_files.published()
    refs[1]["split"] = "val"
    dataset = read_refer(refer_files.write(tmp_path, refs=refs, split_by="google"), name="refcoco", split_by="google")
    assert dataset.notes == {"pictures shared by train and another split, kept": 1}


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("refs", {"a": 1}, "not a list of refs"),
        ("refs", [], "not a list of refs"),
        ("refs", ["x"], r"refs\[0\] is not a dict"),
        ("refs", [{"ref_id": "1"}], "ref_id '1'; expected int"),
        ("refs", [{"ref_id": 2**70, "sentences": []}], "expected an id"),
        ("refs", [{"ref_id": 1, "sentences": [3]}], "not a dict"),
        ("instances", [], "no list of 'images'"),
        ("instances", {"images": [{"id": 1}]}, "height None"),
        ("instances", {"images": [{"id": 1, "height": 10**9, "width": 3, "file_name": "a"}]}, "size 1000000000x3"),
        (
            "instances",
            {"images": [{"id": 1, "height": 9, "width": 9, "file_name": "../../etc/passwd"}]},
            "expected a bare name",
        ),
    ],
)
def test_files_of_another_form_are_refused_with_the_entry(tmp_path: Path, part: str, value: Any, message: str) -> None:
    root = refer_files.write(tmp_path, **{part: value})
    with pytest.raises(DataError, match=message):
        read_refer(root, name="refcoco")


def test_broken_json_is_refused(tmp_path: Path) -> None:
    root = refer_files.write(tmp_path)
    file = root / "refcoco" / "instances.json"
    file.write_text(file.read_text()[:-20])
    with pytest.raises(DataError, match="is not valid JSON"):
        read_refer(root, name="refcoco")
    file.write_text("[" * 100_000)
    with pytest.raises(DataError, match="is not valid JSON"):
        read_refer(root, name="refcoco")


def test_one_sentence_list_repeated_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("risctl.data.datasets.refer.refs.MAX_SENTENCES", 1000)
    refs, _ = refer_files.published()
    refs[0]["sentences"] = refs[0]["sentences"] * 600
    with pytest.raises(DataError, match="more than 1,000 sentences"):
        read_refer(refer_files.write(tmp_path, refs=refs), name="refcoco")


def test_the_published_splits_sum_to_their_totals() -> None:
    tables = [(name, *item) for name, dataset in DATASETS.items() for item in dataset.published.items()]
    for name, split_by, table in tables:
        for kind in ("refs", "sentences"):
            joined = {part for split in table if JOINED in split for part in split.split(JOINED)}
            parts = [row[kind] for split, row in table.items() if split != TOTAL and split not in joined]
            if parts and all(part is not None for part in parts):
                assert sum(part for part in parts if part) == table[TOTAL][kind], (name, split_by, kind)


def test_a_difference_from_the_published_counts_shows_both_numbers() -> None:
    counts: dict[str, dict[str, int]] = {
        split: {kind: figure or 1 for kind, figure in row.items()} for split, row in REFCOCO.published["unc"].items()
    }
    assert differences("refcoco", "unc", counts) == []
    counts["val"]["sentences"] = 10_833
    (line,) = differences("refcoco", "unc", counts)
    assert "10,833 sentences" in line and "10,834 sentences" in line
    del counts["testB"]
    assert any("no split testB" in line for line in differences("refcoco", "unc", counts))
    assert differences("mine", "random", counts) == []


@pytest.mark.parametrize(
    ("split", "changes", "why"),
    [
        (None, {}, None),
        ("val", {"refs": 3_810}, "the same in all, divided otherwise"),
        (TOTAL, {"sentences": 142_209}, "papers print as many"),
        (TOTAL, {"sentences": 142_000}, "fewer than published"),
        (TOTAL, {"refs": 21, "sentences": 45, "images": 10}, "a part of what was published"),
        (TOTAL, {"refs": 50_001}, "more than published"),
    ],
)
def test_a_difference_from_the_published_counts_is_explained(
    split: str | None, changes: dict[str, int], why: str | None
) -> None:
    counts = {
        name: {kind: figure or 1 for kind, figure in row.items()} for name, row in REFCOCO.published["unc"].items()
    }
    if split is not None:
        counts[split] |= changes
    told = explanation("refcoco", "unc", counts)
    assert told is None if why is None else told is not None and why in told
    assert explanation("mine", "random", counts) is None


def test_the_refs_file_name_is_not_taken_for_the_images(refer_mini: Path) -> None:
    published = json.loads((refer_mini / "refcoco" / "instances.json").read_text())
    names = {one["id"]: one["file_name"] for one in published["images"]}
    for image in read_refer(refer_mini, name="refcoco").images.values():
        assert image.file_name == names[image.image_id] == (image.path and image.path.name)


def test_overlaps_of_polygons_can_be_background(tmp_path: Path) -> None:
    refs, instances = refer_files.published()
    second = refer_files.square(0, 1, 6, 6, 10)["segmentation"]
    instances["annotations"][0]["segmentation"] += second
    root = refer_files.write(tmp_path, refs=refs, instances=instances)
    united, summed = (read_refer(root, name="refcoco", overlaps=rule).annotations for rule in ("object", "background"))
    assert rle.area(united[100].mask) - rle.area(summed[100].mask) == 6 * 7
    assert all(united[one].mask == summed[one].mask for one in united if one != 100)
    with pytest.raises(UsageError, match="object or background, got 'nothing'"):
        read_refer(root, name="refcoco", overlaps="nothing")


@pytest.mark.parametrize("rule", ["object", "background"])
def test_a_store_of_either_rule_is_what_its_polygons_say(tmp_path: Path, rule: str) -> None:
    refs, instances = refer_files.published()
    for number in (0, 1):
        instances["annotations"][number]["segmentation"] += refer_files.square(0, 1, 6, 6, 26)["segmentation"]
    root = refer_files.write(tmp_path, refs=refs, instances=instances)
    dataset = read_refer(root, name="refcoco", overlaps=rule)
    write_store(dataset, tmp_path / "s.h5")
    with Store(tmp_path / "s.h5") as store:
        assert not verify_masks(store, root / "refcoco" / "instances.json").failures
    other = read_refer(root, name="refcoco", overlaps="background" if rule == "object" else "object")
    dataset.annotations[101] = other.annotations[101]
    write_store(dataset, tmp_path / "mixed.h5")
    with Store(tmp_path / "mixed.h5") as store:
        assert len(verify_masks(store, root / "refcoco" / "instances.json").failures) == 1


def write_rrsis_d(root: Path) -> Path:
    """RRSIS-D's layout: a ref a sentence, masks as lists of RLEs."""
    whole, part = np.zeros((40, 60), dtype=bool), np.zeros((40, 60), dtype=bool)
    whole[5:20, 5:30], part[10:15, 10:20] = True, True
    refs = [
        refer_files.ref(
            number, image=1, annotation=100, split=split, sentences=[refer_files.sentence(number, "a ship")]
        )
        for number, split in enumerate(("train", "val", "test"))
    ]
    annotation = refer_files.square(100, 1, 5, 5, 15) | {"segmentation": [rle.encode(whole), rle.encode(part)]}
    _, instances = refer_files.published()
    instances |= {"annotations": [annotation], "categories": [{"id": 1, "name": "ship"}]}
    return refer_files.write(root, refs=refs, instances=instances, folder="rrsisd", images="images/rrsisd/JPEGImages")


def test_rrsis_d_is_read_as_its_published_code_reads_it(tmp_path: Path) -> None:
    """Pixels that two RLEs of a list cover sum to 2, which is background there."""
    dataset = DATASETS["rrsis-d"].read(write_rrsis_d(tmp_path / "RRSIS-D"), overlaps="background")
    mask = rle.decode(dataset.annotations[100].mask)
    assert mask.sum() == 15 * 25 - 5 * 10 and not mask[12, 12] and mask[6, 6]
    united = DATASETS["rrsis-d"].read(tmp_path / "RRSIS-D", overlaps="object")
    assert rle.area(united.annotations[100].mask) == 15 * 25
    assert dataset.name == "rrsis-d" and DATASETS["rrsis-d"].protocol == "lavt"


def test_the_command_of_rrsis_d_counts_its_sentences(tmp_path: Path) -> None:
    root = write_rrsis_d(tmp_path / "RRSIS-D")
    out = tmp_path / "set.h5"
    done = CliRunner().invoke(app, ["prepare", "rrsis-d", "--from", str(root), "--out", str(out), "--verify"])
    assert done.exit_code == 0, done.output
    assert "1 (12,181)" in done.stdout
    with Store(out) as store:
        assert rle.area(store.annotation(0).mask) == 15 * 25 - 5 * 10
