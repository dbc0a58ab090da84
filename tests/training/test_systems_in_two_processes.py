"""Every system trains in two processes to what one gives that accumulates their batches: the same weights, to the bit.

Also those whose loss reads a part of what they compute, another part with each batch.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import small_models
from helpers.finetuned import FAMILIES, write_model
from helpers.tiny import tiny_store, weights_of
from helpers.two_processes import assert_one_run, in_two_processes

from risctl.language.coco_classes import SPLITS
from risctl.recipe.load import parse_recipe
from risctl.systems.registry import SYSTEMS
from risctl.training import run as training
from risctl.training import sharding

pytestmark = pytest.mark.slow

VECTORS = {"vectors": "given.txt", "dim": 12}
BOXES = {"files": ["boxes.jsonl"], "generated": 6, "detector_noise": 0.5, "typos": 0.1}
MINI: dict[str, Any] = {
    "system": "mini",
    "input_size": 64,
    "max_words": 6,
    "max_count": 6,
    "mask_channels": 16,
    "channels": 32,
    "layers": 1,
    "heads": 2,
    "text": {"buckets": 64},
}
SHARED_IMAGES: dict[str, Any] = {"phrases_per_image": 2, "sentences": "all"}
SMALL: dict[str, dict[str, Any]] = {
    "vlt": {"model": {**small_models.VLT, "dropout": 0.1}},
    "step": {"model": small_models.STEP},
    "lavt": {"model": small_models.LAVT},
    "lavt of words alone": {"model": {**small_models.LAVT, "text": {"name": "bigru", "hidden": 8, "dim": 8}}},
    "rela": {"model": small_models.RELA},
    "cris": {"model": small_models.CRIS},
    "referformer": {"model": {**small_models.REFERFORMER, "longest_side": 96}, "data": {"frames": 1}},
    "zsi": {"model": {**small_models.ZSI, "text": VECTORS}},
    "mini of expressions": {"model": MINI},
    "vlt of shared images": {"model": {**small_models.VLT, "dropout": 0.1}, "data": SHARED_IMAGES},
    "referformer of shared images": {
        "model": {**small_models.REFERFORMER, "longest_side": 96},
        "data": {"frames": 2, **SHARED_IMAGES},
    },
    "mini of boxes": {"model": MINI, "data": {"items": "box_grounding", "box_grounding": BOXES}},
    "mini of instances": {"model": MINI, "data": {"items": "instances"}},
    **{f"transformers {kind}": {"model": {"system": "transformers", "name": f"hf:{kind}"}} for kind in FAMILIES},
    "transformers sam3, adapters": {
        "model": {"system": "transformers", "name": "hf:sam3", "lora": {"rank": 2, "dropout": 0.1}}
    },
}
"""A small recipe of each system, with its own dropout."""
SHARDED = ("vlt", "lavt", "transformers sam3, adapters")
"""Those that are trained once more with a share of the weights in each process."""


def recipe_of(name: str, store: Path, *, accumulate: int, **train: Any) -> Any:
    given = SMALL[name]
    values = {
        "name": name.replace(" ", "-").replace(",", ""),
        "model": given["model"],
        "data": {"store": str(store), "batch_size": 2, "workers": 0, "augment": {"flip": 0.5}, **given.get("data", {})},
        "optim": {"lr": 1e-4, "accumulate": accumulate},
        "train": {"epochs": 1, "max_steps": 3, "eval_every": None, "ema": 0.9, "trackers": [], **train},
    }
    return parse_recipe(values, source=name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs of one process in `one`, of two in `two`, by the names of the recipes."""
    folder = tmp_path_factory.mktemp("systems")
    before = Path.cwd()
    os.chdir(folder)
    classes = [name.replace(" ", "_") for split in SPLITS.values() for name in (*split.seen, *split.unseen)]
    words = sorted({"background", "box", "red", "green", "blue", "left", "right", "one", *classes})
    vectors = torch.randn(len(words), 12, generator=torch.Generator().manual_seed(0)).tolist()
    rows = [" ".join([word, *map(str, vector)]) for word, vector in zip(words, vectors, strict=True)]
    Path("given.txt").write_text("\n".join(rows) + "\n")
    boxes = {"aspect": 1.5, "boxes": [[0, 0, 0.5, 0.5], [0.5, 0.2, 0.9, 0.9]], "kinds": [0, 56]}
    phrases = [
        {"text": "the person", "targets": [0], "colours": []},
        {"text": "red chair on the right", "targets": [1], "colours": ["red"]},
    ]
    Path("boxes.jsonl").write_text(f"{json.dumps({**boxes, 'phrases': phrases})}\n" * 6)
    for kind in FAMILIES:
        write_model(folder / kind, kind)
    store = tiny_store(folder)
    try:
        in_two_processes(_both, folder, folder, store, seconds=1500)
        for name in SMALL:
            training.train(recipe_of(name, store, accumulate=2), out=folder / "one" / name, device="cpu")
        yield folder
    finally:
        os.chdir(before)


def _both(rank: int, folder: Path, store: Path) -> None:
    os.chdir(folder)
    for name in SMALL:
        recipe = recipe_of(name, store, accumulate=1)
        training.train(recipe, out=folder / "two" / name, device="cpu", continues=True)
    sharding.PART = 10_000  # the parts of small models
    for name in SHARDED:
        recipe = recipe_of(name, store, accumulate=1, parallel="fsdp")
        training.train(recipe, out=folder / "sharded" / name, device="cpu", continues=True)


@pytest.mark.parametrize("name", SMALL)
def test_two_processes_train_what_one_does(folder: Path, name: str) -> None:
    assert_one_run(folder / "one" / name, folder / "two" / name)


@pytest.mark.parametrize("name", SHARDED)
def test_two_processes_with_a_share_each_train_what_one_does(folder: Path, name: str) -> None:
    ours, theirs = (weights_of(folder / which / name / "last.safetensors") for which in ("one", "sharded"))
    assert ours.keys() == theirs.keys()
    # Together: gradients that are zero but for rounding are another number each time, which Adam makes a step of.
    for group in ("model.", "mean.", "training.exp_avg "):
        names = [key for key in ours if key.startswith(group) and ours[key].is_floating_point()]
        apart = sum(float((ours[key] - theirs[key]).double().square().sum()) for key in names)
        whole = sum(float(ours[key].double().square().sum()) for key in names)
        assert names and (apart / whole) ** 0.5 < 5e-3, group
    if not name.startswith("transformers"):  # whose blocks are too small
        assert " 1 part " not in (folder / "sharded" / name / "log.txt").read_text()


def test_every_system_that_trains_is_compared() -> None:
    assert {one["model"]["system"] for one in SMALL.values()} == set(SYSTEMS)
