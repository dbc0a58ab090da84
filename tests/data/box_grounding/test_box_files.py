"""Files of boxes and phrases: what is written is read back, and a line that is not as it should be is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from risctl.data.box_grounding.files import read_box_grounding, write_box_grounding
from risctl.data.box_grounding.samples import BoxGroundingSample, ImageBoxes
from risctl.errors import DataError

CLASSES = 5
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
COLOURS = st.one_of(st.none(), st.lists(st.sampled_from(["red", "blue"]), max_size=2).map(tuple))


@st.composite
def images(draw: st.DrawFn) -> list[BoxGroundingSample]:
    """Phrases about one image, which may have no box."""
    count = draw(st.integers(0, 4))
    shares = st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4)
    corners = np.array([draw(shares) for _ in range(count)], dtype=np.float32).reshape(-1, 4)
    kinds = np.array([draw(st.integers(-1, CLASSES - 1)) for _ in range(count)], dtype=np.int64)
    image_boxes = ImageBoxes(corners=corners, category_ids=kinds, aspect=draw(st.floats(0.01, 100)))
    targets = st.sets(st.integers(0, count - 1)).map(sorted).map(tuple) if count else st.just(())
    return [
        BoxGroundingSample(boxes=image_boxes, text=draw(TEXTS), targets=draw(targets), colours=draw(COLOURS))
        for _ in range(draw(st.integers(1, 3)))
    ]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some=st.lists(images(), max_size=4))
def test_what_is_written_is_read_back(tmp_path: Path, some: list[list[BoxGroundingSample]]) -> None:
    samples = [one for image_boxes in some for one in image_boxes]
    path = tmp_path / "folder" / "boxes.jsonl"
    assert write_box_grounding(path, samples) == len(some)
    found = read_box_grounding(path, classes=CLASSES)
    assert len(found) == len(samples)
    for before, after in zip(samples, found, strict=True):
        assert (after.text, after.targets, after.colours) == (before.text, before.targets, before.colours)
        assert np.allclose(after.boxes.corners, before.boxes.corners, atol=1e-5)
        assert after.boxes.corners.dtype == np.float32 and after.boxes.corners.shape[1] == 4
        assert np.array_equal(after.boxes.category_ids, before.boxes.category_ids)
        assert after.boxes.aspect == pytest.approx(before.boxes.aspect, abs=1e-6)
    # Phrases of one image share it: one image in memory, however many phrases.
    assert len({id(one.boxes) for one in found}) == len(some)
    assert [one.name for one in path.parent.iterdir()] == ["boxes.jsonl"]


def row(**changes: Any) -> str:
    whole: dict[str, Any] = {
        "aspect": 1.5,
        "boxes": [[0, 0, 0.5, 0.5]],
        "kinds": [0],
        "phrases": [{"text": "man", "targets": [0], "colours": []}],
    }
    return json.dumps(whole | changes)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "7",
        "null",
        '"text"',
        "{}",
        row(boxes=[[0, 0, 1]]),
        row(boxes=[[0, 0, 1.5, 1]]),
        row(boxes=[[-0.1, 0, 1, 1]]),
        row(boxes=[[0, 0, float("nan"), 1]]),
        row(boxes="far"),
        row(boxes=None),
        row(kinds=[0, 1]),
        row(kinds=[CLASSES]),
        row(kinds=[-2]),
        row(kinds=["man"]),
        row(kinds=[10**30]),
        row(aspect=0),
        row(aspect=-1),
        row(aspect=float("nan")),
        row(aspect=float("inf")),
        row(aspect="wide"),
        row(phrases=None),
        row(phrases=["man"]),
        row(phrases=[{"text": "man"}]),
        row(phrases=[{"text": "man", "targets": [1]}]),
        row(phrases=[{"text": "man", "targets": [-1]}]),
        row(phrases=[{"text": "man", "targets": ["first"]}]),
        row(phrases=[{"text": 7, "targets": [0]}]),
        row(phrases=[{"text": "man", "targets": [0], "colours": 7}]),
        "[" * 100_000,
    ],
)
def test_a_line_of_another_form_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "boxes.jsonl"
    path.write_text(f"{row()}\n\n{line}\n{row()}\n")
    with pytest.raises(DataError, match="line 3") as caught:
        read_box_grounding(path, classes=CLASSES)
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 500


def test_colours_may_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "boxes.jsonl"
    path.write_text(row(phrases=[{"text": "man", "targets": []}]))
    [one] = read_box_grounding(path, classes=CLASSES)
    assert (one.text, one.targets, one.colours) == ("man", (), ())


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "boxes.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"boxes\.jsonl.*box-phrases"):
        read_box_grounding(path, classes=CLASSES)
    with pytest.raises(DataError, match="cannot read"):
        read_box_grounding(tmp_path, classes=CLASSES)
