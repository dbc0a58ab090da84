"""A user's own data: both forms, every way to give a mask, and everything that can be wrong, with its line."""

from __future__ import annotations

import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import custom_files
from helpers.custom_files import HEIGHT, SQUARE, WIDTH
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from risctl.data.datasets.coco_instances import rasterise, read_instances
from risctl.data.datasets.custom import FORMAT
from risctl.data.datasets.custom.read import LINE_KEYS, CheckedFile, check_custom, refusal
from risctl.data.datasets.problems import Problems
from risctl.data.datasets.registry import DATASETS
from risctl.data.records import Dataset
from risctl.data.store.reader import Store
from risctl.data.store.verify import verify_store
from risctl.data.store.writer import write_store
from risctl.errors import DataError
from risctl.vision import rle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an image, `1.jpg`, and a PNG of a square in it, `m.png`."""
    custom_files.write_image(tmp_path / "1.jpg")
    custom_files.mask_file(tmp_path / "m.png", custom_files.square())
    return tmp_path


def check(folder: Path, *entries: Any, **options: Any) -> CheckedFile:
    return check_custom(custom_files.lines(folder / "d.jsonl", entries), **options)


def dataset_of(checked: CheckedFile) -> Dataset:
    assert checked.dataset is not None, checked.problems
    return checked.dataset


def test_the_documented_examples_are_read_as_documented(tmp_path: Path) -> None:
    examples = [line.strip() for line in FORMAT.splitlines() if line.startswith('  {"image"')]
    assert len(examples) == 4
    custom_files.write_image(tmp_path / "photos/1.jpg", height=480, width=640)
    custom_files.mask_file(tmp_path / "masks/1-cup.png", custom_files.square(height=480, width=640))
    dataset = dataset_of(check(tmp_path, *examples))
    assert [len(record.expressions) for record in dataset.records] == [1, 2, 1, 1]
    assert [len(record.annotation_ids) for record in dataset.records] == [1, 1, 1, 0]
    assert len(dataset.images) == 1
    assert {key.strip() for key in LINE_KEYS} <= set(
        FORMAT.replace(",", " ").replace(";", " ").replace(":", " ").split()
    )


WAYS = {
    "a path": "m.png",
    "a polygon": SQUARE,
    "points": [[10, 5], [30, 5], [30, 25], [10, 25]],
    "polygons": [[10, 5, 20, 5, 20, 25, 10, 25], [20, 5, 30, 5, 30, 25, 20, 25]],
    "runs": rle.encode(custom_files.square()) | {"counts": [405, *[20, 20] * 19, 20, 1215]},
    "compressed runs": dict(rle.encode(custom_files.square())),
    "runs united": [
        dict(rle.encode(custom_files.square(side=15))),
        dict(rle.encode(custom_files.square() & ~custom_files.square(side=15))),
    ],
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_give_a_mask_gives_the_same(folder: Path, way: str) -> None:
    dataset = dataset_of(check(folder, {"image": "1.jpg", "text": "the square", "mask": WAYS[way]}))
    (one,) = dataset.annotations.values()
    assert np.array_equal(rle.decode(one.mask), custom_files.square())
    assert one.box == (10, 5, 20, 20)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_a_mask_may_be_a_png_of_any_kind(folder: Path, mode: str) -> None:
    custom_files.mask_file(folder / "m.png", custom_files.square(), mode=mode)
    dataset = dataset_of(check(folder, {"image": "1.jpg", "text": "the square", "mask": "m.png"}))
    (one,) = dataset.annotations.values()
    assert np.array_equal(rle.decode(one.mask), custom_files.square())


def test_texts_splits_kinds_abilities_and_ids_come_through(folder: Path) -> None:
    custom_files.write_image(folder / "sub/2.png")
    checked = check(
        folder,
        {"image": "1.jpg", "texts": ["The  LEFT Cup", "cup"], "mask": "m.png", "split": "train", "category": "cup"},
        {"image": "1.jpg", "text": "it", "mask": WAYS["runs"], "split": "train", "category": "cup", "id": 1},
        {"image": "sub\\2.png", "text": "dog", "mask": None, "split": "testA", "abilities": ["absent"], "image_id": 77},
    )
    dataset = dataset_of(checked)
    assert (dataset.name, dataset.split_by) == ("d", "given")
    assert [record.ref_id for record in dataset.records] == [2, 1, 3]
    assert [record.split for record in dataset.records] == ["train", "train", "testA"]
    first = dataset.records[0].expressions[0]
    assert (first.raw, first.sent, first.tokens) == ("The  LEFT Cup", "the left cup", ("the", "left", "cup"))
    assert dataset.records[2].expressions[0].abilities == ("absent",)
    assert {one.file_name: key for key, one in dataset.images.items()} == {"1.jpg": 78, "sub/2.png": 77}
    # The same thing twice is one thing: it is no distractor of itself.
    assert len(dataset.annotations) == 1 and dataset.categories == {1: "cup"}
    assert dataset.records[0].annotation_ids == dataset.records[1].annotation_ids


def test_images_without_a_split_are_shared_out_whole(tmp_path: Path) -> None:
    path = custom_files.sound(tmp_path, images=20)
    dataset = dataset_of(check_custom(path, shares={"train": 3, "test": 1}, seed=5))
    counts = dataset.counts()
    assert (counts["train"]["images"], counts["test"]["images"]) == (15, 5)
    splits: dict[int, set[str]] = {}
    for record in dataset.records:
        splits.setdefault(record.image_id, set()).add(record.split)
    assert all(len(split) == 1 for split in splits.values())
    few = check_custom(path, shares={"train": 1000, "test": 1})
    assert [warning.message for warning in few.warnings] == [
        "no picture falls to split test: 20 are too few for its share"
    ]
    again, other = (dataset_of(check_custom(path, shares={"train": 3, "test": 1}, seed=seed)) for seed in (5, 6))
    assert again.records == dataset.records != other.records


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_turned_image_is_stored_as_viewers_show_it(tmp_path: Path, suffix: str) -> None:
    path = custom_files.write_image(tmp_path / f"1{suffix}", height=40, width=60, turned=6)
    upright = custom_files.square(height=60, width=40)
    checked = check(tmp_path, {"image": path.name, "text": "x", "mask": dict(rle.encode(upright))})
    info = write_store(dataset_of(checked), tmp_path / "s.h5")
    with Store(info.path) as store:
        assert not verify_store(store).failures
        sample = store.sample(0)
    with Image.open(path) as image:
        shown = np.asarray(image.transpose(Image.Transpose.ROTATE_270).convert("RGB"), dtype=int)
    assert np.array_equal(sample.mask, upright) and sample.image.shape == (60, 40, 3)
    assert np.abs(sample.image - shown).mean() < (6 if suffix == ".jpg" else 1e-9)


# What is wrong.

GOOD = {"image": "1.jpg", "text": "cup", "mask": "m.png"}
RUNS = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}
WRONG: list[tuple[Any, str]] = [
    ('{"image": "1.jpg", ', "not valid JSON"),
    ("[1, 2]", "expected an object"),
    ({**GOOD, "text": " "}, "a text is empty"),
    ({**GOOD, "text": 3}, "expected a text, got 3"),
    ({"image": "1.jpg", "texts": [], "mask": None}, r"expected a list of texts, got \[\]"),
    ({**GOOD, "texts": ["a"]}, "both text and texts"),
    ({"image": "1.jpg", "mask": None}, "has no text"),
    ({"text": "cup", "mask": None}, "has no image"),
    ({"image": "1.jpg", "text": "cup"}, "has no mask.*null"),
    ({**GOOD, "image": "2.jpg"}, r"no picture at .*2\.jpg; did you mean .*1\.jpg"),
    ({**GOOD, "image": "../1.jpg"}, "leads out of"),
    ({**GOOD, "image": "sub/../../1.jpg"}, "leads out of"),
    ({**GOOD, "image": "/etc/hostname"}, "leads out of"),
    ({**GOOD, "image": "C:\\1.jpg"}, "leads out of"),
    ({**GOOD, "image": "d.jsonl"}, "is not a picture"),
    ({**GOOD, "image": "cut.jpg"}, "cut.jpg.*truncated"),
    ({**GOOD, "image": None}, "expected the path of a file, got None"),
    ({**GOOD, "mask": "../m.png"}, "leads out of"),
    ({**GOOD, "mask": "n.png"}, r"no picture at .*n\.png; did you mean .*m\.png"),
    ({**GOOD, "mask": "small.png"}, "has 30x20 pixels .width x height., its picture 60x40"),
    ({**GOOD, "mask": "1.jpg"}, "is not a complete PNG"),
    ({**GOOD, "mask": "clear.png"}, "transparent in places"),
    ({**GOOD, "mask": "black.png"}, "no pixel of the picture is in it.*null"),
    ({**GOOD, "mask": [1, 2, 3, 4]}, "at least three x, y pairs"),
    ({**GOOD, "mask": [[1, 2], [3, 4]]}, "at least three x, y pairs"),
    ({**GOOD, "mask": []}, "a list of polygons or an RLE"),
    ({**GOOD, "mask": False}, "a list of polygons or an RLE"),
    ({**GOOD, "mask": [[1, 2, 3, 4, 5, float("nan")]]}, "numbers are finite"),
    ({**GOOD, "mask": [[1, 2, 3, 4, 5, 10**400]]}, "holds numbers"),
    ({**GOOD, "mask": [[1, 2, 3, 4, 5, "x"]]}, "holds numbers"),
    ({**GOOD, "mask": [[900, 900, 910, 900, 910, 910]]}, "no pixel of the picture"),
    ({**GOOD, "mask": {**RUNS, "size": [WIDTH, HEIGHT]}}, "does not fit an image of 40x60"),
    ({**GOOD, "mask": {**RUNS, "counts": [1, 2]}}, "do not fill"),
    ({**GOOD, "mask": {**RUNS, "counts": [-5, HEIGHT * WIDTH + 5]}}, "do not fill"),
    ({**GOOD, "mask": {**RUNS, "counts": "abc"}}, "do not fill"),
    ({**GOOD, "mask": {}}, "does not fit"),
    ({**GOOD, "split": "all"}, "every split together"),
    ({**GOOD, "split": 3}, "split: expected a name"),
    ({**GOOD, "category": ""}, "category: expected a text"),
    ({**GOOD, "abilities": "place"}, "abilities: expected a list"),
    ({**GOOD, "id": "a7"}, "id: expected a whole number"),
    ({**GOOD, "id": True}, "id: expected a whole number"),
    ({**GOOD, "image_id": 2**70}, "image_id: expected a whole number"),
    ({**GOOD, "txt": "cup"}, "unknown key 'txt'; did you mean 'text'"),
]


@pytest.fixture
def littered(folder: Path) -> Path:
    custom_files.mask_file(folder / "small.png", custom_files.square(height=20, width=30, side=10))
    custom_files.mask_file(folder / "black.png", np.zeros((HEIGHT, WIDTH), dtype=bool))
    clear = Image.fromarray(np.full((HEIGHT, WIDTH, 4), 255, dtype=np.uint8))
    clear.putpixel((3, 3), (0, 0, 0, 0))
    (folder / "clear.png").write_bytes(custom_files.png(clear))
    (folder / "cut.jpg").write_bytes((folder / "1.jpg").read_bytes()[:900])
    return folder


def test_all_problems_are_reported_at_once_each_with_its_line(littered: Path) -> None:
    checked = check(littered, GOOD, "", *(entry for entry, _ in WRONG))
    assert checked.dataset is None
    found: dict[int, list[str]] = {}
    for problem in checked.problems:
        found.setdefault(problem.line, []).append(problem.message)
    assert 1 not in found and 2 not in found
    for line, (entry, message) in enumerate(WRONG, start=3):
        assert any(re.search(message, one) for one in found.get(line, [])), (entry, found.get(line))
    assert set(found) == set(range(3, 3 + len(WRONG)))


@pytest.mark.parametrize(("entry", "message"), WRONG)
def test_each_problem_alone_is_refused_by_name_of_the_line(littered: Path, entry: Any, message: str) -> None:
    checked = check(littered, GOOD, entry)
    assert checked.dataset is None
    with pytest.raises(DataError, match=message) as refused:
        raise refusal(checked)
    assert "line 2: " in str(refused.value) and "risctl data check" in str(refused.value)


def test_ids_are_unique_and_an_image_keeps_its_own(folder: Path) -> None:
    custom_files.write_image(folder / "2.jpg")
    checked = check(
        folder,
        {**GOOD, "id": 5, "image_id": 1},
        {**GOOD, "id": 5, "image_id": 1},
        {**GOOD, "image_id": 2},
        {"image": "2.jpg", "text": "x", "mask": None, "image_id": 1},
    )
    told = [(problem.line, problem.message) for problem in checked.problems]
    assert [line for line, _ in told] == [2, 3, 4]
    assert "id 5 is taken already, by line 1" in told[0][1]
    assert "had 1 before" in told[1][1]
    assert "image_id 1 is taken already, by line 1" in told[2][1]


def test_splits_are_given_to_all_lines_or_to_none(folder: Path) -> None:
    checked = check(folder, {**GOOD, "split": "train"}, GOOD)
    assert [(problem.line, problem.message[:8]) for problem in checked.problems] == [(2, "no split")]


def test_what_is_probably_not_meant_is_warned_about(folder: Path) -> None:
    checked = check(
        folder,
        {**GOOD, "split": "train", "note": "checked by Ann"},
        {**GOOD, "split": "test", "mask": [[0, 0, 60, 0, 60, 40, 0, 40]], "note": "odd"},
    )
    dataset_of(checked)
    told = " | ".join(f"{warning.line} {warning.message}" for warning in checked.warnings)
    assert told.count("unknown key 'note', ignored") == 1
    assert "2 its picture is in split test, and in train by line 1" in told
    assert "2 mask: it is the whole picture" in told
    assert "2 the text 'cup' has another target in this picture (line 1)" in told


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00", b"[" * 100_000, b"9" * 10_000])
@pytest.mark.parametrize("name", ["d.jsonl", "d.json"])
def test_files_that_are_nothing_of_the_kind(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    checked = check_custom(tmp_path / name)
    assert checked.dataset is None and checked.problems
    for missing in (tmp_path, tmp_path / "none.jsonl"):
        with pytest.raises(DataError):
            check_custom(missing)


def test_a_byte_order_mark_and_windows_lines_do_no_harm(folder: Path) -> None:
    path = folder / "d.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n" + json.dumps(GOOD).encode() + b"\r\n")
    assert len(dataset_of(check_custom(path)).records) == 2


def bomb(path: Path, *, width: int, height: int) -> Path:
    """Write a PNG of a few bytes that says it has very many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    packed = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + packed)
    return path


def test_images_and_masks_of_absurd_size_are_refused_undecoded(folder: Path) -> None:
    bomb(folder / "bomb.png", width=60_000, height=60_000)
    bomb(folder / "long.png", width=2**31 - 1, height=1)
    checked = check(
        folder,
        {"image": "bomb.png", "text": "x", "mask": None},
        {"image": "long.png", "text": "x", "mask": None},
        {"image": "1.jpg", "text": "x", "mask": "bomb.png"},
    )
    told = {problem.line: problem.message for problem in checked.problems}
    assert "more than the limit" in told[1]
    assert "sides may have 65,535" in told[2] or "damaged" in told[2]
    assert "has 60000x60000 pixels (width x height), its picture 60x40" in told[3]


def test_real_coco_annotations_are_read_as_their_own_reader_reads_them(shared: Path, tmp_path: Path) -> None:
    """Polygons of several parts, and crowds as RLE, of real images: the masks are those of the COCO reader."""
    source = shared / "data" / "coco_mini"
    content = json.loads((source / "instances.json").read_bytes())
    crowds = {value["image_id"] for value in content["annotations"] if value.get("iscrowd")}
    chosen = sorted(crowds)[:6] + [value["id"] for value in content["images"][:20]]
    names = {value["id"]: value["name"] for value in content["categories"]}
    content["images"] = [value for value in content["images"] if value["id"] in chosen]
    content["annotations"] = [value for value in content["annotations"] if value["image_id"] in chosen]
    for place, one in enumerate(content["annotations"]):
        if place % 2:
            one["text"] = f"the {names[one['category_id']]}"
    (tmp_path / "d.json").write_text(json.dumps(content))
    dataset = dataset_of(check_custom(tmp_path / "d.json", images=source / "images"))
    instances = read_instances(tmp_path / "d.json", Problems())
    expected, broken = rasterise(instances, of_images=chosen)
    # Images that no text is about are left out, with what is in them.
    assert not broken and dataset.annotations.keys() == {
        key for key, one in expected.items() if one.image_id in dataset.images
    }
    assert len(dataset.annotations) > 100 and any(annotation.crowd for annotation in dataset.annotations.values())
    for key, one in dataset.annotations.items():
        assert (one.mask, one.crowd) == (expected[key].mask, expected[key].crowd)
        assert dataset.categories[one.category_id] == names[expected[key].category_id]


def test_refcoco_written_as_json_lines_is_the_same_dataset(refer_mini: Path, tmp_path: Path) -> None:
    published = DATASETS["refcoco"].read(refer_mini)
    entries = [
        {
            "image": published.images[record.image_id].file_name,
            "texts": [expression.raw for expression in record.expressions],
            "mask": dict(published.annotations[record.annotation_ids[0]].mask),
            "category": published.categories[published.annotations[record.annotation_ids[0]].category_id],
            "split": record.split,
            "id": record.ref_id,
            "image_id": record.image_id,
        }
        for record in published.records
    ]
    dataset = dataset_of(check(tmp_path, *entries, images=refer_mini / "images" / "train2014"))
    assert dataset.counts() == published.counts() and set(dataset.images) == set(published.images)
    for own, record in zip(dataset.records, published.records, strict=True):
        assert (own.ref_id, own.image_id, own.split) == (record.ref_id, record.image_id, record.split)
        assert [expression.raw for expression in own.expressions] == [
            expression.raw for expression in record.expressions
        ]
        mask = dataset.annotations[own.annotation_ids[0]].mask
        assert mask == published.annotations[record.annotation_ids[0]].mask


def test_images_may_lie_elsewhere(folder: Path) -> None:
    custom_files.write_image(folder / "elsewhere/deep/3.jpg")
    entry = {"image": "deep/3.jpg", "text": "x", "mask": "m.png"}
    assert check(folder, entry).dataset is None
    dataset_of(check(folder, entry, images=folder / "elsewhere"))
    with pytest.raises(DataError, match="is not a folder"):
        check(folder, entry, images=folder / "nowhere")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["1.jpg", "m.png"]),
    lambda inner: (
        st.lists(inner, max_size=8) | st.dictionaries(st.sampled_from(["size", "counts", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(entry=st.fixed_dictionaries({}, optional=dict.fromkeys(LINE_KEYS, JUNK)))
def test_no_entry_whatever_breaks_the_check(folder: Path, entry: dict[str, Any]) -> None:
    """It is a dataset or there are problems in line 1 (or 2, where a good line follows a bad one)."""
    checked = check(folder, entry)
    assert (checked.dataset is None) == bool(checked.problems)
    assert all(problem.line == 1 for problem in checked.problems)


# COCO-style JSON.


def document(**changes: Any) -> dict[str, Any]:
    """A small COCO-style document: two cups and a dog in one image; four texts."""
    sound = {
        "info": {"year": 2024},
        "images": [{"id": 9, "file_name": "1.jpg", "height": HEIGHT, "width": WIDTH, "license": 3}],
        "categories": [{"id": 3, "name": "cup"}, {"id": 8, "name": "dog"}],
        "annotations": [
            {"id": 100, "image_id": 9, "category_id": 3, "segmentation": [SQUARE], "texts": ["left cup", "the cup"]},
            {"id": 101, "image_id": 9, "category_id": 3, "segmentation": [[40, 5, 50, 5, 50, 15, 40, 15]], "bbox": []},
            {"id": 102, "image_id": 9, "category_id": 8, "mask": "m.png", "text": "dog"},
        ],
        "expressions": [
            {"image_id": 9, "annotation_ids": [100, 101], "text": "both cups", "abilities": ["plural"]},
            {"image_id": 9, "annotation_ids": [], "text": "a zebra", "id": 5},
        ],
    }
    return sound | changes


def check_document(folder: Path, content: dict[str, Any], *, indent: int | None = 1) -> CheckedFile:
    (folder / "d.json").write_text(json.dumps(content, indent=indent), encoding="utf-8")
    return check_custom(folder / "d.json")


@pytest.mark.parametrize("indent", [None, 1])
def test_coco_style_json_is_read(folder: Path, indent: int | None) -> None:
    dataset = dataset_of(check_document(folder, document(), indent=indent))
    assert sorted(dataset.annotations) == [100, 101, 102]
    assert {annotation.category_id for annotation in dataset.annotations.values()} == {1, 2}
    assert dataset.categories == {1: "cup", 2: "dog"} and list(dataset.images) == [9]
    targets = [
        (record.annotation_ids, [expression.raw for expression in record.expressions]) for record in dataset.records
    ]
    assert targets == [
        ((100,), ["left cup", "the cup"]),
        ((102,), ["dog"]),
        ((100, 101), ["both cups"]),
        ((), ["a zebra"]),
    ]
    assert dataset.records[3].ref_id == 5


def test_problems_of_coco_style_json_have_lines_and_names(littered: Path) -> None:
    folder = littered
    content = document(
        images=[
            {"id": 9, "file_name": "1.jpg", "height": 41},
            {"id": 9, "file_name": "2.jpg"},
            {"id": 10, "file_name": "../2.jpg"},
            7,
        ],
        categories=[{"id": 3, "name": ""}],
        annotations=[
            {"id": 1, "image_id": 12, "segmentation": [SQUARE]},
            {"id": 1, "image_id": 9, "segmentation": [SQUARE]},
            {"id": 2, "image_id": 9, "category_id": 4, "segmentation": [[1, 2, 3, 4]]},
            {"id": 3, "image_id": 9},
            {"id": 4, "image_id": 9, "segmentation": [SQUARE], "test": "x"},
            {"id": 5, "image_id": 9, "segmentation": [[1, 1, float("nan"), 2, 3, 3]]},
            {"id": 6, "image_id": 9, "segmentation": {**RUNS, "counts": [5, 10]}},
            {"id": 7, "image_id": 9, "mask": "small.png"},
            {"id": 8, "image_id": 9, "segmentation": [SQUARE], "text": " "},
            {"id": "9", "image_id": 9, "segmentation": [SQUARE], "text": ["a"]},
        ],
        expressions=[
            {"image_id": 9, "annotation_ids": [77], "text": "x"},
            {"image_id": 9, "text": "x"},
            {"image_id": [], "annotation_ids": [1], "text": "x"},
        ],
    )
    checked = check_document(folder, content)
    lines = (folder / "d.json").read_text().splitlines()
    told = [problem.message for problem in checked.problems]
    expected = [
        "images[0]: is listed with height 41",
        "images[1]: id 9 is taken already, by images[0]",
        "images[2]: image: '../2.jpg' leads out of",
        "images[3]: expected an object in braces, got 7",
        "categories[0]: name: expected a text",
        "annotations[0]: image_id: there is no image 12",
        "annotations[1]: id 1 is taken already",
        "annotations[2]: category_id: there is no category 4",
        "annotations[2]: mask: a polygon is a list of at least three",
        "annotations[3]: has no segmentation (or mask)",
        "annotations[4]: unknown key 'test'; did you mean 'text'?",
        "annotations[5]: mask: a polygon's numbers are finite pixels",
        "annotations[6]: mask: the runs of an RLE do not fill",
        "annotations[7]: mask: the mask",
        "annotations[8]: a text is empty",
        "annotations[9]: id: expected a whole number, got '9'",
        "expressions[0]: annotation_ids: there is no annotation 77",
        "expressions[1]: annotation_ids: expected a list, empty if",
        "expressions[2]: image_id: there is no image []",
    ]
    for start in expected:
        assert any(message.startswith(start) for message in told), (start, told)
    for problem in checked.problems:
        # The line is where the entry begins.
        assert lines[problem.line - 1].strip() in ("{", "7,", "7"), (problem, lines[problem.line - 1])


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('{"images": [],\n "annotations": [],,\n}', 2, "not valid JSON"),
        ('{"images": [\n{"id": 1,\n}]}', 3, "not valid JSON"),
        ('{"images": []} {"more": 1}', 1, "not valid JSON: Extra data"),
        ('{"images": [{} 2]}', 1, "not valid JSON: Expecting"),
        ("[1,\n2]", 1, "expected an object of lists"),
        ('{"images": []}', 1, "no list of 'annotations'"),
        ('{"images": [], "annotations": []}', 1, "there is no text"),
    ],
)
def test_documents_that_are_none(tmp_path: Path, text: str, line: int, message: str) -> None:
    (tmp_path / "d.json").write_text(text)
    checked = check_custom(tmp_path / "d.json")
    assert checked.dataset is None
    assert (checked.problems[0].line, message in checked.problems[0].message) == (line, True), checked.problems


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    key=st.sampled_from(["images", "categories", "annotations", "expressions"]),
    inner=st.sampled_from(["id", "image_id", "annotation_ids", "segmentation", "file_name", "category_id", "texts"]),
    junk=JUNK,
)
def test_no_document_whatever_breaks_the_check(folder: Path, key: str, inner: str, junk: Any) -> None:
    content = document()
    content[key][0][inner] = junk
    checked = check_document(folder, content)
    assert (checked.dataset is None) == bool(checked.problems)
