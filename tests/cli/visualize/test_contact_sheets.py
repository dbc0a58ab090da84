"""`risctl visualize`: sheets of data, of predictions and of what small models show, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.command_line import Run
from helpers.made_rows import write_rows
from helpers.tiny import tiny_store
from helpers.tiny_clip import write_hugging_face
from PIL import Image

from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.data.store.reader import Store
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import load_recipe
from risctl.systems.registry import build_system

SMALL = [
    "model.input_size=64",
    "model.folds=2",
    "model.filters=4",
    "model.attention=8",
    "model.embedding=8",
    "model.context_channels=8",
    "model.text={hidden: 8, dim: 8}",
    'model.visual={name: "small_cnn"}',
]


Shown = Callable[..., tuple[dict[str, Any], np.ndarray]]


@pytest.fixture(scope="module", params=["square", "longest"])
def step(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a very small, untrained STEP."""
    recipe = load_recipe("step-scenes", [*SMALL, f"model.input_fit={request.param}"])
    vocabulary = Vocabulary.from_texts(["the red cup on the left"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        system = build_system(recipe.model, vocabulary=vocabulary)
    run = tmp_path_factory.mktemp("step")
    save_checkpoint(run / "best.safetensors", system=system, recipe=recipe, vocabulary=vocabulary)
    return run


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def visualize(risctl: Run) -> Run:
    return partial(risctl, "visualize")


@pytest.fixture
def shown(visualize: Run) -> Shown:
    """Draw a sheet; returns what was told and the sheet's pixels."""

    def draw(*arguments: object) -> tuple[dict[str, Any], np.ndarray]:
        ran = visualize(*arguments, "--json", "--quiet")
        assert ran.code == 0, ran.err
        told = json.loads(ran.out)
        with Image.open(told["sheet"]) as sheet:
            assert sheet.format == ("PNG" if told["sheet"].endswith(".png") else "JPEG")
            return told, np.asarray(sheet.convert("RGB"))

    return draw


def test_a_sheet_is_written(shown: Shown, step: Path, image: Path) -> None:
    told, sheet = shown("steps", image, "the red cup", "--model", step, "--device", "cpu")
    assert told["sheet"] == "photo.steps.png" and sheet.shape[1] > 1000
    assert [(one["step"], one["level"]) for one in told["steps"]] == list(enumerate([1, 2, 3, 4, 5] * 2, start=1))
    for one in told["steps"]:
        assert list(one["words"]) == ["1 the", "2 red", "3 cup"]
        assert sum(one["words"].values()) == pytest.approx(1, abs=1e-4)


def test_other_systems_have_no_steps(visualize: Run, tiny_checkpoint: Path, image: Path, tmp_path: Path) -> None:
    ran = visualize("steps", image, "the red cup", "--model", tiny_checkpoint, "--out", "a.png")
    assert ran.code == 2 and "expected a model that shows steps" in ran.err
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("text", "out", "code", "says"),
    [
        ("the cup", "a.gif", 2, "ends in .png"),
        ("the cup", "absent/a.png", 2, "cannot write"),
        ("  ", "a.png", 2, "at least one word"),
    ],
)
def test_refused(visualize: Run, step: Path, image: Path, text: str, out: str, code: int, says: str) -> None:
    ran = visualize("steps", image, text, "--model", step, "--out", out, "--quiet")
    assert ran.code == code and says in ran.err


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("store"), images=6, validation=4)


def test_images_of_a_store_are_drawn_with_their_expressions(shown: Shown, store: Path) -> None:
    told, sheet = shown("data", store, "--split", "val", "-n", 3)
    assert told["sheet"] == "tiny.val.png" and len(told["pictures"]) == 3
    with Store(store) as opened:
        val = {opened.image(int(row)).image_id for row in opened.images("val")}
    assert {one["image_id"] for one in told["pictures"]} <= val
    first = told["pictures"][0]["refs"]
    assert len(first) == 2 and first[0]["texts"][0].endswith("box")
    # The first two colours of the palette: a line around each thing, a patch before its expressions.
    for colour in ((86, 180, 233), (230, 159, 0)):
        assert (sheet == colour).all(axis=2).sum() > 3 * 100
    again, _ = shown("data", store, "--split", "val", "-n", 3, "--seed", 2, "--columns", 1, "-o", "b.jpg")
    assert again["sheet"] == "b.jpg" and again["pictures"] != told["pictures"]


def test_predictions_are_drawn_beside_the_truth(shown: Shown, store: Path, tiny_checkpoint: Path) -> None:
    options = (store, "--model", tiny_checkpoint, "--device", "cpu", "-n", 3)
    worst, sheet = shown("predictions", *options, "--show", "worst", "--threshold", "0.3")
    best, _ = shown("predictions", *options, "--show", "best", "--threshold", "0.3")
    assert worst["sheet"] == "tiny.val.worst.png" and sheet.shape[1] > 1000
    assert len({one["image_id"] for one in worst["samples"]}) == 3
    rising, falling = ([one["iou"] for one in told["samples"]] for told in (worst, best))
    assert rising == sorted(rising) and falling == sorted(falling, reverse=True) and rising[0] < falling[0]
    some, _ = shown("predictions", *options)
    assert some["show"] == "random" and len(some["samples"]) == 3


def test_rows_rank_without_asking_again(
    shown: Shown, visualize: Run, store: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    with Store(store) as opened:
        # Rows for the first sentences; the tests' rows begin at key 0, which are of the training split here.
        rows = write_rows(tmp_path / "rows.jsonl", [9, 1, 5, 3], split="train", fingerprint=opened.fingerprint)
    options = (store, "--model", tiny_checkpoint, "--device", "cpu", "--show", "best", "--rows", rows, "-n", 1)
    told, _ = shown("predictions", *options, "--split", "train")
    assert [one["sample"] for one in told["samples"]] == [0]
    ran = visualize("predictions", *options)
    assert ran.code == 2 and "of another split (train)" in ran.err


def test_words_of_a_vlt_are_drawn(shown: Shown, image: Path, tiny_checkpoint: Path) -> None:
    told, sheet = shown("words", image, "the red cup", "--model", tiny_checkpoint, "--device", "cpu")
    assert told["sheet"] == "photo.words.png" and len(told["queries"]) == 2
    for one in told["queries"]:
        assert list(one["words"]) == ["1 the", "2 red", "3 cup", "(padding)"]
        assert sum(one["words"].values()) == pytest.approx(1, abs=1e-4)
        assert 0 <= one["confidence"] <= 1
    same, again = shown("attention", image, "the red cup", "--model", tiny_checkpoint, "--device", "cpu")
    assert (same["sheet"], same["kind"], same["queries"]) == ("photo.attention.png", "words", told["queries"])
    assert np.array_equal(sheet, again)


def test_attention_is_what_the_model_has(shown: Shown, image: Path, step: Path) -> None:
    told, _ = shown("attention", image, "the red cup", "--model", step, "--device", "cpu")
    assert told["kind"] == "steps" and len(told["steps"]) == 10


def test_things_that_a_mini_chose_from_are_drawn(shown: Shown, image: Path, tiny_mini: Path) -> None:
    told, sheet = shown("attention", image, "the red cup", "--model", tiny_mini)
    probabilities = [one["probability"] for one in told["things"]]
    assert told["kind"] == "choices" and 1 <= len(probabilities) <= 6 and sheet.shape[1] > 800
    assert probabilities == sorted(probabilities, reverse=True)
    for one in told["things"]:
        left, top, right, bottom = one["box"]
        assert 0 <= left <= right <= 90 and 0 <= top <= bottom <= 50


def test_what_a_model_lacks_is_not_drawn(visualize: Run, step: Path, image: Path, store: Path, tmp_path: Path) -> None:
    ran = visualize("words", image, "cup", "--model", step, "-o", "a.png")
    assert ran.code == 2 and "expected a model that shows words" in ran.err
    ran = visualize("data", store, "--split", "vall", "-o", "a.png")
    assert ran.code == 2 and "did you mean 'val'" in ran.err
    assert not (tmp_path / "a.png").exists()


def test_proposals_are_drawn_with_their_scores(shown: Shown, image: Path, tmp_path: Path) -> None:
    masks = np.zeros((3, 50, 90), dtype=bool)
    masks[0, 5:20, 5:30] = masks[1, 20:45, 40:80] = masks[2, 2:9, 50:60] = True
    np.savez(tmp_path / "masks.npz", masks=masks, scores=np.array([0.9, 0.8, 0.7]))
    clip = write_hugging_face(tmp_path / "clip")
    options = (image, "the red cup", "-P", tmp_path / "masks.npz", "--clip", clip, "--device", "cpu")
    told, sheet = shown("proposals", *options, "--shown", 2)
    assert (told["sheet"], told["count"], told["noun_phrase"]) == ("photo.proposals.png", 3, "the red cup")
    first, second = told["proposals"]
    assert first["chosen"] and not second["chosen"] and first["score"] >= second["score"]
    # The answer's outline is orange, the other one's sky blue.
    assert all((sheet == colour).all(axis=2).sum() > 100 for colour in ((230, 159, 0), (86, 180, 233)))
    none, _ = shown("proposals", *options, "--min-score", 0.95, "--overwrite")
    assert none["proposals"] == []
