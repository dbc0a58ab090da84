"""Runs a function in two processes that find each other by gloo, and compares what they trained with one's run."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable
from multiprocessing import set_start_method
from pathlib import Path
from typing import Any

import torch
from helpers.tiny import PROCESSES, assert_same_tensors, weights_of

RUNNING = (".running_mean", ".running_var")


def assert_one_run(first: Path, second: Path) -> None:
    """Fail unless two runs have the same weights, but for the rounding of running statistics."""
    ours, theirs = (weights_of(run / "last.safetensors") for run in (first, second))
    assert ours.keys() == theirs.keys()
    for name in ours:
        if name.endswith(RUNNING):
            assert torch.allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-7), name
    exact = [{name: one for name, one in all_.items() if not name.endswith(RUNNING)} for all_ in (ours, theirs)]
    assert_same_tensors(*exact)


def in_two_processes(work: Callable[..., None], folder: Path, *arguments: Any, seconds: float = 300) -> None:
    """Call `work(rank, *arguments)` in two processes; fail with what either of them raised.

    `folder` is where they write that.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        PROCESSES.Process(target=_one, args=(rank, port, folder, work, arguments), daemon=False) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(seconds)
        if process.is_alive():
            process.kill()
    told = [file.read_text() for file in sorted(folder.glob("process-*.txt"))]
    assert not told and [process.exitcode for process in processes] == [0, 0], "\n".join(told)


def _one(rank: int, port: int, folder: Path, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE="2",
        LOCAL_WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        OMP_NUM_THREADS="1",
    )
    torch.set_num_threads(1)
    set_start_method("fork", force=True)
    try:
        work(rank, *arguments)
    except BaseException:
        (folder / f"process-{rank}.txt").write_text(f"process {rank}:\n{traceback.format_exc()}")
        raise
