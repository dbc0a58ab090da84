"""What a run would be, foreseen without training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny import build_tiny, tiny_recipe, tiny_store

from risctl.data.batch import collate
from risctl.data.loading.image_dataset import ReferringImageDataset
from risctl.data.store.reader import Store
from risctl.errors import CheckpointError, RecipeError, UsageError
from risctl.recipe.load import load_recipe
from risctl.recipe.schema import Recipe
from risctl.training.dry_run import dry_run
from risctl.training.run import train
from risctl.training.vocabulary import gather_vocabulary


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("store"))


def test_foresees_what_training_then_does(store: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(store, optim={"accumulate": 2}, train={"epochs": 3, "max_steps": 5})
    plan = dry_run(recipe, build=build_tiny)
    result = train(recipe, out=tmp_path / "run", device="cpu", build=build_tiny)
    assert plan.steps == result.steps == 5 and plan.steps_per_epoch == 2 and plan.items == 20
    assert f"{plan.parameters:,} parameters, {plan.trainable:,} trainable" in (tmp_path / "run" / "log.txt").read_text()
    with Store(store) as opened:
        assert plan.words == len(gather_vocabulary(recipe, opened).vocabulary)
    assert json.loads(json.dumps(plan.to_json()))["memory_bytes"]["total"] == sum(plan.memory.values())


def test_activations_are_what_autograd_keeps(store: Path) -> None:
    recipe = tiny_recipe(store, data={"batch_size": 6})
    plan = dry_run(recipe, build=build_tiny)
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with Store(store) as opened:
        vocabulary = gather_vocabulary(recipe, opened).vocabulary
        system = build_tiny(recipe.model, vocabulary=vocabulary)
        dataset = ReferringImageDataset(opened, "train", system.preprocess)
        batch = collate([dataset.item(0, index) for index in range(6)])
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        system.loss(system(batch), batch)
    weights = {parameter.untyped_storage().data_ptr() for parameter in (*system.parameters(), *system.buffers())}
    counted = sum(one.untyped_storage().nbytes() for address, one in kept.items() if address not in weights)
    assert plan.memory["activations"] == pytest.approx(counted, rel=0.02)


def test_initial_weights_are_read_before_training_is_promised(store: Path, tmp_path: Path) -> None:
    def init(name: str, **keys: Any) -> Recipe:
        return tiny_recipe(store, train={"epochs": 1, "init_weights": {"checkpoint": name, **keys}})

    with pytest.raises(CheckpointError, match="NOT_THERE"):
        dry_run(init("NOT_THERE"), build=build_tiny)
    path = train(tiny_recipe(store, train={"epochs": 1}), out=tmp_path / "r", device="cpu", build=build_tiny).checkpoint
    assert dry_run(init(str(path)), build=build_tiny).steps == 5
    with pytest.raises(RecipeError, match="bakbone"):
        dry_run(init(str(path), include=["bakbone"]), build=build_tiny)
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match="damaged"):
        dry_run(init(str(path)), build=build_tiny)


def test_a_store_of_one_split_is_trained_on_without_evaluation(store: Path, tmp_path: Path) -> None:
    """As `risctl prepare custom … --splits train=1` makes it of a person's own images."""
    (tmp_path / "own").mkdir()
    own = tiny_store(tmp_path / "own", validation=0)
    recipe = tiny_recipe(own, train={"epochs": 1})
    assert any("no split 'val'" in note for note in dry_run(recipe, build=build_tiny).notes)
    told = train(recipe, out=tmp_path / "run", device="cpu", build=build_tiny)
    assert told.best is None and told.checkpoint.name == "last.safetensors" and told.steps == 6
    assert "no evaluation: " in (tmp_path / "run" / "log.txt").read_text()
    never = tiny_recipe(own, data={"val_split": "none"}, train={"epochs": 1, "eval_every": None})
    assert train(never, out=tmp_path / "never", device="cpu", build=build_tiny).steps == 6
    with pytest.raises(UsageError, match=r"unknown split 'vla'; did you mean 'val'.*train\.eval_every=null"):
        dry_run(tiny_recipe(store, data={"val_split": "vla"}), build=build_tiny)


def test_optimizers_take_what_they_keep(store: Path) -> None:
    plans = {
        name: dry_run(tiny_recipe(store, optim={"name": name}), build=build_tiny).memory for name in ("adam", "sgd")
    }
    assert plans["adam"]["optimizer"] == 2 * plans["adam"]["gradients"] == 2 * plans["sgd"]["optimizer"]
    with_mean = dry_run(tiny_recipe(store, train={"ema": 0.99}), build=build_tiny).memory
    assert with_mean["running mean"] == with_mean["weights"]


def test_an_absent_store_is_said_and_an_unknown_split_refused(store: Path, tmp_path: Path) -> None:
    plan = dry_run(tiny_recipe(tmp_path / "absent.h5"), build=build_tiny)
    assert plan.steps is None and plan.items is None and "is not there" in plan.notes[0]
    with pytest.raises(UsageError, match="trian"):
        dry_run(tiny_recipe(store, data={"train_split": "trian"}), build=build_tiny)


def test_the_shipped_vlt_is_counted_in_full() -> None:
    recipe = load_recipe("vlt-refcoco", ["data.store=nowhere.h5", "data.batch_size=1"])
    plan = dry_run(recipe)
    # The published count of trainable parameters, with Darknet's first 56 convolutions frozen.
    assert plan.trainable == 38_235_398
    assert plan.memory["weights"] > 4 * plan.parameters


def test_what_cannot_be_counted_is_said_without_advice_to_torchs_developers() -> None:
    plan = dry_run(load_recipe("mini"))
    [note] = [note for note in plan.notes if "not counted" in note]
    assert "mini" in note and "torch" not in note and "meta" not in note
