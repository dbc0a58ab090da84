"""A sample of each attack ends in refusals and right answers alone; and the harness sees what is neither."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"
ATTACKS = sorted(file.stem for file in (TOOLS / "attacks").glob("[a-z]*.py"))
TOY_ATTACK = """
import time
from risctl.errors import DataError
SUITE_COUNT = 6
def prepare(folder): (folder / "number").write_text("7")
def mutate(folder, target, random):
    number = len(list(folder.parent.glob("seen-*")))
    (folder.parent / f"seen-{number}").touch()
    (target / "kind").write_text(str(number))
    return f"kind {number}"
def check(folder, target):
    kind = (target / "kind").read_text()
    if kind == "2": raise DataError("refused")
    if kind == "3": raise KeyError("broken")
    if kind == "4": time.sleep(60)
    if kind == "6": bytearray(300 << 20)
    return "wrong" if kind == "7" else "right"
"""


def _attack(*arguments: str, tools: Path = TOOLS) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(tools / "attack.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_sample_of_each_attack_is_refused_or_read_right(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOOLS))
    count = __import__(f"attacks.{name}", fromlist=["SUITE_COUNT"]).SUITE_COUNT
    run = _attack(name, "--count", str(count), "--workers", "1")
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{name}: {count} cases, seed 0" in run.stdout


def test_the_harness_counts_every_outcome(tmp_path: Path) -> None:
    (tmp_path / "attack.py").write_text((TOOLS / "attack.py").read_text())
    (tmp_path / "attacks").mkdir()
    (tmp_path / "attacks" / "toy.py").write_text(TOY_ATTACK)
    # Kinds 0 and 5 are the cases that warm up a process, the second of them after the hang.
    run = _attack("toy", "--count", "6", "--workers", "1", "--seconds", "1", "--memory-mb", "200", tools=tmp_path)
    assert run.returncode == 1
    assert "refused 1, right 1, wrong 1, traceback 1, hang 1, memory 1" in run.stdout, run.stdout + run.stderr
    assert "KeyError: 'broken'" in run.stdout
