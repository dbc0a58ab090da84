"""cgF1 and PBench's F1 of predicted instances, through the command: equal to the published code's figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.command_line import Run, risctl
from helpers.concept_files import ConceptCase

from risctl.data.datasets.pbench.reader import read_pbench
from risctl.data.datasets.saco.reader import read_saco
from risctl.data.store.writer import write_store

__all__ = ["risctl"]

COUNTS = ("il_tp", "il_tn", "il_fp", "il_fn", "n_samples", "n_valid_f1")


@pytest.fixture(scope="module")
def case(shared: Path) -> ConceptCase:
    return ConceptCase.read(shared)


@pytest.fixture(scope="module")
def gold(case: ConceptCase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gold")
    write_store(read_saco(case.write_saco(folder / "gold", "abc")), folder / "set.h5")
    return folder / "set.h5"


def measured(run: Run, *arguments: object) -> dict[str, Any]:
    code, out, err = run("score", *arguments, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def assert_stated(figures: dict[str, float], stated: dict[str, float]) -> None:
    for name, value in stated.items():
        assert figures[name] == pytest.approx(value if name in COUNTS else 100 * value, abs=1e-9), name


def test_gold_is_measured_by_its_most_favourable_annotator(
    risctl: Run, case: ConceptCase, gold: Path, tmp_path: Path
) -> None:
    predictions = case.write_predictions(tmp_path / "coco_predictions_segm.json")
    rows = tmp_path / "rows.jsonl"
    told = measured(risctl, predictions, "-d", gold, "-s", "crowded", "--rows", rows)
    assert_stated(told["figures"], case.stated("cgf1", 1))
    assert told["evaluated"] == 16 and "2 pairs count in no figure" in told["warnings"][0]
    low, high = told["intervals"]["cgF1"]
    assert low < told["figures"]["cgF1"] < high
    assert told["coverage"]["missing"] > 0 and any("nothing is predicted" in one for one in told["warnings"])
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    assert len(lines) == 16 and set(lines[0]) >= {"true", "predicted", "hits", "text", "image_id"}
    code, out, _ = risctl("score", predictions, "-d", gold, "-s", "crowded", "-p", "cgf1")
    assert code == 0 and "positive_micro_F1 (pmF1)" in out and "of several annotators the most favourable" in out


def test_silver_is_measured_by_its_one(risctl: Run, case: ConceptCase, tmp_path: Path) -> None:
    root = case.write_saco(tmp_path / "silver", "a", part="silver")
    write_store(read_saco(root, split_by="silver"), tmp_path / "set.h5")
    predictions = case.write_predictions(tmp_path / "predictions.json")
    told = measured(risctl, predictions, "-d", tmp_path / "set.h5", "-s", "all")
    assert_stated(told["figures"], case.stated("cgf1", 0))


def test_pbench_drops_what_overlaps_a_larger_one(risctl: Run, case: ConceptCase, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    case.write_pbench(tmp_path / "PBench" / "dense.parquet")
    case.write_pbench(tmp_path / "PBench" / "level_0.parquet")
    write_store(read_pbench(tmp_path / "PBench"), tmp_path / "set.h5")
    figures = []
    for run, split, first in ((0, "level_0", 19), (1, "dense", 1)):
        predictions = case.write_predictions(tmp_path / f"{split}.json", ids=range(first, first + 18))
        told = measured(risctl, predictions, "-d", tmp_path / "set.h5", "-s", split, "-p", "pbench")
        assert_stated(told["figures"], case.stated("pbench", run))
        figures.append(told["figures"]["f1"])
    both = json.loads((tmp_path / "dense.json").read_text()) + json.loads((tmp_path / "level_0.json").read_text())
    (tmp_path / "both.json").write_text(json.dumps(both))
    told = measured(risctl, tmp_path / "both.json", "-d", tmp_path / "set.h5", "-s", "all")
    assert told["figures"]["f1"] == pytest.approx(sum(figures) / 2) and set(told["subsets"]) == {"level_0", "dense"}
    assert told["figures"]["n_samples"] == 36


def test_masks_of_another_size_are_refused_and_those_that_cannot_be_read_left_out(
    risctl: Run, case: ConceptCase, gold: Path, tmp_path: Path
) -> None:
    predictions = case.write_predictions(tmp_path / "predictions.json")
    records = json.loads(predictions.read_text())
    records[0]["segmentation"] = {"size": [9, 9], "counts": "i2"}
    predictions.write_text(json.dumps(records))
    code, _, err = risctl("score", predictions, "-d", gold, "-s", "crowded")
    assert code == 4 and "entry 1" in err
    records[0]["segmentation"] = {"size": case.case["pairs"][0]["size"], "counts": "1"}
    predictions.write_text(json.dumps(records))
    code, _, err = risctl("score", predictions, "-d", gold, "-s", "crowded")
    assert code == 4 and "entry 1" in err and "--lenient" in err
    assert measured(risctl, predictions, "-d", gold, "-s", "crowded", "--lenient")["coverage"]["broken"] == 1


def test_options_of_masks_are_refused(risctl: Run, case: ConceptCase, gold: Path, tmp_path: Path) -> None:
    predictions = case.write_predictions(tmp_path / "predictions.json")
    for more, named in (
        (["--report", "page.html"], "leave --report"),
        (["--missing", "skip"], "leave --missing skip out"),
        (["-p", "cgf1,lavt"], "name it alone"),
    ):
        code, _, err = risctl("score", predictions, "-d", gold, "-s", "crowded", *more)
        assert code == 2 and named in err
    code, _, err = risctl("score", predictions, "-d", gold, "-s", "crowded", "--missing", "refuse")
    assert code == 4 and "has no prediction of" in err
