"""Masks of videos in one JSON file, as Sa2VA writes it: the same figures as those of a folder, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import Run, risctl
from helpers.video_files import box_mask, write_masks, write_mevis

from risctl.data.datasets.mevis.reader import read_mevis
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.errors import DataError
from risctl.evaluation.scoring.video_submission import open_video_masks, score_submission
from risctl.vision import rle

__all__ = ["risctl"]

FRAMES = 4


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mevis")
    write_store(read_mevis(write_mevis(folder / "MeViS")), folder / "set.h5")
    return folder / "set.h5"


def masks() -> dict[tuple[str, int], list[np.ndarray]]:
    one = [box_mask(frame, side=0) for frame in range(FRAMES)]
    return {("aa", 0): one, ("aa", 1): one[::-1], ("aa", 2): [np.zeros_like(one[0])] * FRAMES}


def results() -> dict[str, Any]:
    """Sa2VA's form; what is empty is null in one expression, and frames have their endings."""
    found: dict[str, Any] = {}
    for (video, number), own in masks().items():
        found.setdefault(video, {})[str(number)] = {
            "exp": "a box",
            "frames": [f"{frame:05d}.jpg" for frame in range(FRAMES)],
            "prediction_masks": [rle.encode(mask) if mask.any() else None for mask in own],
        }
    return found


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_a_file_scores_as_the_folder_of_the_same_masks(risctl: Run, store: Path, tmp_path: Path) -> None:
    figures = []
    for path in (write_masks(tmp_path / "masks", masks()), write(tmp_path / "results.json", results())):
        code, out, err = risctl("score", path, "-d", store, "-s", "valid_u", "--report", f"{path}.html", "--json")
        assert code == 0, err
        figures.append(json.loads(out)["figures"])
    assert figures[0] == figures[1] and 0 < figures[0]["J"] < 100 and figures[0]["N-acc"] == 100


def test_missing_frames_and_unknown_expressions_are_as_of_a_folder(store: Path, tmp_path: Path) -> None:
    content = results()
    content["aa"]["0"]["frames"].pop()
    content["aa"]["0"]["prediction_masks"].pop()
    content["aa"]["77"] = content["aa"]["extra"] = content["aa"]["1"]
    with Store(store) as opened:
        submission = open_video_masks(write(tmp_path / "results.json", content))
        with pytest.raises(DataError, match=r"lacks masks of 1 \(aa/0\)"):
            score_submission(submission, opened, split="valid_u")
        _, coverage, _ = score_submission(submission, opened, split="valid_u", missing="empty")
    assert coverage.unknown.text() == "2 (aa/extra, aa/77)"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"prediction_masks": []}, r"aa/0: 4 frames and 0 prediction_masks"),
        ({"frames": None}, r"aa/0: expected lists of frames"),
        ({"frames": ["1", "1", "2", "3"]}, "aa/0 has a frame twice"),
        ({"prediction_masks": [{"size": [32, 24], "counts": "0"}] * 4}, r"aa/0, mask 1 has 32x24 .* are exchanged"),
        ({"prediction_masks": [{"size": [24, 32], "counts": "0"}] * 4}, r"aa/0, mask 1: the counts"),
        ({"prediction_masks": [{"size": [60000, 60000], "counts": "0"}] * 4}, r"aa/0, mask 1: it has 60000x60000"),
        ({"prediction_masks": [7] * 4}, r"aa/0, mask 1: expected an RLE"),
    ],
)
def test_what_is_broken_is_named(change: dict[str, Any], named: str, store: Path, tmp_path: Path) -> None:
    content = results()
    content["aa"]["0"] |= change
    with Store(store) as opened, pytest.raises(DataError, match=named):
        score_submission(open_video_masks(write(tmp_path / "results.json", content)), opened, split="valid_u")


@pytest.mark.parametrize(
    ("text", "named"),
    [("{", "is not JSON"), ("[]", "is a JSON list"), ('{"a": 1}', "a is no object"), ("{}", "no masks")],
)
def test_other_files_are_refused(text: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(DataError, match=named):
        open_video_masks(tmp_path / "results.json")
