"""A system is added from outside the package by one folder and one entry, as CONTRIBUTING.md says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.small_models import recipe_of
from helpers.system_contract import SystemContract
from helpers.tiny import tiny_store
from helpers.toy_system.model import Toy

import risctl
from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.data.store.reader import Store
from risctl.errors import RecipeError
from risctl.evaluation.image_evaluator import evaluate
from risctl.recipe.load import load_recipe
from risctl.recipe.schema import Recipe, recipe_json_schema
from risctl.systems import registry
from risctl.training.run import train

RECIPE = """
name: toy
model: {system: toy, channels: 4}
data: {store: STORE, batch_size: 4, workers: 0}
optim: {lr: 0.01}
train: {epochs: 1, max_steps: 1}
"""


@pytest.fixture(scope="class")
def toy() -> Iterator[None]:
    entry = registry.SystemEntry(
        config="helpers.toy_system.config:ToyModel", build="helpers.toy_system.build:build_toy"
    )
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setitem(registry.SYSTEMS, "toy", entry)
        yield
    recipe_json_schema()  # the schema forgets the toy


@pytest.mark.usefixtures("toy")
class TestToy(SystemContract):
    masks_padding = False

    def recipe(self) -> Recipe:
        return recipe_of({"system": "toy", "channels": 4})


@pytest.mark.usefixtures("toy")
def test_it_trains_evaluates_and_predicts(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    file = tmp_path / "toy.yaml"
    file.write_text(RECIPE.replace("STORE", str(store)))
    done = train(load_recipe(file), out=tmp_path / "run", device="cpu")
    assert done.steps == 1 and set(done.figures) >= {"mIoU", "oIoU"}
    loaded = load_checkpoint(done.run)
    assert isinstance(loaded.system, Toy)
    with Store(store) as opened:
        assert evaluate(loaded.system, opened, split="val", resamples=0).sentences > 0
    image = np.full((40, 60, 3), 90, dtype=np.uint8)
    (prediction,) = risctl.load(done.run, device="cpu").predict(image, ["red box"])
    assert prediction.mask.shape == (40, 60)


@pytest.mark.usefixtures("toy")
def test_its_keys_are_checked_like_those_of_the_package(tmp_path: Path) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(RECIPE.replace("channels", "chanels"))
    with pytest.raises(RecipeError, match=r"model.chanels .* did you mean model.channels") as raised:
        load_recipe(file)
    assert len(raised.value.problems) == 1
    assert "toy" in recipe_json_schema()["properties"]["model"]["discriminator"]["mapping"]


def test_an_unregistered_system_is_one_line_with_those_that_are_known(tmp_path: Path) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(RECIPE)
    with pytest.raises(RecipeError, match=r"model.*one of.*vlt"):
        load_recipe(file)


def test_an_installed_package_adds_a_system_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = registry.SystemEntry(config="there:Config", build="there:build")
    monkeypatch.setattr(registry, "_installed", lambda: {"theirs": entry})
    assert registry.known_systems()["theirs"] is entry
    assert list(registry.known_systems())[-1] != "theirs", "shipped names come last and win"
