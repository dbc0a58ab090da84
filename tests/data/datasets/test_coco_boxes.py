"""Layouts of COCO's pictures: pictures with enough boxes, without those that are kept away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from risctl.data.datasets.coco_boxes import read_coco_boxes
from risctl.errors import DataError


def write(path: Path, **change: np.ndarray) -> Path:
    arrays = {
        "image_id": np.array([3, 3, 5, 9, 9, 9], dtype=np.int32),
        "cls80": np.array([0, 1, 2, 3, 4, 5], dtype=np.uint8),
        "cxcywh": np.tile(np.array([0.5, 0.25, 0.2, 0.5], dtype=np.float16), (6, 1)),
    }
    np.savez_compressed(path, **(arrays | change))
    return path


def test_pictures_with_two_boxes_or_more(tmp_path: Path) -> None:
    layouts = read_coco_boxes(write(tmp_path / "boxes.npz"))
    assert sorted(one.category_ids.tolist() for one in layouts) == [[0, 1], [3, 4, 5]]
    assert np.allclose(layouts[0].corners[0], [0.4, 0.0, 0.6, 0.5], atol=1e-3)


def test_excluded_pictures_and_limit(tmp_path: Path) -> None:
    path = write(tmp_path / "boxes.npz")
    assert [one.category_ids.tolist() for one in read_coco_boxes(path, exclude={9})] == [[0, 1]]
    assert len(read_coco_boxes(path, limit=1)) == 1


@pytest.mark.parametrize(
    "change",
    [{"cls80": np.full(6, 80)}, {"image_id": np.array([3, 3, 5, 9, 9, 1])}, {"cxcywh": np.zeros((5, 4))}],
)
def test_arrays_that_do_not_fit(tmp_path: Path, change: dict[str, np.ndarray]) -> None:
    with pytest.raises(DataError, match=r"boxes.npz: .*fit together"):
        read_coco_boxes(write(tmp_path / "boxes.npz", **change))


def test_other_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "boxes.npz", ids=np.zeros(3))
    with pytest.raises(DataError, match="image_id"):
        read_coco_boxes(tmp_path / "boxes.npz")
