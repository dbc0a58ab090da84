"""Trainings in stages: each goes on from the one before, and a stopped one goes on where it stood."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny import assert_same_tensors, build_tiny, tiny_recipe, tiny_store, weights_of

from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.errors import CheckpointError, RecipeError, UsageError
from risctl.recipe.load import parse_recipe
from risctl.recipe.schema import Recipe
from risctl.training import stages
from risctl.training.dry_run import dry_run
from risctl.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("store"))


def staged(store: Path, **changes: Any) -> Recipe:
    """Three stages of 5, 6 and 3 steps; the second has another batch size, the third barely moves."""
    recipe = tiny_recipe(
        store, model={"dropout": 0.0}, train={"epochs": 1, "eval_every": None, "ema": 0.9, "save_every": 2}
    )
    parts: dict[str, Any] = {
        "first": {},
        "second": {"data": {"batch_size": 10}, "train": {"epochs": 3}},
        "third": {"optim": {"lr": 1e-12}, "train": {"max_steps": 3}},
    }
    values = recipe.model_dump(mode="json") | {"stages": parts} | changes
    return parse_recipe(values, source="staged")


class StopHereError(Exception):
    """Raised by a watcher, where a crash could come."""


class Stopper:
    """Stops in a stage, at a step of it."""

    def __init__(self, stage: int, step: int) -> None:
        self.stage, self.at = stage, step
        self.now = 0

    def line(self, text: str, *, routine: bool = False) -> None:
        if text.startswith("stage "):
            self.now = int(text.split()[1])

    def step(self, step: int, total: int, **_: Any) -> None:
        if (self.now, step) == (self.stage, self.at):
            raise StopHereError

    def evaluating(self, done: int, total: int) -> None:
        pass


@pytest.fixture(scope="module")
def whole(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    result = stages.train(staged(store), out=out, device="cpu", build=build_tiny)
    assert (result.run, result.checkpoint, result.steps) == (out, out / "last.safetensors", 14)
    return out


def test_each_stage_begins_with_the_weights_of_the_one_before(whole: Path) -> None:
    first, second, third = (
        load_checkpoint(whole / name, build=build_tiny).system.state_dict()
        for name in ("1-first", "2-second", "3-third")
    )
    assert not all(torch.allclose(first[name], second[name], atol=1e-4) for name in first)
    assert all(torch.allclose(second[name], third[name], atol=1e-6) for name in second)


def test_the_run_keeps_the_last_weights_and_the_whole_recipe(store: Path, whole: Path) -> None:
    kept = load_checkpoint(whole, build=build_tiny)
    last = load_checkpoint(whole / "3-third", build=build_tiny)
    assert_same_tensors(dict(kept.system.state_dict()), dict(last.system.state_dict()))
    assert kept.recipe == staged(store) == RunFolder(whole).recipe()
    assert "state" not in load_checkpoint(whole / "last.safetensors", build=build_tiny).header
    assert json.loads((whole / "stages.json").read_text()) == {"first": 5, "second": 6, "third": 3}


@pytest.mark.parametrize(("stage", "step"), [(1, 1), (2, 1), (2, 4), (3, 3)])
def test_stopped_in_any_stage_it_goes_on_to_the_same_weights(
    store: Path, whole: Path, tmp_path: Path, stage: int, step: int
) -> None:
    out = tmp_path / "run"
    with pytest.raises(StopHereError):
        stages.train(staged(store), out=out, device="cpu", build=build_tiny, callback=Stopper(stage, step))
    assert not (out / "last.safetensors").exists()
    result = stages.resume(out, device="cpu", build=build_tiny)
    assert result.steps == 14
    for name in ("1-first", "2-second", "3-third", "."):
        assert_same_tensors(weights_of(out / name / "last.safetensors"), weights_of(whole / name / "last.safetensors"))


def test_a_finished_run_has_nothing_left_to_do(store: Path, whole: Path, tmp_path: Path) -> None:
    before, ended = weights_of(whole / "last.safetensors"), (whole / "result.json").read_text()
    result = stages.resume(whole, device="cpu", build=build_tiny, callback=Stopper(0, 0))
    assert (result.steps, result.checkpoint) == (14, whole / "last.safetensors")
    assert result.seconds == pytest.approx(json.loads(ended)["seconds"], abs=0.1)
    assert (whole / "result.json").read_text() == ended
    assert_same_tensors(weights_of(whole / "last.safetensors"), before)
    # Killed between the last stage and the keeping of its weights.
    (whole / "last.safetensors").unlink()
    stages.resume(whole, device="cpu", build=build_tiny)
    assert_same_tensors(weights_of(whole / "last.safetensors"), before)


def test_a_finished_run_that_is_resumed_keeps_its_figures(store: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(store, model={"dropout": 0.0}, train={"epochs": 1, "max_steps": 2, "eval_limit": 2})
    parts = {"first": {}, "second": {"train": {"max_steps": 1}}}
    values = recipe.model_dump(mode="json") | {"stages": parts}
    first = stages.train(parse_recipe(values, source="staged"), out=tmp_path / "run", device="cpu", build=build_tiny)
    told = json.loads((tmp_path / "run" / "result.json").read_text())
    assert told["figures"] and told["best"]["step"] == 1 and first.figures == told["figures"]
    again = stages.resume(tmp_path / "run", device="cpu", build=build_tiny)
    assert (again.figures, again.best) == (first.figures, first.best)
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == told


def test_a_run_in_a_relative_folder_goes_on_from_another(
    store: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StopHereError):
        stages.train(staged(store), out=Path("run"), device="cpu", build=build_tiny, callback=Stopper(2, 1))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    stages.resume(tmp_path / "run", device="cpu", build=build_tiny)
    assert_same_tensors(weights_of(tmp_path / "run" / "last.safetensors"), weights_of(whole / "last.safetensors"))


def test_what_the_plan_foresees_is_done(store: Path, whole: Path) -> None:
    plan = dry_run(staged(store), build=build_tiny)
    assert plan.steps == 14


def test_another_recipe_cannot_take_over(store: Path, whole: Path) -> None:
    other = staged(store, description="another")
    with pytest.raises(UsageError, match="resumed with its own recipe"):
        stages.resume(whole, recipe=other, device="cpu", build=build_tiny)
    assert stages.resume(whole, recipe=staged(store), device="cpu", build=build_tiny).steps == 14


def test_a_recipe_without_stages_is_one_run(store: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(store, train={"epochs": 1, "eval_every": None})
    assert stages.train(recipe, out=tmp_path / "run", device="cpu", build=build_tiny).steps == 5
    assert stages.resume(tmp_path / "run", device="cpu", build=build_tiny).steps == 5
    assert not (tmp_path / "run" / "stages.json").exists()


def test_a_stage_that_is_no_recipe_is_named(store: Path) -> None:
    with pytest.raises(RecipeError, match=r"stages\.second.*batch_size"):
        staged(store, stages={"first": {}, "second": {"data": {"batch_size": 0}}})


def test_a_stage_whose_folder_is_gone_is_not_trained_anew(store: Path, tmp_path: Path) -> None:
    stages.train(staged(store), out=tmp_path / "run", device="cpu", build=build_tiny)
    shutil.rmtree(tmp_path / "run" / "2-second")
    with pytest.raises(CheckpointError, match=r"the stage .*2-second is missing, but .*3-third is there"):
        stages.resume(tmp_path / "run", device="cpu", build=build_tiny)
