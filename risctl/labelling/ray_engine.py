"""Labels on a cluster with Ray Data: the same function, in actors that Ray places, feeds and starts anew."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

from risctl.errors import MachineError, UsageError
from risctl.labelling.tasks import Task
from risctl.labelling.worker import Labeller, ModelChoice, digest_of, label

_PARTS = 4096  # parts that Ray is given at once: their descriptions are in the memory of the head node


@dataclass(frozen=True, slots=True, kw_only=True)
class RayEngine:
    """Labels in actors of Ray Data; each holds the model, and takes the images of one part at a time.

    Ray Data gives out parts only as fast as their rows are taken (back-pressure), and gives the part of an actor that
    is lost, with its machine or alone, to another one. The rows come back here, where parts are written as for every
    engine.

    Attributes:
        model: The model that the actors open.
        digest: What identifies its weights: an actor that opens others refuses.
        min_score: Rows that score less are left out.
        size: Images of a part.
        address: The cluster; None: this machine, or the one that `RAY_ADDRESS` names.
        actors: How many actors, at least and at most.
        gpus: The share of a GPU that each takes; 0: it computes on the CPU.
        cpus: Cores that each takes.
        batch: Images that are encoded together.
    """

    model: ModelChoice
    digest: str
    min_score: float
    size: int
    address: str | None = None
    actors: tuple[int, int] = (1, 1)
    gpus: float = 0.0
    cpus: float = 1.0
    batch: int | str = 1

    def __call__(self, tasks: Iterable[Task], count: int) -> Iterator[tuple[Task, list[dict[str, Any]]]]:
        """Yields the images with their rows; parts may come in another order than they were given in."""
        ray = start(self.address)
        parts = ((number, list(some)) for number, some in groupby(tasks, lambda task: task.index // self.size))
        while some := list(islice(parts, _PARTS)):
            items = [{"part": number, "tasks": "".join(task.to_line() for task in own)} for number, own in some]
            found = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
                _Actor,
                fn_constructor_args=(self.model, self.digest, self.min_score, self.batch),
                compute=ray.data.ActorPoolStrategy(min_size=self.actors[0], max_size=self.actors[1]),
                num_cpus=self.cpus,
                num_gpus=self.gpus or None,
                batch_size=1,
            )
            for answer in answers(ray, found):
                for line, rows in zip(answer["tasks"].splitlines(), json.loads(answer["rows"]), strict=True):
                    yield Task.from_line(line), rows


def answers(ray: Any, found: Any) -> Iterator[dict[str, Any]]:
    """Yields the rows of a dataset of Ray. Raises `MachineError` where Ray gives up."""
    try:
        yield from found.iter_rows()
    except ray.exceptions.RayError as error:
        told = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise MachineError(f"Ray gave up: {told[-1]:.300}; what is done is kept, go on with --resume") from error


class _Actor:
    """Holds the model on a machine of the cluster."""

    def __init__(self, model: ModelChoice, digest: str, min_score: float, batch: int | str) -> None:
        predictor = model.open()
        if digest_of(predictor) != digest:
            raise UsageError(f"this machine has other weights of {model.name or 'mini'}; they must be the same on all")
        self._labeller, self._batch = Labeller(predictor, digest=digest, min_score=min_score), batch

    def __call__(self, parts: dict[str, Any]) -> dict[str, Any]:
        answers = []
        for lines in parts["tasks"]:
            tasks = [Task.from_line(line) for line in str(lines).splitlines()]
            by_index: dict[int, list[Any]] = {task.index: [] for task in tasks}
            for row in label(tasks, self._labeller, batch=self._batch):
                by_index[row["index"]].append(row)
            answers.append(json.dumps([by_index[task.index] for task in tasks], ensure_ascii=False, allow_nan=False))
        return {"part": parts["part"], "tasks": parts["tasks"], "rows": answers}


def start(address: str | None) -> Any:
    """Returns the module `ray`, connected to a cluster, or to one that it starts on this machine.

    Raises:
        MachineError: Ray is not installed, or the cluster does not answer.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MachineError("--engine ray needs Ray Data: pip install 'risctl[ray]'") from error
    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray has classes of its own for every failure
            raise MachineError(f"Ray cannot be reached at {address or 'this machine'}: {error!s:.200}") from error
    with suppress(AttributeError):
        ray.data.DataContext.get_current().enable_progress_bars = False
    return ray
