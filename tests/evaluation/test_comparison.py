"""Runs compared: what is read back, what comes out, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.made_rows import write_rows

from risctl.errors import DataError, UsageError
from risctl.evaluation.comparison import compare_runs
from risctl.evaluation.saved_rows import read_run

BEFORE = np.random.default_rng(0).integers(2, 8, size=120).tolist()
AFTER = [share + 2 * (key % 2) for key, share in enumerate(BEFORE)]


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    run = read_run(write_rows(tmp_path / "rows.jsonl", BEFORE))
    assert list(run.rows) == ["original", "lavt"]
    rows = run.rows["original"]
    assert (rows.intersection == 10 * np.array(BEFORE)).all()
    assert rows.text[1] == "cup left 1" and rows.abilities[1] == ("place",) and rows.categories[1] == ("cup",)
    assert run.origin["fingerprint"] == "ab" * 6 and run.checkpoint == "cd" * 6
    assert run.protocols["lavt"].describe() == read_run(tmp_path).protocols["lavt"].describe()
    given = read_run(write_rows(tmp_path / "other.jsonl", BEFORE, threshold=0.4)).protocols["original"]
    assert (given.threshold, given.threshold_source) == (0.4, "option")


def test_a_report_names_its_rows(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", BEFORE)
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"rows": "elsewhere/rows.jsonl"}), encoding="utf-8")
    assert len(read_run(report).rows["original"]) == 120
    report.write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError, match="names no file of rows"):
        read_run(report)


def test_what_changed_and_what_flipped_is_told(tmp_path: Path) -> None:
    files = [write_rows(tmp_path / f"{n}.jsonl", shares) for n, shares in enumerate((BEFORE, AFTER, BEFORE))]
    told = compare_runs([read_run(file) for file in files]).to_dict()
    json.dumps(told, allow_nan=False)
    assert (told["protocol"], told["samples"], told["images"]) == ("original", 120, 60)
    assert [line.partition(":")[0] for line in told["warnings"]] == ["small sample", "one checkpoint", "one checkpoint"]
    better, same = told["against"]
    figure = better["figures"]["mIoU"]
    assert figure["before"] == pytest.approx(10 * np.mean(BEFORE))
    assert figure["after"] - figure["before"] == pytest.approx(figure["difference"]) == pytest.approx(10)
    assert figure["low"] <= 10 <= figure["high"] and figure["significant"]
    changed = {one["group"] for one in better["breakdowns"] if one["significant"]}
    assert "place" in changed and "colour" not in changed
    won = {one["sample"] for one in better["flips"]["won"]}
    assert won == {key for key, share in enumerate(BEFORE) if share < 5 <= AFTER[key]}
    assert better["flips"]["lost"] == []
    first = better["flips"]["won"][0]
    assert first["text"] == f"cup left {first['sample']}" and first["image_id"] == 100 + first["sample"] // 2
    assert not any(one["significant"] for one in (*same["figures"].values(), *same["breakdowns"]))
    assert same["flips"] == {"won": [], "lost": []}


def test_another_protocol_can_be_asked_for(tmp_path: Path) -> None:
    runs = [read_run(write_rows(tmp_path / f"{n}.jsonl", BEFORE)) for n in range(2)]
    assert compare_runs(runs, protocol="lavt").protocol.name == "lavt"
    with pytest.raises(UsageError, match="did you mean 'lavt'"):
        compare_runs(runs, protocol="lavv")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"split": "testA"}, "split of .* is 'val', that of .* 'testA'"),
        ({"fingerprint": "00" * 32}, "content of the store"),
        ({"text_field": "raw"}, "text field"),
        ({"dataset": "other"}, "dataset"),
        ({"protocols": ("cris",)}, "under one protocol.*by original, lavt; .*by cris"),
        ({"threshold": 0.3}, "one threshold; under original .* is 0.5, .* 0.3"),
        ({"text": "mug"}, "sample 0 has another text"),
    ],
)
def test_runs_of_different_things_are_refused(tmp_path: Path, options: dict, told: str) -> None:
    base = read_run(write_rows(tmp_path / "a.jsonl", BEFORE))
    other = read_run(write_rows(tmp_path / "b.jsonl", BEFORE, **options))
    with pytest.raises(UsageError, match=told):
        compare_runs([base, other])


def test_runs_of_other_samples_are_refused(tmp_path: Path) -> None:
    base, other = (read_run(write_rows(tmp_path / f"{n}.jsonl", BEFORE[:n])) for n in (120, 118))
    with pytest.raises(UsageError, match=r"2 are in .*120.jsonl only, 0 in .*118.jsonl only"):
        compare_runs([base, other])
    with pytest.raises(UsageError, match="at least two"):
        compare_runs([base])


def test_a_models_own_threshold_may_differ(tmp_path: Path) -> None:
    runs = [
        read_run(write_rows(tmp_path / f"{n}.jsonl", BEFORE, protocols=("a2d",), threshold=one))
        for n, one in enumerate((0.5, 0.4))
    ]
    assert "mAP_0.5:0.95" in compare_runs(runs).to_dict()["against"][0]["figures"]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("", "is empty"),
        ("nonsense\n", "line 1: expected a row"),
        ('{"step": 3, "loss": 0.5}\n', "line 1: expected a row"),
        ('{"protocol": "original", "sample": 1}\n', "lacks 'image_id'"),
        ('{"protocol": "nobody", "sample": 1}\n', "'nobody' is not known"),
    ],
)
def test_files_that_are_no_rows_are_told(tmp_path: Path, lines: str, told: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(lines, encoding="utf-8")
    with pytest.raises(DataError, match=told):
        read_run(file)


def test_rows_of_videos_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"video": "dog", "ref_id": 1, "sentence_id": 1, "text": "a dog", "j": 0.5, "f": 0.5}\n')
    with pytest.raises(UsageError, match="of a video"):
        read_run(file)


def test_a_sample_counts_once(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "rows.jsonl", BEFORE[:4], protocols=("original",))
    file.write_text(file.read_text(encoding="utf-8") * 2, encoding="utf-8")
    with pytest.raises(DataError, match="sample 0 is in it twice"):
        read_run(file)
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match=r"holds no rows\.jsonl"):
        read_run(tmp_path / "other")
