"""LAVT's recipes train what the published code trains."""

from __future__ import annotations

import pytest
import torch

from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import load_recipe
from risctl.systems.registry import build_system
from risctl.training.optimizer import build_optimizer

RECIPES = ("lavt-refcoco", "lavt-refcoco+", "lavt-refcocog-umd", "lavt-refcocog-google")


@pytest.mark.parametrize("name", RECIPES)
def test_published_settings(name: str) -> None:
    recipe = load_recipe(name)
    optim, model = recipe.optim, recipe.model
    assert recipe.data.batch_size * optim.accumulate == 32 and recipe.train.epochs == 40
    assert (optim.lr, optim.weight_decay, optim.schedule.name, optim.schedule.power) == (5e-5, 0.01, "poly", 0.9)
    assert (recipe.data.text_field, recipe.data.sentences, recipe.data.last_batch) == ("raw", "random", "drop")
    assert recipe.data.augment is None and optim.clip_norm is None and recipe.train.precision == "fp32"
    assert (model.visual.name, model.visual.window, model.visual.drop_path) == ("swin_b", 12, 0.3)
    assert (model.input_size, model.max_words, model.text.dropout) == (480, 20, 0.0)
    assert recipe.eval.protocol == "lavt" and recipe.train.best == "oIoU"


def test_the_optimizers_groups_are_the_published_ones() -> None:
    """136 tensors of the backbone do not decay; 253 do, of which 18 get no gradient; 20 of the decoder, 160 of BERT."""
    recipe = load_recipe("lavt-refcoco")
    with torch.device("meta"):
        system = build_system(recipe.model, vocabulary=Vocabulary(f"w{number}" for number in range(30_520)))
    optimizer = build_optimizer(system, recipe.optim)
    names = {parameter: name for name, parameter in system.named_parameters()}
    groups: dict[tuple[str, float], int] = {}
    for group in optimizer.param_groups:
        assert group["lr"] == 5e-5
        for parameter in group["params"]:
            key = (names[parameter].partition(".")[0], group["weight_decay"])
            groups[key] = groups.get(key, 0) + 1
    idle = sum(not one.requires_grad for one in system.get_submodule("visual").parameters())
    assert groups == {
        ("visual", 0.0): 136,
        ("visual", 0.01): 253 - idle,
        ("decoder", 0.01): 20,
        ("text", 0.01): 160,
    }
    assert idle == 4 * 4 + 2
