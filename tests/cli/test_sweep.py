"""`risctl sweep` and `risctl report` as a person calls them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.small_models import SMALL_VLT
from helpers.tiny import assert_same_tensors, tiny_store, weights_of
from typer.testing import CliRunner, Result

from risctl.cli import app as entry
from risctl.errors import DataError, UsageError

RECIPE = f"""{SMALL_VLT}
data: {{store: tiny.h5, batch_size: 5, workers: 0}}
optim: {{lr: 0.01}}
train: {{epochs: 4, log_every: 1, eval_every: 1, eval_limit: 2, save_every: 1}}
"""
GRID = ["--grid", "optim.lr=0.01,0.02"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    tiny_store(tmp_path)
    (tmp_path / "small.yaml").write_text(RECIPE)
    return tmp_path


def invoke(*arguments: str) -> Result:
    """Call the command in this process."""
    return CliRunner().invoke(entry.app, list(arguments))


def test_a_stopped_sweep_goes_on_and_its_page_has_every_curve(folder: Path) -> None:
    """SIGTERM reaches the training, which saves; the same command ends what is left, and a run is as one alone."""
    command = ["sweep", "small.yaml", *GRID, "--out", "lrs", "--device", "cpu"]
    with subprocess.Popen([sys.executable, "-m", "risctl", *command], stderr=subprocess.PIPE, text=True) as process:
        metrics = folder / "lrs/runs/001-lr=0.01-seed=0/metrics.jsonl"
        while not (metrics.exists() and metrics.read_text()):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=300)[1]
    assert process.returncode == 143 and "Traceback" not in said, said
    first = folder / "lrs/runs/001-lr=0.01-seed=0"
    assert (first / "last.safetensors").exists()
    result = invoke(*command, "--report", "page.html", "--report", "table.json", "--json")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert [point["values"] for point in data["points"]] == [{"optim.lr": "0.01"}, {"optim.lr": "0.02"}]
    assert all(point["seeds"][0]["ended"] and point["mean"] is not None for point in data["points"])
    assert data["failed"] == [] and data == json.loads((folder / "table.json").read_text())
    page = (folder / "page.html").read_text()
    assert "optim.lr" in page and page.count("<figcaption>mIoU</figcaption>") == 1
    assert page.count("lr=0.01, seed 0: ") and page.count("lr=0.02, seed 0: ")

    alone = invoke("train", "small.yaml", "optim.lr=0.01", "--out", "alone", "--device", "cpu", "--quiet", "--json")
    assert alone.exit_code == 0, alone.stderr
    assert_same_tensors(weights_of(folder / "alone/last.safetensors"), weights_of(first / "last.safetensors"))
    assert json.loads((folder / "alone/result.json").read_text()) == json.loads(alone.stdout)

    again = invoke(*command)
    assert again.stderr.count("(had ended before)") == 2
    assert again.stdout.splitlines()[0].split() == ["optim.lr", "seeds", "mIoU", "95%", "interval"]
    for arguments in (("alone", str(first), "-o", "two.html"), ("lrs", "-o", "sweep.html")):
        assert invoke("report", *arguments).stdout == f"{arguments[-1]}\n"
    assert (folder / "sweep.html").read_text() == page
    assert "alone" in (folder / "two.html").read_text()


def test_a_training_that_fails_is_named_and_gives_its_code(folder: Path) -> None:
    result = invoke("sweep", "small.yaml", "data.store=absent.h5", "--out", "s", "--device", "cpu", "--json")
    assert result.exit_code == 4
    (failed,) = json.loads(result.stdout)["failed"]
    assert failed["code"] == 4 and "absent.h5" in failed["message"]
    assert "1 of 1 trainings failed" in result.stderr and "Traceback" not in result.stderr
    assert "absent.h5" in (folder / "s/logs/001-seed=0.txt").read_text()


def test_jobs_are_printed_and_nothing_is_made(folder: Path) -> None:
    result = invoke("sweep", "small.yaml", "train.epochs=2", *GRID, "model.queries=1,2", "--seeds", "2", "--print-jobs")
    lines = result.stdout.splitlines()
    assert len(lines) == 8 and len(set(lines)) == 8
    assert lines[0] == (
        "risctl train small.yaml train.epochs=2 optim.lr=0.01 model.queries=1 train.seed=0 "
        "--out sweeps/small-1/runs/001-lr=0.01-queries=1-seed=0 --resume"
    )
    assert sorted(path.name for path in folder.iterdir()) == ["small.yaml", "tiny.h5"]


def test_mistakes_are_one_line(folder: Path) -> None:
    error = invoke("sweep", "small.yaml", *GRID, "--report", "page.txt").exception
    assert isinstance(error, UsageError) and ".html or .json" in str(error)
    error = invoke("report", "absent").exception
    assert isinstance(error, DataError) and "absent holds no metrics.jsonl" in str(error)
    (folder / "page.html").write_text("mine")
    error = invoke("report", "absent", "--out", "page.html").exception
    assert isinstance(error, UsageError) and "--overwrite" in str(error)
    assert (folder / "page.html").read_text() == "mine" and not (folder / "sweeps").exists()
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--trials", "3"], "--trials is for a search"),
        (["--search", "tpe"], "--search takes --trials N"),
        (["--search", "grid", "--trials", "3"], "Known: random, tpe"),
        (["--search", "tpe", "--trials", "3", "--print-jobs"], "what a search trains next"),
        (["--search", "tpe", "--trials", "3", "--seeds", "2"], "and one seed"),
    ],
)
def test_mistakes_of_a_search_are_one_line(folder: Path, arguments: list[str], said: str) -> None:
    error = invoke("sweep", "small.yaml", *GRID, *arguments).exception
    assert isinstance(error, UsageError) and said in str(error)
    assert not (folder / "sweeps").exists()


@pytest.mark.slow
def test_a_killed_search_goes_on_and_its_page_has_every_curve(folder: Path) -> None:
    pytest.importorskip("optuna", reason="needs the extra search")
    grid = ["--grid", "optim.lr=1e-3..1e-1:log", "model.queries=1..3"]
    command = ["sweep", "small.yaml", *grid, "--search", "tpe", "--trials", "3", "--out", "found", "--device", "cpu"]
    with subprocess.Popen([sys.executable, "-m", "risctl", *command], stderr=subprocess.PIPE, text=True) as process:
        while len(list((folder / "found" / "runs").glob("002-*/metrics.jsonl"))) < 1:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.05)
        process.kill()
    result = invoke(*command, "--report", "page.html", "--json")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert (data["search"], data["trials"], len(data["points"]), data["failed"]) == ("tpe", 3, 3, [])
    assert all(point["mean"] is not None for point in data["points"])
    assert "training 1 of 3" in result.stderr and "(had ended before)" in result.stderr
    page = (folder / "page.html").read_text()
    assert page.count("<figcaption>mIoU</figcaption>") == 1 and "tpe, 3 trainings" in page
    again = invoke(*command)
    assert again.stderr.count("(had ended before)") == 3
    alone = ["train", "small.yaml", *(f"{key}={value}" for key, value in data["points"][1]["values"].items())]
    assert invoke(*alone, "--out", "alone", "--device", "cpu", "--quiet").exit_code == 0
    run = Path(data["points"][1]["seeds"][0]["run"])
    assert_same_tensors(weights_of(folder / "alone/last.safetensors"), weights_of(folder / run / "last.safetensors"))


@pytest.mark.slow
def test_a_killed_sweep_comes_to_the_table_of_an_undisturbed_one(folder: Path) -> None:
    """SIGKILL reaches the sweep and its training in the middle of the second run; the same command ends the rest."""
    command = ["sweep", "small.yaml", *GRID, "--seeds", "2", "--device", "cpu", "--json", "--out"]
    whole = invoke(*command, "whole")
    assert whole.exit_code == 0, whole.stderr
    arguments = [sys.executable, "-m", "risctl", *command, "killed"]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        metrics = folder / "killed/runs/002-lr=0.02-seed=0/metrics.jsonl"
        while not (metrics.exists() and metrics.read_text()):
            assert process.poll() is None
            time.sleep(0.02)
        (training,) = _children(process.pid)
        process.kill()
        os.kill(training, signal.SIGKILL)
    assert not (metrics.parent / "result.json").exists()
    again = invoke(*command, "killed")
    assert again.exit_code == 0 and again.stderr.count("(had ended before)") == 1, again.stderr
    tables = [json.loads(one.stdout)["points"] for one in (whole, again)]
    assert [[point[key] for key in ("values", "mean", "low", "high")] for point in tables[0]] == [
        [point[key] for key in ("values", "mean", "low", "high")] for point in tables[1]
    ]
    for run in sorted((folder / "whole/runs").iterdir()):
        other = folder / "killed/runs" / run.name
        assert_same_tensors(weights_of(run / "last.safetensors"), weights_of(other / "last.safetensors"))


def _children(parent: int) -> list[int]:
    """Return the ids of the processes that a process started."""
    told = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(pid) for pid, started_by in map(str.split, told.splitlines()) if int(started_by) == parent]
