"""`risctl score`, run as a program: its text, its JSON, its report page, its template."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import prediction_files, store_files
from helpers.command_line import Run

from risctl.data.store.writer import write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "noise.h5"
    write_store(store_files.dataset(images=6), path)
    return path


@pytest.fixture
def masks(store: Path, tmp_path: Path) -> Path:
    expressions = prediction_files.expressions(store, "val")
    return prediction_files.json_lines(tmp_path, expressions, prediction_files.shifted_targets(store, "val"))


def test_figures_rows_and_report_are_those_of_an_evaluation(
    risctl: Run, masks: Path, store: Path, tmp_path: Path
) -> None:
    rows, page = tmp_path / "rows.jsonl", tmp_path / "page.html"
    code, out, err = risctl(
        "score", masks, "--data", store, "--protocol", "lavt,original", "--rows", rows, "--report", page
    )
    assert code == 0, err
    assert "(JSON Lines), matched by sent_id: 3 of 3 sentences" in out
    assert "masks as predicted, which meet no threshold" in out and "mIoU" in out
    html = page.read_text(encoding="utf-8")
    assert html.count("data:image/") >= 2 and "matched by sent_id" in html
    code, out, err = risctl("compare", rows, rows, "--json", "--quiet")
    assert (code, err) == (0, "") and json.loads(out)["against"]


def test_json_says_what_was_done_with_the_predictions(risctl: Run, masks: Path, store: Path) -> None:
    code, out, err = risctl("score", masks, "-d", store, "--json", "--quiet")
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert told["coverage"]["matched"] == 3 and len(told["coverage"]["sha256"]) == 64
    assert told["protocols"]["original"]["threshold_source"] == "masks"


def test_the_template_is_filled_in_and_scored(risctl: Run, store: Path, tmp_path: Path) -> None:
    code, out, err = risctl("score", "--template", store, "--split", "val")
    assert (code, err) == (0, "") and len(out.splitlines()) == 3
    (tmp_path / "filled.jsonl").write_text(out, encoding="utf-8")
    code, out, _ = risctl("score", tmp_path / "filled.jsonl", "-d", store, "--json", "-q")
    assert code == 0 and json.loads(out)["figures"]["mIoU"] == 0


def test_what_is_wrong_is_one_line_and_writes_nothing(risctl: Run, masks: Path, store: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    for change, wanted in (
        (lambda lines: lines[:-1], "no prediction of 1"),
        (lambda lines: [*lines, "{"], "line 3: it is not JSON"),
    ):
        masks.write_text("\n".join(change(masks.read_text().splitlines())) + "\n")
        code, out, err = risctl("score", masks, "-d", store, "--rows", rows)
        assert (code, out) == (4, "") and wanted in err and err.splitlines()[-1].startswith("error: ")
        assert not rows.exists()
    code, _, err = risctl("score", masks)
    assert code == 2 and "name the predictions and --data STORE" in err
    code, _, err = risctl("score", masks, "-d", store, "--rows", masks)
    assert code == 2 and "is an input of this command" in err
