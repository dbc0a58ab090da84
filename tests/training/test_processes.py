"""A run of two processes (gloo): whatever happens in one of them, both end alike, and what is saved is whole.

Both go through all scenarios, one after another, so that a process that left one alone would show in the next.
"""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections.abc import Callable
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.tiny import (
    TinySystem,
    assert_same_tensors,
    build_tiny,
    damaged,
    tiny_recipe,
    tiny_store,
    weights_of,
)
from helpers.two_processes import in_two_processes
from torch import Tensor

from risctl.checkpoints.checkpoint import read_tensors
from risctl.data.batch import Batch
from risctl.distributed import TOLD_BY_ANOTHER
from risctl.errors import RisctlError
from risctl.recipe.load import parse_recipe
from risctl.recipe.schema import Recipe
from risctl.systems.base import Output
from risctl.training import stages

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs signals")

RANKS = (0, 1)
TRAINING, VALIDATION = 2, 11
Told = dict[str, dict[str, Any]]
"""How each scenario ended."""


class Acting(TinySystem):
    """Does something at one of its updates."""

    at, calls = 0, 0
    act: Callable[[], bool] | None = None
    """Returns whether the loss is to be no number."""

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        terms = super().loss(output, batch)
        self.calls += 1
        if self.act is not None and self.calls == self.at and self.act():
            terms["mask"] = terms["mask"] * float("nan")
        return terms


def _signal_this() -> bool:
    os.kill(os.getpid(), signal.SIGTERM)
    return False


def _kill_a_loader() -> bool:
    killed = active_children()[0]
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    killed.join(60)
    return False


def _not_finite() -> bool:
    return True


def _lose_the_device() -> bool:
    raise RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be reported at another call")


def _acting(act: Callable[[], bool] | None, *, at: int) -> Any:
    def build(model: Any, *, vocabulary: Any, vectors: Any = None, pretrained: bool = True) -> Acting:
        system = Acting(
            vocabulary=vocabulary,
            size=model.input_size,
            max_words=model.max_words,
            norm=model.dropout > 0,
            dropout=model.dropout,
        )
        system.act, system.at = act, at
        return system

    return build


def _both(rank: int, folder: Path, recipes: dict[str, Any]) -> None:
    """Runs all scenarios in one of two processes, and writes down how each ended."""
    told: Told = {}

    def scenario(name: str, recipe: str, *, out: str = "", resumed: bool = False, build: Any = build_tiny) -> None:
        path, options = folder / (out or name), {"device": "cpu", "build": build, "continues": True}
        given = parse_recipe(recipes[recipe], source="tiny")
        try:
            if resumed:
                result = stages.resume(path, recipe=None if given.stages else given, **options)
            else:
                result = stages.train(given, out=path, **options)
            told[name] = {"code": 0, "skipped": list(result.skipped), "is_first": result.is_first}
        except (RisctlError, KeyboardInterrupt) as error:
            told[name] = {"code": getattr(error, "exit_code", 130), "message": str(error)}
        except BaseException:
            told[name] = {"code": -1, "message": traceback.format_exc()}

    def only(number: int, act: Callable[[], bool], *, at: int) -> Any:
        return _acting(act if rank == number else None, at=at)

    scenario("whole", "sound")
    scenario("skipping", "skips two")
    scenario("too many", "skips one")
    scenario("too many, gone on with", "skips two", out="too many", resumed=True)
    scenario("unreadable for the evaluation", "skips none")
    scenario("killed", "sound", build=only(1, _kill_a_loader, at=2))
    scenario("killed, gone on with", "sound", out="killed", resumed=True)
    scenario("told to stop", "sound", build=only(1, _signal_this, at=3))
    scenario("told to stop, gone on with", "sound", out="told to stop", resumed=True)
    scenario("not finite", "sound", build=only(1, _not_finite, at=2))
    scenario("taken", "sound")
    scenario("in stages", "stages")
    scenario("in stages, again", "stages", out="in stages", resumed=True)
    (folder / f"{rank}.json").write_text(json.dumps(told), encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair")
    for name in ("sound", "bad", "unseen"):
        (folder / name).mkdir()
    sound = tiny_store(folder / "sound")
    bad = damaged(tiny_store(folder / "bad"), (TRAINING, VALIDATION))
    unseen = damaged(tiny_store(folder / "unseen"), (VALIDATION,))
    recipes = {
        "sound": recipe_of(sound, workers=1),
        "skips two": recipe_of(bad, skip_corrupt=2),
        "skips one": recipe_of(bad, skip_corrupt=1),
        "skips none": recipe_of(unseen),
    }
    in_stages = recipe_of(sound, epochs=1).model_dump(mode="json")
    recipes["stages"] = Recipe.model_validate(in_stages | {"stages": {"one": {}, "two": {"train": {"max_steps": 1}}}})
    (folder / "taken").mkdir()
    (folder / "taken" / "thesis.txt").touch()
    in_two_processes(_both, folder, folder, {name: recipe.model_dump(mode="json") for name, recipe in recipes.items()})
    return folder


def recipe_of(store: Path, *, workers: int = 0, **train_keys: Any) -> Recipe:
    keys = {"epochs": 2, "save_every": 50, **train_keys}
    return tiny_recipe(store, model={"dropout": 0.0}, data={"workers": workers}, train=keys)


def told_by(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads((folder / f"{rank}.json").read_text(encoding="utf-8"))[name] for rank in RANKS]


def step_of(run: Path) -> int:
    step: int = read_tensors(run / "last.safetensors", prefixes=())[0]["state"]["step"]
    return step


def test_an_image_that_one_of_them_cannot_read_is_told_by_both(folder: Path) -> None:
    first, second = told_by(folder, "skipping")
    assert (first["code"], second["code"]) == (0, 0) and first["skipped"] == second["skipped"]
    assert sorted(entry["image"] for entry in first["skipped"]) == [
        f"image {VALIDATION} ({VALIDATION}.png) of tiny.h5",
        f"image {TRAINING} ({TRAINING}.png) of tiny.h5",
    ]
    log = (folder / "skipping" / "log.txt").read_text()
    assert log.count(": skipped image ") == 2 and "2 images that could not be read skipped: image " in log
    assert "less those of 1 image that cannot be read" in log


def test_one_image_too_many_ends_both_with_a_save(folder: Path) -> None:
    for told in told_by(folder, "too many"):
        assert told["code"] == 4 and "more than train.skip_corrupt=1" in told["message"]
        assert f"go on with: risctl train --resume {folder / 'too many'}" in told["message"]
    gone_on, whole = (told_by(folder, name)[0] for name in ("too many, gone on with", "skipping"))
    assert gone_on["code"] == 0
    assert {one["image"] for one in gone_on["skipped"]} == {one["image"] for one in whole["skipped"]}
    assert_same_tensors(*(weights_of(folder / name / "last.safetensors") for name in ("too many", "skipping")))


def test_an_unreadable_image_of_an_evaluation_ends_both_with_a_save(folder: Path) -> None:
    for told in told_by(folder, "unreadable for the evaluation"):
        assert told["code"] == 4 and "image row 11" in told["message"] and "saved after step 2" in told["message"]
    assert step_of(folder / "unreadable for the evaluation") == 2


def test_a_killed_loader_of_one_ends_both_with_a_save(folder: Path) -> None:
    for told in told_by(folder, "killed"):
        assert told["code"] == 5 and "SIGKILL" in told["message"] and "saved after step" in told["message"]
        assert "\n" not in told["message"]
    assert [told["code"] for told in told_by(folder, "killed, gone on with")] == [0, 0]
    assert_same_tensors(*(weights_of(folder / name / "last.safetensors") for name in ("killed", "whole")))


def test_a_signal_to_one_stops_both_with_a_save(folder: Path) -> None:
    assert [told["code"] for told in told_by(folder, "told to stop")] == [143, 143]
    assert "terminated after step 3 of 4 and saved" in (folder / "told to stop" / "log.txt").read_text()
    assert [told["code"] for told in told_by(folder, "told to stop, gone on with")] == [0, 0]
    assert_same_tensors(*(weights_of(folder / name / "last.safetensors") for name in ("told to stop", "whole")))


def test_a_loss_of_one_that_is_not_finite_ends_both(folder: Path) -> None:
    for told in told_by(folder, "not finite"):
        assert told["code"] == 1 and "the loss is not finite at step 2" in told["message"]


def _one_without_device(rank: int, folder: Path, values: dict[str, Any]) -> None:
    """One leaves, and the other finds that it has left."""
    build = _acting(_lose_the_device if rank == 1 else None, at=3)
    try:
        stages.train(parse_recipe(values, source="tiny"), out=folder / "run", device="cpu", build=build)
    except RisctlError as error:
        told = {"code": error.exit_code, "message": str(error), "silent": getattr(error, TOLD_BY_ANOTHER, False)}
        (folder / f"{rank}.json").write_text(json.dumps({"told": told}))


def test_a_device_that_vanishes_ends_both_and_one_tells(tmp_path: Path) -> None:
    values = recipe_of(tiny_store(tmp_path)).model_dump(mode="json")
    in_two_processes(_one_without_device, tmp_path, tmp_path, values)
    first, second = told_by(tmp_path, "told")
    assert (first["code"], second["code"]) == (5, 5), (first, second)
    assert (first["silent"], second["silent"]) == (True, False)
    assert "the device is gone or in error (CUDA error: unspecified launch failure)" in second["message"]
    assert "the save of step 2 stays" in second["message"] and step_of(tmp_path / "run") == 2


def test_a_folder_that_is_taken_is_refused_by_both(folder: Path) -> None:
    for told in told_by(folder, "taken"):
        assert told["code"] == 2 and "is there and not empty" in told["message"]
    assert [path.name for path in (folder / "taken").iterdir()] == ["thesis.txt"]


def test_stages_are_trained_by_both(folder: Path) -> None:
    for name in ("in stages", "in stages, again"):
        told = told_by(folder, name)
        assert [(one["code"], one.get("is_first")) for one in told] == [(0, True), (0, False)], told
    header = read_tensors(folder / "in stages" / "last.safetensors", prefixes=())[0]
    assert header["step"] == 1 and list(header["recipe"]["stages"]) == ["one", "two"]
    assert json.loads((folder / "in stages" / "stages.json").read_text()) == {"one": 2, "two": 1}


def test_figures_are_those_of_the_images_that_can_be_read(folder: Path) -> None:
    """Both processes evaluate what one would."""
    entries = [json.loads(line) for line in (folder / "skipping" / "metrics.jsonl").read_text().splitlines()]
    evaluated = [entry for entry in entries if entry["kind"] == "eval"]
    assert evaluated and all(np.isfinite(entry["figures"]["mIoU"]) for entry in evaluated)
    assert all(entry["left_out"] == [f"image {VALIDATION} ({VALIDATION}.png) of tiny.h5"] for entry in evaluated)
