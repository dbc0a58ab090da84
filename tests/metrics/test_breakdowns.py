"""Samples told apart, on rows whose parts are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from risctl.metrics.accumulator import Accumulator
from risctl.metrics.breakdowns import Breakdown, breakdowns, headline, measured
from risctl.metrics.protocols import get_protocol
from risctl.metrics.rows import Facts, Rows, rows_of

SIDE = 10


def strip(columns: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[:, :columns] = True
    return mask


def made(samples: list[dict[str, object]], *, protocol: str = "original") -> Rows:
    """Rows of samples with `found` columns predicted of `wanted`."""
    accumulator = Accumulator(get_protocol(protocol))
    for key, one in enumerate(samples):
        accumulator.add(
            strip(int(one.get("found", 1))),  # type: ignore[call-overload]
            strip(int(one.get("wanted", 1))),  # type: ignore[call-overload]
            key=key,
            image_id=int(one.get("image", key)),  # type: ignore[call-overload]
            text=str(one.get("text", "")),
            abilities=one.get("abilities", ()),  # type: ignore[arg-type]
            facts=one.get("facts", Facts()),  # type: ignore[arg-type]
        )
    return accumulator.rows()


def named(rows: Rows, name: str) -> Breakdown:
    return next(breakdown for breakdown in breakdowns(rows) if breakdown.name == name)


def sizes(breakdown: Breakdown) -> dict[str, int]:
    return {name: int(chosen.sum()) for name, chosen in breakdown.groups.items()}


def test_lengths_meet_without_gap_or_overlap() -> None:
    rows = made([{"text": " ".join(["word"] * count)} for count in range(1, 30)])
    found = named(rows, "length")
    assert sizes(found) == {"1-2": 2, "3": 1, "4-5": 2, "6-7": 2, "8-10": 3, "11-20": 10, "21 or more": 9}
    assert np.array_equal(sum(chosen.astype(int) for chosen in found.groups.values()), np.ones(29))


def test_tags_of_the_data_go_before_words() -> None:
    tagged = made(
        [{"text": "red cup", "abilities": ("size", "category")}, {"text": "left cup", "abilities": ("size",)}]
    )
    assert sizes(named(tagged, "ability")) == {"size": 2, "category": 1}
    # Tags that name no ability (whose annotator it was) leave it to the words.
    plain = made([{"text": "red cup on the left", "abilities": ("annotator-1",)}, {"text": "cup"}])
    found = named(plain, "ability")
    assert sizes(found) == {"place": 1, "colour": 1, "none of these": 1}
    assert "the data has no tags" in found.about


def test_areas_distractors_and_categories_leave_out_what_has_no_target() -> None:
    rows = made(
        [
            {"wanted": 0, "found": 0, "facts": Facts(targets=0, categories=(), area=0.0, distractors=0)},
            {"facts": Facts(targets=1, categories=("cup",), area=0.005, distractors=0)},
            {"facts": Facts(targets=1, categories=("cup",), area=0.01, distractors=1)},
            {"facts": Facts(targets=2, categories=("cup", "hat"), area=0.8, distractors=9)},
        ]
    )
    assert sizes(named(rows, "area")) == {"under 1%": 1, "1% to 3%": 1, "30% or more": 1}
    assert sizes(named(rows, "distractors")) == {"0": 1, "1": 1, "5 or more": 1}
    assert sizes(named(rows, "category")) == {"cup": 3, "hat": 1}
    assert sizes(named(rows, "targets")) == {"no target": 1, "one": 2, "several": 1}


def test_what_is_unknown_makes_no_breakdown() -> None:
    assert [breakdown.name for breakdown in breakdowns(made([{"text": "cup"}]))] == ["length", "ability"]
    assert breakdowns(made([])) == []


def test_figures_and_intervals_of_the_parts() -> None:
    protocol = get_protocol("original")
    samples = [{"text": "cup", "found": 1 + k % 2, "wanted": 2, "image": k // 2} for k in range(8)]
    samples += [{"text": "a red cup", "found": 3, "wanted": 4, "image": 9} for _ in range(2)]
    rows = made(samples)
    parts = measured(named(rows, "length"), rows, protocol, resamples=200)
    assert (parts["1-2"].samples, parts["1-2"].images, parts["1-2"].few) == (8, 4, True)
    assert parts["1-2"].figures["mIoU"] == pytest.approx(75)
    assert parts["1-2"].figures["oIoU"] == pytest.approx(75)
    assert parts["3"].figures["Pr@0.8"] == 0
    # Each image has an IoU of 1/2 and one of 1, so whichever are drawn, the mean is the same.
    assert parts["1-2"].interval is not None
    assert (parts["1-2"].interval.low, parts["1-2"].interval.high) == pytest.approx((75, 75))
    # One image alone has nothing to resample.
    assert parts["3"].interval is not None
    assert np.isnan(parts["3"].interval.low)
    assert measured(named(rows, "length"), rows, protocol)["3"].interval is None


def test_an_interval_of_a_part_is_that_of_its_rows_alone() -> None:
    from risctl.metrics.bootstrap import intervals, subset_intervals

    generator = np.random.default_rng(0)
    rows = made([{"found": int(generator.integers(0, 11)), "wanted": 10} for _ in range(400)])
    chosen = np.arange(400) % 2 == 0
    [part] = subset_intervals(rows, get_protocol("original"), [chosen], figure="mIoU", resamples=2000)
    alone = intervals(rows.subset(chosen), get_protocol("original"), resamples=2000)["mIoU"]
    assert part is not None
    assert (part.low, part.high) == pytest.approx((alone.low, alone.high), abs=0.6)


def test_the_figure_that_stands_for_a_protocol_is_one_of_its_own() -> None:
    for name in ("original", "rela", "davis", "cris"):
        rows = made([{"found": 3, "wanted": 5}, {"found": 5, "wanted": 5}], protocol=name)
        [parts] = [measured(breakdown, rows, get_protocol(name), resamples=10) for breakdown in breakdowns(rows)][
            :1
        ] or [{}]
        for part in parts.values():
            assert np.isfinite(part.figures[headline(get_protocol(name))])


def test_rows_come_back_from_their_json() -> None:
    rows = made(
        [
            {"text": "red cup", "abilities": ("colour",), "facts": Facts(targets=1, categories=("cup",), area=0.1)},
            {"text": "nothing", "wanted": 0},
        ]
    )
    records = [
        {
            "sample": int(rows.key[place]),
            **rows.ids(place),
            **rows.facts(place),
            **{name: getattr(rows, name)[place].item() for name in ("targeted", "predicted_none", "score")},
            **{name: int(getattr(rows, name)[place]) for name in ("intersection", "union", "predicted")},
        }
        for place in (1, 0)
    ]
    back = rows_of([json.loads(json.dumps(record, allow_nan=False)) for record in records])
    for name, column in rows.columns().items():
        theirs = back.columns()[name]
        assert theirs.dtype == column.dtype, name
        same = (
            np.array_equal(theirs, column, equal_nan=True) if column.dtype.kind == "f" else list(theirs) == list(column)
        )
        assert same, name
    with pytest.raises(KeyError):
        rows_of([{"sample": 1}])
