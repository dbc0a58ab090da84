"""`train.skip_corrupt`: a run goes on past a few unreadable images, names them, and is the same however it is run."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.tiny import assert_same_tensors, build_tiny, damaged, tiny_recipe, tiny_store, weights_of

from risctl.data.store.reader import Store
from risctl.errors import DataError, UnreadableImageError, WorkerKilledError
from risctl.interrupts import Terminated
from risctl.recipe.schema import Recipe
from risctl.training import stages
from risctl.training.run import TrainingResult, resume, train
from risctl.training.run_folder import RunFolder

BAD = (2, 7)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return damaged(tiny_store(tmp_path_factory.mktemp("store")), BAD)


def recipe_of(store: Path, *, workers: int = 0, **train_keys: Any) -> Recipe:
    keys = {"epochs": 2, "save_every": 3, "eval_limit": 2, **train_keys}
    return tiny_recipe(store, data={"workers": workers, "augment": {"flip": 0.5}}, train=keys)


def run(recipe: Recipe, out: Path, **options: Any) -> TrainingResult:
    return train(recipe, out=out, device="cpu", build=build_tiny, **options)


def state_of(path: Path) -> dict[str, Any]:
    from risctl.checkpoints.checkpoint import read_tensors

    state: dict[str, Any] = read_tensors(path, prefixes=())[0]["state"]
    return {key: value for key, value in state.items() if key != "seconds"}


@pytest.fixture(scope="module")
def whole(store: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    return run(recipe_of(store, skip_corrupt=2), tmp_path_factory.mktemp("whole") / "run")


def test_skipped_images_are_counted_and_named(whole: TrainingResult) -> None:
    assert whole.steps == 10
    assert sorted(entry["image"] for entry in whole.skipped) == [
        "image 2 (2.png) of tiny.h5",
        "image 7 (7.png) of tiny.h5",
    ]
    assert all("damaged" in entry["problem"] and 1 <= entry["step"] <= 5 for entry in whole.skipped)
    log = RunFolder(whole.run).log_file.read_text()
    assert "skipped image 2 (2.png) of tiny.h5, " in log and "2 of at most 2 (train.skip_corrupt=2)" in log
    assert "2 images that could not be read skipped: image " in log.splitlines()[-1]
    assert state_of(whole.run / "last.safetensors")["skipped"] == list(whole.skipped)


def test_the_same_with_workers_and_wherever_it_was_resumed(store: Path, whole: TrainingResult, tmp_path: Path) -> None:
    class StopHereError(Exception):
        pass

    class Stopper:
        def __init__(self, at: int) -> None:
            self.at = at

        def line(self, text: str, *, routine: bool = False) -> None:
            pass

        def evaluating(self, done: int, total: int) -> None:
            pass

        def step(self, step: int, total: int, **_: Any) -> None:
            if step == self.at:
                raise StopHereError

    with pytest.raises(StopHereError):
        run(recipe_of(store, skip_corrupt=2, workers=2), tmp_path / "run", callback=Stopper(2))
    for at in (4, 8):
        with pytest.raises(StopHereError):
            resume(tmp_path / "run", device="cpu", build=build_tiny, callback=Stopper(at))
    result = resume(tmp_path / "run", device="cpu", build=build_tiny)
    assert result.skipped == whole.skipped
    last = [folder / "last.safetensors" for folder in (whole.run, tmp_path / "run")]
    assert_same_tensors(*map(weights_of, last))
    assert state_of(last[0]) == state_of(last[1])


def test_one_image_too_many_ends_the_run_saved(store: Path, whole: TrainingResult, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(DataError, match=r"2 images cannot be read, more than train\.skip_corrupt=1: image \d") as told:
        run(recipe_of(store, skip_corrupt=1), out)
    assert told.value.exit_code == 4 and "\n" not in str(told.value) and f"--resume {out}" in str(told.value)
    result = resume(out, recipe=recipe_of(store, skip_corrupt=2), device="cpu", build=build_tiny)
    assert result.skipped == whole.skipped
    assert_same_tensors(weights_of(out / "last.safetensors"), weights_of(whole.run / "last.safetensors"))


def test_by_default_the_first_one_ends_the_run(store: Path, tmp_path: Path) -> None:
    for workers in (0, 1):
        with pytest.raises(UnreadableImageError, match=r"tiny\.h5 is damaged"):
            run(recipe_of(store, workers=workers), tmp_path / str(workers))


def test_an_image_that_is_pasted_is_told_from_the_one_pasted_on(tmp_path: Path) -> None:
    """A sample that would paste from an unreadable image is replaced, and only that image is counted."""
    from risctl.data.loading.instance_dataset import InstanceDataset
    from risctl.data.loading.loader import SkippingDataset

    made = damaged(tiny_store(tmp_path), (3,))
    recipe = tiny_recipe(made)
    from risctl.language.vocabulary import Vocabulary

    system = build_tiny(recipe.model, vocabulary=Vocabulary(("red", "box")))
    with Store(made) as opened:
        dataset = SkippingDataset(InstanceDataset(opened, "train", system.preprocess, paste=1.0), max_count=1)
        found = [dataset.item(epoch, index) for epoch in range(4) for index in range(len(dataset))]
    skipped = {one.image for item in found if hasattr(item, "skipped") for one in item.skipped}
    assert skipped == {"image 3 (3.png) of tiny.h5"}
    assert sum(hasattr(item, "skipped") for item in found) > 4


def test_a_store_of_nothing_readable_is_an_error_and_no_hang(tmp_path: Path) -> None:
    made = damaged(tiny_store(tmp_path, images=4), (0, 1, 2, 3))
    with pytest.raises(DataError, match=r"skip_corrupt|damaged"):
        run(recipe_of(made, skip_corrupt=1000), tmp_path / "run")


def test_the_stages_of_a_run_tell_what_they_skipped(store: Path, tmp_path: Path) -> None:
    values = recipe_of(store, skip_corrupt=2, epochs=1, eval_every=None).model_dump(mode="json")
    recipe = Recipe.model_validate(values | {"stages": {"one": {}, "two": {"train": {"max_steps": 1}}}})
    result = stages.train(recipe, out=tmp_path / "run", device="cpu", build=build_tiny)
    assert len(result.skipped) == 2
    again = stages.resume(tmp_path / "run", device="cpu", build=build_tiny)
    assert {entry["image"] for entry in again.skipped} == {entry["image"] for entry in result.skipped}


def loaders() -> list[int]:
    """Return the ids of this process's loader processes."""
    from multiprocessing import active_children

    return [process.pid for process in active_children() if process.pid is not None]


class Killer:
    """Kills a loader process, or all of them and this one as a scheduler would, after a step."""

    def __init__(self, at: int, number: signal.Signals, *, also_this: bool = False) -> None:
        self.at, self.number, self.also_this = at, number, also_this
        # Those of a run before may still be ending.
        self.others = set(loaders())

    def line(self, text: str, *, routine: bool = False) -> None:
        pass

    def evaluating(self, done: int, total: int) -> None:
        pass

    def step(self, step: int, total: int, **_: Any) -> None:
        if step == self.at:
            own = [pid for pid in loaders() if pid not in self.others]
            for pid in own[: None if self.also_this else 1]:
                os.kill(pid, self.number)
            if self.also_this:
                time.sleep(0.2)
                os.kill(os.getpid(), self.number)


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
def test_a_killed_loader_ends_the_run_in_one_line_and_saved(tmp_path: Path) -> None:
    # Far more batches an epoch than loaders read ahead: what is killed still has something to read.
    recipe = recipe_of(tiny_store(tmp_path, images=60), workers=2, epochs=1)
    run(recipe, tmp_path / "whole")
    with pytest.raises(
        WorkerKilledError, match=r"a loader process was killed \(SIGKILL.*; saved after step \d+"
    ) as told:
        run(recipe, tmp_path / "run", callback=Killer(4, signal.SIGKILL))
    assert told.value.exit_code == 5 and "\n" not in str(told.value)
    assert state_of(tmp_path / "run" / "last.safetensors")["step"] >= 4
    with pytest.raises(Terminated):
        resume(tmp_path / "run", device="cpu", build=build_tiny, callback=Killer(12, signal.SIGTERM, also_this=True))
    assert state_of(tmp_path / "run" / "last.safetensors")["step"] >= 12
    resume(tmp_path / "run", device="cpu", build=build_tiny)
    assert_same_tensors(*(weights_of(tmp_path / name / "last.safetensors") for name in ("whole", "run")))


def _closes_its_pipes_and_ends_later() -> None:
    os.closerange(3, 1024)
    time.sleep(0.3)
    os._exit(9)


@pytest.mark.skipif(os.name == "nt", reason="needs fork")
def test_a_process_whose_pipes_are_closed_is_waited_for() -> None:
    from risctl.data.loading.loader import _ended

    context = multiprocessing.get_context("fork")
    ending = context.Process(target=_closes_its_pipes_and_ends_later)
    going_on = context.Process(target=time.sleep, args=(30,))
    ending.start()
    going_on.start()
    try:
        assert _ended([ending, going_on]) == [ending]
    finally:
        going_on.kill()
        going_on.join()


def test_the_command_tells_what_was_skipped(store: Path, tmp_path: Path) -> None:
    from risctl.cli.train.command import _result_text

    result = run(recipe_of(store, skip_corrupt=2, epochs=1, eval_every=None), tmp_path / "run")
    assert json.loads(json.dumps(result.to_json()))["skipped"] == list(result.skipped)
    assert _result_text(result).splitlines()[-1].startswith("2 images that could not be read skipped: image ")
