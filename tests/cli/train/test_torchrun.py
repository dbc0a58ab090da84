"""`risctl train` under torchrun: one line for what ends all, and a killed worker that is begun anew."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.small_models import SMALL_VLT
from helpers.tiny import tiny_store
from helpers.two_processes import assert_one_run

from risctl.recipe.load import load_recipe
from risctl.training.run import train
from risctl.training.run_record import read_result

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the workers by Linux's /proc"),
]

RECIPE = f"""{SMALL_VLT}
data: {{store: tiny.h5, batch_size: 3, workers: 0}}
optim: {{lr: 0.01, accumulate: ACCUMULATE}}
train: {{epochs: 8, eval_every: null, save_every: 2, log_every: 1}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tiny_store(tmp_path)
    (tmp_path / "small.yaml").write_text(RECIPE.replace("ACCUMULATE", "1"))
    return tmp_path


def launched(*arguments: str, restarts: int = 0) -> subprocess.Popen[str]:
    """Start `risctl train` in two processes."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", str(restarts)]
    return subprocess.Popen(
        [sys.executable, "-m", *launcher, "-m", "risctl", "train", *arguments, "--device", "cpu"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    commands = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return [child for child, command in commands.items() if b"risctl" in command]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["small.yaml", "optim.lrr=1"], "optim.lrr"),
        (["small.yaml", "data.store=absent.h5"], "absent.h5"),
        (["absent.yaml"], "absent.yaml"),
    ],
)
def test_what_is_wrong_for_all_is_told_once(folder: Path, arguments: list[str], said: str) -> None:
    process = launched(*arguments, "--out", "run")
    told = process.communicate(timeout=300)[1]
    lines = [line for line in told.splitlines() if line.startswith("error: ")]
    assert process.returncode != 0 and len(lines) == 1, told
    assert said in told and "risctl/cli/app.py" not in told  # the launcher's own trace follows
    assert not (folder / "run").exists()


def test_a_killed_worker_is_begun_anew_and_the_weights_are_those_of_one_process(folder: Path) -> None:
    process = launched("small.yaml", "--out", "run", "--resume", restarts=4)
    metrics = folder / "run" / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text().count("\n") >= 5):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    os.kill(workers_of(process)[1], signal.SIGKILL)
    told = process.communicate(timeout=500)[1]
    assert process.returncode == 0, told
    assert "resumed after step" in (folder / "run" / "log.txt").read_text()
    assert (read_result(folder / "run") or {})["steps"] > 5
    (folder / "one.yaml").write_text(RECIPE.replace("ACCUMULATE", "2"))
    train(load_recipe("one.yaml"), out=folder / "one", device="cpu")
    assert_one_run(folder / "one", folder / "run")
