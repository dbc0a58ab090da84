"""`risctl zeroshot --settings`: every row of the paper's tables runs and changes the scores; what is wrong is told."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import Run
from helpers.tiny import tiny_store
from helpers.tiny_clip import write_hugging_face
from PIL import Image

from risctl.recipe.ablations import Ablation, ablations

ROWS = [row for row in ablations() if row.section.paper == "global-local-clip"]
TEXT = "the cup on the left of a table"


@pytest.fixture
def zeroshot(risctl: Run) -> Run:
    return partial(risctl, "zeroshot")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hugging_face(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """An image of noise, and two masks in an npz beside it."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    masks = np.zeros((2, 60, 90), dtype=bool)
    masks[0, 10:50, 5:40] = masks[1, 20:40, 50:80] = True
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    np.savez(tmp_path / "noise.npz", masks=masks, scores=np.array([0.9, 0.8]))
    return tmp_path / "noise.png"


def score(zeroshot: Run, clip: Path, picture: Path, *options: object) -> float:
    masks = picture.with_suffix(".npz")
    ran = zeroshot("predict", picture, TEXT, "-P", masks, "--clip", clip, "--json", "--overwrite", *options)
    assert ran.code == 0, ran.err
    return float(json.loads(ran.out)[0]["score"])


@pytest.mark.parametrize("row", [row for row in ROWS if "proposals" not in row.changes], ids=lambda row: row.name)
def test_a_row_changes_the_score(row: Ablation, zeroshot: Run, clip: Path, picture: Path) -> None:
    assert score(zeroshot, clip, picture, "--settings", row.name) != score(zeroshot, clip, picture)


def test_the_row_of_ground_truth_proposals_runs(zeroshot: Run, clip: Path, tmp_path: Path) -> None:
    store = tiny_store(tmp_path, images=4, validation=2)
    [row] = [row for row in ROWS if "proposals" in row.changes]
    ran = zeroshot("eval", "--settings", row.file, "--data", store, "--clip", clip, "--json")
    assert ran.code == 0, ran.err
    assert "COCO ground truth" in json.loads(ran.out)["answerer"]


def test_an_option_on_the_command_line_goes_before(zeroshot: Run, clip: Path, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nzeroshot: {text_weight: 1.0, box: reference}\n", encoding="utf-8")
    both = score(zeroshot, clip, picture, "--settings", "mine.yaml", "--text-weight", "0.25")
    assert both == score(zeroshot, clip, picture, "--box", "reference", "--text-weight", "0.25")


def test_all_that_is_wrong_is_told_at_once(zeroshot: Run, picture: Path, tmp_path: Path) -> None:
    text = "name: mine\nzeroshot: {text_weigth: 1.0, visual_weight: 2, box: wide, masked_blocks: -1, fast: 7}\n"
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    ran = zeroshot("predict", picture, TEXT, "--settings", "mine.yaml")
    assert ran.code == 3
    for problem in (
        "zeroshot.text_weigth: unknown option; did you mean text_weight?",
        "zeroshot.visual_weight: expected a number from 0 to 1; got 2",
        "zeroshot.box: Input should be 'tight' or 'reference'",
        "zeroshot.masked_blocks: expected a number of at least 0; got -1",
        "zeroshot.fast: ",
    ):
        assert problem in ran.err, ran.err
    ran = zeroshot("predict", picture, TEXT, "--settings", "vlt-refcoco")
    assert (ran.code, "holds no options of `risctl zeroshot`" in ran.err) == (3, True)
    ran = zeroshot("predict", picture, TEXT, "--settings", "global-local-clip-text-sentenc")
    assert (ran.code, "'global-local-clip-text-sentence'" in ran.err) == (3, True)
