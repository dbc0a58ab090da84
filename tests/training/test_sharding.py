"""Two processes that each keep a share of the model train what two that each have the whole do.

Their saves are joined into ordinary checkpoints, from which a run goes on with any number of processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny import assert_same_tensors, build_tiny, tiny_recipe, tiny_store, weights_of
from helpers.two_processes import in_two_processes

from risctl.checkpoints.checkpoint import read_tensors
from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.errors import CheckpointError, RecipeError
from risctl.recipe.load import parse_recipe
from risctl.recipe.schema import Recipe
from risctl.training import run as training
from risctl.training import sharding
from risctl.training.callback import NullCallback
from risctl.training.run_folder import RunFolder
from risctl.training.sharded_saves import join_shards


def recipe_of(store: Path, *, parallel: str, accumulate: int = 1, **train: Any) -> Recipe:
    """Norms, dropout, EMA, clipping, an uneven last step, evaluations."""
    return tiny_recipe(
        store,
        data={"batch_size": 3, "last_batch": "wrap", "augment": {"flip": 0.5}},
        optim={"name": "adamw", "accumulate": accumulate, "clip_norm": 1.0, "lr": 1e-3, "weight_decay": 0.01},
        train={"epochs": 3, "max_steps": 8, "ema": 0.9, "eval_limit": 4, "trackers": [], "save_every": 3}
        | {"parallel": parallel, "log_every": 1, **train},
    )


class Stopping(NullCallback):
    """Stops the run after its fifth step."""

    def step(self, step: int, total: int, *, loss: float, seconds_left: float | None) -> None:
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)


def _pair(rank: int, folder: Path, values: Mapping[str, Any]) -> None:
    sharding.PART = 200  # the parts of a small model
    options: dict[str, Any] = {"device": "cpu", "continues": True, "build": build_tiny}
    given = {name: parse_recipe(one, source=name) for name, one in values.items()}
    training.train(given["fsdp"], out=folder / "fsdp", **options)
    training.train(given["fsdp, half"], out=folder / "resumed", **options)
    training.resume(folder / "resumed", recipe=given["fsdp"], **options)
    with contextlib.suppress(KeyboardInterrupt):
        training.train(given["fsdp"], out=folder / "stopped", callback=Stopping(), **options)
    try:
        training.train(given["mini"], out=folder / "mini", device="cpu", continues=True)
    except RecipeError as error:
        (folder / f"told-{rank}.json").write_text(json.dumps(str(error)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharding")
    store = tiny_store(folder)
    recipes = {
        "fsdp": recipe_of(store, parallel="fsdp"),
        "fsdp, half": recipe_of(store, parallel="fsdp", max_steps=5),
        "mini": tiny_recipe(
            store,
            model={"system": "mini", "input_size": 64, "channels": 32, "layers": 1, "heads": 2, "dropout": 0.1},
            train={"parallel": "fsdp"},
        ),
    }
    values = {name: one.model_dump(mode="json") for name, one in recipes.items()}
    training.train(recipe_of(store, parallel="ddp", accumulate=2), out=folder / "one", device="cpu", build=build_tiny)
    in_two_processes(_pair, folder, folder, values)
    return folder


def assert_alike(first: Path, second: Path) -> None:
    ours, theirs = (weights_of(run / "last.safetensors") for run in (first, second))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.allclose(value.float(), theirs[name].float(), rtol=1e-4, atol=1e-6), name


def test_shares_train_what_wholes_do(folder: Path) -> None:
    assert_alike(folder / "one", folder / "fsdp")
    evaluated = [
        [json.loads(line)["figures"] for line in (folder / name / "metrics.jsonl").open() if '"eval"' in line]
        for name in ("one", "fsdp")
    ]
    assert evaluated[0] == evaluated[1] and len(evaluated[0]) > 1
    log = (folder / "fsdp" / "log.txt").read_text()
    total = sum(one.numel() for one in load_checkpoint(folder / "fsdp", build=build_tiny).system.parameters())
    kept = int(log.partition("this process keeps ")[2].partition(" of ")[0].replace(",", ""))
    assert f" of {total:,} parameters" in log and total / 2 <= kept < 0.6 * total
    assert " 1 part " not in log, "no part is gathered on its own"


def test_shards_are_joined_into_checkpoints_that_open_anywhere(folder: Path) -> None:
    run = RunFolder(folder / "fsdp")
    assert run.last.is_file() and run.best.is_file() and not run.shards()
    assert read_tensors(run.best, prefixes=())[0]["step"] <= 8


def test_a_run_of_shares_resumes_exactly(folder: Path) -> None:
    assert_same_tensors(*(weights_of(folder / name / "last.safetensors") for name in ("fsdp", "resumed")))
    assert "resumed after step 5" in (folder / "resumed" / "log.txt").read_text()


def test_a_run_of_shares_goes_on_in_one_process(folder: Path) -> None:
    shutil.copytree(folder / "stopped", folder / "alone")
    assert len(RunFolder(folder / "alone").shards()) == 2
    whole = recipe_of(folder / "tiny.h5", parallel="ddp")
    training.resume(folder / "alone", recipe=whole, device="cpu", build=build_tiny)
    assert_alike(folder / "one", folder / "alone")
    assert "processes: 1 in place of 2" in (folder / "alone" / "log.txt").read_text()


def test_damaged_shards_fall_back_to_those_before_or_are_one_line(folder: Path) -> None:
    shutil.copytree(folder / "stopped", folder / "damaged")
    run = RunFolder(folder / "damaged")
    first, second = run.shards()
    next(second.glob("shard-00002*")).write_bytes(b"")
    text = (first / "save.json").read_text()
    (first / "save.json").write_text(text.replace('"header"', '"footer"'))
    with pytest.raises(CheckpointError, match=r"shards-00000005 is damaged: .*shards-00000004 is damaged"):
        join_shards(run)
    (first / "save.json").write_text(text)
    note = join_shards(run)
    assert note is not None and "shards-00000005 is damaged" in note and "from shards-00000004" in note
    assert read_tensors(run.last, prefixes=())[0]["step"] == 4 and not run.shards()


def test_a_model_whose_parts_vary_is_refused_by_all(folder: Path) -> None:
    for rank in (0, 1):
        assert "train.parallel=ddp" in json.loads((folder / f"told-{rank}.json").read_text())
