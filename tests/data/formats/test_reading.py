"""What is written in a format is read back: equal masks and phrases; and what tools write besides is understood."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import custom_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from risctl.data.datasets.custom.read import check_custom
from risctl.data.formats.annotated import AnnotatedImage, AnnotatedMask
from risctl.data.formats.label_studio import brush, unbrush
from risctl.data.formats.registry import FORMATS, READERS
from risctl.data.formats.write import write_formats
from risctl.data.records import Dataset
from risctl.errors import DataError, UsageError
from risctl.output_files import OutputFiles
from risctl.vision import rle
from risctl.vision.polygons import fill, outlines

HEIGHT, WIDTH = 7, 9
Facts = set[tuple[str, str, str]]
"""Image, phrase and the run lengths of its mask."""

TEXTS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=12).filter(
    lambda text: text == " ".join(text.split()) and text != ""
)
MASKS = arrays(bool, (HEIGHT, WIDTH)).map(rle.encode)


@st.composite
def annotated(draw: st.DrawFn) -> list[AnnotatedImage]:
    images = []
    for number, name in enumerate(draw(st.sampled_from([("a.png",), ("a.png", "deep/b c.jpg")])), start=1):
        masks = draw(st.lists(st.tuples(MASKS, st.lists(TEXTS, min_size=1, max_size=2, unique=True)), max_size=4))
        images.append(
            AnnotatedImage(
                image_id=number,
                file_name=name,
                height=HEIGHT,
                width=WIDTH,
                masks=tuple(AnnotatedMask(mask=mask, phrases=tuple(texts)) for mask, texts in masks),
            )
        )
    # A file without any phrase is no dataset.
    images[0] = AnnotatedImage(
        image_id=1,
        file_name=images[0].file_name,
        height=HEIGHT,
        width=WIDTH,
        masks=(*images[0].masks, AnnotatedMask(mask=rle.encode(np.eye(HEIGHT, WIDTH) > 0), phrases=("the line",))),
    )
    return images


def facts_of(dataset: Dataset) -> Facts:
    found = set()
    for record in dataset.records:
        masks = [dataset.annotations[number].mask for number in record.annotation_ids]
        mask = rle.union(masks) if masks else rle.empty(HEIGHT, WIDTH)
        found |= {(dataset.images[record.image_id].file_name, one.raw, mask["counts"]) for one in record.expressions}
    return found


def expected_facts(images: list[AnnotatedImage]) -> Facts:
    return {
        (image.file_name, text, one.mask["counts"]) for image in images for one in image.masks for text in one.phrases
    }


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(images=annotated())
def test_every_format_gives_masks_and_phrases_back(images: list[AnnotatedImage]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for image in images:
            custom_files.write_image(folder / "images" / image.file_name, height=HEIGHT, width=WIDTH)
        write_formats(FORMATS, lambda _: images, folder, outputs=OutputFiles())
        for form in FORMATS:
            checked = check_custom(folder / form)
            assert checked.dataset is not None, (form, checked.problems)
            found, expected = facts_of(checked.dataset), expected_facts(images)
            if form == "coco-results":  # several results of one phrase are instances, which are united
                found, expected = ({one[:2] for one in facts} for facts in (found, expected))
            assert found == expected, form


@given(mask=arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_polygons_and_brushes_fill_back_exactly(mask: np.ndarray) -> None:
    height, width = mask.shape
    rings = [np.array(one, dtype=float).reshape(-1, 2) for one in outlines(mask, holes=True)]
    assert np.array_equal(fill(rings, height=height, width=width), mask)
    assert np.array_equal(unbrush(brush(mask), height=height, width=width), mask)


@pytest.mark.parametrize("cut", [1, 4, 8])
def test_a_brush_that_is_cut_off_or_of_another_size_is_refused(cut: int) -> None:
    data = brush(np.eye(5, 6) > 0)
    with pytest.raises(ValueError, match=r"a brush (ends|has)"):
        unbrush(data[:-cut], height=5, width=6)
    with pytest.raises(ValueError, match="a brush has 120 values; 5x5 pixels have 100"):
        unbrush(data, height=5, width=5)


def test_the_published_encodings_are_read(shared: Path, tmp_path: Path) -> None:
    for name, case in json.loads((shared / "parity/formats/small_masks/case.json").read_text())["masks"].items():
        mask = np.array([[sign == "#" for sign in row] for row in case["rows"]])
        height, width = mask.shape
        assert np.array_equal(unbrush(case["label_studio_rle"], height=height, width=width), mask)
        folder = tmp_path / name
        custom_files.write_image(folder / "images" / "x.png", height=height, width=width)
        crop = case["cvat"]
        mask_tag = "".join(f'{key}="{value}" ' for key, value in crop.items())
        (folder / "annotations.xml").write_text(
            f'<annotations><version>1.1</version><image id="0" name="x.png" width="{width}" height="{height}">'
            f'<mask label="target" {mask_tag}><attribute name="phrase">it</attribute></mask></image></annotations>'
        )
        (folder / "me").mkdir()
        shape = {
            "label": "target",
            "points": case["labelme"]["points"],
            "description": "it",
            "shape_type": "mask",
            "mask": case["labelme"]["mask_png_base64"],
        }
        data = {"shapes": [shape], "imagePath": "../images/x.png", "imageHeight": height, "imageWidth": width}
        (folder / "me" / "x.json").write_text(json.dumps(data))
        for path in (folder / "annotations.xml", folder / "me"):
            checked = check_custom(path)
            assert checked.dataset is not None, checked.problems
            [one] = checked.dataset.annotations.values()
            assert np.array_equal(rle.decode(one.mask), mask)


def one_mask(path: Path, **options: Any) -> np.ndarray:
    checked = check_custom(path, **options)
    assert checked.dataset is not None, checked.problems
    [record] = checked.dataset.records
    assert [one.raw for one in record.expressions] == ["it"]
    return rle.decode(rle.union([checked.dataset.annotations[number].mask for number in record.annotation_ids]))


def test_an_image_of_labelme_is_looked_for_beside_its_file(tmp_path: Path) -> None:
    custom_files.write_image(tmp_path / "deep" / "x.png", height=20, width=30)
    (tmp_path / "deep" / "x.json").write_text(json.dumps(labelme(imagePath="C:\\elsewhere\\x.png")))
    checked = check_custom(tmp_path)
    assert checked.dataset is not None, checked.problems
    assert [one.file_name for one in checked.dataset.images.values()] == ["deep/x.png"]


def test_shapes_that_are_drawn_in_tools_are_read(tmp_path: Path) -> None:
    custom_files.write_image(tmp_path / "x.png", height=20, width=30)
    two = np.zeros((20, 30), dtype=bool)
    two[2:6, 3:9] = two[10:15, 20:25] = True

    def drawn(*shapes: dict[str, Any]) -> np.ndarray:
        (tmp_path / "x.json").write_text(json.dumps({"shapes": list(shapes), "imagePath": "x.png"}))
        return one_mask(tmp_path / "x.json", form="labelme")

    rectangle = {"label": "cup", "shape_type": "rectangle", "points": [[3, 2], [8, 5]], "description": "it"}
    polygon = {"label": "cup", "shape_type": "polygon", "points": [[20, 10], [24, 10], [24, 14], [20, 14]]}
    # labelme draws outlines, too: what is drawn from pixel to pixel holds both.
    assert np.array_equal(drawn(rectangle | {"group_id": 1}, polygon | {"group_id": 1}), two)
    circle = drawn({"label": "cup", "shape_type": "circle", "points": [[15, 10], [15, 14]], "description": "it"})
    assert circle[10, 11] and circle[14, 15] and not circle[14, 11] and 50 < circle.sum() < 75

    percent = [[100 * x / 30, 100 * y / 20] for x, y in ((3, 2), (9, 2), (9, 6), (3, 6))]
    results = [
        {"type": "polygonlabels", "value": {"points": percent}},
        {
            "type": "rectanglelabels",
            "value": {"x": 200 / 3, "y": 50, "width": 50 / 3, "height": 25, "rotation": 0},
        },
        {"type": "choices", "value": {"choices": ["good"]}},
    ]
    task = {
        "data": {"image": "/data/upload/3/x.png", "phrase": "it"},
        "annotations": [{"was_cancelled": True, "result": []}, {"result": results}],
    }
    (tmp_path / "tasks.json").write_text(json.dumps([task]))
    assert np.array_equal(one_mask(tmp_path / "tasks.json"), two)

    cvat = (
        '<annotations><image id="0" name="x.png" width="30" height="20">'
        '<polygon label="cup" points="3,2;9,2;9,6;3,6" group_id="4"><attribute name="phrase">it</attribute></polygon>'
        '<box label="cup" xtl="20" ytl="10" xbr="25" ybr="15" group_id="4"/></image></annotations>'
    )
    (tmp_path / "annotations.xml").write_text(cvat)
    assert np.array_equal(one_mask(tmp_path / "annotations.xml"), two)


def test_results_without_file_names_find_their_images_by_number(tmp_path: Path) -> None:
    custom_files.write_image(tmp_path / "images" / "COCO_000000000012.png", height=20, width=30)
    mask = rle.encode(custom_files.square(height=20, width=30, x=3, y=4, side=5))
    other = rle.encode(custom_files.square(height=20, width=30, x=13, y=4, side=5))
    results = [
        {"image_id": 12, "text": "it", "segmentation": one, "score": score}
        for one, score in ((mask, 0.9), (other, 0.6), (rle.empty(20, 30), 0.2))
    ]
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert np.array_equal(one_mask(tmp_path), rle.decode(rle.union([mask, other])))
    (tmp_path / "results.json").write_text(json.dumps([results[0] | {"image_id": 13}]))
    [problem] = check_custom(tmp_path).problems
    assert "result 1: no picture in" in problem.message and "13" in problem.message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("annotations.xml", "<!DOCTYPE a [<!ENTITY b 'c'>]><annotations/>", "it defines a document type"),
        ("annotations.xml", "<annotations><image>", "is not XML that can be read here"),
        ("annotations.xml", '<annotations><track id="0"/></annotations>', "holds tracks of a video"),
        ("tasks.json", '{"data": 1}', "holds no list of tasks"),
        ("results.json", "{}", "holds no list of results"),
        ("results.json", "[{", "is not JSON"),
        ("data.yaml", "a: [", "is not YAML"),
    ],
)
def test_files_that_are_nothing_of_the_kind(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        check_custom(tmp_path)


def labelme(*shapes: dict[str, Any], **further: Any) -> dict[str, Any]:
    return {"shapes": list(shapes), "imagePath": "x.png", "no_target": ["a"], **further}


LINE = {"shape_type": "line", "points": []}
NO_CROP = {"shape_type": "mask", "points": [[0, 0], [99, 99]], "mask": "AA==", "description": "a"}
NO_NUMBER = {"shape_type": "polygon", "points": [[0, 0], ["x", 1]], "description": "a"}
BAD_BRUSH = {
    "data": {"image": "x.png", "phrase": "a"},
    "annotations": [{"result": [{"type": "brushlabels", "value": {"format": "rle", "rle": [0, 300]}}]}],
}


@pytest.mark.parametrize(
    ("form", "file", "content", "message"),
    [
        ("labelme", "x.json", labelme(LINE), "got 'line'"),
        ("labelme", "x.json", labelme(imageHeight=3, imageWidth=4), "is listed with 4x3"),
        ("labelme", "x.json", labelme(NO_CROP), "the mask is no PNG"),
        ("labelme", "x.json", labelme(NO_NUMBER), "a shape of labelme cannot be read"),
        ("label-studio", "tasks.json", [{"data": {"image": "y.png", "phrase": "a"}}], "there is no picture 'y.png'"),
        ("label-studio", "tasks.json", [{"data": {"image": "x.png"}}], "task 1: expected an object with data"),
        ("label-studio", "tasks.json", [{"data": {"image": "x.png", "phrase": "a"}}], "it has no annotation"),
        ("label-studio", "tasks.json", [BAD_BRUSH], "a result of Label Studio cannot be read"),
        ("davis", "phrases.jsonl", {"file_name": "x.png", "index": 999, "phrases": ["a"]}, "index: expected a number"),
        ("davis", "phrases.jsonl", {"file_name": "x.png", "index": 1, "phrases": "a"}, "expected a list of texts"),
        ("yolo-seg", "phrases.jsonl", {"file_name": "x.png", "line": 1, "phrases": ["a"]}, "there is no labels/x.txt"),
        ("coco-results", "results.json", [{"text": "a"}], "result 1: expected an object with text and segmentation"),
    ],
)
def test_problems_are_named(tmp_path: Path, form: str, file: str, content: Any, message: str) -> None:
    custom_files.write_image(tmp_path / "x.png", height=20, width=30)
    (tmp_path / file).write_text(json.dumps(content))
    checked = check_custom(tmp_path, form=form)
    assert checked.dataset is None and message in " ".join(one.message for one in checked.problems)


def test_problems_of_labels_have_their_lines(tmp_path: Path) -> None:
    custom_files.write_image(tmp_path / "images" / "x.png", height=20, width=30)
    (tmp_path / "labels").mkdir()
    (tmp_path / "data.yaml").write_text("names: [cup]")
    (tmp_path / "labels" / "x.txt").write_text("0 0 0 1 0 1 1\n0 0 0 1\n0 0 0 1 0 2 2\n")
    (tmp_path / "labels" / "none.txt").write_text("")
    problems = [(one.line, one.message) for one in check_custom(tmp_path).problems]
    assert [line for line, _ in problems] == [1, 2, 3]
    assert "no picture none in" in problems[0][1] and problems[1][1].startswith("labels/x.txt: cannot be read")
    # An object without a phrase is one that is only there.
    (tmp_path / "labels" / "none.txt").unlink()
    (tmp_path / "labels" / "x.txt").write_text("0 0 0 0.5 0 0.5 0.5\n0 0.5 0.5 1 0.5 1 1\n")
    row = {"file_name": "x.png", "line": 2, "phrases": ["it"]}
    (tmp_path / "phrases.jsonl").write_text(json.dumps(row))
    checked = check_custom(tmp_path)
    assert checked.dataset is not None and len(checked.dataset.annotations) == 2
    assert [*checked.dataset.categories.values()] == ["cup"] and len(checked.dataset.records) == 1


def test_every_written_format_is_read() -> None:
    assert set(FORMATS) - set(READERS) == {"coco"}


def test_a_folder_of_nothing_that_is_known(tmp_path: Path) -> None:
    Image.new("RGB", (3, 3)).save(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"holds no annotations that are known here: instances\.json"):
        check_custom(tmp_path)
    with pytest.raises(UsageError, match="did you mean 'coco'"):
        check_custom(tmp_path, form="cocoa")
