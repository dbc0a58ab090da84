"""Average precision from overlaps equals COCOeval's from masks."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from risctl.metrics.a2d import average_precision
from risctl.metrics.accumulator import Accumulator
from risctl.metrics.figures import figures
from risctl.metrics.overlaps import overlap
from risctl.metrics.protocols import get_protocol
from risctl.metrics.rows import rows_of


def packed(mask: np.ndarray) -> dict:
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))


def square(side: int, shift: int = 0) -> np.ndarray:
    mask = np.zeros((150, 150), dtype=bool)
    mask[shift : shift + side, :side] = True
    return mask


def by_coco(samples: list[tuple[np.ndarray, list[tuple[float, np.ndarray]]]]) -> list[float]:
    """COCOeval on whole masks: one instance an image, ids from 1."""
    truth, found = COCO(), []
    images, annotations = [], []
    for image, (target, candidates) in enumerate(samples, start=1):
        images.append({"id": image, "height": 150, "width": 150})
        annotations.append(
            {
                "id": image,
                "image_id": image,
                "category_id": 1,
                "iscrowd": 0,
                "area": int(target.sum()),
                "segmentation": packed(target),
                "bbox": list(coco_mask.toBbox(packed(target))),
            }
        )
        found += [
            {"image_id": image, "category_id": 1, "score": score, "segmentation": packed(mask)}
            for score, mask in candidates
        ]
    truth.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1}], "info": {}}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found), "segm")
        evaluation.params.useCats = 0
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:6].tolist()


@pytest.mark.parametrize("seed", range(4))
def test_the_same_as_from_masks(seed: int) -> None:
    generator = np.random.default_rng(seed)
    samples = []
    for _ in range(12):
        side = int(generator.choice([0, 8, 20, 40, 90, 120]))
        candidates = [
            (float(generator.integers(0, 6)) / 5, square(int(side * generator.choice([0, 0.5, 0.8, 1])), shift))
            for shift in generator.integers(0, 12, size=int(generator.integers(1, 4)))
        ]
        samples.append((square(side), candidates))
    rows = [
        (number, score, *overlap(mask, target))
        for number, (target, candidates) in enumerate(samples)
        for score, mask in candidates
    ]
    sample, score, intersection, union, predicted = (np.array(column) for column in zip(*rows))
    ours = average_precision(sample=sample, score=score, intersection=intersection, union=union, predicted=predicted)
    expected = [np.nan if value < 0 else value for value in by_coco(samples)]
    assert list(ours.values()) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_known_values(capsys: pytest.CaptureFixture[str]) -> None:
    """Two samples, one perfect with the better score, one at IoU 0.6: precision 1 up to half of the recall."""
    ours = average_precision(
        sample=np.array([0, 1]),
        score=np.array([0.9, 0.1]),
        intersection=np.array([100, 60]),
        union=np.array([100, 100]),
        predicted=np.array([100, 60]),
    )
    assert ours["AP_0.5"] == pytest.approx(1)
    assert ours["AP_0.75"] == pytest.approx(51 / 101)
    assert np.isnan(ours["mAP_large"])
    assert capsys.readouterr().out == ""


def test_further_candidates_count_in_average_precision_alone() -> None:
    """Of two samples the answer is wrong and another candidate right, and the other way round."""
    target, wrong = square(40), ~square(60)
    protocol = get_protocol("a2d")
    plain, whole, half = (Accumulator(protocol) for _ in range(3))
    for place, (answer, other) in enumerate(((wrong, target), (target, wrong))):
        plain.add(answer, target, key=place, image_id=place, score=0.9 - 0.1 * place)
        one = half if place else whole
        one.add(answer, target, key=place, image_id=place, score=0.9 - 0.1 * place, others=[(0.3, other)])
    whole.merge(half)
    found, alone = whole.figures(), plain.figures()
    assert {name: found[name] for name in ("oIoU", "mIoU", "Pr@0.5")} == {
        name: alone[name] for name in ("oIoU", "mIoU", "Pr@0.5")
    }
    # By score: wrong, right, right, wrong. Precision 1/2 at half of the recall, 2/3 at all of it: 2/3 throughout.
    assert found["AP_0.5"] == pytest.approx(100 * 2 / 3)
    # The answers alone: wrong, right. Precision 1/2 up to half of the recall.
    assert alone["AP_0.5"] == pytest.approx(100 * 51 / 101 / 2)
    records = [
        {"sample": n, "image_id": n, "ref_id": -1, "sentence_id": -1, "text": "", "score": score, "targeted": True}
        | {"predicted_none": False, "intersection": int(rows.intersection[n]), "union": int(rows.union[n])}
        | {"predicted": int(rows.predicted[n]), "others": [list(one) for one in rows.others[n]]}
        for rows in (whole.rows(),)
        for n, score in enumerate((0.9, 0.8))
    ]
    assert figures(rows_of(records), protocol)["AP_0.5"] == pytest.approx(found["AP_0.5"])


def test_nothing_has_no_precision() -> None:
    none = np.array([], dtype=np.int64)
    found = average_precision(sample=none, score=none, intersection=none, union=none, predicted=none)
    assert len(found) == 6
    assert all(np.isnan(value) for value in found.values())
