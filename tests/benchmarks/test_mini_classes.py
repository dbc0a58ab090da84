"""The benchmark of the boxes that mini lists for classes: what counts as right, false and neither."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

_SPEC = importlib.util.spec_from_file_location(
    "mini_classes", Path(__file__).resolve().parents[2] / "benchmarks" / "mini_classes.py"
)
assert _SPEC is not None and _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
sys.modules["mini_classes"] = _MODULE
_SPEC.loader.exec_module(_MODULE)
Curve, box_ious, compared, judged = _MODULE.Curve, _MODULE.box_ious, _MODULE.compared, _MODULE.judged


def test_overlaps() -> None:
    found = box_ious(np.array([[0.0, 0, 10, 10]]), np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]]))
    assert found[0].tolist() == pytest.approx([1, 1 / 3, 0])


def test_an_instance_is_found_once_and_crowds_do_not_count() -> None:
    corners = np.array([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10], [42, 42, 46, 46], [80, 80, 90, 90]])
    verdicts = judged(
        corners,
        np.array([0, 0, 1, 2, 2]),
        boxes=np.array([[0.0, 0, 10, 10], [40, 40, 60, 60]]),
        labels=np.array([0, 2]),
        crowd=np.array([False, True]),
    )
    # Right; the same instance again; another class; within a crowd of its class; nothing there.
    assert verdicts == [True, False, False, None, False]


def test_no_instances_make_every_box_false() -> None:
    none = np.zeros(0, dtype=np.int64)
    verdicts = judged(
        np.array([[0.0, 0, 5, 5]]), np.array([3]), boxes=np.zeros((0, 4)), labels=none, crowd=none.astype(bool)
    )
    assert verdicts == [False]


def test_false_boxes_at_equal_recall() -> None:
    first = Curve(
        scores=np.array([0.9, 0.5, 0.35, 0.2]),
        right=np.array([1, 1, 2, 2]),
        false=np.array([0, 1, 1, 2]),
        instances=4,
        images=2,
    )
    better = Curve(
        scores=np.array([0.9, 0.6, 0.1]), right=np.array([1, 2, 2]), false=np.array([0, 0, 1]), instances=4, images=2
    )
    assert first.at_score(0.3) == (0.5, 0.5) and first.at_score(0.95) == (0.0, 0.0)
    report = compared(better, first)["0.3"]
    assert report["first model"] == {"recall": 50.0, "false boxes an image": 0.5}
    assert report["at its recall"] == {"score": 0.6, "false boxes an image": 0.0}
    assert better.at_recall(0.75) is None
