"""Masks with phrases in the formats of annotation tools: each read back gives the mask, and the phrase travels with it.

Where a tool's own package is installed it reads the files, too (COCO's always is).
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers.brush import decoded_brush
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw
from pycocotools.coco import COCO

from risctl.data.formats.annotated import AnnotatedImage, AnnotatedMask
from risctl.data.formats.cvat import row_runs
from risctl.data.formats.davis import palette
from risctl.data.formats.label_studio import brush
from risctl.data.formats.registry import FORMATS
from risctl.data.formats.yolo_seg import ring
from risctl.output_files import OutputFiles
from risctl.vision import rle

PHRASE = 'the "big" dog & <cat>\x07 — café'


def mask_of(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((40, 60), dtype=bool)
    for x, y, width, height in boxes:
        mask[y : y + height, x : x + width] ^= True
    return mask


RING = mask_of((5, 6, 20, 20), (10, 11, 6, 5))
PARTS = mask_of((30, 2, 6, 9), (40, 20, 15, 15))


@pytest.fixture
def images() -> list[AnnotatedImage]:
    masks = (
        AnnotatedMask(mask=rle.encode(RING), phrases=(PHRASE, "it"), category="dog", ref_id=7, sentence_ids=(70, 71)),
        AnnotatedMask(mask=rle.encode(PARTS), phrases=("both cups",), ref_id=8, sentence_ids=(80,), score=0.75),
        AnnotatedMask(mask=rle.empty(40, 60), phrases=("a giraffe",), ref_id=9, sentence_ids=(90,)),
    )
    return [
        AnnotatedImage(image_id=3, file_name="a/photo 1.jpg", height=40, width=60, masks=masks),
        AnnotatedImage(image_id=4, file_name="b.png", height=10, width=20, masks=()),
    ]


def written(name: str, images: list[AnnotatedImage], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for path in FORMATS[name](images, folder, OutputFiles()):
        assert path.is_file()
    return folder


def test_coco_is_read_by_pycocotools(images: list[AnnotatedImage], tmp_path: Path) -> None:
    coco = COCO(str(written("coco", images, tmp_path) / "instances.json"))
    first, second = coco.loadAnns(coco.getAnnIds(imgIds=[3]))
    assert np.array_equal(coco.annToMask(first), RING) and np.array_equal(coco.annToMask(second), PARTS)
    assert first["attributes"]["phrases"] == [PHRASE, "it"] and first["bbox"] == [5, 6, 20, 20]
    assert coco.loadCats([first["category_id"]])[0]["name"] == "dog"
    assert coco.dataset["expressions"] == [{"image_id": 3, "annotation_ids": [], "texts": ["a giraffe"]}]
    assert coco.getImgIds() == [3, 4] and not coco.getAnnIds(imgIds=[4])


def test_coco_results_are_what_score_takes(images: list[AnnotatedImage], tmp_path: Path) -> None:
    from risctl.evaluation.scoring.open_source import open_predictions

    source = open_predictions(written("coco-results", images, tmp_path) / "results.json")
    entries = list(source.entries())
    assert [one.fields["sent_id"] for one in entries] == [70, 71, 80, 90]
    assert [one.score for one in entries] == [1.0, 1.0, 0.75, 1.0]
    assert source.mask(entries[2].position, height=40, width=60) == rle.encode(PARTS)
    source.close()


def test_labelme_has_the_crop_inclusive(images: list[AnnotatedImage], tmp_path: Path) -> None:
    folder = written("labelme", images, tmp_path)
    data = json.loads((folder / "a" / "photo 1.json").read_text(encoding="utf-8"))
    assert data["imagePath"] == "../../images/a/photo 1.jpg" and data["imageData"] is None
    assert (data["imageHeight"], data["imageWidth"]) == (40, 60)
    for shape, mask in zip(data["shapes"], (RING, PARTS), strict=True):
        (left, top), (right, bottom) = shape["points"]
        crop = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"]))))
        whole = np.zeros_like(mask)
        whole[top : bottom + 1, left : right + 1] = crop
        assert np.array_equal(whole, mask)
    assert data["no_target"] == ["a giraffe"]
    assert data["shapes"][0]["description"] == f"{PHRASE}\nit" and data["shapes"][1]["label"] == "target"


def test_cvat_has_runs_by_rows(images: list[AnnotatedImage], tmp_path: Path) -> None:
    root = ElementTree.parse(written("cvat", images, tmp_path) / "annotations.xml").getroot()
    image = root.findall("image")[0]
    assert (image.get("name"), len(root.findall("image"))) == ("a/photo 1.jpg", 2)
    for element, mask in zip(image.findall("mask"), (RING, PARTS), strict=True):
        left, top, width, height = (int(element.get(side, "")) for side in ("left", "top", "width", "height"))
        runs = [int(run) for run in element.get("rle", "").split(", ")]
        crop = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
        assert np.array_equal(mask[top : top + height, left : left + width], crop) and crop.sum() == mask.sum()
    assert image.findall("mask")[0].findtext("attribute") == f"{PHRASE.replace(chr(7), '?')}\nit"
    assert [one.findtext("attribute") for one in image.findall("tag")] == ["a giraffe"]
    labels = [(one.findtext("name"), one.findtext("type")) for one in root.iter("label")]
    assert labels == [("dog", "mask"), ("target", "mask"), ("nothing", "tag")]
    assert root.findtext(".//label/attributes/attribute/name") == "phrase"


def test_label_studio_has_a_task_a_phrase(images: list[AnnotatedImage], tmp_path: Path) -> None:
    tasks = json.loads((written("label-studio", images, tmp_path) / "tasks.json").read_text(encoding="utf-8"))
    assert [task["data"]["phrase"] for task in tasks] == [PHRASE, "it", "both cups", "a giraffe"]
    assert tasks[2]["predictions"][0]["score"] == 0.75 and tasks[3]["annotations"] == [{"result": []}]
    assert tasks[0]["annotations"][0]["result"][0]["value"]["rle"] == brush(RING)
    assert tasks[0]["data"]["image"] == "/data/local-files/?d=images/a/photo%201.jpg"


def test_yolo_rings_fill_back_nearly(images: list[AnnotatedImage], tmp_path: Path) -> None:
    folder = written("yolo-seg", images, tmp_path)
    lines = (folder / "labels" / "a" / "photo 1.txt").read_text().splitlines()
    assert (folder / "labels" / "b.txt").read_text() == ""
    for line, mask in zip(lines, (RING, PARTS), strict=True):
        shares = np.array([float(value) for value in line.split()[1:]]).reshape(-1, 2)
        assert shares.min() >= 0 and shares.max() <= 1
        drawn = Image.new("1", (60 * 8, 40 * 8))
        ImageDraw.Draw(drawn).polygon([(x * 480, y * 320) for x, y in shares.tolist()], fill=1)
        filled = np.asarray(drawn)[4::8, 4::8]
        assert (filled & mask).sum() / (filled | mask).sum() > 0.98
    assert '0: "dog"\n  1: "target"' in (folder / "data.yaml").read_text()
    phrases = [json.loads(line) for line in (folder / "phrases.jsonl").read_text().splitlines()]
    assert [one["line"] for one in phrases] == [1, 2, 0] and phrases[0]["phrases"] == [PHRASE, "it"]


def test_davis_indices_and_colours(images: list[AnnotatedImage], tmp_path: Path) -> None:
    folder = written("davis", images, tmp_path)
    with Image.open(folder / "Annotations" / "a" / "photo 1.png") as image:
        assert image.mode == "P"
        indices = np.asarray(image)
    assert np.array_equal(indices == 1, RING) and np.array_equal(indices == 2, PARTS)
    assert palette()[3:15] == [128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128]
    phrases = [json.loads(line) for line in (folder / "phrases.jsonl").read_text().splitlines()]
    assert [one["index"] for one in phrases] == [1, 2, 0] and "segmentation" not in phrases[0]


def test_equal_masks_share_an_index_and_hidden_ones_are_kept_whole(tmp_path: Path) -> None:
    below, above = mask_of((0, 0, 20, 20)), mask_of((10, 10, 20, 20))
    masks = tuple(
        AnnotatedMask(mask=rle.encode(mask), phrases=(text,))
        for mask, text in ((below, "a"), (above, "b"), (below, "c"))
    )
    image = AnnotatedImage(image_id=1, file_name="x.png", height=40, width=60, masks=masks)
    folder = written("davis", [image], tmp_path)
    phrases = [json.loads(line) for line in (folder / "phrases.jsonl").read_text().splitlines()]
    assert [one["index"] for one in phrases] == [1, 2, 1]
    assert [one.get("segmentation") for one in phrases] == [rle.encode(below), None, rle.encode(below)]


@given(mask=arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_runs_and_brushes_give_any_mask_back(mask: np.ndarray) -> None:
    runs = row_runs(mask)
    assert np.array_equal(np.repeat(np.arange(len(runs)) % 2 == 1, runs), mask.reshape(-1))
    assert decoded_brush(brush(mask)) == np.repeat(mask.reshape(-1).astype(int) * 255, 4).tolist()
    if mask.any():
        points = ring(mask)
        assert points.min() >= 0 and (points.max(0) <= mask.shape[::-1]).all()
        # A ring goes around as much as the mask covers: bridges are walked both ways.
        x, y = points.T
        assert abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2 == mask.sum()


def test_label_studio_s_own_package_reads_the_brush() -> None:
    converter = pytest.importorskip("label_studio_sdk.converter.brush")
    values = converter.decode_rle(brush(RING))
    assert np.array_equal(np.reshape(values, (40, 60, 4))[..., 3] > 0, RING)


def test_cvat_s_own_package_reads_the_runs() -> None:
    masks = pytest.importorskip("cvat_sdk.masks")
    runs = row_runs(RING[6:26, 5:25])
    found = masks.decode_mask([*runs, 5, 6, 24, 25], image_width=60, image_height=40)
    assert np.array_equal(found, RING)


def test_supervision_reads_coco(images: list[AnnotatedImage], tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision")
    (tmp_path / "images" / "a").mkdir(parents=True)
    Image.new("RGB", (60, 40)).save(tmp_path / "images" / "a" / "photo 1.jpg")
    Image.new("RGB", (20, 10)).save(tmp_path / "images" / "b.png")
    folder = written("coco", images, tmp_path / "coco")
    data = supervision.DetectionDataset.from_coco(
        images_directory_path=str(tmp_path / "images"),
        annotations_path=str(folder / "instances.json"),
        force_masks=True,
    )
    found = {Path(path).name: detections for path, _, detections in data}
    assert np.array_equal(found["photo 1.jpg"].mask, np.stack([RING, PARTS]))


def test_supervision_reads_yolo(images: list[AnnotatedImage], tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision")
    folder = written("yolo-seg", images, tmp_path)
    (folder / "images" / "a").mkdir(parents=True)
    Image.new("RGB", (60, 40)).save(folder / "images" / "a" / "photo 1.jpg")
    data = supervision.DetectionDataset.from_yolo(
        images_directory_path=str(folder / "images" / "a"),
        annotations_directory_path=str(folder / "labels" / "a"),
        data_yaml_path=str(folder / "data.yaml"),
        force_masks=True,
    )
    [(_, _, detections)] = list(data)
    assert data.classes == ["dog", "target"] and detections.class_id.tolist() == [0, 1]
    for found, mask in zip(detections.mask, (RING, PARTS), strict=True):
        assert (found & mask).sum() / (found | mask).sum() > 0.8
