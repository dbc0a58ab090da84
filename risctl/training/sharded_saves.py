"""Saves of a run whose tensors are divided among processes: written by all at once, joined into one file later.

A save is a folder `shards-<step>` in the run folder: a safetensors file of each process, which
torch.distributed.checkpoint writes, and `save.json`, the header and the layout of all tensors. It is joined into
`last.safetensors`, an ordinary checkpoint, when the run ends or goes on; so it goes on with any number of processes,
divided or not.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from risctl.checkpoints.checkpoint import write_tensors
from risctl.distributed import failing_together
from risctl.errors import CheckpointError, MachineError
from risctl.files import new_folder
from risctl.json_text import parse_object
from risctl.training.run_folder import RunFolder

_HEADER = "save.json"
_MAX_HEADER = 1 << 28
_DTYPES = {str(one).removeprefix("torch."): one for one in (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16,
    torch.float32, torch.float64,
)}  # fmt: skip


def save_shards(run: RunFolder, tensors: Mapping[str, Tensor], header: Mapping[str, Any], *, step: int) -> None:
    """Writes a save, whole or not at all; the one before stays. All processes must call it.

    Args:
        run: The run folder, on a file system that all processes share.
        tensors: The tensors by the names of a checkpoint, divided or whole.
        header: The header of the checkpoint.
        step: The step of the run.

    Raises:
        MachineError: The disk refuses, in any process.
    """
    from torch.distributed import checkpoint

    path = run.path / f"{run.SHARDS}{step:08}"
    with ExitStack() as stack:
        made: list[Any] = [None]
        with failing_together():
            if distributed.get_rank() == 0:
                made = [str(stack.enter_context(new_folder(path, replace=True)))]
        distributed.broadcast_object_list(made)
        folder = Path(made[0])
        writer = checkpoint.HuggingFaceStorageWriter(path=str(folder), save_distributed=True)
        try:
            with _quietly():
                checkpoint.save(dict(tensors), storage_writer=writer)
        except checkpoint.CheckpointException as error:
            problems = "; ".join(f"process {rank}: {one[0]}" for rank, one in sorted(error.failures.items()))
            raise MachineError(f"cannot write {path}: {problems}; check free space and permissions") from error
        with failing_together():
            if distributed.get_rank() == 0:
                layout = {name: [_name(one.dtype), list(one.shape)] for name, one in tensors.items()}
                files = {one.name: one.stat().st_size for one in sorted(folder.glob("*.safetensors"))}
                text = json.dumps({"header": dict(header), "tensors": layout, "files": files}, allow_nan=False)
                (folder / _HEADER).write_text(text, encoding="utf-8")
    with failing_together():
        if distributed.get_rank() == 0:
            for older in run.shards()[:-2]:
                shutil.rmtree(older, ignore_errors=True)


def join_shards(run: RunFolder) -> str | None:
    """Makes `last.safetensors` of the newest save that is in shards, and removes the shards.

    The checkpoint that was `last` is then `previous`. The whole checkpoint is in memory meanwhile.

    Returns:
        What to log if the newest cannot be read and the one before it is taken; None otherwise.

    Raises:
        CheckpointError: None of those that are there can be read.
        MachineError: The disk refuses.
    """
    problems: list[str] = []
    for path in reversed(run.shards()):
        try:
            header, tensors = _read(path)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        write_tensors(run.last, tensors, header=header, old=run.previous)
        for one in run.shards():
            shutil.rmtree(one, ignore_errors=True)
        return f"{problems[0]}; the run continues from {path.name}" if problems else None
    if problems:
        raise CheckpointError(
            f"{'; '.join(problems)}; bring the folder back, or remove it to go on from {run.last.name}"
        )
    return None


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from torch.distributed import checkpoint

    try:
        saved = parse_object((path / _HEADER).read_bytes(), max_bytes=_MAX_HEADER)
        files, layout = dict(saved["files"]), dict(saved["tensors"])
        found = {one.name: one.stat().st_size for one in path.glob("*.safetensors")}
        if found != files:
            raise ValueError("its files are not those that were written")
        shapes = {name: (_DTYPES[kind], [_side(side) for side in shape]) for name, (kind, shape) in layout.items()}
        size = sum(dtype.itemsize * math.prod(shape) for dtype, shape in shapes.values())
        if size > sum(found.values()):
            raise ValueError("its files are too small for its tensors")
        tensors = {name: torch.zeros(shape, dtype=dtype) for name, (dtype, shape) in shapes.items()}
        with _quietly():
            checkpoint.load(tensors, storage_reader=checkpoint.HuggingFaceStorageReader(path=str(path)), no_dist=True)
        return dict(saved["header"]), tensors
    except Exception as error:  # also what torch raises of a damaged file
        problem = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(f"{path} is damaged: {problem[-1]:.200}") from error


def _side(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 40:
        raise ValueError(f"{value!r} is no side of a tensor")
    return value


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@contextmanager
def _quietly() -> Iterator[None]:
    """Keeps what torch remarks on its own checkpoints from a person."""
    log = logging.getLogger("torch.distributed.checkpoint")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
