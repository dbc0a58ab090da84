"""Every shipped ablation: it builds, trains a step with a gradient in every parameter, and changes the output."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from helpers import small_models
from helpers.system_contract import TEXTS, WORDS, items_of

from risctl.core.encoders.visual import swin
from risctl.data.batch import Batch, collate
from risctl.language.coco_classes import SPLITS
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.ablations import Ablation, ablations
from risctl.recipe.load import load_recipe
from risctl.recipe.schema import Recipe
from risctl.recipe.stages import merged
from risctl.systems.base import System
from risctl.systems.registry import build_system

TRAINED = [row for row in ablations() if row.section.paper != "global-local-clip"]
ONE_SIZE = ((40, 60), (42, 60))

SMALL: dict[str, dict[str, Any]] = {
    "step": {**small_models.STEP, "folds": 5, "levels": (1, 2, 3, 4, 5), "context_rate": 2},
    "vlt": {**small_models.VLT, "hidden": 16, "queries": 16, "encoder_layers": 2, "decoder_layers": 2, "dropout": 0.0},
    "referformer": {**small_models.REFERFORMER, "decoder_layers": 2, "dropout": 0.0, "queries": 5},
    "zsi": {**small_models.ZSI, "text": {"vectors": "given.txt", "dim": 70}},
}
"""The bases in small: what an ablation changes has the base's value, or one that stands for it."""


@dataclass(frozen=True, kw_only=True)
class Small:
    """A system in small, with the frames of its clips (None for images)."""

    system: System
    frames: int | None

    def batch(self) -> Batch:
        sizes = ONE_SIZE if self.frames is None else ONE_SIZE[:1]
        items = [items_of(self.system, texts=TEXTS[:2], sizes=sizes, seed=seed) for seed in range(self.frames or 1)]
        if self.frames is None:
            return collate(items[0])
        clip = [one for [one] in items]
        images, targets = ([getattr(one, name) for one in clip] for name in ("image", "target"))
        return collate([replace(clip[0], image=torch.stack(images), target=torch.stack(targets))])

    @torch.no_grad()
    def answer(self) -> torch.Tensor:
        """Return the logits of the images, or of the clip's first frame, and the scores."""
        torch.manual_seed(2)
        output = self.system.eval()(self.batch())
        logits = output.logits if self.frames is None else output.logits[:, 0]
        scores = logits.new_zeros(0) if output.scores is None else output.scores
        return torch.cat([logits.flatten(), scores])


def built(model: Mapping[str, Any], *, frames: int | None, like: System | None = None) -> Small:
    """Build a system, with the weights of `like` where there are any of the name and shape."""
    torch.manual_seed(0)
    recipe = small_models.recipe_of(dict(model))
    words = Vocabulary((*WORDS, *" ".join((*SPLITS["48_17"].seen, *SPLITS["48_17"].unseen)).split()))
    vectors = None
    if recipe.model.system == "zsi":
        vectors = np.random.default_rng(0).standard_normal((len(words), recipe.model.text.dim)).astype(np.float32)
        vectors[:2] = 0
    system = build_system(recipe.model, vocabulary=words, vectors=vectors, pretrained=False)
    with torch.no_grad():
        for name, parameter in system.named_parameters():  # layers that begin at zero, or close to it, hide the others
            if parameter.ndim > 1 and parameter.std() < 0.02:
                parameter.normal_(std=0.2)
            elif name.endswith("bn2.weight"):
                parameter.fill_(1.0)
        if recipe.model.system == "zsi" and recipe.model.background_rpn:
            system.rpn.compare.weight.add_(torch.randn_like(system.rpn.compare.weight))  # at first v_b is the word's
        if like is not None:
            given = like.state_dict()
            for name, value in system.named_parameters():
                if name in given and given[name].shape == value.shape:
                    value.copy_(given[name])
    return Small(system=system, frames=frames)


def step(small: Small) -> list[str]:
    """Train one step, and return the parameters that got no gradient."""
    torch.manual_seed(1)
    small.system.train()
    optimizer = torch.optim.SGD([one for one in small.system.parameters() if one.requires_grad], lr=1e-2)
    batch = small.batch()
    torch.stack(list(small.system.loss(small.system(batch), batch).values())).sum().backward()
    lacking = [
        name
        for name, parameter in small.system.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    ]
    optimizer.step()
    return lacking


def reading(row: Ablation) -> tuple[Recipe, Recipe, dict[str, Any]]:
    """Return an ablation, its base, and the ablation's `model` section in small, without files of weights."""
    recipe, base = load_recipe(row.file), load_recipe(row.base)
    changes: dict[str, Any] = {}
    for key, value in row.changes.items():
        section, *path = key.split(".")
        if section == "model":
            changes = merged(changes, _nested(path, None if path[-1] == "weights" else value))
    if "swin" in recipe.model.visual.name:
        changes = merged(changes, {"visual": {"drop_path": 0.0}})  # of so few blocks one step may drop any
    return recipe, base, merged(SMALL[row.section.paper], changes)


def _nested(path: list[str], value: Any) -> dict[str, Any]:
    return {path[0]: _nested(path[1:], value) if path[1:] else value}


@pytest.fixture(autouse=True)
def _narrow_swins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Swins of all their kinds with a fraction of their width and depth: the large one has 195 million parameters."""
    for name, numbers in swin.NUMBERS.items():
        heads = numbers.heads[0]
        monkeypatch.setitem(
            swin.NUMBERS, name, replace(numbers, width=8 * heads, depths=(1, 1, 1, 1), heads=(heads,) * 4)
        )


@lru_cache
def base_of(paper: str, frames: int | None) -> tuple[System, torch.Tensor, torch.Tensor]:
    """Return a base in small as it is built, its answer, and its answer after a step."""
    small = built(SMALL[paper], frames=frames)
    new, before = copy.deepcopy(small.system), small.answer()
    assert not step(small)
    return new, before, small.answer()


@pytest.mark.parametrize("row", TRAINED, ids=lambda row: row.name)
def test_an_ablation_builds_trains_and_changes_the_output(row: Ablation) -> None:
    recipe, base, changed = reading(row)
    assert recipe.model.system == row.section.paper
    frames = [one.data.frames if one.data.sentences == "clips" else None for one in (base, recipe)]
    like, before, trained = base_of(row.section.paper, frames[0])
    small = built(changed, frames=frames[1], like=like)
    if row.section.changes == "output":
        assert differ(before, small.answer()), "with the same weights its output is that of its base"
    assert not [name for name in step(small) if not may_lack_gradient(row, name)]
    assert differ(trained, small.answer()), "after a step its output is that of its base"


def may_lack_gradient(row: Ablation, name: str) -> bool:
    """A single query attends to itself alone, whatever the product of query and key is."""
    return row.name == "vlt-query-count-1" and ".self_attention." in name and name.split(".")[-2] in ("query", "key")


def differ(first: torch.Tensor, second: torch.Tensor) -> bool:
    return first.shape != second.shape or bool((first - second).abs().max() > 1e-5 * first.abs().max())
