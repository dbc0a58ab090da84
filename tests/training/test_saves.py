"""The saves of a run: the one before last is kept, a damaged one is told by name, and no run begins anew unasked."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from helpers.full_disk import files_of_at_most
from helpers.killed_saves import train_killed
from helpers.tiny import PROCESSES, assert_same_tensors, build_tiny, tiny_recipe, tiny_store, weights_of

from risctl import files
from risctl.checkpoints.checkpoint import read_tensors
from risctl.errors import CheckpointError, MachineError, UsageError
from risctl.recipe.schema import Recipe
from risctl.training.run import TrainingResult, resume, train
from risctl.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("store"))


class StopHereError(Exception):
    """Raised by a callback, where a crash could come."""


class Stopper:
    """Stops at a step and keeps what was logged."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.lines: list[str] = []

    def line(self, text: str, *, routine: bool = False) -> None:
        if not routine:
            self.lines.append(text)

    def step(self, step: int, total: int, **_: Any) -> None:
        if step == self.at:
            raise StopHereError

    def evaluating(self, done: int, total: int) -> None:
        pass


def recipe_of(store: Path, **train_keys: Any) -> Recipe:
    """20 steps, evaluated after 10 and 20, saved every 3 steps and after an evaluation."""
    keys = {"epochs": 4, "eval_every": 2, "save_every": 3, "eval_limit": 2, "ema": 0.9, **train_keys}
    return tiny_recipe(store, optim={"schedule": {"name": "cosine"}}, train=keys)


@pytest.fixture(scope="module")
def uninterrupted(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    train(recipe_of(store), out=out, device="cpu", build=build_tiny)
    return out


def stopped(store: Path, out: Path, *, at: int = 14) -> RunFolder:
    """Return a run that was stopped by a crash: at step 14 it has saved after 10 and 12, and evaluated after 10."""
    made = store.parent / f"stopped-{at}"
    if not made.exists():
        with pytest.raises(StopHereError):
            train(recipe_of(store), out=made, device="cpu", build=build_tiny, callback=Stopper(at))
    shutil.copytree(made, out)
    return RunFolder(out)


def resumed(run: RunFolder, callback: Stopper | None = None) -> TrainingResult:
    return resume(run.path, device="cpu", build=build_tiny, callback=callback)


def step_of(path: Path) -> int:
    return int(read_tensors(path, prefixes=())[0]["step"])


def metrics(path: Path) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    timed = ("samples_per_second", "evaluation_seconds", "data_share", "memory_mib")
    return [{key: value for key, value in entry.items() if key not in timed} for entry in entries]


def assert_same_runs(first: Path, second: Path) -> None:
    for name in ("last.safetensors", "best.safetensors"):
        assert_same_tensors(weights_of(first / name), weights_of(second / name))
    assert metrics(first) == metrics(second)


def flipped(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def in_header(path: Path, text: str) -> int:
    """Return the place of the last digit of the number after `text` in a checkpoint's header."""
    data = path.read_bytes()
    start = data.index(text.encode()) + len(text)
    return next(place for place in range(start, start + 40) if not chr(data[place + 1]).isdigit())


def test_the_save_before_last_is_kept(store: Path, tmp_path: Path) -> None:
    run = stopped(store, tmp_path / "run")
    assert (step_of(run.last), step_of(run.previous), step_of(run.best)) == (12, 10, 10)
    assert run.last.stat().st_ino != run.previous.stat().st_ino
    begun = stopped(store, tmp_path / "begun", at=1)
    assert step_of(begun.previous) == 0 and not begun.last.exists()


DAMAGE = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "weights": lambda path: flipped(path, -1),
    "state": lambda path: flipped(path, in_header(path, '\\"state\\": {\\"step\\": ')),
    "not ours": lambda path: path.write_bytes(b"not a checkpoint" * 100),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_last_gives_way_to_the_save_before_by_name(
    store: Path, uninterrupted: Path, tmp_path: Path, kind: str
) -> None:
    run = stopped(store, tmp_path / "run")
    DAMAGE[kind](run.last)
    callback = Stopper()
    resumed(run, callback)
    [line] = [one for one in callback.lines if "previous.safetensors" in one]
    assert "last.safetensors" in line and "the save before it, after step 10" in line
    assert line in run.log_file.read_text().splitlines()
    assert_same_runs(run.path, uninterrupted)


def test_a_damaged_last_does_not_take_the_place_of_the_save_before(
    store: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    run = stopped(store, tmp_path / "run")
    flipped(run.last, -1)
    with pytest.raises(StopHereError):
        resumed(run, Stopper(13))
    assert (step_of(run.last), step_of(run.previous)) == (12, 10)
    read_tensors(run.previous, prefixes=("model.", "training."))
    flipped(run.last, -1)
    resumed(run)
    assert_same_runs(run.path, uninterrupted)


@pytest.mark.parametrize("left", [("metrics.jsonl",), ("best.safetensors",), ("metrics.jsonl", "best.safetensors")])
def test_a_run_without_a_usable_save_is_never_begun_anew(store: Path, tmp_path: Path, left: tuple[str, ...]) -> None:
    run = stopped(store, tmp_path / "run")
    for path in (run.last, run.previous, run.best, run.metrics_file):
        if path.name not in left:
            path.unlink()
    before = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    with pytest.raises(
        CheckpointError, match=r"last\.safetensors is missing; previous\.safetensors is missing"
    ) as told:
        resumed(run)
    assert "not begun anew" in str(told.value) and "\n" not in str(told.value)
    assert {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()} == before


def test_two_damaged_saves_are_an_error_that_names_both(store: Path, tmp_path: Path) -> None:
    run = stopped(store, tmp_path / "run")
    flipped(run.last, -1)
    run.previous.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"last\.safetensors is damaged.*previous\.safetensors is damaged"):
        resumed(run)


def test_a_run_stopped_before_its_first_save_says_so(store: Path, uninterrupted: Path, tmp_path: Path) -> None:
    run, callback = stopped(store, tmp_path / "run", at=2), Stopper()
    assert metrics(run.path)
    resumed(run, callback)
    assert "the run was stopped before its first save of last.safetensors: it begins again" in callback.lines
    assert_same_runs(run.path, uninterrupted)
    nothing, callback = RunFolder.create(recipe_of(store), out=tmp_path / "nothing"), Stopper()
    resumed(nothing, callback)
    assert "nothing of the run was saved yet: it begins" in callback.lines
    assert_same_runs(nothing.path, uninterrupted)


def test_lost_metrics_are_told(store: Path, tmp_path: Path) -> None:
    run, callback = stopped(store, tmp_path / "run"), Stopper()
    lines = run.metrics_file.read_text().splitlines(keepends=True)
    run.metrics_file.write_text("".join([lines[0], "{damaged\n", *lines[2:], '{"kind": "tr']))
    with pytest.raises(StopHereError):
        resumed(run, Stopper(13))
    assert "metrics.jsonl is damaged: 1 lines that cannot be read were left out" in run.log_file.read_text()
    run.metrics_file.unlink()
    resumed(run, callback)
    assert "metrics.jsonl is missing: it begins anew after step 12" in callback.lines


def test_an_edited_recipe_is_another_run(store: Path, tmp_path: Path) -> None:
    run = stopped(store, tmp_path / "run")
    run.recipe_file.write_text(run.recipe_file.read_text().replace("lr: 0.01", "lr: 0.02"))
    with pytest.raises(UsageError, match=r"optim\.lr differ, so recipe\.yaml was edited"):
        resumed(run)


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_killed_at_every_moment_of_saving(store: Path, tmp_path: Path) -> None:
    """Before the first rename of a start, the second, …: of `previous` and `last`, and of the links between them."""
    recipe = recipe_of(store, epochs=1, save_every=1)
    train(recipe, out=tmp_path / "whole", device="cpu", build=build_tiny)
    values, run = recipe.model_dump(mode="json"), RunFolder(tmp_path / "run")
    kills = 0
    for change in (0, 2, 1, 3, 1000):
        going = run.recipe_file.exists()
        process = PROCESSES.Process(
            target=train_killed, args=(values, run.path), kwargs={"resumed": going, "change": change}
        )
        process.start()
        process.join(60)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        kills += 1
    assert process.exitcode == 0 and kills == 4
    assert_same_runs(run.path, tmp_path / "whole")
    assert not [path for path in run.path.iterdir() if path.name.endswith(".part")]


def test_without_links_the_save_before_last_is_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on file systems that know none."""

    def refused(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refused)
    path, kept = tmp_path / "last", tmp_path / "previous"
    for text in ("1", "2", "3"):
        with files.replacing(path, old=kept) as beside:
            beside.write_text(text)
    assert (path.read_text(), kept.read_text()) == ("3", "2")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_clock_that_jumps_makes_no_living_writer_a_dead_one(tmp_path: Path) -> None:
    path = tmp_path / "last"
    with files.replacing(path) as beside:
        beside.write_text("whole")
        os.utime(beside, (0, 0))
        assert files.remove_stale(path) == [] and not files.is_leftover(beside)
    assert path.read_text() == "whole"


def test_a_folder_that_cannot_be_written_is_one_line(store: Path, tmp_path: Path) -> None:
    run = stopped(store, tmp_path / "run")
    before = run.last.read_bytes()
    (run.path / ".lock").unlink()
    (run.path / ".lock").mkdir()
    with pytest.raises(MachineError, match=r"cannot write .*\.lock.*a run needs a folder that can be written") as told:
        resumed(run)
    assert told.value.exit_code == 5 and "\n" not in str(told.value) and run.last.read_bytes() == before


def test_a_lock_is_not_written_through_a_link(store: Path, tmp_path: Path) -> None:
    run = stopped(store, tmp_path / "run")
    (run.path / ".lock").unlink()
    (tmp_path / "thesis.txt").write_text("years of work")
    (run.path / ".lock").symlink_to(tmp_path / "thesis.txt")
    with pytest.raises(MachineError, match="cannot write"):
        resumed(run)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("name", ["log.txt", "metrics.jsonl", "command.txt"])
def test_a_disk_without_room_for_a_line_ends_the_run_in_one_line(
    store: Path, uninterrupted: Path, tmp_path: Path, name: str
) -> None:
    run = stopped(store, tmp_path / "run")
    path = run.path / name
    kept = path.read_bytes()
    path.unlink()
    path.symlink_to("/dev/full")
    # Metrics are rewound at first, which what is no file cannot be.
    with pytest.raises(MachineError, match="no regular file" if name == "metrics.jsonl" else "no space left to write"):
        resumed(run)
    path.unlink()
    path.write_bytes(kept)
    resumed(run)
    assert_same_runs(run.path, uninterrupted)


def test_a_disk_that_is_full_when_saving_loses_nothing(store: Path, uninterrupted: Path, tmp_path: Path) -> None:
    run = stopped(store, tmp_path / "run")
    before = [path.read_bytes() for path in (run.last, run.previous)]
    with files_of_at_most(len(before[0]) // 2), pytest.raises(MachineError, match="free space"):
        resumed(run)
    assert [path.read_bytes() for path in (run.last, run.previous)] == before
    resumed(run)
    assert_same_runs(run.path, uninterrupted)


def test_a_new_run_on_a_full_disk_leaves_no_folder_in_the_way(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with files_of_at_most(16), pytest.raises(MachineError, match="no space left to write"):
        train(recipe_of(store), out=out, device="cpu", build=build_tiny)
    assert not out.exists()
    train(recipe_of(store, max_steps=1), out=out, device="cpu", build=build_tiny)


@pytest.mark.skipif(os.name == "nt", reason="needs record locks")
def test_a_second_trainer_neither_reads_nor_writes(store: Path, tmp_path: Path) -> None:
    run = stopped(store, tmp_path / "run")
    flipped(run.last, -1)
    (tmp_path / "new").mkdir()
    for path in (run.path, tmp_path / "new"):
        child = os.fork()
        if not child:
            with RunFolder(path).locked():
                (tmp_path / f"{path.name}.locked").touch()
                signal.pause()
        try:
            while not (tmp_path / f"{path.name}.locked").exists():
                pass
            with pytest.raises(UsageError, match="another process is training"):
                if path == run.path:
                    resumed(run)  # refused before it looks at the damaged save
                else:
                    train(recipe_of(store), out=path, device="cpu", build=build_tiny)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert not (tmp_path / "new" / "recipe.yaml").exists()
