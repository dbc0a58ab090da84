"""Records of a detector: boxes come back as it found similar ones, and the file is checked before it is used."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from risctl.data.box_grounding.records import DetectorRecords, RecordArrays, read_records
from risctl.data.box_grounding.samples import BoxGroundingSample, ImageBoxes
from risctl.errors import DataError
from risctl.vision.colour_names import NAMES

RED, BLUE = NAMES.index("red"), NAMES.index("blue")
LEFT, RIGHT = [0.1, 0.2, 0.4, 0.8], [0.6, 0.2, 0.9, 0.8]


def colours(*names: int) -> np.ndarray:
    """Rows in which one name covers both halves."""
    rows = np.zeros((len(names), 2, len(NAMES)), dtype=np.float32)
    for row, name in enumerate(names):
        rows[row, :, name] = 0.9
    return rows.reshape(len(names), -1)


def arrays() -> RecordArrays:
    """Two pictures of two persons: one in red, found twice, one in blue; and a false dog; then one person missed."""
    return RecordArrays(
        aspect=np.array([1.5, 1.0], dtype=np.float32),
        true_start=np.array([0, 2, 4]),
        true_corners=np.array([LEFT, RIGHT, LEFT, RIGHT], dtype=np.float32),
        true_classes=np.zeros(4, dtype=np.int64),
        found_start=np.array([0, 4, 5]),
        corners=np.array(
            [LEFT, [0.1, 0.25, 0.4, 0.8], RIGHT, [0.0, 0.0, 0.05, 0.05], [0.1, 0.2, 0.38, 0.8]], dtype=np.float32
        ),
        first=np.array([0, 0, 0, 16, 0]),
        second=np.array([1, 1, 1, 1, 1]),
        share=np.full(5, 0.9, dtype=np.float32),
        confidence=np.array([0.9, 0.3, 0.8, 0.05, 0.7], dtype=np.float32),
        appearance=colours(RED, RED, BLUE, BLUE, RED),
    )


def sample(text: str = "man", *, named: tuple[str, ...] | None = ()) -> BoxGroundingSample:
    boxes = ImageBoxes(
        corners=np.array([[0.0, 0.0, 0.3, 0.6], [0.5, 0.0, 0.8, 0.6]], dtype=np.float32),
        category_ids=np.array([0, 0]),
        aspect=1.5,
    )
    return BoxGroundingSample(boxes=boxes, text=text, targets=(1,), colours=named)


def drawn(made: BoxGroundingSample, *, count: int = 60) -> list[BoxGroundingSample]:
    records = DetectorRecords(arrays())
    return [records(made, np.random.default_rng(seed)) for seed in range(count)]


def test_targets_are_always_found_and_others_sometimes_missed() -> None:
    found = drawn(sample())
    for one in found:
        (target,) = one.targets
        assert np.allclose(one.boxes.corners[target], [0.5, 0.0, 0.8, 0.6], atol=0.05)
    near_other = [any(np.abs(box - [0, 0, 0.3, 0.6]).max() < 0.1 for box in one.boxes.corners) for one in found]
    assert 0 < sum(near_other) < len(near_other)


def test_doubles_and_false_boxes_come_in_with_their_confidence() -> None:
    found = drawn(sample())
    assert any(len(one.boxes) > 3 for one in found)
    for one in found:
        assert one.boxes.confidence is not None
        assert {round(float(value), 2) for value in one.boxes.confidence} <= {0.9, 0.3, 0.8, 0.05, 0.7}
        assert one.boxes.confidence[one.targets[0]] > 0.5


def test_target_mostly_has_the_colour_that_is_named_as_people_name_it() -> None:
    found = drawn(sample("man in blue", named=("blue",)), count=120)
    seen = []
    for one in found:
        assert one.boxes.appearance is not None
        if one.targets:
            seen.append(one.boxes.appearance.reshape(-1, 2, len(NAMES))[one.targets[0], 0, BLUE] > 0.5)
    # A detector's colours are not always those that a person sees.
    assert 0.7 < np.mean(seen) < 1


def test_a_named_colour_is_sometimes_absent_and_then_no_target_remains() -> None:
    found = drawn(sample("man in blue", named=("blue",)), count=120)
    absent = [one for one in found if not one.targets]
    assert 0 < len(absent) < len(found) / 2


def test_colours_of_others_leave_boxes_without_appearance() -> None:
    assert all(one.boxes.appearance is None for one in drawn(sample("man by red car", named=None), count=5))


def test_made_phrases_are_about_detections() -> None:
    records = DetectorRecords(arrays())
    made = [records.made(0, random.Random(seed)) for seed in range(80)]
    texts = {one.text: one for one in made if one is not None and len(one.targets) == 1}
    coloured = [one for text, one in texts.items() if "red" in text and "left" not in text]
    assert coloured and all(one.targets == (0,) for one in coloured)
    assert all(len(one.boxes) == 4 for one in texts.values())


def test_a_colour_of_trousers_is_looked_for_on_the_lower_half() -> None:
    shares = np.zeros((5, 3, len(NAMES)), dtype=np.float32)
    shares[[0, 1, 4], 0, RED] = shares[[2, 3], 0, BLUE] = 0.9
    shares[[0, 1, 4], 1, BLUE] = shares[[2, 3], 1, RED] = 0.9
    records = DetectorRecords(replace(arrays(), appearance=shares.reshape(5, -1)))
    drawn_ones = [records(sample("man in blue pants", named=("blue",)), np.random.default_rng(n)) for n in range(120)]
    lower = [
        one.boxes.appearance.reshape(-1, 3, len(NAMES))[one.targets[0], 1]
        for one in drawn_ones
        if one.targets and one.boxes.appearance is not None
    ]
    assert np.mean([row[BLUE] > 0.5 for row in lower]) > 0.7


def test_made_phrases_can_tell_objects_by_their_clothes() -> None:
    records = DetectorRecords(arrays(), looks=1.0)
    made = [records.made(0, random.Random(seed)) for seed in range(80)]
    shirts = [one for one in made if one is not None and "shirt" in one.text]
    assert {one.targets for one in shirts if "red" in one.text} == {(0,)}
    assert {one.targets for one in shirts if "blue" in one.text} == {(2,)}


def test_missed_objects_are_not_spoken_of() -> None:
    records = DetectorRecords(arrays())
    made = [records.made(1, random.Random(seed)) for seed in range(60)]
    assert {target for one in made if one is not None for target in one.targets} == {0}


def test_file_reads_as_written(tmp_path: Path) -> None:
    arrays().write(tmp_path / "records.npz")
    read = read_records(tmp_path / "records.npz", classes=80)
    for field in fields(RecordArrays):
        assert np.allclose(getattr(read.arrays, field.name), getattr(arrays(), field.name))


@pytest.mark.parametrize(
    "change",
    [
        {"first": np.array([0, 0, 0, 80, 0])},
        {"found_start": np.array([0, 9, 5])},
        {"confidence": np.zeros(4, dtype=np.float32)},
    ],
)
def test_malformed_file_is_named(tmp_path: Path, change: dict[str, np.ndarray]) -> None:
    replace(arrays(), **change).write(tmp_path / "records.npz", overwrite=True)
    with pytest.raises(DataError, match=f"records.npz.*{next(iter(change))}"):
        read_records(tmp_path / "records.npz", classes=80)
