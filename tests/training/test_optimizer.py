"""Which parameters an optimizer is given, and with which weight decay."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from risctl.errors import RecipeError
from risctl.recipe.schema import OptimSection
from risctl.training.optimizer import build_optimizer


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.table = nn.Parameter(torch.zeros(2, 2))
        self.last = nn.ModuleList([nn.Linear(2, 2), nn.LayerNorm(2)])


def decays(**options: Any) -> tuple[Small, dict[str, float]]:
    model = Small()
    optimizer = build_optimizer(model, OptimSection(name="adamw", weight_decay=0.5, **options))
    names = {id(one): name for name, one in model.named_parameters()}
    return model, {names[id(one)]: group["weight_decay"] for group in optimizer.param_groups for one in group["params"]}


def test_named_parameters_do_not_decay() -> None:
    _, found = decays(decay_all=True, undecayed=["table", "last.1"])
    spared = {"table", "last.1.weight", "last.1.bias"}
    assert {name for name, decay in found.items() if decay == 0} == spared
    assert all(found[name] == 0.5 for name in found.keys() - spared) and len(found) == 7


def test_excluded_parameters_take_no_gradient_and_are_not_optimised() -> None:
    model, found = decays(excluded=["last.1", "first.bias"])
    assert found.keys() == {"first.weight", "table", "last.0.weight", "last.0.bias"}
    assert [name for name, one in model.named_parameters() if not one.requires_grad] == [
        "first.bias", "last.1.weight", "last.1.bias",
    ]  # fmt: skip


def test_names_that_no_parameter_has_are_refused() -> None:
    with pytest.raises(RecipeError, match="excluded") as raised:
        decays(excluded=["frist"])
    assert "'first'" in str(raised.value.problems)
    with pytest.raises(RecipeError, match="undecayed: no parameter's name has 'norm' in it"):
        decays(undecayed=["norm"])
