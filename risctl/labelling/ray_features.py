"""Computes cached features on a cluster: Ray gives out the shards of each store, as `--shard K/N` does to a job array.

What a worker does is the one function of every engine, `FeatureRun.write`: from a store and a share of it to a file,
which goes on where an earlier worker was killed. The files lie where all machines see them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risctl.errors import MachineError
from risctl.labelling.ray_engine import answers, start


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureTask:
    """What an actor is to compute.

    Attributes:
        recipe: Name or file of the recipe.
        changes: Its overrides.
        out: The file of all features, where one is named.
        batch: Images of one size that are encoded together.
        workers: Processes of each actor that decode images.
        device: `auto`, `cpu`, `cuda` or `mps`.
        folder: The folder from which relative paths lead.
    """

    recipe: str
    changes: tuple[str, ...]
    out: Path | None
    batch: int
    workers: int
    device: str
    folder: str


def write_shards(
    task: FeatureTask,
    shards: int,
    *,
    address: str | None = None,
    actors: tuple[int, int] = (1, 1),
    gpus: float = 0.0,
    cpus: float = 1.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Writes all shards; one that is there already, of the same, is left as it is.

    Args:
        task: What is computed.
        shards: How many parts there are.
        address: The cluster; None: this machine, or the one that `RAY_ADDRESS` names.
        actors: How many actors, at least and at most.
        gpus: The share of a GPU that each takes.
        cpus: Cores that each takes.
        progress: Called with the numbers of shards that are done and that there are.

    Raises:
        MachineError: Ray is not installed, does not answer, or gave up.
    """
    ray = start(address)
    found = ray.data.from_items([{"shard": number} for number in range(1, shards + 1)], override_num_blocks=shards)
    found = found.map_batches(
        _Encoder,
        fn_constructor_args=(task, shards),
        compute=ray.data.ActorPoolStrategy(min_size=actors[0], max_size=actors[1]),
        num_cpus=cpus,
        num_gpus=gpus or None,
        batch_size=1,
    )
    done: set[int] = set()
    for row in answers(ray, found):
        done.add(int(row["shard"]))
        progress(len(done), shards)
    if len(done) < shards:
        raise MachineError(f"Ray returned {len(done)} of {shards} shards; what is done is kept, run it again")


class _Encoder:
    """Holds the encoders on a machine of the cluster."""

    def __init__(self, task: FeatureTask, shards: int) -> None:
        from risctl.data.store.reader import Store
        from risctl.devices import pick_device
        from risctl.recipe.load import load_recipe
        from risctl.training.features.extract import FeatureRun

        os.chdir(task.folder)
        self._task, self._shards = task, shards
        recipe = load_recipe(task.recipe, list(task.changes))
        self._open = ExitStack()
        self._stores: Sequence[Any] = [self._open.enter_context(Store(Path(one))) for one in recipe.data.stores]
        self._run = FeatureRun(recipe, self._stores[0], also=self._stores[1:])
        self._device = pick_device(task.device)

    def __call__(self, rows: dict[str, Iterable[int]]) -> dict[str, Any]:
        for number in rows["shard"]:
            for store in self._stores:
                plan = self._run.plan(store, path=self._task.out, shard=(int(number), self._shards))
                self._run.write(plan, device=self._device, batch=self._task.batch, workers=self._task.workers)
        return dict(rows)
