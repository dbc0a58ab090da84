"""Files that the code of 0.1.0 wrote open: stores, features, a checkpoint of each system, and a run that goes on.

`tools/files_of_0_1.py` wrote them, with that code.
"""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors import safe_open
from typer.testing import CliRunner

import risctl
from risctl.cli.app import app
from risctl.data.store.reader import Store
from risctl.data.store.verify import verify_store
from risctl.errors import DataError, RecipeError
from risctl.inference.predictor import Predictor
from risctl.recipe.load import load_recipe
from risctl.vision import rle

ARCHIVE = Path(__file__).parent / "files" / "risctl-0.1.tar.xz"
SYSTEMS = ("vlt", "step", "referformer", "zsi", "mini")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of files."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "risctl-0.1"


@pytest.fixture(scope="module")
def answers(old: Path) -> dict[str, Any]:
    """What 0.1 predicted and trained with them."""
    loaded: dict[str, Any] = json.loads((old / "answers.json").read_text(encoding="utf-8"))
    return loaded


def test_stores_open_with_all_that_is_in_them(old: Path) -> None:
    with Store(old / "cups.h5") as store:
        verification = verify_store(store)
        assert verification.checked and not verification.failures
        assert {split: store.count(split)["sentences"] for split in store.splits} == {"train": 10, "val": 5, "test": 5}
        samples = [store.sample(int(row)) for row in store.sentences("test")]
        assert [one.text for one in samples] == ["the red cup", "left cup", "the blue cup", "both cups", "the dog"]
        red, _, _, both, dog = (one.mask for one in samples)
        assert red[16:40, 7:27].all() and red.sum() == 480 and both.sum() > 900 and not dog.any()
        assert np.array_equal(store.pixels(3)[20, 10], (200, 30, 30))
    with Store(old / "video.h5") as store:
        assert not verify_store(store).failures
        assert store.texts("train") == ["the red cup"] and store.annotations_of(0).size == 1


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_checkpoint_predicts_what_it_did(system: str, old: Path, answers: dict[str, Any]) -> None:
    expected = answers["predictions"][system]
    model = risctl.load(old / f"{system}.safetensors", device="cpu")
    assert isinstance(model, Predictor)
    found: list[tuple[str, float, Any]]
    if system == "zsi":
        model.set_image(old / "0.png")
        detections = model.detect(["cup", "dog"], min_score=0.0)[: len(expected)]
        found = [(one.name, one.score, rle.decode(one.segmentation)) for one in detections]
    else:
        predictions = model.predict(old / "0.png", [one["text"] for one in expected])
        found = [(one.text, one.score, one.mask) for one in predictions]
    assert len(found) == len(expected) > 1
    for (text, score, mask), one in zip(found, expected, strict=True):
        before = rle.decode(one["rle"])
        assert text == one["text"] and score == pytest.approx(one["score"], abs=1e-4)
        # Other processors round otherwise, which moves single pixels.
        assert mask.shape == before.shape == (48, 64) and (mask != before).sum() <= 4


def test_features_say_how_they_are_made_anew(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(old)
    recipe = yaml.safe_load((old / "frozen.yaml").read_text(encoding="utf-8"))
    start = recipe["train"].pop("start")
    recipe["train"] |= {"init_weights": {"checkpoint": start["checkpoint"], "include": start["parts"]}, "max_steps": 1}
    recipe["train"]["eval_every"] = None
    recipe["data"]["features"] = "cups.vlt-cups.features.h5"
    (tmp_path / "frozen.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    with pytest.raises(DataError, match=r"of risctl 0\.1\.0.*make them again: risctl prepare features cups\.h5"):
        risctl.train(tmp_path / "frozen.yaml", out=tmp_path / "run", device="cpu")


def test_a_run_goes_on_as_it_did(old: Path, answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(old)
    asked = CliRunner().invoke(app, ["train", "--resume", "run", "train.epochs=3", "--dry-run"])
    assert asked.exit_code == 0, asked.output
    assert risctl.resume("run", ["train.epochs=3"], device="cpu").steps == 6
    with safe_open(old / "run" / "last.safetensors", "np") as file:
        names = [name for name in sorted(file.keys()) if name.startswith("model.")]
        weights = [file.get_tensor(name).astype(np.float64) for name in names]
    assert sum(float(one.sum()) for one in weights) == pytest.approx(answers["run"]["sum"], rel=1e-4)
    assert sum(float(np.abs(one).sum()) for one in weights) == pytest.approx(answers["run"]["absolute"], rel=1e-6)


def test_a_recipe_of_0_1_says_what_its_keys_are_called_now(old: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(old / "run.yaml")
    told = str(caught.value)
    for key, today in (("model.most", "model.max_count"), ("train.start", "train.init_weights")):
        assert re.search(rf"{key} \(line \d+\): renamed in risctl 0\.2: write {today}$", told, flags=re.MULTILINE)
