"""A run that was stopped, by whatever means, goes on to the very same weights."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny import PROCESSES, assert_same_tensors, build_tiny, tiny_recipe, tiny_store, train_tiny, weights_of

from risctl.checkpoints.checkpoint import read_tensors
from risctl.errors import UsageError
from risctl.interrupts import Terminated
from risctl.recipe.schema import Recipe
from risctl.threads import EXPLICIT
from risctl.training.run import resume, train
from risctl.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("store"))


class StopHereError(Exception):
    """Raised by a watcher, where a crash could come."""


def make_recipe(store: Path, **train_keys: Any) -> Recipe:
    """Everything that could keep a state: workers, dropout, norms, moments, a mean, accumulation, a course."""
    return tiny_recipe(
        store,
        data={"batch_size": 2, "workers": 2, "augment": {"flip": 0.5, "colour": 0.2}},
        optim={"accumulate": 2, "warmup_steps": 3, "clip_norm": 1.0, "schedule": {"name": "cosine"}},
        train={"epochs": 8, "eval_every": 3, "save_every": 3, "log_every": 4, "ema": 0.9, **train_keys},
    )


@pytest.fixture(scope="module")
def uninterrupted(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    train(make_recipe(store), out=out, device="cpu", build=build_tiny)
    return out


def record(run: Path) -> list[dict[str, Any]]:
    """Return metrics.jsonl without what the clock says."""
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    timed = ("samples_per_second", "evaluation_seconds", "data_share", "memory_mib")
    return [{key: value for key, value in entry.items() if key not in timed} for entry in entries]


def steps_done(run: Path) -> int:
    """Return the step of the last whole line of metrics.jsonl."""
    try:
        lines = (run / "metrics.jsonl").read_text().splitlines()
        return int(json.loads(lines[-1])["step"])
    except (OSError, ValueError, IndexError):
        return 0


def assert_same_runs(first: Path, second: Path) -> None:
    for name in ("last.safetensors", "best.safetensors"):
        assert_same_tensors(weights_of(first / name), weights_of(second / name))
    assert (
        read_tensors(first / "best.safetensors", prefixes=())[0]
        == read_tensors(second / "best.safetensors", prefixes=())[0]
    )
    assert record(first) == record(second)


def start(values: dict[str, Any], out: Path, *, resumed: bool) -> ForkServerProcess:
    process = PROCESSES.Process(target=train_tiny, args=(values, out), kwargs={"resumed": resumed})
    process.start()
    return process


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_random_moments(store: Path, uninterrupted: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    values = make_recipe(store).model_dump(mode="json")
    out = tmp_path / "run"
    kills = 0
    for _ in range(12):
        process = start(values, out, resumed=(out / "recipe.yaml").exists())
        target = steps_done(out) + chance.randint(0, 12)
        deadline = time.monotonic() + 60
        while process.is_alive() and steps_done(out) <= target and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.05)
        if kills < 4 and process.is_alive():
            process.kill()
            kills += 1
        process.join(60)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    assert kills >= 2 and process.exitcode == 0
    assert_same_runs(out, uninterrupted)
    assert not [path for path in out.iterdir() if path.name.endswith(".part")]


def test_stopped_after_any_number_of_steps(store: Path, uninterrupted: Path, tmp_path: Path) -> None:
    whole = make_recipe(store)

    class Stopper:
        def __init__(self, at: int) -> None:
            self.at = at

        def line(self, text: str, *, routine: bool = False) -> None:
            pass

        def evaluating(self, done: int, total: int) -> None:
            if self.at < 0:
                raise StopHereError

        def step(self, step: int, total: int, **_: Any) -> None:
            if step == self.at:
                raise StopHereError

    out = tmp_path / "run"
    # In the first step, between saves, right on a save, in the middle of an evaluation, in the last step.
    with pytest.raises(StopHereError):
        train(whole, out=out, device="cpu", build=build_tiny, callback=Stopper(1))
    for at in (5, 7, -1, 30, 40):
        with pytest.raises(StopHereError):
            resume(out, device="cpu", build=build_tiny, callback=Stopper(at))
    result = resume(out, device="cpu", build=build_tiny)
    assert result.steps == 40
    assert_same_runs(out, uninterrupted)
    again = resume(out, device="cpu", build=build_tiny)
    assert again.steps == 40
    assert_same_runs(out, uninterrupted)


def test_ctrl_c_finishes_the_step_and_saves(store: Path, uninterrupted: Path, tmp_path: Path) -> None:
    class Presser:
        pressed = 0

        def line(self, text: str, *, routine: bool = False) -> None:
            self.last = text

        def evaluating(self, done: int, total: int) -> None:
            self.press(self.pressed == 1)

        def step(self, step: int, total: int, **_: Any) -> None:
            self.press(step == 4)

        def press(self, wanted: bool) -> None:
            if wanted:
                self.pressed += 1
                os.kill(os.getpid(), signal.SIGINT)

    out, presser = tmp_path / "run", Presser()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(make_recipe(store), out=out, device="cpu", build=build_tiny, callback=presser)
    assert read_tensors(out / "last.safetensors", prefixes=())[0]["step"] == 4
    assert presser.last == f"interrupted after step 4 of 40 and saved; go on with: risctl train --resume {out}"
    # The second time in the middle of the evaluation after step 15, which is then made again.
    with pytest.raises(KeyboardInterrupt):
        resume(out, device="cpu", build=build_tiny, callback=presser)
    header = read_tensors(out / "last.safetensors", prefixes=())[0]
    assert header["step"] == 15 and header["state"]["evaluated"] == 0 and presser.pressed == 2
    resume(out, device="cpu", build=build_tiny)
    assert_same_runs(out, uninterrupted)
    assert signal.getsignal(signal.SIGINT) is before


def test_sigterm_saves_and_is_told_from_ctrl_c(store: Path, uninterrupted: Path, tmp_path: Path) -> None:
    class Scheduler:
        last = ""

        def line(self, text: str, *, routine: bool = False) -> None:
            self.last = text

        def evaluating(self, done: int, total: int) -> None:
            pass

        def step(self, step: int, total: int, **_: Any) -> None:
            if step == 5:
                os.kill(os.getpid(), signal.SIGTERM)

    out, scheduler = tmp_path / "run", Scheduler()
    with pytest.raises(Terminated) as caught:
        train(make_recipe(store), out=out, device="cpu", build=build_tiny, callback=scheduler)
    assert caught.value.exit_code == 143
    assert read_tensors(out / "last.safetensors", prefixes=())[0]["step"] == 5
    assert scheduler.last.startswith("terminated after step 5 of 40 and saved; ")
    resume(out, device="cpu", build=build_tiny)
    assert_same_runs(out, uninterrupted)


def test_a_longer_run_goes_on_from_a_shorter_one(store: Path, tmp_path: Path) -> None:
    keys: dict[str, Any] = {"data": {"workers": 0}, "optim": {"schedule": {"name": "constant"}}}
    train(tiny_recipe(store, train={"epochs": 4}, **keys), out=tmp_path / "long", device="cpu", build=build_tiny)
    train(tiny_recipe(store, train={"epochs": 2}, **keys), out=tmp_path / "short", device="cpu", build=build_tiny)
    longer = tiny_recipe(store, train={"epochs": 4}, **keys)
    resume(tmp_path / "short", recipe=longer, device="cpu", build=build_tiny)
    assert_same_runs(tmp_path / "long", tmp_path / "short")
    assert RunFolder(tmp_path / "short").recipe() == longer


@pytest.mark.parametrize("explicit", [False, True])
def test_a_resumed_run_keeps_its_number_of_threads(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, explicit: bool
) -> None:
    """Another number rounds sums differently; on a machine that is busier by then, it would be another run."""
    recipe = make_recipe(store, epochs=1, eval_every=None)
    train(recipe, out=tmp_path / "run", device="cpu", build=build_tiny)
    noted = tmp_path / "run" / "versions.json"
    began = json.loads(noted.read_text())
    assert began["threads"] == torch.get_num_threads()
    noted.write_text(json.dumps(began | {"threads": 3}))
    for name in EXPLICIT:
        monkeypatch.delenv(name, raising=False)
    if explicit:
        monkeypatch.setenv("OMP_NUM_THREADS", str(began["threads"]))
    longer = make_recipe(store, epochs=2, eval_every=None)
    try:
        resume(tmp_path / "run", recipe=longer, device="cpu", build=build_tiny)
        assert torch.get_num_threads() == (began["threads"] if explicit else 3)
    finally:
        torch.set_num_threads(began["threads"])
    assert json.loads(noted.read_text())["threads"] == (began["threads"] if explicit else 3)


def test_two_processes_do_not_train_in_one_folder(store: Path, tmp_path: Path) -> None:
    values = make_recipe(store, epochs=2000, eval_every=2000).model_dump(mode="json")
    process = start(values, tmp_path / "run", resumed=False)
    try:
        deadline = time.monotonic() + 60
        while steps_done(tmp_path / "run") < 8 and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(UsageError, match="another process is training"):
            resume(tmp_path / "run", device="cpu", build=build_tiny)
    finally:
        process.kill()
        process.join(60)
