"""Models of transformers are trained by the one trainer: evaluated, saved, resumed exactly, and opened again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.finetuned import write_model
from helpers.tiny import assert_same_tensors, tiny_store, weights_of
from helpers.tiny_sams import write_sam

import risctl
from risctl.data.batch import InstanceTargets
from risctl.data.store.reader import Store
from risctl.errors import UsageError
from risctl.models.facts import facts_of
from risctl.models.local_copies import pull
from risctl.models.names import parse_name
from risctl.models.open import open_predictor
from risctl.models.predictor import PromptedPredictor
from risctl.recipe.load import load_recipe
from risctl.recipe.schema import Recipe
from risctl.training.datasets import training_dataset
from risctl.training.initial_system import initial_system
from risctl.training.run import resume, train

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("finetuning")


@pytest.fixture(scope="module")
def store(root: Path) -> Path:
    return tiny_store(root)


def _recipe(root: Path, store: Path, kind: str, *changes: str) -> Recipe:
    folder = write_model(root / kind, kind)
    return load_recipe(
        f"finetune-{kind}",
        [
            f"model.name=hf:{folder}", f"data.store={store}", "data.batch_size=2", "data.workers=0",
            "optim.accumulate=1", "optim.warmup_steps=0", "~optim.schedule", "train.max_steps=4",
            "train.eval_every=1", "train.eval_limit=4", "train.save_every=2", "train.precision=fp32", *changes,
        ],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "changes"),
    [("clipseg", ["train.precision=bf16", "train.ema=0.9"]), ("sam3", ["model.lora={rank: 2, dropout: 0.1}"])],
)
def test_a_run_resumes_exactly_and_is_opened_by_its_name(
    root: Path, store: Path, kind: str, changes: list[str], tmp_path: Path
) -> None:
    whole = train(_recipe(root, store, kind, *changes), out=tmp_path / "whole", device="cpu")
    half = train(_recipe(root, store, kind, *changes, "train.max_steps=2"), out=tmp_path / "half", device="cpu")
    assert (whole.steps, half.steps) == (4, 2) and set(whole.figures) >= {"mIoU", "oIoU"}
    again = resume(tmp_path / "half", recipe=_recipe(root, store, kind, *changes).resolved(), device="cpu")
    assert again.steps == 4
    assert_same_tensors(weights_of(whole.run / "last.safetensors"), weights_of(again.run / "last.safetensors"))
    [found] = risctl.load(whole.run, device="cpu").predict(IMAGE, ["red box"])
    assert found.mask.shape == (40, 60)


def test_what_a_detector_learned_finds_boxes_that_another_model_segments(
    root: Path, store: Path, tmp_path: Path
) -> None:
    run = train(_recipe(root, store, "owlv2", "train.max_steps=1"), out=tmp_path / "run", device="cpu").run
    sam = write_sam(tmp_path / "sam", gain=1e5)
    pipeline = open_predictor(f"{run}+{sam}", device="cpu")
    assert isinstance(pipeline, PromptedPredictor)
    [found] = pipeline.predict(IMAGE, ["red box"])
    facts = facts_of(f"{run}+{sam}")
    assert [one.task for one in facts.parts] == ["text → boxes", "boxes → masks"] and facts.cached
    assert 0 < (facts.parts[0].parameters or 0) < 0.1
    name = parse_name(f"{run}+{sam}")
    assert name is not None and [one.source for one in pull(name)] == [str(run), str(sam)]
    own = risctl.load(run, device="cpu")
    [area] = own.predict(IMAGE, ["red box"])
    assert found.score == pytest.approx(area.score, abs=1e-5)  # type: ignore[union-attr]
    with pytest.raises(UsageError, match=r"segments by text itself|finds boxes; say what segments them"):
        open_predictor(f"{run}+chooser", device="cpu")


def test_each_instance_of_a_phrase_is_a_target_mirrored_with_its_picture(root: Path, store: Path) -> None:
    items: list[Any] = []
    for flip in (0.0, 1.0):
        recipe = _recipe(root, store, "sam3", f"data.augment.flip={flip}")
        with Store(store) as opened:
            system = initial_system(recipe, (opened,)).system
            items.append(training_dataset(recipe, opened, system).item(0, 0))
    plain, mirrored = (item.instances for item in items)
    assert isinstance(plain, InstanceTargets) and plain.masks.shape == (1, 56, 56) and plain.masks.any()
    assert (plain.masks.flip(-1) == mirrored.masks).float().mean() > 0.97
    assert torch.equal(plain.masks[0], items[0].target > 0.5)
    with pytest.raises(UsageError, match=r"data.augment.crop"), Store(store) as opened:
        training_dataset(_recipe(root, store, "sam3", "data.augment.crop={}"), opened, system)
