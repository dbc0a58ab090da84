"""cgF1 of tracks through the command: SAM 3's own file of predictions, by counts made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.command_line import Run, risctl
from helpers.veval_files import stated, write_predictions, write_veval

import risctl as risctl_package
from risctl.data.datasets.saco_veval.reader import read_saco_veval
from risctl.data.store.writer import write_store

__all__ = ["risctl"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("veval")
    write_store(read_saco_veval(write_veval(folder / "VEval")), folder / "set.h5")
    return folder / "set.h5"


def test_the_figures_are_those_of_the_published_formulas(risctl: Run, store: Path, tmp_path: Path) -> None:
    predictions = write_predictions(tmp_path / "saco_veval_sav_val_preds.json")
    files = [tmp_path / f"page.{ending}" for ending in ("html", "md", "json")]
    rows = tmp_path / "rows.jsonl"
    options = ["--rows", rows, *(part for file in files for part in ("--report", file))]
    code, out, err = risctl("score", predictions, "-d", store, "-s", "sav_val", "--json", *options)
    assert code == 0, err
    told = json.loads(out)
    for name, value in stated().items():
        assert told["figures"][name] == pytest.approx(value, abs=1e-9), name
    assert told["evaluated"] == 5 and "tracks" in told["protocol"]
    assert told["coverage"]["predictions"] == 5 and told["coverage"]["missing"] == 2
    pairs = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [(pair["true"], pair["predicted"], pair["hits"][0]) for pair in pairs] == [
        (2, 2, 1),
        (0, 0, 0),
        (1, 1, 1),
        (0, 1, 0),
        (1, 0, 0),
    ]
    # Of all tracks that count, united: 56 + 16 of 64 + 32 + 16 pixels of the pair's frames.
    assert (pairs[0]["intersection"], pairs[0]["union"]) == (72, 112)
    assert "sav_val_000000" in files[0].read_text(encoding="utf-8")
    assert json.loads(files[2].read_text())["protocols"]["cgf1"]["figures"]["cgF1"] == told["figures"]["cgF1"]
    code, out, _ = risctl("compare", rows, rows, "-q", "--json")
    assert code == 0 and json.loads(out)["against"][0]["figures"]["cgF1"]["difference"] == 0
    assert risctl_package.score(predictions, store, split="sav_val").figures["cgF1"] == told["figures"]["cgF1"]
    code, out, _ = risctl("score", predictions, "-d", store, "-s", "sav_val")
    assert code == 0 and "5 of 5 pairs of video and phrase" in out


def test_the_template_lists_the_pairs(risctl: Run, store: Path) -> None:
    code, out, err = risctl("score", "--template", store, "-s", "sav_val")
    assert code == 0, err
    pairs = [json.loads(line) for line in out.splitlines()]
    assert [(one["video_id"], one["category_id"]) for one in pairs] == [(0, 7), (0, 9), (0, 11), (1, 7), (1, 9)]
    assert pairs[0]["text"] == "a box" and pairs[0]["file_names"][1] == "sav_val_000000/00004.jpg"


def changed(path: Path, change: Any) -> Path:
    content = json.loads(write_predictions(path).read_text())
    path.write_text(json.dumps(change(content) or content))
    return path


@pytest.mark.parametrize(
    ("change", "options", "named"),
    [
        (lambda all: all[1]["segmentations"].pop(), [], "entry 2: expected segmentations of 4 frames"),
        (lambda all: all[0].pop("segmentations"), [], "entry 1: it has no segmentations"),
        (lambda all: all[0].update(video_id="0"), [], "entry 1: video_id is a whole number"),
        (lambda all: all[0].update(score="high"), [], "entry 1: score is a number"),
        (lambda all: all[0]["segmentations"][0].update(counts="0"), [], "entry 1"),
        (lambda all: all[0]["segmentations"][1].update(size=[5, 20]), [], "mask 2 has 5x20 pixels"),
        (lambda all: [one | {"video_id": 77} for one in all], [], "none of the 5 tracks"),
        (lambda all: all[0].update(category_id=12), ["--strict"], "1 (video 0, category 12) tracks are of no pair"),
        (lambda all: None, ["--missing", "refuse"], "no track of 2 of the 5 pairs"),
    ],
)
def test_what_cannot_be_measured_is_named(
    change: Any, options: list[str], named: str, risctl: Run, store: Path, tmp_path: Path
) -> None:
    path = changed(tmp_path / "preds.json", change)
    rows = tmp_path / "rows.jsonl"
    code, out, err = risctl("score", path, "-d", store, "-s", "sav_val", "--rows", rows, *options)
    assert (code, out, rows.exists()) == (4, "", False) and named in err, err


def test_broken_and_unknown_tracks_are_counted(risctl: Run, store: Path, tmp_path: Path) -> None:
    def change(all_tracks: list[dict[str, Any]]) -> None:
        all_tracks[1]["segmentations"].pop()
        all_tracks[4]["category_id"] = 12

    path = changed(tmp_path / "preds.json", change)
    code, out, err = risctl("score", path, "-d", store, "-s", "sav_val", "--lenient", "--json")
    assert code == 0, err
    coverage = json.loads(out)["coverage"]
    assert (coverage["broken"], coverage["unknown"], coverage["missing"]) == (1, 1, 3)


def test_options_and_files_of_masks_are_refused(risctl: Run, store: Path, tmp_path: Path) -> None:
    predictions = write_predictions(tmp_path / "preds.json")
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"video_id": 0}\n')
    for arguments, code, named in (
        ([predictions, "--key", "ref_id"], 2, "name their pair by video_id and category_id"),
        ([predictions, "--missing", "skip"], 2, "leave --missing skip out"),
        ([lines], 4, "is no JSON list of tracks"),
        ([tmp_path], 4, "is no file of tracks"),
        ([predictions, "-p", "pbench"], 2, "measure its masks with --protocol videos"),
        ([predictions, "-p", "videos"], 4, "is a JSON list"),
    ):
        found, out, err = risctl("score", *arguments, "-d", store, "-s", "sav_val")
        assert (found, out) == (code, "") and named in err, err


def test_predictions_are_of_one_split(risctl: Run, tmp_path: Path) -> None:
    write_store(read_saco_veval(write_veval(tmp_path / "VEval", splits=("sav_test", "sav_val"))), tmp_path / "two.h5")
    predictions = write_predictions(tmp_path / "preds.json")
    code, _, err = risctl("score", predictions, "-d", tmp_path / "two.h5", "-s", "all")
    assert code == 2 and "name one of the splits with --split: sav_test, sav_val" in err
    code, out, err = risctl("score", predictions, "-d", tmp_path / "two.h5", "-s", "sav_test", "--json")
    assert code == 0 and json.loads(out)["figures"]["cgF1"] == pytest.approx(stated()["cgF1"], abs=1e-9)
