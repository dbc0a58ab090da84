"""MeViS's, Long-RVOS's and Ref-SAV's protocols on submitted masks and on a model's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import Run, risctl
from helpers.video_files import box_mask, write_masks, write_mevis
from helpers.video_system import recipe_of

from risctl.data.datasets.mevis.reader import read_mevis
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.errors import DataError
from risctl.evaluation.expression_rows import video_protocol_of
from risctl.evaluation.scoring.video_submission import VideoSubmission, score_submission
from risctl.evaluation.video_evaluator import evaluate_videos
from risctl.evaluation.video_report import report_of
from risctl.language.vocabulary import Vocabulary
from risctl.metrics.protocols import get_video_protocol
from risctl.metrics.video_expressions import ExpressionMeasures, protocol_figures
from risctl.systems.registry import build_system

__all__ = ["risctl"]

FRAMES = 4
EMPTY = np.zeros((24, 32), dtype=bool)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mevis")
    write_store(read_mevis(write_mevis(folder / "MeViS")), folder / "set.h5")
    return folder / "set.h5"


def left(frame: int) -> np.ndarray:
    return box_mask(frame, side=0)


def masks(*, none: list[np.ndarray] | None = None) -> dict[tuple[str, int], list[np.ndarray]]:
    """Expression 0 exactly, of the two boxes of 1 the left one, and for 2, which has no target, nothing."""
    one = [left(frame) for frame in range(FRAMES)]
    return {("aa", 0): one, ("aa", 1): one, ("aa", 2): none or [EMPTY] * FRAMES}


def test_expressions_about_nothing_score_their_empty_frames(risctl: Run, store: Path, tmp_path: Path) -> None:
    # Of the two boxes one is found in three frames, half of the union, and all of it in the last one.
    j_of_two = (3 * 0.5 + 1) / 4
    for number, (none, share, accuracy) in enumerate([(None, 1.0, 100.0), ([EMPTY, EMPTY, EMPTY, left(3)], 0.75, 0.0)]):
        folder = write_masks(tmp_path / str(number), masks(none=none))
        code, out, err = risctl("score", folder, "-d", store, "-s", "valid_u", "--json")
        assert code == 0, err
        told = json.loads(out)
        assert told["protocol"] == "mevis" and told["sentences"] == 3
        assert told["figures"]["J"] == pytest.approx(100 * (1 + j_of_two + share) / 3)
        assert told["figures"]["T-acc"] == 100 and told["figures"]["N-acc"] == accuracy
        assert set(told["intervals"]) >= {"J&F", "N-acc"}


def test_a_page_shows_expressions_about_nothing(risctl: Run, store: Path, tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "masks", masks(none=[left(frame) for frame in range(FRAMES)]))
    page, rows = tmp_path / "page.html", tmp_path / "rows.jsonl"
    code, _, err = risctl("score", folder, "-d", store, "-s", "valid_u", "--report", page, "--rows", rows)
    assert code == 0, err
    assert "the box that turns around" in page.read_text(encoding="utf-8")
    last = json.loads(rows.read_text().splitlines()[-1])
    assert last["targeted"] is False and last["predicted_none"] is False and last["j"] == 0


def test_a_video_without_any_prediction_counts_0(store: Path, tmp_path: Path) -> None:
    """As published, where the expressions of a video that was left out count 0, those about nothing too."""
    folder = write_masks(tmp_path / "masks", masks())
    (folder / "aa" / "2" / "00001.png").unlink()
    submission = VideoSubmission(folder)
    with Store(store) as opened:
        protocol = video_protocol_of(opened, None)
        with pytest.raises(DataError, match=r"lacks masks of 1 \(aa/2\)"):
            score_submission(submission, opened, split="valid_u", protocol=protocol)
        report = score_submission(submission, opened, split="valid_u", protocol=protocol, missing="empty")[0]
        assert report.figures["N-acc"] == 100
        (folder / "aa").rename(folder / "unknown")
        write_masks(folder, {("bb", 0): [EMPTY]})
        _, coverage, measured = score_submission(
            VideoSubmission(folder), opened, split="all", protocol=protocol, missing="empty"
        )
        assert coverage.missing == 3
        assert all(row.j == row.f == 0 for row in measured.rows)
        assert measured.figures["T-acc"] == measured.figures["N-acc"] == 0
        plain = score_submission(
            VideoSubmission(folder), opened, split="all", protocol=get_video_protocol("videos"), missing="empty"
        )
        assert [row.j for row in plain[2].rows] == [0, 0, 1]


def test_a_model_is_measured_on_all_expressions(store: Path) -> None:
    system = build_system(recipe_of(store).model, vocabulary=Vocabulary(["box", "right"]))
    with Store(store) as opened:
        protocol = video_protocol_of(opened, None)
        measured = evaluate_videos(system, opened, split="valid_u", protocol=protocol)
        assert len(measured.rows) == 3 and {"J&F", "N-acc", "T-acc"} <= set(measured.figures)
        report = report_of(measured, opened, split="valid_u", text_field="sent", protocol=protocol, resamples=10)
        assert report.figures["N-acc"] == measured.figures["N-acc"] and not report.notes


def test_an_unknown_protocol_of_videos_has_the_nearest_name(risctl: Run, store: Path, tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "masks", masks())
    code, _, err = risctl("score", folder, "-d", store, "-s", "valid_u", "-p", "mevi")
    assert code == 2 and "mevis" in err


def test_figures_by_type() -> None:
    def measures(j: float, accuracy: float) -> ExpressionMeasures:
        return ExpressionMeasures(j=j, f=j / 2, temporal=j, spatiotemporal=j / 4, accuracy=accuracy)

    found = protocol_figures(
        "ref_sav", [measures(0.2, 0.5), measures(0.4, 0.7), measures(0.8, 0.9)], [("long",), ("long",), ("short",)]
    )
    assert found["J (long)"] == pytest.approx(0.3) and found["J (short)"] == pytest.approx(0.8)
    assert found["J (mean of long and short)"] == pytest.approx(0.55)
    assert found["A (mean of long and short)"] == pytest.approx(0.75) and found["A"] == pytest.approx(0.7)
    kinds = [("static",), ("dynamic",), ("static+dynamic",)]
    found = protocol_figures("long_rvos", [measures(0.2, 0), measures(0.4, 0), measures(0.6, 0)], kinds)
    assert found["tIoU"] == pytest.approx(0.4) and found["vIoU (hybrid)"] == pytest.approx(0.15)
    assert found["J&F (dynamic)"] == pytest.approx(0.3)
