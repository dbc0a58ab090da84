"""ReLA's recipes train as published: rates at every step, which parameters, with which weight decay."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from helpers.published_rela import rela_shapes

from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import load_recipe
from risctl.systems.registry import build_system
from risctl.systems.rela.published import our_name
from risctl.training.lr_schedule import LRSchedule
from risctl.training.optimizer import build_optimizer

NAMES = ("rela-grefcoco", "rela-refcoco", "rela-refcoco+", "rela-refcocog")


@pytest.mark.parametrize("name", NAMES)
def test_rates_fall_at_the_published_steps(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.data.batch_size * recipe.optim.accumulate == 48 and recipe.train.max_steps == 150_000
    schedule = LRSchedule.of(recipe.optim, steps_per_epoch=4361, total=150_000)
    steps = [0, 109_999, 110_000, 139_999, 140_000, 149_999]
    found = [recipe.optim.lr * schedule(step) for step in steps]
    np.testing.assert_allclose(found, [1e-5, 1e-5, 1e-6, 1e-6, 1e-7, 1e-7], rtol=1e-9)


@pytest.mark.parametrize(("backbone", "window"), [("swin_b", 12), ("swin_t", 7), ("resnet50", None)])
def test_groups_by_the_published_names(backbone: str, window: int | None) -> None:
    """train_net.py: no decay for norms, embeddings and position tables; of BERT the layers 0 to 9, all with decay."""
    swin = window is not None
    changes = [f"model.visual.window={window}"] if swin else ["~model.visual.window", "~model.visual.drop_path"]
    recipe = load_recipe("rela-grefcoco", [f"model.visual.name={backbone}", "model.visual.weights=null", *changes])
    with torch.device("meta"):
        system = build_system(recipe.model, vocabulary=Vocabulary(["a", "b"]), pretrained=False)
    wanted = {}
    for theirs in rela_shapes(backbone, window=window or 7):
        text = theirs.startswith("text_encoder.")
        if text and not re.match(r"text_encoder\.encoder\.layer\.\d\.", theirs):
            continue
        if theirs.endswith("relative_position_index") or (not swin and ".norm." in theirs and "backbone" in theirs):
            continue  # buffers; those of frozen norms too
        if re.search(r"image_lang_att\.(f_query|f_key|f_value|W)\.0\.bias$", theirs):
            continue  # without effect: the norms after them take them away
        norm = re.search(r"(norm\d?|input_proj\.\d\.1)\.(weight|bias)$", theirs)
        embedding = re.search(r"predictor\.(query_feat|query_embed|level_embed)\.weight$", theirs)
        spared = not text and (norm or embedding or theirs.endswith("relative_position_bias_table"))
        wanted[our_name(theirs)] = 0.0 if spared else 0.05
    optimizer = build_optimizer(system, recipe.optim)
    names = {id(one): own for own, one in system.named_parameters()}
    found = {names[id(one)]: group["weight_decay"] for group in optimizer.param_groups for one in group["params"]}
    assert found == wanted
    assert {group["multiplier"] for group in optimizer.param_groups} == {1.0}
