"""cgF1 and PBench's F1 of predicted instances, through the command: equal to the published code's figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.command_line import Run, risctl
from helpers.concept_files import ConceptCase

import risctl as risctl_package
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
        (["--missing", "skip"], "leave --missing skip out"),
        (["-p", "cgf1,lavt"], "name it alone"),
    ):
        code, _, err = risctl("score", predictions, "-d", gold, "-s", "crowded", *more)
        assert code == 2 and named in err
    for more in (["--missing", "refuse"], ["--strict"]):
        code, _, err = risctl("score", predictions, "-d", gold, "-s", "crowded", *more)
        assert code == 4 and "has no prediction of" in err


def test_a_report_has_breakdowns_and_pictures_of_all_instances_together(
    risctl: Run, case: ConceptCase, gold: Path, tmp_path: Path
) -> None:
    predictions = case.write_predictions(tmp_path / "predictions.json")
    files = [tmp_path / f"page.{ending}" for ending in ("html", "md", "json")]
    options = [part for file in files for part in ("--report", file)]
    told = measured(risctl, predictions, "-d", gold, "-s", "crowded", *options)
    written = json.loads(files[2].read_text())
    result = written["protocols"]["cgf1"]
    assert result["figures"]["cgF1"] == told["figures"]["cgF1"] and result["headline"] == "cgF1"
    assert result["intervals"]["cgF1"] == told["intervals"]["cgF1"] and written["unit"] == "pair"
    by_length = next(one for one in result["breakdowns"] if one["name"] == "length")["groups"]
    assert sum(one["samples"] for one in by_length) == 16
    assert all(one["interval"][0] <= one["figures"]["cgF1"] + 1e-6 for one in by_length if one["samples"] > 3)
    html, markdown = files[0].read_text(encoding="utf-8"), files[1].read_text(encoding="utf-8")
    assert html.count("data:image/jpeg") > 3 and "most favourable" in html and "Worst and best" in html
    assert "cgF1" in markdown and "IL\\_MCC" in markdown
    report = risctl_package.score(predictions, gold, split="crowded")
    assert report.figures["cgF1"] == told["figures"]["cgF1"] and list(report.results) == ["cgf1"]


def test_two_tools_are_compared_pair_by_pair(risctl: Run, case: ConceptCase, gold: Path, tmp_path: Path) -> None:
    predictions = case.write_predictions(tmp_path / "predictions.json")
    records = json.loads(predictions.read_text())
    fewer = tmp_path / "fewer.json"
    fewer.write_text(json.dumps(records[::2]))
    rows = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    figures = [
        measured(risctl, file, "-d", gold, "-s", "crowded", "--rows", out)["figures"]
        for file, out in zip((predictions, fewer), rows, strict=True)
    ]
    page = tmp_path / "compared.html"
    code, out, err = risctl("compare", *rows, "--json", "-q", "--report", page, "--report", tmp_path / "c.md")
    assert (code, err) == (0, "")
    told = json.loads(out)
    compared = told["against"][0]["figures"]["cgF1"]
    assert [compared["before"], compared["after"]] == [one["cgF1"] for one in figures]
    assert compared["low"] <= compared["difference"] <= compared["high"]
    assert compared["difference"] == pytest.approx(figures[1]["cgF1"] - figures[0]["cgF1"])
    assert told["samples"] == 16 and told["against"][0]["breakdowns"] and told["against"][0]["flips"]["lost"]
    assert "resamples of pairs" in page.read_text(encoding="utf-8")
    same = json.loads(risctl("compare", rows[0], rows[0], "--json", "-q")[1])["against"][0]
    assert same["figures"]["cgF1"]["low"] == same["figures"]["cgF1"]["high"] == 0
    assert not same["flips"]["won"] and not same["flips"]["lost"]


def test_rows_that_are_broken_or_of_other_data_are_not_compared(
    risctl: Run, case: ConceptCase, gold: Path, tmp_path: Path
) -> None:
    predictions = case.write_predictions(tmp_path / "predictions.json")
    rows, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    measured(risctl, predictions, "-d", gold, "-s", "crowded", "--rows", rows)
    lines = rows.read_text().splitlines()
    for content, code, named in (
        ([*lines[:3], "{"], 4, "line 4"),
        ([*lines[:2], lines[2].replace('"hits": [', '"hits": [99999999, ')], 4, "line 3"),
        (lines[:-1], 2, "the pairs of"),
        ([one.replace('"saco"', '"other"') for one in lines], 2, "dataset"),
        ([lines[0], lines[0]], 4, "line 2"),
    ):
        other.write_text("\n".join(content))
        found, out, err = risctl("compare", rows, other, "-q")
        assert (found, out) == (code, "") and named in err and len(err.splitlines()) == 1
