"""How many threads a CPU computes with: by the cores that are free, unless the user has said so."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from risctl import threads
from risctl.devices import pick_device


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process in which nothing was chosen, on a machine of four cores."""
    for name in threads.EXPLICIT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "_chosen", False)
    monkeypatch.setattr(threads, "_watched", None)
    monkeypatch.setattr(threads, "usable_cores", lambda: 4)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("free", "chosen"), [(0.1, 1), (1.3, 1), (1.8, 2), (3.9, 4), (64.0, 4)])
def test_the_cpu_computes_with_as_many_threads_as_cores_are_free(
    monkeypatch: pytest.MonkeyPatch, free: float, chosen: int
) -> None:
    monkeypatch.setattr(threads, "free_cores", lambda: free)
    assert pick_device("cpu").type == "cpu"
    assert torch.get_num_threads() == chosen


def test_it_is_chosen_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "free_cores", lambda: 2.0)
    threads.choose_threads()
    torch.set_num_threads(4)
    threads.choose_threads()
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("name", threads.EXPLICIT)
def test_a_variable_wins(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(threads, "free_cores", lambda: 1.0)
    monkeypatch.setenv(name, "4")
    threads.choose_threads()
    threads.keep_threads(2)
    assert torch.get_num_threads() == 4


def test_a_number_set_in_python_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "free_cores", lambda: 1.0)
    monkeypatch.setattr(threads, "_physical_cores", lambda: 4)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    torch.set_num_threads(3)
    threads.choose_threads()
    assert torch.get_num_threads() == 3


def test_a_number_that_is_kept_is_not_chosen_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "free_cores", lambda: 1.0)
    threads.keep_threads(4)
    threads.choose_threads()
    assert torch.get_num_threads() == 4


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are chosen on Linux only")
@pytest.mark.parametrize("watched", [False, True])
def test_a_core_that_another_process_fills_is_not_free(watched: bool) -> None:
    before = os.sched_getaffinity(0)
    core = min(before)
    spinning = f"import os; os.sched_setaffinity(0, {{{core}}}); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", spinning], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        os.sched_setaffinity(0, {core})
        try:
            if watched:
                threads.watch()
            assert threads.free_cores() < 0.5
        finally:
            os.sched_setaffinity(0, before)
            other.kill()


def test_the_quota_of_a_container_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(threads, "_CGROUPS", tmp_path)
    monkeypatch.setattr(threads, "_allowed", lambda: set(range(16)))
    assert threads.usable_cores() == 16
    (tmp_path / "cpu.max").write_text("max 100000\n", encoding="ascii")
    assert threads.usable_cores() == 16
    (tmp_path / "cpu.max").write_text("250000 100000\n", encoding="ascii")
    assert threads.usable_cores() == 2 and threads.free_cores() <= 2.5
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("50000\n", encoding="ascii")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n", encoding="ascii")
    assert threads.usable_cores() == 1


def test_without_the_kernels_counters_the_load_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads._Times, "now", classmethod(lambda cls, cores: None))
    monkeypatch.setattr(threads, "_allowed", lambda: set(range(8)))
    monkeypatch.setattr(os, "getloadavg", lambda: (6.5, 0.0, 0.0), raising=False)
    assert threads.free_cores() == 1.5
